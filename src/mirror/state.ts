/**
 * Everything that the mirror session knows, is told, and asks for. `session.ts` has the rules.
 *
 * Both ends of the channel run the same session. Each is a sender (for the traffic groups that are
 * active here) and a receiver (for those active at the peer) at once, so the two halves of an open
 * link are kept apart. Deadlines lie in the state; no timer outlives it.
 */

import type { UnitName } from '../config/model.js';
import type { AppliedCounts, Digests, MirrorDictionary } from '../datapath.js';
import type { Fault, FaultName } from './codec.js';
import type { ConfigMessage, GroupRole, Hello, Message, RecordCounts } from './messages.js';

/** Milliseconds on a monotonic clock, fractional. */
export type Millis = number;

/** What does not change while the daemon runs. */
export interface Settings {
  readonly unit: UnitName;
  /** Unit a dials, unit b listens. */
  readonly dials: boolean;
  readonly bootId: string;
  /** A change is taken no later than this after it was made. */
  readonly maxDelayMs: Millis;
  /** Beyond this many unacked bytes nothing is taken; changes stay pending in the datapath. */
  readonly queueBytesMax: number;
  readonly keepaliveMs: Millis;
  /** Room given to one take of live changes. */
  readonly batchBytes: number;
  /** Room given to one take while a bulk runs, each paceMs: forwarding and live changes go first. */
  readonly bulkBytes: number;
  /**
   * So long a peer's first bulk waits for `release-bulk`: until the units' configs are equal, records would name
   * what the peer does not have. 0: it does not wait.
   */
  readonly bulkHoldMs: Millis;
}

/** Versions of the protocol beyond the framing. */
export const VERSION_MIN = 2;
export const VERSION_MAX = 3;
/** From this one on refused records are named (nack), so that a handshake may wait for an ack. */
export const VERSION_NACK = 3;
/** The first that knows `config-*` messages. */
export const CONFIG_VERSION = 3;
/** From this one on units compare digests and send bulks of single virtual servers. */
export const DIGEST_VERSION = 3;

/** Takes under load are at least this far apart, so that changes of a burst coalesce. */
export const PACE_MS: Millis = 1;
/**
 * A channel whose acks take longer than this is narrower than what there is to tell: nothing more is taken before the
 * next ack, and only what the channel carries in this time. What waits in the datapath meanwhile coalesces.
 */
export const STALL_MS: Millis = 250;
/** The least that a take is given room for on a narrow channel. */
export const NARROW_BYTES_MIN = 4 * 1024;
/** A connection without hello, or one that does not come about, is given up after this. */
export const GREETING_MS: Millis = 2_000;
/** Keepalive intervals without a byte after which the peer is given up. */
export const MISSED_MAX = 3;
export const BACKOFF_MIN_MS: Millis = 100;
export const BACKOFF_MAX_MS: Millis = 2_000;
/** Batches in flight; at the bound nothing is taken, as with queueBytesMax. */
export const UNACKED_BATCHES_MAX = 256;
/** Waiting flush() calls; one more is refused. */
export const FLUSHES_MAX = 64;
/** The peer's answer to a hand-over is waited for this long. */
export const HAND_OVER_MS: Millis = 2_000;
/**
 * A lap over the table, and between digests. An entry altered behind the cursor is found at the end of the next lap,
 * and believed at the second digest that shows it: 2 x LAP_MS + 2 x TELL_MS at most.
 */
export const LAP_MS: Millis = 3_000;
export const TELL_MS: Millis = 1_000;
/** A virtual server that differs is asked for again after this, twice as long each time. */
export const REPAIR_MIN_MS: Millis = 15_000;
export const REPAIR_MAX_MS: Millis = 300_000;

export interface State {
  readonly link: Link;
  /** Ours, as last told by the owner. */
  readonly groups: readonly GroupRole[];
  readonly dictionary: MirrorDictionary;
  readonly config: Hello['config'];
  /** Of each group, the least term under which the peer's records are newer than all that we hold. */
  readonly termFloors: Readonly<Record<string, number>>;
  /**
   * We gave a group up without the peer holding our table, as after a partition: our next bulk offers what we have
   * of our own, and only a bulk of the peer that began behind it says what is to be dropped here.
   */
  readonly offers: boolean;
  /** Of the peer that we were last connected to. */
  readonly peerBootId: string | null;
  /** Of the last bulk that this unit began. Goes on over connections. */
  readonly generation: number;
  /** Given to the datapath with what the peer's present bulk announces: 1..255, around. */
  readonly stamp: number;
  /** Number of the last bulk of single virtual servers that this unit began. */
  readonly serverBulk: number;
  readonly agreements: Agreements;
  readonly counters: Counters;
  readonly faults: Readonly<Partial<Record<FaultName, number>>>;
}

export type Link =
  | { readonly name: 'stopped' }
  /** No connection. `dialAt` null: the peer dials. */
  | { readonly name: 'waiting'; readonly dialAt: Millis | null; readonly attempt: number }
  | { readonly name: 'dialling'; readonly giveUpAt: Millis; readonly attempt: number }
  /** Our hello is sent, the peer's has not come. */
  | { readonly name: 'greeting'; readonly giveUpAt: Millis; readonly attempt: number }
  | OpenLink;

export interface OpenLink {
  readonly name: 'open';
  /** The peer's hello, its groups kept up to date. */
  readonly peer: Hello;
  readonly version: number;
  readonly dictionary: MirrorDictionary | null;
  readonly keepaliveAt: Millis;
  readonly deadAt: Millis;
  readonly send: Sending;
  readonly receive: Receiving;
  readonly digesting: Digesting;
  readonly serverBulks: ServerBulks;
  readonly flushes: readonly Flush[];
  /** Groups for which the peer was asked to take over, and until when its answer counts. */
  readonly handOvers: readonly { readonly group: string; readonly giveUpAt: Millis }[];
}

/** Our changes on their way to the peer. */
export interface Sending {
  readonly bulk: 'running' | 'ended' | 'acked';
  /** Nothing is announced or taken before this; null: not held. */
  readonly heldUntil: Millis | null;
  readonly bulkBeganAt: Millis;
  /** When it had been walked through; null: it runs. */
  readonly bulkEndedAt: Millis | null;
  /** Roles when the bulk began: if they differ at its end it proves nothing and begins anew. */
  readonly bulkGroups: readonly GroupRole[];
  /** Of the last batch sent. */
  readonly sequence: number;
  readonly acked: number;
  readonly unacked: readonly Unacked[];
  readonly unackedBytes: number;
  /** When to take next; null: nothing is known to be pending, the datapath will say. */
  readonly takeAt: Millis | null;
  readonly lastTakeAt: Millis;
  /** A take was asked for and has not been answered. */
  readonly taking: boolean;
  /** A handshake waits for a change: it is taken whatever the pace. */
  readonly urgent: boolean;
  /** The socket holds enough; wait until it has drained. */
  readonly blocked: boolean;
  /** The oldest batch has not been acked for STALL_MS; wait until it is. */
  readonly stalled: boolean;
  /** What the channel carries in STALL_MS, where its acks take longer than that; else without bound. */
  readonly windowBytes: number;
  /** What the peer's last ack said. */
  readonly peerCounts: RecordCounts;
  /** From taking a batch to its ack, the last time. */
  readonly lastAckMs: Millis | null;
}

export interface Unacked {
  readonly sequence: number;
  readonly bytes: number;
  readonly records: number;
  /** Sequence of the record encoded last when it was taken: what its ack confirms. */
  readonly lastRecord: number;
  readonly takenAt: Millis;
}

/** The peer's changes on their way into our table. */
export interface Receiving {
  /**
   *   none ──bulk-begin──► announcing ──bulk-end──► announced ──roles clear──► dropping ──► complete
   *
   * Roles are clear when each group is active at exactly one unit: only then is it known whose silence
   * about a connection means that it is gone.
   */
  readonly phase: 'none' | 'announcing' | 'announced' | 'dropping' | 'complete';
  /** Of the peer's bulk; null before its first. */
  readonly generation: number | null;
  readonly dropAt: Millis | null;
  readonly dropped: number;
  readonly sequence: number;
  /** Our batch with the last of what we offered; a bulk that the peer began before it had that one decides nothing. */
  readonly offeredUntil: number;
  readonly counts: RecordCounts;
  /** `counts.unknown` at bulk-begin; more since then means that a new config here deserves a new bulk. */
  readonly unknownBefore: number;
}

export interface Digesting {
  /** When to sweep a part of the table; null: asked for, or nothing to compare. */
  readonly sweepAt: Millis | null;
  readonly tellAt: Millis | null;
  /** Virtual servers that differed at the last digest. */
  readonly suspected: readonly string[];
}

/** Bulks of single virtual servers, both ways. At most one each way at a time. */
export interface ServerBulks {
  /** Ours; `groups`: roles when it began. */
  readonly sending: {
    readonly number: number;
    readonly servers: readonly string[];
    readonly groups: readonly GroupRole[];
  } | null;
  /** To be sent next. */
  readonly wanted: readonly string[];
  readonly receiving: {
    readonly number: number;
    readonly servers: readonly string[];
    readonly phase: 'announcing' | 'dropping';
    readonly dropAt: Millis | null;
  } | null;
  /** What we asked for and have not found to agree since. */
  readonly asked: Readonly<
    Record<string, { readonly tries: number; readonly againAt: Millis; readonly answered: boolean }>
  >;
}

/** What comparing has shown of one virtual server. */
export interface Agreement {
  readonly is: 'unknown' | 'agrees' | 'differs';
  readonly since: Millis;
  /** Times that it was found to differ, and bulks of it that put it right. */
  readonly differences: number;
  readonly repairs: number;
}

/** `told`: of connections of ours, by the peer's answers. `heard`: of the peer's. */
export type Side = 'told' | 'heard';
export type Agreements = Readonly<Record<Side, Readonly<Record<string, Agreement>>>>;

/** Waits until what was pending is taken (`until` null), then until the batch `until` is acked. */
export interface Flush {
  readonly token: number;
  readonly until: number | null;
}

/** Since the start of the daemon, over all connections. One list: [name, what it counts]. */
export const COUNTERS = {
  batches_sent: 'batches sent to the peer',
  records_sent: 'records sent to the peer',
  bytes_sent: 'bytes of records sent to the peer',
  records_acked: 'records of batches that the peer acked',
  peer_stale: 'records that the peer had newer',
  peer_refused_full: 'records that the peer refused because its table was full',
  peer_nacked: 'records that the peer named as refused',
  peer_unknown: 'records whose virtual server or member the peer does not have',
  batches_received: 'batches received from the peer',
  records_received: 'records received from the peer',
  bytes_received: 'bytes of records received from the peer',
  records_applied: 'records of the peer applied to the table',
  records_stale: 'records of the peer not newer than the table',
  records_refused_full: 'records of the peer refused because the table was full',
  records_unknown: 'records of the peer that name what this unit does not have',
  bulks_sent: 'bulks begun towards the peer',
  bulks_acked: 'bulks that the peer completed',
  bulks_received: 'bulks of the peer completed here',
  server_bulks_sent: 'bulks of single virtual servers begun towards the peer',
  server_bulks_received: 'bulks of single virtual servers completed here',
  connections_dropped: 'connections that a bulk of the peer did not announce',
  connects: 'connections of the channel that passed the hello',
  losses: 'connections of the channel lost',
} as const satisfies Readonly<Record<string, string>>;

export type CounterName = keyof typeof COUNTERS;
export type Counters = Readonly<Record<CounterName, number>>;

/** Adds to some counters. */
export function count(counters: Counters, more: Partial<Counters>): Counters {
  const next: Record<string, number> = { ...counters };
  for (const [name, value] of Object.entries(more)) next[name] = (next[name] ?? 0) + value;
  return next as Counters;
}

export type Input =
  | { readonly type: 'start' }
  | { readonly type: 'stop' }
  | { readonly type: 'timeout' }
  /** TCP (or TLS) is up. */
  | { readonly type: 'connected' }
  /** The connection ended, or could not be made. `chance` in [0, 1) spreads reconnects. */
  | { readonly type: 'closed'; readonly reason: string; readonly chance: number }
  /** The byte stream was not believed. */
  | { readonly type: 'fault'; readonly fault: Fault }
  /** Bytes came in, whole message or not. */
  | { readonly type: 'heard' }
  | { readonly type: 'message'; readonly message: Message }
  /** The datapath has changes to take; a handshake waits for one of them if `urgent`. */
  | { readonly type: 'pending'; readonly urgent?: boolean }
  /**
   * Result of `take`. `full`: no room was left for one more record. `writable`: the socket would take more.
   * `groups`: this unit's roles of this moment, wanted when no bulk is running.
   */
  | {
      readonly type: 'taken';
      readonly bytes: number;
      readonly records: number;
      readonly lastRecord: number;
      readonly full: boolean;
      readonly bulkRunning: boolean;
      readonly bulkAnnounced: number;
      readonly writable: boolean;
      readonly groups: readonly GroupRole[] | null;
    }
  | { readonly type: 'drained' }
  /** Result of `apply`. */
  | { readonly type: 'applied'; readonly sequence: number; readonly counts: AppliedCounts }
  /** Result of `drop-unannounced`. */
  | { readonly type: 'dropped'; readonly done: boolean; readonly closed: number }
  | { readonly type: 'groups'; readonly groups: readonly GroupRole[] }
  /** A new config was loaded here, or one given before the start. */
  | { readonly type: 'dictionary'; readonly dictionary: MirrorDictionary; readonly config: Hello['config'] }
  /** The bulk that an open link began with need not wait (any longer). */
  | { readonly type: 'release-bulk' }
  /** To be said to the peer; nothing is said to one that is not there or too old to understand. */
  | { readonly type: 'config'; readonly message: ConfigMessage }
  /** Announce everything once more (mirroring of a virtual server was switched). */
  | { readonly type: 'resync' }
  /** The datapath could not keep closes of these virtual servers until they were told. */
  | { readonly type: 'closes-lost'; readonly virtualServers: readonly string[] }
  /** Result of `sweep-digests`: which share of a lap it was, 0..1. */
  | { readonly type: 'swept'; readonly share: number }
  /** Result of `compare-digests`: our sums of that moment; null: none that prove anything. */
  | { readonly type: 'compared'; readonly told: Digests; readonly heard: Digests | null }
  | { readonly type: 'flush'; readonly token: number }
  | { readonly type: 'hand-over'; readonly group: string; readonly term: number; readonly forced: boolean }
  | { readonly type: 'take-over'; readonly group: string; readonly term: number; readonly refusal: string | null };

export type Action =
  | { readonly type: 'dial' }
  | { readonly type: 'send'; readonly message: Message }
  /**
   * Take at most `bytes` of records, send them as this batch if there are any, and answer `taken`. `liveOnly`: nothing
   * of a bulk, which keeps its pace.
   */
  | {
      readonly type: 'take';
      readonly bytes: number;
      readonly generation: number;
      readonly sequence: number;
      readonly liveOnly: boolean;
    }
  /** The peer's table has every record up to this one, but for those refused before. */
  | { readonly type: 'confirm'; readonly lastRecord: number }
  | { readonly type: 'refuse'; readonly records: Uint32Array }
  /** Ask the datapath for one `pending`. */
  | { readonly type: 'arm' }
  /** `confirms`: the peer names what it refuses, so `confirm` and `refuse` will follow. */
  | { readonly type: 'set-wanted'; readonly on: boolean; readonly confirms: boolean }
  /** Of all, or of these virtual servers; `offers`: State.offers. */
  | { readonly type: 'start-bulk'; readonly virtualServers?: readonly string[]; readonly offers?: boolean }
  /** Of all, or of these virtual servers. */
  | { readonly type: 'restart-digests'; readonly virtualServers?: readonly string[] }
  /** Walk through a part of the table; answer `swept`. */
  | { readonly type: 'sweep-digests' }
  /** Send our sums, but these, if they prove something, as of behind this batch. */
  | {
      readonly type: 'tell-digests';
      readonly generation: number;
      readonly sequence: number;
      readonly except: readonly string[];
    }
  /** Answer `compared`. */
  | { readonly type: 'compare-digests'; readonly told: Digests }
  /** The view in `records` holds only until this is carried out; answer `applied`. */
  | { readonly type: 'apply'; readonly sequence: number; readonly records: Uint8Array; readonly stamp: number }
  | {
      readonly type: 'drop-unannounced';
      readonly stamp: number;
      readonly restart: boolean;
      readonly virtualServers?: readonly string[];
    }
  | { readonly type: 'set-dictionary'; readonly dictionary: MirrorDictionary }
  /** End the connection; `closed` follows from whoever carries this out. */
  | { readonly type: 'close'; readonly reason: string }
  // ---- news for the owner
  | { readonly type: 'config-heard'; readonly message: ConfigMessage }
  | { readonly type: 'peer'; readonly peer: Hello }
  | { readonly type: 'peer-gone'; readonly reason: string }
  | { readonly type: 'in-sync'; readonly inSync: InSync }
  /** Both tables were found to hold other connections of it, or to hold the same again after a bulk of it. */
  | { readonly type: 'differs'; readonly virtualServer: string; readonly side: Side }
  | { readonly type: 'repaired'; readonly virtualServer: string }
  | { readonly type: 'hand-over-asked'; readonly group: string; readonly term: number; readonly forced: boolean }
  | { readonly type: 'hand-over-answered'; readonly group: string; readonly refusal: string | null }
  | { readonly type: 'flushed'; readonly token: number; readonly failure: string | null }
  | { readonly type: 'fault'; readonly fault: Fault };

/**
 * `self`: for each traffic group, this unit is active or holds what the peer's bulk announced.
 * `peer`: the peer acked our last bulk and is active for none of our groups, so it holds their connections.
 */
export interface InSync {
  readonly self: boolean;
  readonly peer: boolean;
}

export interface Step {
  readonly state: State;
  readonly actions: readonly Action[];
}

export function stay(state: State): Step {
  return { state, actions: [] };
}

export function act(state: State, action: Action): Step {
  return { state, actions: [action] };
}
