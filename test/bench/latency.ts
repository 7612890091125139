/**
 * Section `latency`: the round trip through each contender while it carries a share of the most that it can carry.
 *
 * Frames among the load are marked; the far end sends them back at once, and the time from when the generator wrote one
 * until it is back at the generator is taken by BPF programs on both sides: no process has to wake up for it.
 */

import { type Cores, contenders, million, type Standing } from './contenders.js';
import type { Load, Measured } from './far_ends.js';
import type { Effort, Place, Row, Section, SectionResult } from './section.js';

const shares = [10, 70] as const;
const quantiles = ['p50', 'p99'] as const;
const cores: Cores = 2;
const load = { protocol: 'udp', bytes: 64, connections: million, probeEvery: 64 } as const;

export const latency: Section = { name: 'latency', needsRoot: true, forwards: true, run };

async function run(effort: Effort, place: Place): Promise<SectionResult> {
  const standing = await place.standing();
  for (const each of standing) each.useCores(cores);
  const samples = new Map<string, number[]>();
  const seconds = effort.quick ? 0.1 : 1;
  for (let round = 0; round < effort.rounds; round++) {
    for (const each of round % 2 === 0 ? standing : standing.toReversed()) {
      const most = await measured(each, { ...load, seconds });
      keep(samples, mostName(each), most.received / 1e6);
      for (const share of shares) {
        const rate = (most.received * share) / 100;
        const { p50Ns, p99Ns } = await measured(each, { ...load, seconds, rate });
        keep(samples, rowName(each, share, 'p50'), p50Ns / 1000);
        keep(samples, rowName(each, share, 'p99'), p99Ns / 1000);
      }
    }
  }
  return resultOf(samples);
}

async function measured(each: Standing, wanted: Load): Promise<Measured> {
  const result = await each.ends.measure(wanted);
  if (result.probes === 0) throw new Error(`nothing came back through ${each.contender.name}`);
  return result;
}

const mostName = ({ contender }: Pick<Standing, 'contender'>): string => `${contender.name}: the most`;
const rowName = ({ contender }: Pick<Standing, 'contender'>, share: number, quantile: string): string =>
  `${contender.name} at ${share} %: ${quantile}`;

function keep(samples: Map<string, number[]>, name: string, value: number): void {
  samples.set(name, [...(samples.get(name) ?? []), value]);
}

function resultOf(samples: ReadonlyMap<string, readonly number[]>): SectionResult {
  const of = (name: string) => samples.get(name) ?? [];
  const rows = contenders.flatMap((contender): Row[] => [
    ...shares.flatMap((share) =>
      quantiles.map((quantile): Row => {
        const name = rowName({ contender }, share, quantile);
        return { name, unit: 'µs', cores, samples: of(name) };
      }),
    ),
    { name: mostName({ contender }), unit: 'Mpps', cores, samples: of(mostName({ contender })) },
  ]);
  return {
    section: 'latency',
    title: 'Latency: round trip through one unit, 64 bytes, 1 M connections',
    rows,
    charts: shares.map((share) => ({
      name: `${share}-percent`,
      title: `Round trip at ${share} % of each one’s own highest load`,
      unit: 'µs, less is better',
      rows: contenders.flatMap((contender) => quantiles.map((quantile) => rowName({ contender }, share, quantile))),
    })),
    notes: [
      'one frame in 64 is sent back by the far end; its way is generator, unit, sink, unit, generator',
      'the load is of the most that the same contender carried just before, made in bursts each 100 µs',
      'what the veths and the far ends take themselves is in every row: the redirect’s is nearly all of that kind',
    ],
  };
}
