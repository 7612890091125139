/**
 * Section `bulk`: a standby that was killed comes back empty while the active unit forwards. How long until it holds
 * every connection again, what that costs the packets that pass meanwhile, and how much memory the active unit takes.
 *
 * Live packets come at half of what the unit can forward, as everywhere in this section.
 */

import { setTimeout as pause } from 'node:timers/promises';

import { FarEnds, type Load } from './far_ends.js';
import { standTandem, type TandemPair } from './mirror_pairs.js';
import type { Bound, Effort, Place, Row, Section, SectionResult } from './section.js';
import { ratios } from './summary.js';

/** Asked for by name: a million connections are more than a run of everything has time for. */
export const bulk: Section = { name: 'bulk', needsRoot: true, onRequest: true, run };

const heldMin = 0.99;
const openRoundsMax = 3;
const sliceS = 0.25;
const patienceMs = 60_000;

interface Samples {
  readonly seconds: number[];
  readonly before: number[];
  readonly meanwhile: number[];
  readonly worstSlice: number[];
  readonly mebibytes: number[];
}

async function run(effort: Effort, { ground }: Place): Promise<SectionResult> {
  FarEnds.build();
  const connections = effort.quick ? 1 << 16 : 1 << 20;
  const samples: Samples = { seconds: [], before: [], meanwhile: [], worstSlice: [], mebibytes: [] };
  const pair = await standTandem(ground, 2 * connections);
  try {
    await pair.modes.find(({ mirrors }) => mirrors)?.set();
    const load = { protocol: 'tcp', bytes: 64, connections, window: 1024 } as const;
    await openAll(pair, load, connections);
    for (let round = 0; round < effort.rounds; round++) await measureRestart(pair, load, connections, samples);
  } finally {
    await pair.stop();
  }
  return resultOf(samples, connections);
}

/** A SYN that a device's queue had no room for is sent again, as a client would. */
async function openAll(pair: TandemPair, load: Omit<Load, 'seconds'>, connections: number): Promise<void> {
  const isHeld = async () => (await pair.held()) >= heldMin * connections;
  for (let round = 0; round < openRoundsMax; round++) {
    await pair.ends.measure({ ...load, openSet: true, frames: connections, seconds: 0 });
    await pause(1_000);
    if (await isHeld()) return;
  }
  await waitUntil('the standby holds the connections', isHeld);
}

async function measureRestart(
  pair: TandemPair,
  load: Omit<Load, 'seconds'>,
  connections: number,
  samples: Samples,
): Promise<void> {
  const most = await pair.ends.measure({ ...load, seconds: 0.7 });
  const half = { ...load, rate: most.received / 2 };
  const { received: before } = await pair.ends.measure({ ...half, seconds: 1 });
  await pair.killStandby();
  await waitUntil('the active unit is alone', async () => (await pair.active.api.mirror()).channel !== 'up');
  const rest = pair.active.residentMiB();
  await pair.startStandby();

  let mostMiB = rest;
  let beganAt: number | null = null;
  let endedAt: number | null = null;
  const watching = waitUntil('the standby is in sync', async () => {
    mostMiB = Math.max(mostMiB, pair.active.residentMiB());
    const { channel, inSync } = await pair.active.api.mirror();
    if (channel === 'up') beganAt ??= performance.now();
    if (inSync) endedAt = performance.now();
    return inSync;
  });
  const slices: number[] = [];
  while (endedAt === null) {
    if (beganAt === null) await pause(5);
    else slices.push((await pair.ends.measure({ ...half, seconds: sliceS, settle: 0 })).received);
  }
  await watching;
  const held = await pair.held();
  if (held < heldMin * connections) throw new Error(`in sync, and the standby holds ${held} of ${connections}`);
  samples.seconds.push((endedAt - (beganAt ?? endedAt)) / 1_000);
  samples.before.push(before);
  samples.meanwhile.push(slices.reduce((sum, slice) => sum + slice, 0) / slices.length);
  samples.worstSlice.push(Math.min(...slices));
  samples.mebibytes.push(mostMiB - rest);
}

async function waitUntil(what: string, holds: () => Promise<boolean>): Promise<void> {
  const until = performance.now() + patienceMs;
  while (!(await holds())) {
    if (performance.now() > until) throw new Error(`not within ${patienceMs / 1_000} s: ${what}`);
    await pause(10);
  }
}

function resultOf(samples: Samples, connections: number): SectionResult {
  const row = (name: string, unit: string, values: readonly number[], bound?: Bound): Row => {
    return { name, unit, cores: 2, samples: values, ...(bound === undefined ? {} : { bound }) };
  };
  const { seconds, before, meanwhile, worstSlice, mebibytes } = samples;
  const rate = seconds.map((taken) => connections / taken / 1e6);
  return {
    section: 'bulk',
    title: `Bulk: ${connections} connections to an empty standby, under load`,
    rows: [
      row('from the channel up to in sync', 's', seconds, { better: 'lower', must: 5, aim: 2 }),
      row('packets while it runs ÷ before', 'ratio', ratios(meanwhile, before), {
        better: 'higher',
        must: 0.95,
        aim: 0.99,
      }),
      row('the worst quarter of a second ÷ before', 'ratio', ratios(worstSlice, before)),
      row('memory that the active unit takes for it', 'MiB', mebibytes, { better: 'lower', must: 64, aim: 16 }),
      row('connections announced and applied', 'M/s', rate),
      row(
        'packets before',
        'Mpps',
        before.map((each) => each / 1e6),
      ),
    ],
    charts: [],
    notes: [
      'the standby is killed and started again; the active unit forwards at half of the most that it can',
      'generator and what moves the active unit’s frames on the first core, everything else on the second',
    ],
  };
}
