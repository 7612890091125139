/** Section `wire`: packets per second through a whole unit over veth, Tandem beside what else the kernel offers. */

import { type Cores, contender, contenders, crowdOf, hasFlowtable, type Standing, windowOf } from './contenders.js';
import type { Load } from './far_ends.js';
import type { Bound, Effort, Place, Row, Section, SectionResult } from './section.js';
import { ratios } from './summary.js';

type Wanted = Load & { readonly name: string };

/** To one connection, and to all that are open. */
function loadsOf(effort: Effort): readonly Wanted[] {
  const { count, name } = crowdOf(effort);
  return [64, 1400].flatMap((bytes) => {
    const load = { protocol: 'udp', seconds: 0, bytes } as const;
    return [
      { ...load, name: `${bytes} bytes, 1 connection`, connections: 1 },
      { ...load, name: `${bytes} bytes, ${name} connections`, connections: count },
      { ...load, name: `${bytes} bytes, ${name}, Zipf`, connections: count, zipf: true },
    ];
  });
}
const coreNumbers = [2, 1] as const;

export const wire: Section = { name: 'wire', needsRoot: true, forwards: true, run };

const nameOf = (short: string, cores: Cores, load: string): string =>
  `${contender(short).name}${cores === 1 ? ', one core' : ''}: ${load}`;

async function run(effort: Effort, place: Place): Promise<SectionResult> {
  const standing = await place.standing();
  const loads = loadsOf(effort);
  const seconds = effort.quick ? 0.06 : 0.4;
  const samples = new Map<string, number[]>();
  for (let round = 0; round < effort.rounds; round++) {
    for (const cores of coreNumbers) {
      for (const each of standing) each.useCores(cores);
      for (const load of loads) {
        // In turn forwards and backwards, so that nobody is always measured behind the same other.
        for (const each of round % 2 === 0 ? standing : standing.toReversed()) {
          const settle = effort.quick ? 0.02 : 0.1;
          const rate = await once(each, { ...load, seconds, settle, window: windowOf(cores) });
          const name = nameOf(each.contender.short, cores, load.name);
          samples.set(name, [...(samples.get(name) ?? []), rate / 1e6]);
        }
      }
    }
  }
  return resultOf(samples, effort, hasFlowtable(standing[0]?.unit ?? ''));
}

async function once({ contender: each, ends }: Standing, load: Wanted): Promise<number> {
  const { received } = await ends.measure(load);
  if (received === 0) throw new Error(`${each.name} forwarded nothing (${load.name})`);
  return received;
}

function greater(some: readonly number[], others: readonly number[]): number[] {
  return some.map((value, round) => Math.max(value, others[round] ?? 0));
}

function resultOf(samples: ReadonlyMap<string, readonly number[]>, effort: Effort, flowtable: boolean): SectionResult {
  const loads = loadsOf(effort);
  const crowd = crowdOf(effort).name;
  const of = (name: string) => samples.get(name) ?? [];
  const rates = loads.flatMap((load) =>
    contenders.flatMap((each) =>
      coreNumbers.map((cores): Row => {
        const name = nameOf(each.short, cores, load.name);
        return { name, unit: 'Mpps', cores, samples: of(name) };
      }),
    ),
  );
  const quotient = (name: string, cores: Cores, above: string, below: string, bound?: Bound): Row => ({
    name,
    unit: 'ratio',
    cores,
    samples: ratios(of(above), of(below)),
    ...(bound === undefined ? {} : { bound }),
  });
  const at = (short: string, cores: Cores) => nameOf(short, cores, `64 bytes, ${crowd} connections`);
  return {
    section: 'wire',
    title: 'Wire: one unit over veth, UDP',
    rows: [
      quotient(`xdp ÷ nft, ${crowd}, Tandem on two cores, the kernel on one`, 2, at('xdp', 2), at('nft', 1), {
        better: 'higher',
        must: 2,
        aim: 2.5,
      }),
      quotient(`xdp ÷ nft, ${crowd}, both on one core`, 1, at('xdp', 1), at('nft', 1), {
        better: 'higher',
        must: 1.5,
        aim: 2,
      }),
      quotient(`xdp ÷ nft, ${crowd}, both on two cores`, 2, at('xdp', 2), at('nft', 2)),
      quotient(`packet ÷ nft, ${crowd}, Tandem on two cores, the kernel on one`, 2, at('packet', 2), at('nft', 1), {
        better: 'higher',
        must: 1.4,
        aim: 1.8,
      }),
      quotient(`packet ÷ nft, ${crowd}, both on two cores`, 2, at('packet', 2), at('nft', 2)),
      {
        name: `xdp ÷ the limit, ${crowd}, where the limit is higher`,
        unit: 'ratio',
        cores: 2,
        samples: ratios(of(at('xdp', 2)), greater(of(at('redirect', 1)), of(at('redirect', 2)))),
        bound: { better: 'higher', must: 0.45, aim: 0.55 },
      },
      ...rates,
    ],
    charts: loads.map((load) => ({
      name: load.name.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase(),
      title: load.name,
      unit: 'million packets per second',
      rows: contenders.flatMap((each) => coreNumbers.map((cores) => nameOf(each.short, cores, load.name))),
    })),
    notes: [
      'frames are made by BPF_PROG_TEST_RUN (live frames) on the first core and counted in tc behind the unit',
      'one core: generator, unit and sink; at most 4096 frames are on their way, so that none is made to be lost',
      'two: the unit has the other one, the kernel by threaded NAPI, and as many frames as can be made',
      'Tandem, nft and the BPF hash rewrite both addresses and ports: 8 members, 5 SNAT addresses',
      'nft: conntrack limit 8 M, 2 M hash buckets, accounting and checksum verification off, timeouts an hour',
      flowtable ? 'nft: with a flowtable' : 'nft: this kernel has no flowtable (CONFIG_NF_FLOW_TABLE is not set)',
      'connections are visited in a scattered order, all equally often, or by Zipf’s law with exponent 1;',
      '  all are open, and answered once, before the first round',
    ],
  };
}
