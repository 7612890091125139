/**
 * Section `latency`: the round trip through each contender while it carries a share of the most that it can carry.
 *
 * Frames among the load are marked; the far end sends them back at once, and the time from when the generator wrote one
 * until it is back at the generator is taken by BPF programs on both sides: no process has to wake up for it.
 */

import { type Cores, contenders, crowdOf } from './contenders.js';
import { FarEnds, type Load, type Measured } from './far_ends.js';
import type { Ground } from './ground.js';
import { macs, makeBareNetwork, members } from './network.js';
import type { Effort, Place, Row, Section, SectionResult } from './section.js';

const shares = [10, 70] as const;
const quantiles = ['p50', 'p99'] as const;
const cores: Cores = 2;
/** Of the histogram in shared.h. */
const resolutionUs = 0.256;
const load = { protocol: 'udp', bytes: 64, probeEvery: 64 } as const;

export const latency: Section = { name: 'latency', needsRoot: true, forwards: true, run };

/** What the frames go through; `direct` is the veth alone. */
interface Way {
  readonly name: string;
  readonly ends: FarEnds;
}
const direct = 'direct, no unit';

type Samples = Map<string, number[]>;

async function run(effort: Effort, place: Place): Promise<SectionResult> {
  const standing = await place.standing();
  for (const each of standing) each.useCores(cores);
  const bare = await standBare(place.ground);
  const ways = [...standing.map(({ contender: { name }, ends }) => ({ name, ends })), bare];
  const samples: Samples = new Map();
  for (let round = 0; round < effort.rounds; round++) {
    const values = new Map<string, number>();
    for (const way of round % 2 === 0 ? ways : ways.toReversed()) {
      for (const [name, value] of await measureWay(way, crowdOf(effort).count, effort.quick ? 0.1 : 0.7))
        values.set(name, value);
    }
    for (const [name, value] of values) keep(samples, name, value);
    for (const { name } of contenders) keepAdded(samples, name, values);
  }
  await bare.stop();
  return resultOf(samples, effort);
}

async function standBare(ground: Ground): Promise<Way & { stop(): Promise<void> }> {
  const network = makeBareNetwork(ground, 'bare');
  const ends = await FarEnds.start(ground, network, { mac: macs.sink, address: members[0] ?? '' }, 'none');
  return {
    name: direct,
    ends,
    stop: async () => {
      await ends.end();
      ground.remove([network.generator, network.sink]);
    },
  };
}

async function measureWay(
  way: Way,
  connections: number,
  seconds: number,
): Promise<readonly (readonly [string, number])[]> {
  const most = await measured(way, { ...load, connections, seconds });
  const found: (readonly [string, number])[] = [[mostName(way.name), most.received / 1e6]];
  for (const share of shares) {
    const { p50Ns, p99Ns } = await measured(way, {
      ...load,
      connections,
      seconds,
      rate: (most.received * share) / 100,
    });
    found.push([rowName(way.name, share, 'p50'), p50Ns / 1000], [rowName(way.name, share, 'p99'), p99Ns / 1000]);
  }
  return found;
}

async function measured(way: Way, wanted: Load): Promise<Measured> {
  const result = await way.ends.measure(wanted);
  if (result.probes === 0) throw new Error(`nothing came back: ${way.name}`);
  return result;
}

/** To the veth alone in the same round, at the same share of what that can carry. */
function keepAdded(samples: Samples, name: string, values: ReadonlyMap<string, number>): void {
  for (const share of shares) {
    for (const quantile of quantiles) {
      const whole = values.get(rowName(name, share, quantile)) ?? Number.NaN;
      const bare = values.get(rowName(direct, share, quantile)) ?? Number.NaN;
      keep(samples, addedName(name, share, quantile), Math.max(whole - bare, resolutionUs));
    }
  }
}

type Quantile = (typeof quantiles)[number];
const mostName = (way: string): string => `${way}: the most`;
const rowName = (way: string, share: number, quantile: Quantile): string => `${way} at ${share} %: ${quantile}`;
const addedName = (way: string, share: number, quantile: Quantile): string =>
  `added by ${rowName(way, share, quantile)}`;

function keep(samples: Samples, name: string, value: number): void {
  samples.set(name, [...(samples.get(name) ?? []), value]);
}

function resultOf(samples: ReadonlyMap<string, readonly number[]>, effort: Effort): SectionResult {
  const of = (name: string) => samples.get(name) ?? [];
  const row = (name: string, unit: string): Row => ({ name, unit, cores, samples: of(name) });
  const names = contenders.map(({ name }) => name);
  const each = (name: (way: string, share: number, quantile: Quantile) => string, way: string) =>
    shares.flatMap((share) => quantiles.map((quantile) => row(name(way, share, quantile), 'µs')));
  const rows = [
    ...names.flatMap((name) => each(addedName, name)),
    ...[...names, direct].flatMap((name) => [...each(rowName, name), row(mostName(name), 'Mpps')]),
  ];
  return {
    section: 'latency',
    title: `Latency: round trip through one unit, 64 bytes, ${crowdOf(effort).name} connections`,
    rows,
    charts: shares.map((share) => ({
      name: `${share}-percent`,
      title: `Round trip added at ${share} % of each one’s own highest load`,
      unit: 'µs, less is better',
      rows: names.flatMap((name) => quantiles.map((quantile) => addedName(name, share, quantile))),
    })),
    notes: [
      'one frame in 64 is sent back by the far end; its way is generator, unit, sink, unit, generator',
      'the load is of the most that the same contender carried just before, made in bursts each 100 µs',
      'added: less what one veth and the far ends alone take, in the same round and at the same share of their most',
      '  nothing is shown as less than 0.26 µs, a step of the histogram',
      'two cores: the unit has one for itself. HAProxy is no part of it: it does not forward packets',
    ],
  };
}
