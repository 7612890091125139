/** Section `tcp`: handshakes per second and bulk throughput with real sockets at both ends, Tandem beside its peers. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { run as execute } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { end, type Ground } from './ground.js';
import { clientAddresses } from './network.js';
import type { Bound, Effort, Place, Row, Section, SectionResult } from './section.js';
import { ratios } from './summary.js';
import { ports, type SocketContender, type SocketStanding, socketContenders } from './tcp_contenders.js';

export const tcp: Section = { name: 'tcp', needsRoot: true, run };

const program = join(repositoryRoot, 'out', 'bench-native', 'load');
const clientCore = '0';
const serverCore = '1';
const concurrent = 256;
const streams = 4;

const kinds = [
  { name: 'handshakes', unit: 'connections/s', at: ports.handshakes, many: concurrent, divisor: 1 },
  { name: 'bulk', unit: 'Gbit/s', at: ports.bulk, many: streams, divisor: 1e9 },
] as const;
type Kind = (typeof kinds)[number];

type Samples = Map<string, number[]>;
interface Ready {
  readonly contender: SocketContender;
  readonly standing: SocketStanding;
  readonly servers: ChildProcess;
}

const rowName = (contender: Pick<SocketContender, 'name'>, kind: Kind): string => `${contender.name}: ${kind.name}`;

async function run(effort: Effort, { ground }: Place): Promise<SectionResult> {
  execute('make', ['--silent', `--directory=${repositoryRoot}`, '--file=test/bench/Makefile', 'sockets']);
  const samples: Samples = new Map();
  const ready: Ready[] = [];
  try {
    for (const contender of socketContenders) {
      const standing = await contender.setUp(ground);
      ready.push({ contender, standing, servers: await serve(ground, standing) });
      // Neighbours are asked for, programs meet their first connection.
      for (const kind of kinds) await load(ground, standing, kind, 0.1);
    }
    for (let round = 0; round < effort.rounds; round++) {
      for (const kind of kinds) {
        for (const { contender, standing } of round % 2 === 0 ? ready : ready.toReversed()) {
          const name = rowName(contender, kind);
          const rate = await load(ground, standing, kind, effort.quick ? 0.25 : 1.5);
          if (rate === 0) throw new Error(`no ${kind.name} through ${contender.name}`);
          samples.set(name, [...(samples.get(name) ?? []), rate / kind.divisor]);
        }
      }
    }
  } finally {
    for (const { standing, servers } of ready) {
      await end(servers);
      await standing.stop();
    }
  }
  return resultOf(samples);
}

async function serve(ground: Ground, { sink }: SocketStanding): Promise<ChildProcess> {
  const command = ['taskset', '-c', serverCore, program, 'serve', String(ports.handshakes), String(ports.bulk)];
  const child = ground.spawn(sink, `${sink}.log`, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  if (child.stdout === null) throw new Error('the server has no output');
  await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  if (child.exitCode !== null) throw new Error('the server did not start');
  return child;
}

async function load(
  ground: Ground,
  { generator, address }: SocketStanding,
  kind: Kind,
  seconds: number,
): Promise<number> {
  const command = [program, kind.name, address, kind.at, kind.many, seconds, ...clientAddresses].map(String);
  const child = ground.spawn(generator, `${generator}.log`, ['taskset', '-c', clientCore, ...command], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('the client has no output');
  const answer = await text(child.stdout);
  if (answer === '') throw new Error(`the client ended without a word (${command.join(' ')})`);
  return (JSON.parse(answer) as { readonly perSecond: number }).perSecond;
}

function resultOf(samples: Samples): SectionResult {
  const of = (name: string) => samples.get(name) ?? [];
  const named = (short: string): SocketContender => {
    const found = socketContenders.find((each) => each.short === short);
    if (found === undefined) throw new Error(`no contender is called ${short}`);
    return found;
  };
  const quotient = (above: string, below: string, kind: Kind, bound?: Bound): Row => ({
    name: `${kind.name}, ${named(above).name} ÷ ${named(below).name}`,
    unit: 'ratio',
    cores: 2,
    samples: ratios(of(rowName(named(above), kind)), of(rowName(named(below), kind))),
    ...(bound === undefined ? {} : { bound }),
  });
  const [handshakes, bulk] = kinds;
  const higher = (must: number, aim: number): Bound => ({ better: 'higher', must, aim });
  return {
    section: 'tcp',
    title: 'TCP: real sockets at both ends',
    rows: [
      quotient('xdp', 'nft', handshakes, higher(1.2, 1.7)),
      quotient('xdp', 'haproxy', handshakes, higher(1.5, 2)),
      quotient('packet', 'nft', handshakes),
      quotient('packet', 'haproxy', handshakes),
      quotient('direct', 'xdp', handshakes),
      ...(['xdp', 'packet'] as const).flatMap((device) =>
        ['nft', 'haproxy', 'direct'].map((peer) => quotient(device, peer, bulk)),
      ),
      ...kinds.flatMap((kind) =>
        socketContenders.map((contender): Row => {
          const name = rowName(contender, kind);
          return { name, unit: kind.unit, cores: 2, samples: of(name) };
        }),
      ),
    ],
    charts: kinds.map((kind) => ({
      name: kind.name,
      title: kind.name === 'bulk' ? `Bulk, ${streams} connections` : 'Real handshakes, one octet each way',
      unit: kind.unit,
      rows: socketContenders.map((contender) => rowName(contender, kind)),
    })),
    notes: [
      'the client is one thread on the first core, the server one on the second, the balancer is free to use both:',
      '  Tandem with two workers, and every veth has two queues; HAProxy with two threads; the kernel as it likes',
      `handshakes: ${concurrent} at a time; connect, one octet there and one back, RST`,
      'direct: the client straight at a server; as much faster than a balancer as the client is not what is measured',
      'offloads are as the kernel has them: frames of up to 64 KiB pass nft and Tandem packet whole; XDP on a veth',
      '  makes its far end cut them',
      'HAProxy: splice; nft: 5 SNAT addresses, as Tandem',
    ],
  };
}
