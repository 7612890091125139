/**
 * What the daemon and its failover process tell each other, over the IPC channel of a forked child. Plain
 * objects that survive JSON. The roles themselves do not travel here: they stand in the shared state, where
 * the workers read them without waiting for anyone.
 */

import type { AddressText, RoleName } from '../datapath.js';
import type { State } from './election.js';
import type { RoleReason } from './signals.js';

/** One unit's end of a link, as one traffic group uses it. */
export interface FailoverLink {
  /** The link's name in the config. */
  readonly name: string;
  /** Its index there; the datapath's device index. */
  readonly device: number;
  readonly interface: string;
  /** The unit's own addresses on the interface; the first of a family is its primary address. */
  readonly addresses: readonly AddressText[];
  /**
   * The peer's. An IPv6 advert comes from a link-local address: if there is one here it must match, if there
   * is none any neighbour's will do.
   */
  readonly peerAddresses: readonly AddressText[];
  /** Listed in adverts, and announced. */
  readonly floating: readonly AddressText[];
  /** Virtual addresses answered on this link: announced only. */
  readonly announced: readonly AddressText[];
}

export interface GroupSettings {
  /** Index of the group in the policy and in the shared state. */
  readonly index: number;
  readonly name: string;
  readonly virtualRouterId: number;
  readonly priority: number;
  readonly preempt: boolean;
  readonly preemptDelayMs: number;
  readonly advertIntervalMs: number;
  readonly notInSyncDemotion: number;
  readonly checksum: 'pseudo-header' | 'plain';
  readonly links: readonly FailoverLink[];
}

export interface FailoverConfiguration {
  readonly groups: readonly GroupSettings[];
  /** A worker whose heartbeat has not moved for so long is stopped; null: by the advert interval. */
  readonly heartbeatTimeoutMs: number | null;
}

export interface GroupCondition {
  /** Subtracted from the priority; above 0 while something tracked has failed. "Not in sync" comes on top of it. */
  readonly demotion: number;
  /** Our table holds the peer's connections. */
  readonly inSync: boolean;
  /** The peer is connected, in sync, able (not in `initialize`) and no more demoted than we are. */
  readonly peerCanServe: boolean;
}

/** Groups are called by their name; one that the configuration does not have is ignored. */
export type ToFailover =
  | { readonly type: 'configure'; readonly configuration: FailoverConfiguration }
  | ({ readonly type: 'condition'; readonly group: string } & GroupCondition)
  /** From the peer's hello: the highest term that it has seen, and whether it is active. */
  | { readonly type: 'term-seen'; readonly group: string; readonly term: number; readonly peerActive: boolean }
  | { readonly type: 'hand-over'; readonly group: string }
  | { readonly type: 'peer-closed'; readonly group: string }
  | { readonly type: 'take-over'; readonly group: string }
  | { readonly type: 'release'; readonly group: string }
  | { readonly type: 'shutdown' };

/** The state of one group after each change. */
export interface RoleReport {
  readonly group: string;
  readonly state: State['name'];
  readonly role: RoleName;
  readonly term: number;
  readonly reason: RoleReason;
  /**
   * Milliseconds for which nobody was active before this unit became so, as far as it can know: since the peer's last
   * advert, or since it was active itself. Null: not active, asked to take over (the peer went on), or never heard one.
   */
  readonly silenceMs: number | null;
  readonly effectivePriority: number;
  /** False after a lost lease or carrier: the unit holds back until a condition says otherwise. */
  readonly inSync: boolean;
  readonly forcedStandby: boolean;
}

export interface VirtualRouterReport {
  readonly group: string;
  /** The link's name. */
  readonly link: string;
  readonly family: 4 | 6;
  readonly virtualRouterId: number;
  readonly state: State['name'];
  /** Since the peer's last accepted advert, and the priority in it; null: none yet. */
  readonly peerAdvertAgeMs: number | null;
  readonly peerPriority: number | null;
  readonly advertsSent: number;
  readonly advertsReceived: number;
  /** Refused on this link in this family, by reason; reasons that never happened are left out. */
  readonly advertsDropped: Readonly<Record<string, number>>;
}

/** By name, src/failover/counts.ts. */
export type FailoverCounts = Readonly<Record<string, number>>;

/** How late adverts left, since the process started. Quantiles are the upper ends of their classes, 19 % wide. */
export interface AdvertLateness {
  readonly adverts: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Sums since the process started. */
export interface FailoverCounters {
  readonly counts: FailoverCounts;
  /** Null: none was due yet. */
  readonly lateness: AdvertLateness | null;
  readonly virtualRouters: readonly VirtualRouterReport[];
}

export interface Fault {
  /** Stable word: `no_own_address`, `socket`, `send`, `link_missing`, ... */
  readonly code: string;
  /** What, where, and how to mend it. */
  readonly message: string;
}

export type FromFailover =
  | { readonly type: 'ready' }
  | ({ readonly type: 'role' } & RoleReport)
  | { readonly type: 'peer-took-over'; readonly group: string }
  | { readonly type: 'take-over-refused'; readonly group: string }
  | { readonly type: 'carrier'; readonly link: string; readonly up: boolean }
  | ({ readonly type: 'counters' } & FailoverCounters)
  | ({ readonly type: 'fault' } & Fault);
