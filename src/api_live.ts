/**
 * What is asked of a running pair from moment to moment, and what may be changed while it runs: a part of the contract
 * of src/api.ts, with the same rules.
 *
 * What is changed here holds until the config is read again: `holds` says so in every answer.
 */

import type { MirrorMode } from './config/model.js';
import type { CaptureFilter, RoleName } from './datapath.js';

// -------------------------------------------------------------------------------------------- survival

/** What would become of the connections if this unit failed now. */
export interface Survival {
  readonly at: string;
  readonly wouldSurvive: number;
  readonly wouldBeLost: number;
  /** Why some would be lost, or more than is counted here; one sentence each. */
  readonly reasons: readonly string[];
  readonly virtualServers: readonly VirtualServerSurvival[];
}

export interface VirtualServerSurvival {
  readonly name: string;
  readonly mode: MirrorMode;
  readonly connections: number;
  readonly wouldSurvive: number;
  readonly wouldBeLost: number;
  /** Why those would be lost; null when none would. */
  readonly reason: string | null;
}

/** What mirroring costs here, as scripts/bench last measured it on this machine. */
export interface Costs {
  /** When the file was written. */
  readonly measuredAt: string;
  readonly machine: string;
  readonly commit: string;
  readonly rows: readonly {
    /** The benchmark's section: `mirror`, `commit`, ... */
    readonly section: string;
    readonly name: string;
    readonly unit: string;
    /** Of all rounds. */
    readonly median: number;
    readonly least: number;
    readonly most: number;
  }[];
}

// --------------------------------------------------------------------------------------------- captures

export const CAPTURE_PACKETS_DEFAULT = 100_000;
export const CAPTURE_PACKETS_MAX = 10_000_000;
export const CAPTURE_SECONDS_DEFAULT = 60;
export const CAPTURE_SECONDS_MAX = 3_600;
export const CAPTURE_SNAPLEN_BYTES_MIN = 64;
/** The longest frame there is: an Ethernet header with a tag, and what the kernel joined. */
export const CAPTURE_SNAPLEN_BYTES_MAX = 65_554;

/** Ends when one of the bounds is reached, or when who asked goes away. */
export interface CaptureRequest extends CaptureFilter {
  /** Frames, 1..CAPTURE_PACKETS_MAX. */
  readonly packets: number;
  readonly seconds: number;
}

export interface CaptureStream {
  /** pcapng, whole blocks or parts; ends with `signal`. */
  capture(request: CaptureRequest, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

// ---------------------------------------------------------------------------------------------- events

export interface Rates {
  readonly at: string;
  readonly virtualServers: readonly {
    readonly name: string;
    /** Both directions. */
    readonly packetsPerS: number;
    readonly bytesPerS: number;
    readonly opensPerS: number;
    readonly connections: number;
  }[];
  readonly members: readonly {
    readonly pool: string;
    readonly address: string;
    readonly port: number;
    readonly connections: number;
    readonly opensPerS: number;
  }[];
}

export interface Transition {
  readonly at: string;
  readonly trafficGroup: string;
  readonly role: RoleName;
  readonly reason: string;
  /**
   * Of a unit that became active: milliseconds since the peer's last advert, or since it was active itself, when its
   * datapath had the role. Null: it did not become active, was handed the group, or had heard nothing before.
   */
  readonly silenceMs: number | null;
}

// --------------------------------------------------------------------------------------------- changes

/** How long a change holds. */
export type ChangeHolds = 'until reload or restart';

export interface VirtualServerChange {
  /** False: no new connection is scheduled, open ones go on. */
  readonly enabled?: boolean | undefined;
  readonly mirror?: MirrorMode | undefined;
}

export interface VirtualServerChanged {
  readonly name: string;
  readonly was: { readonly enabled: boolean; readonly mirror: MirrorMode };
  readonly now: { readonly enabled: boolean; readonly mirror: MirrorMode };
  readonly holds: ChangeHolds;
}

/** `up`: unless its monitor says that it is down. `draining`: keeps what it has. `down`: as a monitor's down. */
export type MemberOverride = 'up' | 'draining' | 'down';

export interface MemberChanged {
  readonly pool: string;
  readonly address: string;
  readonly port: number;
  /** Null: as the config says. */
  readonly was: MemberOverride | null;
  readonly now: MemberOverride;
  readonly holds: ChangeHolds;
}
