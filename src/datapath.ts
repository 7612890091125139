/**
 * The datapath as the control side sees it: one native class and the plain objects that cross to it.
 *
 * Cold calls take plain objects and throw a TypeError or Error that says what was wrong; warm calls fill or
 * drain typed arrays that the caller owns. No packet becomes a JavaScript value, but for those that are captured. This
 * file holds types only; `src/io/native.ts` loads the addon and checks its lists against what is written here.
 */

/** `10.0.0.1` or `fd00::1`, canonical text. */
export type AddressText = string;

export type SchedulerName =
  | 'round-robin'
  | 'weighted-round-robin'
  | 'least-connections'
  | 'weighted-least-connections'
  | 'maglev'
  | 'source-hash';
export type UnknownPolicy = 'drop' | 'reset' | 'adopt';
export type ClosedPolicy = 'drop' | 'reset';
/** What becomes of the connections of a member that goes down: native/member_down.h. */
export type OnMemberDown = 'keep' | 'reset' | 'reselect';

/** What a virtual server takes. `any`: every protocol, and every port. */
export type ProtocolName = 'tcp' | 'udp' | 'any';

/** How packets reach a member: translated, or as they are, to its MAC address, in IP, or in UDP (GUE). */
export type ForwardingName = 'nat' | 'dsr' | 'ipip' | 'gue';

/** Idle timeouts of one virtual server, in seconds; tenths are kept. */
export interface IdleTimeoutS {
  readonly halfOpen: number;
  readonly established: number;
  readonly halfClosed: number;
  readonly closing: number;
  readonly udp: number;
  /** Every other protocol; default: as udp. */
  readonly other?: number;
}

/** Connections that one client (an IPv4 address, an IPv6 /64) may open through one virtual server. */
export interface ClientRate {
  /** 1..100,000 in the long run. */
  readonly perS: number;
  /** At once after a silence; at most an hour's worth. */
  readonly burst: number;
}

export interface PolicyMember {
  readonly address: AddressText;
  /** 0: the port that the client asked for. */
  readonly port: number;
  /** 0..65535; 0 drains: existing connections go on, no new one is scheduled. */
  readonly weight: number;
  readonly up: boolean;
  /** A monitor or the config says that it is down, so its pool's onMemberDown holds. Default: not up. */
  readonly down?: boolean;
  /** Index of the device its next hop is on; automap picks the floating address of that device. */
  readonly device: number;
  /** 0..65535, default 0: members of lower priority serve while fewer than minActiveMembers of higher can. */
  readonly priority?: number;
  /** Default 0: no limit. Connections of its address and port, whatever pool they came by. */
  readonly maxConnections?: number;
}

export interface PolicyPool {
  /** What goes on from one policy to the next (slow starts, turns, Maglev tables) goes on under this name. */
  readonly name: string;
  readonly scheduler: SchedulerName;
  /** Default 1. */
  readonly minActiveMembers?: number;
  /** Default 0: a member that comes up has its whole share at once. */
  readonly slowStartS?: number;
  /** Default keep. */
  readonly onMemberDown?: OnMemberDown;
  readonly members: readonly PolicyMember[];
}

/** A client's connections go to the member that its last one went to. */
export interface SourcePersistence {
  /** Bits of an address that make it the same client, 1..32 and 1..128. */
  readonly prefix4: number;
  readonly prefix6: number;
  /** After the last new connection; tenths are kept. */
  readonly timeoutS: number;
  /** Entries are mirrored with the connections, where those are. Default: they are. */
  readonly mirror?: boolean;
}

/** How connections of a virtual server are mirrored: native/mirror_rule.h. */
export interface PolicyMirror {
  readonly mode: 'off' | 'async' | 'commit';
  /** async: told once it is so old, 0..6553, tenths are kept; default 0: with its handshake, unless afterBytes. */
  readonly afterAgeS?: number;
  /** async: told once so many octets have passed, 0..4,194,240, in steps of 64; default 0. */
  readonly afterBytes?: number;
  /** commit: whether a handshake goes on when the peer does not answer; default: available. */
  readonly onTimeout?: 'strict' | 'available';
  /** commit: how long it waits, 1..65535. */
  readonly timeoutMs?: number;
}

export interface PolicyVirtualServer {
  readonly name: string;
  /** Index into Policy.groups. */
  readonly group: number;
  readonly address: AddressText;
  /** 0 with `portLast` 65535: any port. */
  readonly port: number;
  /** The end of a range; default: `port`. */
  readonly portLast?: number;
  readonly protocol: ProtocolName;
  /** Index into Policy.pools. */
  readonly pool: number;
  readonly unknown: UnknownPolicy;
  /** Default null: none. */
  readonly persistence?: SourcePersistence | null;
  /** Default: nat. */
  readonly forwarding?: ForwardingName;
  /** `gue`: UDP port that members receive on; default 6080. */
  readonly guePort?: number;
  /** SNAT addresses to choose from per member; empty: the member sees the client's own address. */
  readonly snatAddresses: readonly AddressText[];
  readonly mirror: PolicyMirror;
  /** UDP only: each datagram is scheduled by itself (native/forward_datagram.cc). Default: false. */
  readonly onePacket?: boolean;
  readonly idleTimeoutS: IdleTimeoutS;
  /** Default: no limit. */
  readonly newConnectionsPerClient?: ClientRate | undefined;
}

/** An address that is answered for (ARP, ND, ICMP echo) where its group is active. */
export interface PolicyAddress {
  readonly address: AddressText;
  readonly group: number;
  /** Indices of the devices on which it is answered. */
  readonly devices: readonly number[];
  readonly closed: ClosedPolicy;
}

export interface PolicyGroup {
  readonly name: string;
  /** VRID on each device, by device index; 0: no virtual router there. */
  readonly vrids: readonly number[];
  /** Its floating addresses on each device, by device index: what errors of our own come from. */
  readonly floating: readonly (readonly AddressText[])[];
}

/** Everything the datapath decides by. Given whole; swapped in one store. */
export interface PolicyDescription {
  readonly groups: readonly PolicyGroup[];
  readonly addresses: readonly PolicyAddress[];
  readonly pools: readonly PolicyPool[];
  readonly virtualServers: readonly PolicyVirtualServer[];
}

export interface NextHop {
  readonly address: AddressText;
  readonly port: number;
  readonly device: number;
  /** `02:00:00:00:00:01`, or null when the kernel knows no answer. */
  readonly mac: string | null;
  /** 802.1Q id, 0 untagged. */
  readonly vlan: number;
}

/** `xdp`: AF_XDP; `packet`: AF_PACKET; `auto`: the first of native XDP, generic XDP, AF_PACKET that works here. */
export type DeviceKind = 'auto' | 'xdp' | 'packet';
/**
 * What a worker does when nothing arrives. `poll`: sleeps. `busy-poll`: lets the driver look for frames for 2 ms after
 * the last one, then sleeps (AF_XDP; else as `poll`). `spin`: never sleeps.
 */
export type Wait = 'poll' | 'busy-poll' | 'spin';

export interface DeviceOptions {
  readonly name: string;
  readonly interface: string;
  /** `memory` wants it, the others read it from the interface. */
  readonly mac?: string;
  /** The same; `memory` without it sends packets of any length. Octets, 68..65535. */
  readonly mtu?: number;
}

export interface DatapathOptions {
  /** What serves every `interface`; `memory`: frames come through replay() only. */
  readonly kind: DeviceKind | 'memory';
  /** Default: `poll`. */
  readonly wait?: Wait;
  /** The config's link names in the unit's order; at most 16. */
  readonly devices: readonly DeviceOptions[];
  readonly workers: number;
  /** Connections the table holds; memory for them is reserved and touched by the constructor. */
  readonly connections: number;
  /** How many of these may be half-open; default: a quarter. */
  readonly halfOpen?: number | undefined;
  /** 0 or 1: which half of the SNAT ports is ours. */
  readonly unit: 0 | 1;
  readonly sharedState: SharedStateHandle;
}

export interface DeviceChoice {
  /** The config's link name. */
  readonly device: string;
  readonly mode: 'xdp-native-zero-copy' | 'xdp-native' | 'xdp-generic' | 'packet';
  /** Why this mode and no faster one, for the operator. */
  readonly reason: string;
}

export interface StartReport {
  /** In the order of the options; empty for `memory`. */
  readonly devices: readonly DeviceChoice[];
  /** Workers running; fewer than asked for when XDP finds an interface with fewer receive queues. */
  readonly workers: number;
}

export interface AppliedCounts {
  readonly applied: number;
  readonly stale: number;
  readonly refusedFull: number;
  readonly unknown: number;
  /** The records were not whole; nothing behind the fault was applied. */
  readonly malformed: boolean;
  /** Sequences of the records after which the table does not hold their connection. */
  readonly refused: Uint32Array;
}

/** What of a virtual server's connections must be the same on both units: native/mirror_digest.h. */
export interface Digest {
  /** Of the virtual server. */
  readonly name: string;
  readonly connections: number;
  /** Sum of the hashes of their identities, modulo 2^64. */
  readonly identities: bigint;
}

export interface Digests {
  /** Of virtual servers that have connections. */
  readonly sums: readonly Digest[];
  /** Virtual servers whose sums prove nothing now. */
  readonly unsummed: readonly string[];
}

export interface ConnectionRow {
  /** SLOT.INCARNATION: no two have the same while both are open. Captures name connections so. */
  readonly id: string;
  readonly virtualServer: string;
  /** `tcp`, `udp`, else the IANA number. */
  readonly protocol: string;
  readonly client: string;
  readonly virtual: string;
  readonly member: string;
  readonly snat: string;
  readonly state: string;
  readonly idleS: number;
  readonly fromPeer: boolean;
  /** mirror: commit, and the peer may not have it: it went on all the same (onTimeout: available). */
  readonly unprotected: boolean;
  /** It was told to the peer, or by the peer. */
  readonly mirrored: boolean;
  readonly lastHop: string;
  readonly forwarding: ForwardingName;
}

/** One end of a connection. */
export interface EndFilter {
  readonly address: AddressText;
  /** 0: any port of it. */
  readonly port: number;
}

/** Handshakes with mirror: commit; all but the last since the start. */
export interface CommitCounts {
  /** Frames that waited for the peer. */
  readonly held: number;
  /** Of these, sent because the peer had the connection. */
  readonly released: number;
  /** The peer did not answer in time. */
  readonly timedOut: number;
  /** The peer had no room, or does not know the virtual server or the member. */
  readonly refused: number;
  /** More than may be held or announced. */
  readonly beyond: number;
  /** Nobody was there to tell. */
  readonly noPeer: number;
  /** Open now, and the peer may not have them. */
  readonly unprotected: number;
}

export interface VirtualServerCounts {
  readonly name: string;
  readonly connections: number;
  readonly opened: number;
  readonly packetsIn: number;
  readonly bytesIn: number;
  readonly packetsOut: number;
  readonly bytesOut: number;
  readonly commit: CommitCounts;
}

export interface MemberCounts {
  readonly address: AddressText;
  readonly port: number;
  readonly connections: number;
  readonly opened: number;
  /** Times it was to get a connection and had as many as its maxConnections. */
  readonly limited: number;
  /** Of those opened: by a persistence entry. */
  readonly persisted: number;
  /** What slow start gives it now of its share of new connections, 0..1, the least of its pools; 1: all. */
  readonly share: number;
}

export interface TableCounts {
  readonly capacity: number;
  readonly used: number;
  readonly waiting: number;
  readonly bytes: number;
}

export interface Datapath {
  /** Probes devices and starts the workers. Throws with errno's name and what capability or interface is missing. */
  start(): StartReport;
  /** Stops and joins them; devices are closed. Idempotent. */
  stop(): void;

  /**
   * Throws, changing nothing, if the description cannot be honoured (too many ids, unknown index). A pool that is the
   * same object in the same place as in the call before is taken as unchanged, and costs next to nothing.
   */
  setPolicy(policy: PolicyDescription): void;
  /** Next hops of members, by address and port; those not named keep what they had. */
  setNextHops(hops: readonly NextHop[]): void;
  /** Switches mirroring of one virtual server; connections stay, what is held goes on. False: no such name. */
  setMirror(virtualServer: string, mirror: PolicyMirror): boolean;

  // ---- mirror, warm
  /**
   * Whether a peer is there to be told. Off: no change is marked. `confirms`: it will be told what the peer has and
   * refuses, so that handshakes may wait for that; default false.
   */
  setMirrorWanted(on: boolean, confirms?: boolean): void;
  /**
   * Copies whole records; returns [bytes, records, sequence of the record encoded last]. `liveOnly`: nothing of a bulk,
   * default false.
   */
  takeMirror(into: Uint8Array, liveOnly?: boolean): [bytes: number, records: number, lastRecord: number];
  /** The peer has applied every record up to this sequence, but for those refused, which are told first. */
  confirmMirror(lastRecord: number): void;
  refuseMirror(records: Uint32Array): void;
  /**
   * Calls back once, on this thread, when a change is queued; at once if one is pending. `urgent`: a handshake waits
   * for one that is.
   */
  onMirrorPending(callback: (urgent: boolean) => void): void;
  /** Asks for the next callback; `urgentOnly`: when a handshake waits for the change, default false. */
  armMirror(urgentOnly?: boolean): void;
  /** Of all virtual servers, or of these; `offers`: also what is this unit's own of groups that it gave up. */
  startBulk(virtualServers?: readonly string[], offers?: boolean): void;
  bulkRunning(): boolean;
  bulkAnnounced(): number;
  /** Virtual servers that lost closes since their last bulk began (too many waited): the peer needs another. */
  lostCloses(): string[];
  /**
   * What was summed so far proves nothing: digests() gives null until a lap over the table is complete; with names,
   * these are `unsummed` until one that began after this is.
   */
  restartDigests(virtualServers?: readonly string[]): void;
  /** Walks through a bounded part of the table, and gives the share of a lap that this was, 0..1. */
  sweepDigests(): number;
  /**
   * `told`: of what takeMirror() has given so far, for groups active here. `heard`: of what applyMirror() has applied,
   * for the others. Null: not known now.
   */
  digests(side: 'told' | 'heard'): Digests | null;
  /** Names by the peer's ids: what records of the peer refer to. */
  setMirrorDictionary(dictionary: MirrorDictionary): void;
  /** Ours, to be told to the peer. */
  mirrorDictionary(): MirrorDictionary;
  applyMirror(records: Uint8Array, generation: number): AppliedCounts;
  /** Closes what the peer's bulk did not announce, a bounded part per call; returns [done, closed]. */
  dropUnannounced(
    generation: number,
    restart: boolean,
    virtualServers?: readonly string[],
  ): [done: boolean, closed: number];

  // ---- reading
  /** Sums over workers, in the order of counterNames(). */
  readCounters(into: BigUint64Array): void;
  tableCounts(): TableCounts;
  virtualServerCounts(): VirtualServerCounts[];
  memberCounts(): MemberCounts[];
  /** Handshakes by how long their client waited: [0] not at all, [n] less than 2^n microseconds, the last more. */
  commitLatency(): number[];
  /** At most `limit` connections from slot `cursor` on; `next` is null at the end. */
  connections(
    cursor: number,
    limit: number,
    virtualServer: string | null,
    client?: EndFilter | null,
    member?: EndFilter | null,
  ): { rows: ConnectionRow[]; next: number | null };

  // ---- capture
  /**
   * Takes the place of one that runs; memory for it is made here. False, changing nothing: no virtual server has that
   * name.
   */
  startCapture(filter: CaptureFilter): boolean;
  /** Copies whole records (src/wire/capture_record.ts) into at least 128 KiB; returns bytes. 0: nothing. */
  takeCapture(into: Uint8Array): number;
  /** By device: frames that the filter wanted, and of these those that found no room. Empty: no capture runs. */
  captureCounts(): { readonly wanted: number; readonly missed: number }[];
  stopCapture(): void;

  // ---- memory devices
  /**
   * Forwards frames and returns bytes written to `output`. `input` holds, per frame and little endian: time u64 ns,
   * device u16, reserved u16, bytes u32, then the frame. `output` holds, per input frame and in its order: verdict
   * u8 (0 forward, 1 punt, 2 drop, 3 hold), drop u8 (index in dropNames), device u16, bytes u32, then the frame if
   * forwarded. What becomes of fragments that were held stands behind the burst that released them, verdict + 128,
   * in the high octet of `device` the one they came from; such fragments may be of an earlier call.
   * A burst is up to 64 consecutive frames of equal time. Throws RangeError if a frame is not whole or the output
   * is too small; it never needs more than the input's size plus 128 bytes per frame, and as much for what is held
   * from before.
   */
  replay(input: Uint8Array, output: Uint8Array): number;
}

/** What of the frames that are not left to the kernel is captured: native/capture.h. */
export interface CaptureFilter {
  /** Of its connections, and of what is sent to it and belongs to none; null: of any. */
  readonly virtualServer: string | null;
  /** Of connections of clients there, and of what comes from or goes to there and belongs to none; null: of any. */
  readonly client: { readonly address: AddressText; readonly prefixBits: number } | null;
  /** Octets of a frame that are kept. */
  readonly snaplenBytes: number;
}

export interface MirrorDictionary {
  readonly virtualServers: readonly { readonly id: number; readonly name: string }[];
  /** Link names by the unit's device index. */
  readonly devices: readonly string[];
}

export type RoleName = 'standby' | 'active' | 'handing-over';

export interface GroupShared {
  readonly role: RoleName;
  readonly term: number;
  /** CLOCK_BOOTTIME, nanoseconds. */
  readonly leaseNs: bigint;
  readonly activatedNs: bigint;
}

/** native/shared_state.h: made by the daemon, opened by the failover process from the inherited descriptor. */
export interface SharedStateHandle {
  readonly fd: number;
  /** Heartbeats of all workers; 0 where there is none. */
  readHeartbeats(into: BigUint64Array): void;
  /** Queries seen per device. */
  readMldQueries(into: BigUint64Array): void;
  group(index: number): GroupShared;
  /** One store makes a group active; the lease is `leaseMs` from now (0: none). */
  setRole(index: number, role: RoleName, term: number, leaseMs: number): void;
  extendLease(index: number, leaseMs: number): void;
  /** Milliseconds on CLOCK_BOOTTIME, fractional. */
  now(): number;
}

/** Sends whole Ethernet frames on one interface (announcements). AF_PACKET, CAP_NET_RAW. */
export interface FrameSender {
  send(frame: Uint8Array): void;
  readonly mac: string;
  close(): void;
}

/** Reads an interface's carrier again and again, on a thread of its own. */
export interface CarrierWatch {
  /** 1..10,000. */
  pollEach(pollMs: number): void;
  /** What was seen before may still be told. */
  close(): void;
}

/** Receives IPv6 VRRP adverts with their hop limit and destination, which raw-socket cannot read. CAP_NET_RAW. */
export interface Ipv6AdvertSocket {
  close(): void;
}

export interface ReceivedAdvert {
  /** The VRRP message, IPv6 header not included. */
  readonly message: Uint8Array;
  readonly source: AddressText;
  readonly destination: AddressText;
  readonly hopLimit: number;
}

/** What `build/Release/tandem.node` exports. */
export interface NativeModule {
  Datapath: new (options: DatapathOptions) => Datapath;
  /** No argument: a new memfd. A descriptor: maps it, and throws if it is not of this version. */
  SharedState: new (
    fd?: number,
  ) => SharedStateHandle;
  FrameSender: new (interfaceName: string) => FrameSender;
  /**
   * `onCarrier`: once after the first read, and after each change; an interface that does not exist is down.
   * `isReplaced`: it is there again after it had gone, and sockets bound to it are dead. Keeps no process alive.
   */
  CarrierWatch: new (
    interfaceName: string,
    pollMs: number,
    onCarrier: (up: boolean, isReplaced: boolean) => void,
  ) => CarrierWatch;
  Ipv6AdvertSocket: new (interfaceName: string, onAdvert: (advert: ReceivedAdvert) => void) => Ipv6AdvertSocket;
  /**
   * One datagram to a unix socket, without waiting; a path that begins with @ is an abstract address (unix(7)). Throws
   * with errno's name as `code`.
   */
  sendDatagram(path: string, text: string): void;
  /** Who connected to a unix socket: its user and process then (unix(7), SO_PEERCRED). Throws as sendDatagram(). */
  socketPeer(fd: number): { readonly uid: number; readonly pid: number };
  /** [name, sentence], drops then counts, in the order of readCounters(). Names are snake_case without the k. */
  dropNames: readonly (readonly [name: string, sentence: string])[];
  countNames: readonly (readonly [name: string, sentence: string])[];
}
