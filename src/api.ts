/**
 * What an operator may ask of a running daemon, as types: the one seam between the CLI and the daemon.
 *
 * The balancer implements `Control`; `src/io/api_server.ts` serves it as JSON over HTTP on a unix socket
 * and `src/io/api_client.ts` is the same interface at the other end. Everything here survives
 * JSON.stringify: no bigint, no Map, no undefined, times as ISO 8601 text in UTC, null for "not known"
 * and "never". Counters are numbers, exact up to 2^53.
 *
 * A request that cannot be done is refused with a `ControlError`: a stable code, what is wrong, and how
 * to mend it.
 */

import type {
  Costs,
  MemberChanged,
  MemberOverride,
  Rates,
  Survival,
  Transition,
  VirtualServerChange,
  VirtualServerChanged,
} from './api_live.js';
import type { ConfigError, ConfigRevision, ConfigStanding, MirrorMode } from './config/model.js';
import type {
  AddressText,
  CommitCounts,
  ConnectionRow,
  EndFilter,
  OnMemberDown,
  ProtocolName,
  RoleName,
  SchedulerName,
  TableCounts,
} from './datapath.js';

export * from './api_live.js';
export type { ConnectionRow, EndFilter } from './datapath.js';

export interface Control {
  status(): Promise<Status>;
  virtualServers(): Promise<VirtualServerStatus[]>;
  virtualServer(name: string): Promise<VirtualServerStatus>;
  pools(): Promise<PoolStatus[]>;
  pool(name: string): Promise<PoolStatus>;
  /** A bounded part of the table; `next` of one answer is `cursor` of the next question. */
  connections(query: ConnectionsQuery): Promise<ConnectionsPage>;
  /** By octets, of a moment in which every frame is looked at. Refused while a capture runs. */
  busiest(limit: number): Promise<BusiestConnections>;
  mirror(): Promise<MirrorStatus>;
  failover(): Promise<FailoverStatus>;
  counters(): Promise<CountersStatus>;
  /** What would become of the connections if this unit failed now. */
  survival(): Promise<Survival>;
  /** Null: never measured here. */
  costs(): Promise<Costs | null>;
  /** Reads the config file again. Refused whole, changing nothing, if it is not valid or needs a restart. */
  reload(): Promise<ReloadResult>;
  /**
   * Checks a config on both units, then puts it in force on both and in the place of their files, under a new
   * revision. Refused whole, changing nothing, if either unit cannot have it.
   */
  apply(request: ApplyRequest): Promise<ApplyResult>;
  /**
   * Hands a traffic group (null: all) to the peer. Returns when it is done. Refused while the peer is not
   * in sync or not there, unless `force`. The unit then keeps out of the way until released or the peer fails.
   */
  standby(trafficGroup: string | null, force: boolean): Promise<StandbyResult>;
  /** Ends what `standby` asked for: the unit may become active again by priority. */
  releaseStandby(trafficGroup: string | null): Promise<StandbyResult>;
  /** Until the next reload or restart; connections go on. */
  setVirtualServer(name: string, change: VirtualServerChange): Promise<VirtualServerChanged>;
  /** The same of a member: `port` as in the config, 0 where that has none. */
  setMember(pool: string, address: AddressText, port: number, state: MemberOverride): Promise<MemberChanged>;
}

/** What a daemon tells while it is listened to. */
export type ApiEvent =
  /** When something changed, and each 5 s. */
  | { readonly event: 'state'; readonly data: { readonly status: Status; readonly survival: Survival } }
  /** Each second. */
  | { readonly event: 'rates'; readonly data: Rates }
  | { readonly event: 'failover'; readonly data: Transition };

export interface EventStream {
  /** A state at once; ends with `signal`. */
  events(signal: AbortSignal): AsyncIterable<ApiEvent>;
}

// ---------------------------------------------------------------------------------------------- status

export interface Status {
  readonly version: string;
  readonly unit: string;
  readonly pid: number;
  readonly configFile: string;
  readonly startedAt: string;
  /** When the config in force was read. */
  readonly configLoadedAt: string;
  readonly config: ConfigSyncStatus;
  readonly trafficGroups: readonly { readonly name: string; readonly role: RoleName; readonly term: number }[];
  readonly links: readonly LinkStatus[];
  readonly workers: number;
  readonly table: TableCounts;
  readonly mirror: { readonly channel: ChannelState; readonly inSync: boolean };
  /** The forked failover process; null while it is not running. */
  readonly failoverPid: number | null;
  readonly virtualServers: { readonly total: number; readonly available: number };
  readonly members: { readonly total: number; readonly up: number };
  /** What an operator should look at, one sentence each; empty when all is well. */
  readonly warnings: readonly string[];
}

/** The config's revision here and at the peer. */
export interface ConfigSyncStatus extends ConfigStanding {
  /** The file was changed by hand since it was applied. */
  readonly edited: boolean;
  /** Null: not connected, or too old to say. */
  readonly peer: (ConfigStanding & { readonly edited: boolean }) | null;
  /** Both units run the same text under the same revision; null: not known. */
  readonly same: boolean | null;
  /** Prepared here, and whether the peer has committed it is not known. */
  readonly inDoubt: ConfigRevision | null;
  /** A config is being applied at this moment. */
  readonly applying: boolean;
  /** What an operator should look at; in the status's own warnings, too. */
  readonly warnings: readonly string[];
}

export interface LinkStatus {
  readonly name: string;
  readonly interface: string;
  readonly mac: string | null;
  readonly carrier: boolean | null;
}

// ------------------------------------------------------------------------- virtual servers and pools

export interface VirtualServerStatus {
  readonly name: string;
  readonly address: AddressText;
  /** The first of a range; 0: any port. */
  readonly port: number;
  /** The same for a single port; 65535 for any. */
  readonly portLast: number;
  readonly protocol: ProtocolName;
  readonly trafficGroup: string;
  readonly role: RoleName;
  readonly pool: string;
  /** False: no new connection is scheduled; open ones go on. */
  readonly enabled: boolean;
  readonly membersUp: number;
  readonly membersTotal: number;
  /** In force now. */
  readonly mirror: MirrorMode;
  /** What the config says; differs from `mirror` after `tandem virtual NAME mirror conn ...`. */
  readonly mirrorConfigured: MirrorMode;
  /** mirror: commit, when the peer does not answer. */
  readonly onTimeout: 'strict' | 'available';
  readonly connections: number;
  readonly opened: number;
  readonly packetsIn: number;
  readonly bytesIn: number;
  readonly packetsOut: number;
  readonly bytesOut: number;
  readonly commit: CommitCounts;
}

/** `unknown`: the monitor has not finished its first round. */
export type MemberState = 'up' | 'down' | 'draining' | 'unknown';

export interface MemberStatus {
  readonly address: AddressText;
  readonly port: number;
  readonly weight: number;
  readonly state: MemberState;
  /** What an operator said of it since the config was read; null: nothing. */
  readonly override: MemberOverride | null;
  /** Why it is down, or what the monitor saw last; null without a monitor. */
  readonly reason: string | null;
  /** When `state` last changed. */
  readonly since: string | null;
  readonly link: string | null;
  readonly nextHopMac: string | null;
  readonly connections: number;
  readonly opened: number;
  readonly priority: number;
  /** Null: no limit. */
  readonly maxConnections: number | null;
  /** Times it was to get a connection and had as many as it may have. */
  readonly limited: number;
  /** Of those opened: by a persistence entry. */
  readonly persisted: number;
  /** What slow start gives it now of its share of new connections, 0..1; 1: all. */
  readonly share: number;
}

export interface PoolStatus {
  readonly name: string;
  readonly scheduler: SchedulerName;
  readonly minActiveMembers: number;
  /** 0: none. */
  readonly slowStartS: number;
  readonly onMemberDown: OnMemberDown;
  /** `http every 1000 ms`, or null. */
  readonly monitor: string | null;
  readonly members: readonly MemberStatus[];
}

// ----------------------------------------------------------------------------------------- connections

export interface ConnectionsQuery {
  readonly virtualServer: string | null;
  readonly client?: EndFilter | null;
  readonly member?: EndFilter | null;
  /** Slot to go on from; 0 to begin. */
  readonly cursor: number;
  /** 1..CONNECTIONS_PAGE_MAX. */
  readonly limit: number;
}

export const CONNECTIONS_PAGE_MAX = 1000;
export const BUSIEST_MAX = 100;

export interface ConnectionsPage {
  readonly rows: readonly ConnectionRow[];
  /** Null at the end of the table. */
  readonly next: number | null;
  /** Connections in the whole table, whatever the query. */
  readonly used: number;
}

export interface BusiestConnections {
  readonly at: string;
  /** How long frames were looked at. */
  readonly forMs: number;
  /** Share of the frames of that time that were, 0..1; rates are what all of them would give. */
  readonly seen: number;
  /** Busiest first; what was closed meanwhile is left out. Both directions, as received, in octets of frames. */
  readonly rows: readonly (ConnectionRow & { readonly packetsPerS: number; readonly bytesPerS: number })[];
}

// ---------------------------------------------------------------------------------------------- mirror

/** `connecting`: dialling or waiting for the peer; `greeting`: connected, hello not yet accepted. */
export type ChannelState = 'off' | 'connecting' | 'greeting' | 'up';

export interface MirrorStatus {
  /** Of the next connection: `unpaired` until the units are paired, or the config asks for plaintext. */
  readonly security: 'tls' | 'plaintext' | 'unpaired';
  /** The primary path first. */
  readonly paths: readonly {
    readonly name: 'primary' | 'secondary';
    readonly peer: string;
    readonly state: 'down' | 'dialling' | 'greeting' | 'standing by' | 'in use';
  }[];
  /** Times that the channel moved from one path to the other. */
  readonly switches: number;
  readonly channel: ChannelState;
  /** The peer's mirror address and port. */
  readonly peer: string;
  /** Null while it is not connected. */
  readonly peerUnit: string | null;
  readonly connectedSince: string | null;
  /** Why the channel last went down. */
  readonly lastError: string | null;
  /** How often the channel came up since the daemon started. */
  readonly connects: number;
  /** The peer holds what we hold: our bulk's end marker was acked. */
  readonly inSync: boolean;
  /** We hold what the peer holds, or are active ourselves. */
  readonly peerSynced: boolean;
  readonly generation: number;
  readonly sending: {
    readonly records: number;
    readonly batches: number;
    readonly bytes: number;
    readonly ackedRecords: number;
    /** Connections that would not survive: the peer's table was full. */
    readonly refusedFull: number;
    /** Their virtual server or member is not in the peer's config. */
    readonly unknown: number;
    /** `announced`: connections of this bulk, or the last one. */
    readonly bulk: {
      readonly running: boolean;
      readonly announced: number;
      readonly completed: number;
      /** Of how many: the table's connections, some of which may not be mirrored. */
      readonly expected: number;
      /** Announced per second since it began. */
      readonly perS: number;
      /** Until all are announced at this rate; null: it does not run, or has announced nothing yet. */
      readonly leftS: number | null;
    };
  };
  readonly receiving: {
    readonly records: number;
    readonly batches: number;
    readonly bytes: number;
    readonly applied: number;
    readonly stale: number;
    readonly refusedFull: number;
    readonly unknown: number;
    /** Connections closed because the peer's bulk did not announce them. */
    readonly droppedUnannounced: number;
    readonly bulk: { readonly running: boolean; readonly completed: number };
  };
  /** Connections of the channel that were closed for what they said, by reason. */
  readonly faults: Readonly<Record<string, number>>;
  readonly lag: {
    /** Age of the oldest batch that was not acked; 0: all is. */
    readonly oldestUnackedMs: number;
    readonly unackedBytes: number;
    readonly unackedBatches: number;
    /** From taking a batch to its ack, the last time; null: none yet. */
    readonly lastAckMs: number | null;
  };
  readonly virtualServers: readonly MirroredVirtualServer[];
  /**
   * Handshakes with mirror: commit by how long their client was kept waiting: [0] not at all, [n] less than 2^n
   * microseconds, the last more.
   */
  readonly commitLatency: readonly number[];
}

export interface MirroredVirtualServer {
  readonly name: string;
  readonly mode: MirrorMode;
  readonly commit: CommitCounts;
  /** Whether both tables hold the same connections of it. `unknown`: not compared (yet), or the peer cannot. */
  readonly tables: 'agree' | 'differ' | 'unknown';
  /** Times that they were found to differ since the daemon started, and bulks of it alone that put them right here. */
  readonly differences: number;
  readonly repairs: number;
}

// -------------------------------------------------------------------------------------------- failover

export interface VirtualRouterStatus {
  readonly link: string;
  readonly family: 4 | 6;
  readonly vrid: number;
  readonly state: 'initialize' | 'backup' | 'active' | 'handing-over';
  /** Milliseconds since the peer's last accepted advert; null: none yet. */
  readonly peerAdvertAgeMs: number | null;
  /** Priority in it. */
  readonly peerPriority: number | null;
  readonly advertsSent: number;
  readonly advertsReceived: number;
  /** Received and refused, by reason; reasons that never happened may be left out. */
  readonly advertsDropped: Readonly<Record<string, number>>;
}

export interface TrafficGroupStatus {
  readonly name: string;
  readonly role: RoleName;
  readonly term: number;
  readonly priority: number;
  readonly effectivePriority: number;
  readonly preempt: boolean;
  /** Why the unit does not take the group although it could: `waiting until in sync`, `standby on request`. */
  readonly heldBack: string | null;
  readonly leaseMs: number;
  readonly virtualRouters: readonly VirtualRouterStatus[];
  /** Role changes since the daemon started. */
  readonly transitionCount: number;
  /** The most recent ones, newest first; a bounded list. */
  readonly transitions: readonly Omit<Transition, 'trafficGroup'>[];
}

/** How late this unit's adverts left, since its failover process started. */
export interface AdvertLatenessStatus {
  readonly adverts: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface FailoverStatus {
  readonly unit: string;
  readonly failoverPid: number | null;
  readonly config: ConfigSyncStatus;
  /** Null: it was active for nothing yet. */
  readonly advertLateness: AdvertLatenessStatus | null;
  readonly trafficGroups: readonly TrafficGroupStatus[];
}

// -------------------------------------------------------------------------------------------- counters

export interface CounterRow {
  readonly name: string;
  /** What it counts, in one sentence. */
  readonly sentence: string;
  readonly value: number;
}

export interface CountersStatus {
  readonly counts: readonly CounterRow[];
  readonly drops: readonly CounterRow[];
}

// --------------------------------------------------------------------------------------------- results

export interface ReloadResult {
  /** One line each: `pool web: member 10.2.0.13:80 added`. Empty: the file says what was in force. */
  readonly changes: readonly string[];
  readonly loadedAt: string;
}

export interface ApplyRequest {
  /** YAML, whole. */
  readonly text: string;
  /** The file's name in errors. */
  readonly file: string;
  /** On this unit alone; refused while the peer is connected. */
  readonly local: boolean;
  /** Only check, on both units. */
  readonly dryRun: boolean;
}

export interface ApplyResult {
  /** `unchanged`: both units run this text already. `valid`: of a dry run. */
  readonly outcome: 'applied' | 'unchanged' | 'valid';
  /** In force now; null for a dry run. */
  readonly revision: ConfigRevision | null;
  /** What changed on this unit, as a reload says it. */
  readonly changes: readonly string[];
  /**
   * `in-doubt`: it did not say whether it has applied it. `failed`: it could not, although it had agreed. In both
   * cases this unit runs the new revision, and offers it to the peer when they connect anew.
   */
  readonly peer: 'applied' | 'valid' | 'absent' | 'too-old' | 'in-doubt' | 'failed';
  readonly reason: string | null;
}

export interface StandbyResult {
  readonly trafficGroups: readonly {
    readonly name: string;
    readonly role: RoleName;
    /** `handed over to b in 12 ms`, `was standby already`, `released`. */
    readonly outcome: string;
  }[];
}

// ---------------------------------------------------------------------------------------------- errors

/** `bad_request`: the question makes no sense; `not_found`: it names nothing here; `refused`: not now. */
export type ControlErrorKind = 'bad_request' | 'not_found' | 'refused' | 'failed';

export interface ControlErrorBody {
  readonly kind: ControlErrorKind;
  /** Stable word for programs: `peer_not_in_sync`, `unknown_virtual_server`, `config_invalid`, ... */
  readonly code: string;
  readonly message: string;
  /** What the operator can do about it; null when nothing helps. */
  readonly mend: string | null;
  /** Faults of the config, when a reload or an apply was refused for them. */
  readonly configErrors: readonly ConfigError[];
  /** What of the request is wrong: `mirror`, `limit`; null: no one part of it. */
  readonly path: string | null;
}

/** Thrown by any `Control`; crosses the socket whole. */
export class ControlError extends Error implements ControlErrorBody {
  readonly kind: ControlErrorKind;
  readonly code: string;
  readonly mend: string | null;
  readonly configErrors: readonly ConfigError[];
  readonly path: string | null;

  constructor(
    kind: ControlErrorKind,
    code: string,
    message: string,
    mend: string | null = null,
    configErrors: readonly ConfigError[] = [],
    path: string | null = null,
  ) {
    super(message);
    this.name = 'ControlError';
    this.kind = kind;
    this.code = code;
    this.mend = mend;
    this.configErrors = configErrors;
    this.path = path;
  }
}

/** Of `ApplyRequest.text`, in UTF-8. */
export const CONFIG_TEXT_BYTES_MAX = 1024 * 1024;

/** Where the daemon listens unless told otherwise; the environment's TANDEM_SOCKET comes before it. */
export const DEFAULT_SOCKET = '/run/tandem/tandem.sock';

/** Where a unit keeps what must outlive it unless told otherwise; the environment's STATE_DIRECTORY comes before it. */
export const DEFAULT_STATE_DIRECTORY = '/var/lib/tandem';

/** No daemon answers on the socket: nothing was asked, so nothing was done. */
export class DaemonUnreachable extends Error {
  readonly mend: string;

  constructor(message: string, mend: string) {
    super(message);
    this.name = 'DaemonUnreachable';
    this.mend = mend;
  }
}
