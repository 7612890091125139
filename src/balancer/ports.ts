/**
 * What the balancer works with: the unit's parts as it sees them. `src/io/` and `src/main.ts` provide them;
 * a test provides others. Only what the balancer calls is here.
 */

import type { ApplyRequest, ApplyResult, ConfigSyncStatus, Costs } from '../api.js';
import type { ConfigResult } from '../config/load.js';
import type { Config, PoolConfig } from '../config/model.js';
import type { Datapath, NextHop, SharedStateHandle } from '../datapath.js';
import type {
  AdvertLateness,
  FailoverConfiguration,
  FailoverCounts,
  GroupCondition,
  VirtualRouterReport,
} from '../failover/messages.js';
import type { InSync } from '../mirror/state.js';
import type { MirrorStatus as ChannelStatus } from '../mirror/status.js';
import type { TrafficSample } from '../wire/capture_record.js';
import type { DeviceLinkStatus, MemberHealth } from './views.js';

/** The failover process. */
export interface FailoverPort {
  readonly pid: number | null;
  configure(configuration: FailoverConfiguration): void;
  condition(group: string, condition: GroupCondition): void;
  termSeen(group: string, term: number, peerActive: boolean): void;
  /** Resolves true when the peer was seen active, false when the time for a hand-over was up first. */
  handOver(group: string): Promise<boolean>;
  takeOver(group: string): void;
  peerClosed(group: string): void;
  release(group: string): void;
  /** As last told, once a second. */
  readonly counts: FailoverCounts;
  readonly lateness: AdvertLateness | null;
  readonly virtualRouters: readonly VirtualRouterReport[];
}

/** The mirror channel. It reads roles, dictionary and config names itself, when told that they have changed. */
export interface MirrorPort {
  readonly inSync: InSync;
  updateRoles(): void;
  updateDictionary(): void;
  /** Announces every mirrored connection once more. */
  resync(): void;
  /** Resolves when every change made before the call was acked by the peer. */
  flush(): Promise<void>;
  /** Rejects with the peer's refusal. */
  requestTakeOver(group: string, term: number, forced: boolean): Promise<void>;
  status(): ChannelStatus;
}

export interface MonitorPort {
  update(pools: readonly PoolConfig[]): void;
  states(): readonly MemberHealth[];
}

export interface NeighbourPort {
  update(members: readonly { readonly address: string; readonly port: number }[]): Promise<void>;
  nextHops(): readonly NextHop[];
  status(): readonly { readonly address: string; readonly device: number | null; readonly mac: string | null }[];
  links(): readonly DeviceLinkStatus[];
}

/** The config on both units. It asks the balancer to look at a text and to put it in force. */
export interface ConfigSyncPort {
  /** A config is being applied: the file must not be read anew meanwhile. */
  readonly busy: boolean;
  /** Rejects with a ControlError. */
  apply(request: ApplyRequest): Promise<ApplyResult>;
  /** The file was read anew and is in force. */
  reloaded(text: string): void;
  status(): ConfigSyncStatus;
}

/** A config that this unit can run. */
export interface ConfigChange {
  /** One line each, as a reload says them. */
  readonly changes: readonly string[];
  putInForce(): Promise<void>;
  /** What was in force before is again. */
  takeBack(): Promise<void>;
}

/** What of a unit's links is not as the config says. */
export interface LinkFault {
  /** An error keeps the unit from starting; a warning is logged and shown. */
  readonly severity: 'error' | 'warning';
  readonly code: string;
  /** Where in the config: `units.a.links.client.interface`. */
  readonly path: string;
  readonly message: string;
  /** The command in the message, if there is one that mends it. */
  readonly mend?: string;
}

export interface Log {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

export interface Clock {
  now(): Date;
  /** Milliseconds, fractional; never goes back. */
  monotonicMs(): number;
  /** Runs `work` after what is happening now. */
  soon(work: () => void): void;
}

type NamedSentences = readonly (readonly [name: string, sentence: string])[];

export interface Ports {
  readonly datapath: Datapath;
  readonly dropNames: NamedSentences;
  readonly countNames: NamedSentences;
  readonly sharedState: SharedStateHandle;
  readonly failover: FailoverPort;
  readonly mirror: MirrorPort;
  readonly monitors: MonitorPort;
  readonly neighbours: NeighbourPort;
  readonly configSync: ConfigSyncPort;
  readonly readConfig: () => Promise<{ readonly result: ConfigResult; readonly text: string }>;
  /** Every fault that the links of this unit have under a config. */
  readonly checkLinks: (config: Config) => Promise<readonly LinkFault[]>;
  /** What mirroring costs here, as measured; null: never. */
  readonly costs: () => Costs | null;
  /** Rejects with a ControlError while a capture runs. */
  readonly sampleTraffic: () => Promise<TrafficSample>;
  readonly log: Log;
  readonly clock: Clock;
}
