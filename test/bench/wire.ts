/** Section `wire`: packets per second through a whole unit over veth, Tandem beside what else the kernel offers. */

import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { repositoryRoot } from '../support/lab/paths.js';
import type { Bound, Effort, Row, Section, SectionResult } from './section.js';
import { ratios } from './summary.js';
import { type Contender, contenders, type Standing, stand } from './wire_contenders.js';
import { macs, members } from './wire_network.js';

interface Load {
  readonly name: string;
  readonly bytes: number;
  /** A power of two. */
  readonly connections: number;
}

const million = 1 << 20;
const loads: readonly Load[] = [
  { name: '64 bytes, 1 connection', bytes: 64, connections: 1 },
  { name: '64 bytes, 1 M connections', bytes: 64, connections: million },
  { name: '1400 bytes, 1 M connections', bytes: 1400, connections: million },
];
const quickLoads = loads.slice(0, 2);

/** What one run of wire.cc says, per second. */
interface Rate {
  readonly generated: number;
  readonly received: number;
}

export const wire: Section = { name: 'wire', needsRoot: true, run };

const build = join(repositoryRoot, 'out', 'bench-native');

async function run(effort: Effort): Promise<SectionResult> {
  execFileSync('make', ['--silent', '--file=test/bench/Makefile', 'wire'], { cwd: repositoryRoot, stdio: 'inherit' });
  const restore = raiseConntrackLimits();
  const standing: Standing[] = [];
  try {
    for (const contender of contenders) standing.push(await stand(contender));
    return resultOf(await measure(standing, effort), effort);
  } finally {
    for (const each of standing) await each.end();
    restore();
  }
}

type Samples = Map<string, number[]>;

const keyOf = (contender: Contender, load: Load): string => `${contender.name}: ${load.name}`;

async function measure(standing: readonly Standing[], effort: Effort): Promise<Samples> {
  const samples: Samples = new Map();
  const chosen = effort.quick ? quickLoads : loads;
  for (const load of chosen) {
    if (load.connections === 1) continue;
    // Once: every connection is opened before any round, by going through all of them one and a half times.
    for (const each of standing) {
      if (each.contender.stateful) await once(each, { ...load, bytes: 64 }, 0.1, Math.round(1.5 * load.connections));
    }
    break;
  }
  const seconds = effort.quick ? 0.4 : 2;
  for (let round = 0; round < effort.rounds; round++) {
    for (const load of chosen) {
      // In turn forwards and backwards, so that nobody is always measured behind the same other.
      for (const each of round % 2 === 0 ? standing : standing.toReversed()) {
        const rate = await once(each, load, seconds, 0);
        const key = keyOf(each.contender, load);
        samples.set(key, [...(samples.get(key) ?? []), rate.received / 1e6]);
      }
    }
  }
  return samples;
}

async function once({ contender, network }: Standing, load: Load, seconds: number, warm: number): Promise<Rate> {
  const args = {
    generator: network.generator,
    unit: network.unit,
    sink: network.sink,
    to: contender.toMac,
    from: macs.generator,
    address: contender.toAddress,
    bytes: load.bytes,
    connections: load.connections,
    seconds,
    warm,
    redirect: contender.redirect ? 'yes' : 'no',
    member: members[0] ?? '',
    'member-mac': macs.sink,
    'unit-mac': macs.server,
  };
  const { stdout } = await promisify(execFile)(
    join(build, 'wire'),
    [join(build, 'wire.bpf.o'), ...Object.entries(args).map(([name, value]) => `${name}=${value}`)],
    { timeout: 60_000 },
  );
  const rate = JSON.parse(stdout) as Rate;
  if (rate.received === 0) throw new Error(`${contender.name} forwarded nothing (${load.name})`);
  return rate;
}

function resultOf(samples: Samples, effort: Effort): SectionResult {
  const chosen = effort.quick ? quickLoads : loads;
  const of = (contender: Contender, load: Load) => samples.get(keyOf(contender, load)) ?? [];
  const rates = chosen.flatMap((load) =>
    contenders.map(
      (contender): Row => ({
        name: keyOf(contender, load),
        unit: 'Mpps',
        cores: contender.cores,
        samples: of(contender, load),
      }),
    ),
  );
  const nft = contenders.find((contender) => contender.short === 'nft');
  const tandems = contenders.filter((contender) => contender.name.startsWith('Tandem'));
  const quotients = chosen.flatMap((load) =>
    tandems.flatMap((tandem): Row[] => {
      if (nft === undefined) return [];
      const bound = boundOf(tandem, load);
      return [
        {
          name: `${tandem.name} ÷ nft: ${load.name}`,
          unit: 'ratio',
          cores: tandem.cores,
          samples: ratios(of(tandem, load), of(nft, load)),
          ...(bound === undefined ? {} : { bound }),
        },
      ];
    }),
  );
  return {
    section: 'wire',
    title: 'Wire: one unit over veth, UDP',
    rows: [...rates, ...quotients],
    charts: chosen.map((load) => ({
      name: load.name.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase(),
      title: load.name,
      unit: 'million packets per second',
      rows: contenders.map((contender) => keyOf(contender, load)),
    })),
    notes: [
      'frames are made by BPF_PROG_TEST_RUN (live frames) on the first core and counted in tc behind the unit',
      "the kernel's work on a frame is done on the generator's core; with two cores Tandem's worker has the other one",
      'Tandem and nft rewrite both addresses and ports: 8 members, 5 SNAT addresses',
      'nft’s conntrack limit and hash are raised to what a million connections need, its timeouts to an hour',
      'connections are visited in a scattered order, all equally often; all are open before the first round',
    ],
  };
}

function boundOf(contender: Contender, load: Load): Bound | undefined {
  if (load.bytes !== 64 || load.connections !== million || contender.cores !== 2) return undefined;
  return contender.short.startsWith('xdp')
    ? { better: 'higher', must: 2, aim: 2.5 }
    : { better: 'higher', must: 1.4, aim: 1.8 };
}

/** The limits are global and can be raised outside of namespaces only. Gives what puts them back. */
function raiseConntrackLimits(): () => void {
  const wanted = { nf_conntrack_max: 4 * million, nf_conntrack_buckets: million };
  const before = Object.keys(wanted).map((name) => [name, readFileSync(place(name), 'utf8')] as const);
  for (const [name, value] of Object.entries(wanted)) writeFileSync(place(name), String(value));
  return () => {
    for (const [name, value] of before) writeFileSync(place(name), value);
  };
}

const place = (name: string): string => `/proc/sys/net/netfilter/${name}`;
