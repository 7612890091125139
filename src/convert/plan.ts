/** What a source says in Tandem's terms, before what it cannot say is filled in (complete.ts). */

import type { SchedulerName } from '../datapath.js';

export type Family = 4 | 6;

export interface PlannedLink {
  readonly name: string;
  /** Null: not said. */
  readonly interface: string | null;
  /** The units' own addresses, as far as they are said. */
  readonly own: { readonly a: string[]; readonly b: string[] };
}

export interface PlannedGroup {
  readonly name: string;
  virtualRouterId: number | null;
  priority: { a: number | null; b: number | null };
  preempt: boolean;
  preemptDelayS: number;
  advertIntervalMs: number | null;
  /** By link. */
  readonly floating: Map<string, string[]>;
}

export interface PlannedMonitor {
  readonly type: 'tcp' | 'http' | 'icmp';
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
  readonly fall?: number;
  readonly port?: number;
  readonly path?: string;
  readonly host?: string;
  readonly expectStatus?: readonly (number | string)[];
}

export interface PlannedMember {
  readonly address: string;
  /** 0: the port that the client asked for. */
  readonly port: number;
  readonly weight?: number;
  readonly priority?: number;
  readonly state?: 'draining' | 'down';
  readonly maxConnections?: number;
}

export interface PlannedPool {
  readonly name: string;
  scheduler: SchedulerName;
  monitor: PlannedMonitor | null;
  minActiveMembers: number;
  slowStartS: number;
  onMemberDown: 'keep' | 'reset' | 'reselect';
  members: PlannedMember[];
}

export interface PlannedServer {
  readonly name: string;
  readonly address: string;
  /** 0: any. */
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'any';
  readonly pool: string;
  readonly group: string;
  readonly forwarding: 'nat' | 'dsr' | 'ipip';
  readonly snat: 'automap' | 'none' | null;
  readonly mirror: 'off' | 'async';
  readonly persistence: { readonly timeoutS: number; readonly prefix4?: number; readonly prefix6?: number } | null;
  readonly onePacket: boolean;
}

export interface Plan {
  readonly links: PlannedLink[];
  readonly groups: PlannedGroup[];
  readonly pools: PlannedPool[];
  readonly servers: PlannedServer[];
}

export function emptyGroup(name: string): PlannedGroup {
  return {
    name,
    virtualRouterId: null,
    priority: { a: null, b: null },
    preempt: true,
    preemptDelayS: 0,
    advertIntervalMs: null,
    floating: new Map(),
  };
}

export function emptyPool(name: string): PlannedPool {
  return {
    name,
    scheduler: 'round-robin',
    monitor: null,
    minActiveMembers: 1,
    slowStartS: 0,
    onMemberDown: 'keep',
    members: [],
  };
}

/** A name that the config may have: what may not stand in one becomes a dash. */
export function nameOf(text: string, begin = 'n'): string {
  const plain = text.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 63);
  const named = /^[A-Za-z0-9]/.test(plain) ? plain : `${begin}${plain}`.slice(0, 63);
  return named in {} ? `${named}-1` : named;
}

/** `name`, or with a number behind it where it is taken. */
export function freeName(name: string, taken: Iterable<string>): string {
  const used = new Set(taken);
  let free = name;
  for (let number = 2; used.has(free); number++) free = `${name.slice(0, 58)}-${number}`;
  return free;
}
