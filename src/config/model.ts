/**
 * The operator's config after validation: defaults filled in, references checked, addresses canonical.
 * `src/config/load.ts` makes it from YAML; everything else reads it. One file serves both units; what
 * differs is under `units:`.
 */

import type {
  AddressText,
  ClientRate,
  ClosedPolicy,
  DeviceKind,
  IdleTimeoutS,
  OnMemberDown,
  ProtocolName,
  SchedulerName,
  SourcePersistence,
  UnknownPolicy,
  Wait,
} from '../datapath.js';

export type UnitName = 'a' | 'b';

/** One unit's end of a link. */
export interface UnitLink {
  readonly interface: string;
  /** The unit's own addresses there (on the kernel interface); the first of a family is its VRRP primary address. */
  readonly addresses: readonly AddressText[];
}

export interface MirrorAddress {
  readonly address: AddressText;
  readonly port: number;
}

/** Where the API is served over TCP, with TLS and a token. Files are read at start. */
export interface ApiListenerConfig {
  readonly address: AddressText;
  readonly port: number;
  /** PEM, the chain. */
  readonly certificate: string;
  readonly key: string;
  readonly tokenFile: string;
}

export interface UnitConfig {
  /** By link name. */
  readonly links: Readonly<Record<string, UnitLink>>;
  /** Where the peer connects to us for mirroring, on the primary path and on the secondary. */
  readonly mirror: MirrorAddress & { readonly secondary?: MirrorAddress | undefined };
  /** Not given: the API is on the unix socket alone. */
  readonly api?: ApiListenerConfig | undefined;
}

export interface TrafficGroupConfig {
  readonly name: string;
  /** 1..255, the same for both families; one virtual router per link and family. */
  readonly virtualRouterId: number;
  /** Configured priority of each unit, 1..254. */
  readonly priority: Readonly<Record<UnitName, number>>;
  readonly preempt: boolean;
  readonly preemptDelayS: number;
  /** 10..40950. */
  readonly advertIntervalMs: number;
  /** Subtracted from the priority: while the unit is not in sync, and while all members of a pool are down. */
  readonly demotion: { readonly notInSync: number; readonly pools: Readonly<Record<string, number>> };
  /** Form of the IPv4 advert's checksum that is sent; either is accepted. */
  readonly checksum: 'pseudo-header' | 'plain';
  /** Floating addresses by link name: what adverts list, what automap uses, what servers route through. */
  readonly floating: Readonly<Record<string, readonly AddressText[]>>;
}

export interface MonitorConfig {
  readonly type: 'tcp' | 'http' | 'icmp';
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Successes in a row before a member is up. */
  readonly rise: number;
  /** Failures in a row before a member is down. */
  readonly fall: number;
  /** Port to probe; null: the member's own. */
  readonly port: number | null;
  /** http only. */
  readonly path: string;
  readonly host: string | null;
  /** http only: statuses that count as success, inclusive ranges. */
  readonly expectStatus: readonly (readonly [number, number])[];
}

export interface MemberConfig {
  readonly address: AddressText;
  /** 0: the port that the client asked for. */
  readonly port: number;
  readonly weight: number;
  /** `draining`: existing connections go on, no new ones. `down`: as a monitor's down. */
  readonly state: 'enabled' | 'draining' | 'down';
  /** Higher is preferred. */
  readonly priority: number;
  /** Null: no limit. */
  readonly maxConnections: number | null;
}

export interface PoolConfig {
  readonly name: string;
  readonly scheduler: SchedulerName;
  readonly members: readonly MemberConfig[];
  readonly monitor: MonitorConfig | null;
  /** Members of lower priority serve while fewer than these of higher can. */
  readonly minActiveMembers: number;
  readonly slowStartS: number;
  readonly onMemberDown: OnMemberDown;
}

/**
 * `nat`: addresses and ports are translated. `dsr`: only the MAC address. A tunnel: nothing, the packet goes in
 * another; `port` is the UDP port of GUE.
 */
export type ForwardingConfig = 'nat' | 'dsr' | { readonly tunnel: 'ipip' | 'gue'; readonly port: number };

export type MirrorMode = 'off' | 'async' | 'commit';

/** What belongs to another mode holds once that is switched to at run time. */
export interface MirrorConfig {
  readonly mode: MirrorMode;
  /** async: only connections that live longer than either; null: all, from the end of their handshake on. */
  readonly after: { readonly ageS: number | null; readonly bytes: number | null } | null;
  /** commit: what becomes of a handshake when the peer does not answer. */
  readonly onTimeout: 'strict' | 'available';
  readonly timeoutMs: number;
}

export interface VirtualServerConfig {
  readonly name: string;
  readonly address: AddressText;
  /** The first of a range; 0: any port. */
  readonly port: number;
  /** The last of a range, the same for a single port; 65535 for any. */
  readonly portLast: number;
  readonly protocol: ProtocolName;
  readonly pool: string;
  readonly trafficGroup: string;
  /** Links on which the address is answered; default: every link of the group. */
  readonly links: readonly string[];
  readonly forwarding: ForwardingConfig;
  /** `automap`: the group's floating address on the member's link. `none`: members route back through it or past it. */
  readonly snat: 'automap' | 'none' | readonly AddressText[];
  readonly mirror: MirrorConfig;
  readonly unknown: UnknownPolicy;
  readonly closed: ClosedPolicy;
  readonly idleTimeoutS: IdleTimeoutS;
  /** UDP only: each datagram is scheduled by itself. */
  readonly onePacket: boolean;
  /** Not given: no limit. */
  readonly newConnectionsPerClient?: ClientRate | undefined;
  readonly persistence: SourcePersistence | null;
}

export interface Config {
  readonly units: Readonly<Record<UnitName, UnitConfig>>;
  /** Link names in order; a link's index is the datapath's device index. */
  readonly links: readonly string[];
  readonly trafficGroups: readonly TrafficGroupConfig[];
  readonly pools: readonly PoolConfig[];
  readonly virtualServers: readonly VirtualServerConfig[];
  readonly datapath: {
    readonly workers: number;
    /** Connections the table holds; memory is reserved at start. */
    readonly connections: number;
    /** How many of these may be half-open; not given: a quarter. */
    readonly halfOpen?: number | undefined;
    /** What frames go through. */
    readonly device: DeviceKind;
    /** What a worker does when nothing arrives. */
    readonly wait: Wait;
  };
  readonly mirror: {
    /** A change is sent no later than this. */
    readonly maxDelayMs: number;
    /** Unacked batches kept, in bytes; beyond it nothing is taken and changes stay pending. */
    readonly queueBytesMax: number;
    readonly keepaliveMs: number;
    /** Mirror without TLS while the units are not paired. */
    readonly plaintext: boolean;
  };
}

/** A config that was applied: its number, what it says, and where it came from. */
export interface ConfigRevision {
  /** One more than any that either unit had. */
  readonly number: number;
  /** SHA-256 of the text in UTF-8, 64 hexadecimal digits. */
  readonly digest: string;
  /** Where it was applied. */
  readonly unit: UnitName;
  /** ISO 8601, by that unit's clock; only shown. */
  readonly appliedAt: string;
}

/** What a unit runs. A digest that is not the revision's: the file was changed by hand since. */
export interface ConfigStanding {
  /** Null: none was ever applied here. */
  readonly revision: ConfigRevision | null;
  /** Of the text in force. */
  readonly digest: string;
}

/** Why a unit does not take a config. */
export interface ConfigRefusal {
  /** Stable word for programs: `config_invalid`, `needs_restart`, ... */
  readonly code: string;
  readonly message: string;
  /** What the operator can do about it. */
  readonly mend: string | null;
  readonly errors: readonly ConfigError[];
}

/** One fault of a config. All are reported at once, in the order of their place. */
export interface ConfigError {
  /** Stable word for programs: `unknown_pool`, `bad_address`, ... */
  readonly code: string;
  readonly message: string;
  /** How to mend it, `did you mean 'web'?`; null when the message says it all. */
  readonly hint: string | null;
  readonly file: string;
  /** `virtualServers.www.pool` */
  readonly path: string;
  /** 1-based place in the file. */
  readonly line: number;
  readonly column: number;
}
