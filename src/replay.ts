/**
 * `tandem replay`: a capture through the real datapath, offline. One unit, its memory device, no network.
 *
 *   pcap_reader -> Batch (arrival: device and MAC; Datapath.replay) -> verdicts counted, forwarded frames written
 *
 * Every frame read ends as forwarded, punted or dropped for a named reason, and the summary says whether
 * that sum is right.
 */

import { closeSync, openSync, statSync, writeSync } from 'node:fs';

import type { Config, UnitName } from './config/model.js';
import type { Datapath, NativeModule } from './datapath.js';
import { readPcap } from './io/pcap_reader.js';
import { Batch, type ReplayVerdict } from './replay/batch.js';
import { type ExplainedFrame, Explainer } from './replay/explain.js';
import { type Topology, topologyOf } from './replay/topology.js';
import { pcapFileHeader, pcapFrame } from './wire/pcap.js';

export interface ReplayOptions {
  readonly config: Config;
  readonly unit: UnitName;
  readonly input: string;
  /** Null: what would be sent is written nowhere. */
  readonly output: string | null;
  /** The role of every traffic group. */
  readonly role: 'active' | 'standby';
  /** Leave destination MAC addresses as captured; else see replay/arrival.ts. */
  readonly keepMac: boolean;
  /** By link name; packets longer than the next device's are not forwarded. Not named: packets of any length. */
  readonly mtus?: Readonly<Record<string, number>>;
  /** Told of every frame, in order; and again, `released`, of a fragment that was held. */
  readonly onVerdict?: (verdict: ReplayVerdict, released: boolean) => void;
  /** The same, with what was decided and why; then frames go through one by one. */
  readonly onExplained?: (explained: ExplainedFrame) => void;
}

export interface ReplaySummary {
  readonly read: number;
  readonly forwarded: number;
  readonly punted: number;
  readonly dropped: readonly { readonly name: string; readonly value: number; readonly sentence: string }[];
  /** forwarded + punted + dropped = read, and the datapath's own counters say the same. */
  readonly accounted: boolean;
  /** Why the capture could not be read to its end; null if it could. */
  readonly damage: string | null;
}

/** More than any capture that a person looks at; the config's own size would be reserved for nothing. */
const CONNECTIONS_MAX = 1 << 18;
const LEASE_MS = 10 * 365 * 86_400_000;
/** A broken clock in a capture must not run out the lease. */
const SPAN_MAX_NS = 9n * 365n * 86_400_000_000_000n;

/** Throws before writing anything if the input is no capture that can be replayed. */
export async function replayCapture(native: NativeModule, options: ReplayOptions): Promise<ReplaySummary> {
  const { config, unit, input, output, role } = options;
  if (output !== null) refuseSameFile(input, output);
  const topology = topologyOf(config, unit);
  const sharedState = new native.SharedState();
  const datapath = new native.Datapath({
    kind: 'memory',
    devices: topology.devices.map((device) => {
      const mtu = options.mtus?.[device.name];
      return mtu === undefined ? device : { ...device, mtu };
    }),
    workers: 1,
    connections: Math.min(config.datapath.connections, CONNECTIONS_MAX),
    halfOpen: config.datapath.halfOpen,
    unit: unit === 'a' ? 0 : 1,
    sharedState,
  });
  try {
    datapath.setPolicy(topology.policy);
    datapath.setNextHops(topology.nextHops);
    for (const index of config.trafficGroups.keys()) sharedState.setRole(index, role, 1, LEASE_MS);
    const start = BigInt(Math.ceil(sharedState.now() * 1e6));
    return await run(native, datapath, topology, options, new Clock(start));
  } finally {
    datapath.stop();
  }
}

async function run(native: NativeModule, datapath: Datapath, topology: Topology, options: ReplayOptions, clock: Clock) {
  const reader = readPcap(options.input);
  const tally = new Tally();
  let output: number | null = null;
  const explainer = options.onExplained && new Explainer(native, datapath, options.config, topology.policy);
  const batch = new Batch(native, datapath, topology, (replayed) => {
    const { verdict, timeNs, sent, released } = replayed;
    tally.count(verdict, released);
    options.onVerdict?.(verdict, released);
    if (explainer) options.onExplained?.(explainer.explain(replayed));
    if (sent !== null && output !== null) writeSync(output, pcapFrame(timeNs, sent));
  });
  try {
    for await (const { timeNs, bytes } of reader) {
      // Opened late, so that a file that is no capture leaves no output behind.
      output ??= openOutput(options.output);
      tally.read++;
      batch.add(bytes, timeNs, clock.at(timeNs), options.keepMac);
      if (explainer) batch.flush();
    }
    output ??= openOutput(options.output);
    batch.flush();
  } finally {
    if (output !== null) closeSync(output);
  }
  return tally.summary(native, datapath, reader.damage);
}

function openOutput(path: string | null): number | null {
  if (path === null) return null;
  const descriptor = openSync(path, 'w');
  writeSync(descriptor, pcapFileHeader());
  return descriptor;
}

function refuseSameFile(input: string, output: string): void {
  const before = statSync(input);
  const after = statSync(output, { throwIfNoEntry: false });
  if (after !== undefined && after.dev === before.dev && after.ino === before.ino) {
    throw new Error(`${output} is the capture itself: writing it would destroy what is read`);
  }
}

/** The capture's times as the datapath's: from now on, never backwards. */
class Clock {
  readonly #start: bigint;
  #captured: bigint | null = null;
  #elapsed = 0n;

  constructor(start: bigint) {
    this.#start = start;
  }

  at(capturedNs: bigint): bigint {
    const gap = capturedNs - (this.#captured ?? capturedNs);
    if (gap >= 0n) this.#captured = capturedNs;
    if (gap > 0n) this.#elapsed += gap;
    if (this.#elapsed > SPAN_MAX_NS) this.#elapsed = SPAN_MAX_NS;
    return this.#start + this.#elapsed;
  }
}

const HELD_IN_VAIN = 'fragment_timeout';
const HELD_AND_REFUSED = 'fragment';

/** Verdicts added up, and compared with what the datapath counted itself. */
class Tally {
  read = 0;
  #forwarded = 0;
  #punted = 0;
  #held = 0;
  readonly #dropped = new Map<string, number>();

  count(verdict: ReplayVerdict, released: boolean): void {
    if (released) this.#held--;
    if (verdict.kind === 'hold') this.#held++;
    else if (verdict.kind === 'forward') this.#forwarded++;
    else if (verdict.kind === 'punt') this.#punted++;
    else this.#dropped.set(verdict.drop, (this.#dropped.get(verdict.drop) ?? 0) + 1);
  }

  summary(native: NativeModule, datapath: Datapath, damage: string | null): ReplaySummary {
    const sentences = new Map(native.dropNames);
    const agrees = this.#agreesWith(native, datapath);
    // Whatever is held at the end of the capture waits in vain.
    if (this.#held > 0) this.#dropped.set(HELD_IN_VAIN, this.#held);
    const dropped = [...this.#dropped].map(([name, value]) => ({ name, value, sentence: sentences.get(name) ?? '' }));
    const verdicts = dropped.reduce((sum, { value }) => sum + value, this.#forwarded + this.#punted);
    const accounted = verdicts === this.read && agrees;
    return { read: this.read, forwarded: this.#forwarded, punted: this.#punted, dropped, accounted, damage };
  }

  /**
   * Frames longer than a device gives are dropped before the datapath sees them, so its drops may be fewer. What
   * became of held fragments that nothing released is told by no verdict.
   */
  #agreesWith(native: NativeModule, datapath: Datapath): boolean {
    const values = new BigUint64Array(native.dropNames.length + native.countNames.length);
    datapath.readCounters(values);
    const punted = native.countNames.findIndex(([name]) => name === 'punted');
    const drops = native.dropNames.every(([name], index) => {
      const told = this.#dropped.get(name) ?? 0;
      if (name === HELD_IN_VAIN || name === HELD_AND_REFUSED) {
        return Number(values[index]) >= told && Number(values[index]) <= told + this.#held;
      }
      return name === 'oversized' ? Number(values[index]) <= told : Number(values[index]) === told;
    });
    return drops && Number(values[native.dropNames.length + punted]) === this.#punted;
  }
}
