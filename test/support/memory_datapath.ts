/**
 * A datapath without interfaces: a small policy, frames in, verdicts out. Time is counted from the making of the
 * datapath, so that what a test calls second 3 is second 3 for idle timeouts, too.
 */

import type { Datapath, PolicyDescription, PolicyVirtualServer, SharedStateHandle } from '../../src/datapath.js';
import { native } from '../../src/io/native.js';

export const CLIENT_DEVICE = 0;
export const SERVER_DEVICE = 1;
export const CLIENT = '10.1.0.10';
export const CLIENT_MAC = '02:00:00:00:01:10';
export const VIRTUAL_ADDRESS = '10.1.0.100';
export const MEMBER = '10.2.0.11';
export const MEMBER_MAC = '02:00:00:00:02:11';
export const FLOATING = '10.2.0.1';
export const VRID = 51;
/** RFC 9568 section 7.3, IPv4, VRID 51. */
export const VIRTUAL_MAC = '00:00:5e:00:01:33';

export const virtualServer: PolicyVirtualServer = {
  name: 'www',
  group: 0,
  address: VIRTUAL_ADDRESS,
  port: 80,
  protocol: 'tcp',
  pool: 0,
  unknown: 'drop',
  snatAddresses: [FLOATING],
  mirror: { mode: 'async' },
  idleTimeoutS: { halfOpen: 10, established: 300, halfClosed: 60, closing: 5, udp: 30 },
};

/** One traffic group on two devices, one virtual server, one member. */
export const policy: PolicyDescription = {
  groups: [{ name: 'main', vrids: [VRID, VRID], floating: [[], [FLOATING]] }],
  addresses: [
    { address: VIRTUAL_ADDRESS, group: 0, devices: [CLIENT_DEVICE], closed: 'drop' },
    { address: FLOATING, group: 0, devices: [SERVER_DEVICE], closed: 'drop' },
  ],
  pools: [
    {
      name: 'web',
      scheduler: 'round-robin',
      members: [{ address: MEMBER, port: 8080, weight: 1, up: true, device: SERVER_DEVICE }],
    },
  ],
  virtualServers: [virtualServer],
};

export interface Arriving {
  /** Seconds since the datapath was made. */
  readonly atS: number;
  readonly device: number;
  readonly frame: Uint8Array;
}

export type Outcome =
  | { readonly verdict: 'forward'; readonly device: number; readonly frame: Uint8Array }
  | { readonly verdict: 'punt' }
  | { readonly verdict: 'drop'; readonly drop: string };

export class MemoryDatapath {
  readonly shared: SharedStateHandle = new native.SharedState();
  readonly datapath: Datapath;
  /** CLOCK_BOOTTIME, nanoseconds. */
  readonly madeNs: bigint;

  constructor({ unit = 0, connections = 1024 }: { readonly unit?: 0 | 1; readonly connections?: number } = {}) {
    this.madeNs = BigInt(Math.round(this.shared.now() * 1e6));
    this.datapath = new native.Datapath({
      kind: 'memory',
      devices: [
        { name: 'client', interface: 'none', mac: '02:00:00:00:00:01' },
        { name: 'server', interface: 'none', mac: '02:00:00:00:00:02' },
      ],
      workers: 1,
      connections,
      unit,
      sharedState: this.shared,
    });
  }

  /** The policy above in force and its group active for good. */
  activate(description: PolicyDescription = policy): this {
    this.datapath.setPolicy(description);
    this.datapath.setNextHops([{ address: MEMBER, port: 8080, device: SERVER_DEVICE, mac: MEMBER_MAC, vlan: 0 }]);
    this.shared.setRole(0, 'active', 1, Number.POSITIVE_INFINITY);
    return this;
  }

  replay(arriving: readonly Arriving[]): Outcome[] {
    const input = encode(arriving, this.madeNs);
    const output = new Uint8Array(input.length + 128 * arriving.length);
    return decode(output.subarray(0, this.datapath.replay(input, output)));
  }

  /** By name; what was never counted is left out. */
  counters(): Record<string, number> {
    const names = [...native.dropNames, ...native.countNames].map(([name]) => name);
    const values = new BigUint64Array(names.length);
    this.datapath.readCounters(values);
    const rows = names.map((name, index) => [name, Number(values[index])] as const);
    return Object.fromEntries(rows.filter(([, value]) => value !== 0));
  }
}

/** The layout that src/datapath.ts gives. */
export function encode(arriving: readonly Arriving[], madeNs = 0n): Uint8Array {
  const bytes = new Uint8Array(arriving.reduce((sum, { frame }) => sum + 16 + frame.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { atS, device, frame } of arriving) {
    view.setBigUint64(at, madeNs + BigInt(Math.round(atS * 1e9)), true);
    view.setUint16(at + 8, device, true);
    view.setUint32(at + 12, frame.length, true);
    bytes.set(frame, at + 16);
    at += 16 + frame.length;
  }
  return bytes;
}

function decode(output: Uint8Array): Outcome[] {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  const outcomes: Outcome[] = [];
  for (let at = 0; at < output.length; ) {
    const bytes = view.getUint32(at + 4, true);
    const kind = view.getUint8(at);
    const frame = output.slice(at + 8, at + 8 + bytes);
    if (kind === 0) outcomes.push({ verdict: 'forward', device: view.getUint16(at + 2, true), frame });
    else if (kind === 1) outcomes.push({ verdict: 'punt' });
    else outcomes.push({ verdict: 'drop', drop: native.dropNames[view.getUint8(at + 1)]?.[0] ?? 'none' });
    at += 8 + bytes;
  }
  return outcomes;
}
