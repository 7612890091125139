/**
 * Section `commit`: what a client waits for its handshake, with mirroring off, async and commit in turns.
 *
 * One client connects again and again to a real server through the active unit of a real pair, so that what is measured
 * is waiting and not load. What commit adds is its quantile less that of `off` in the same round.
 */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import type { MirrorMode } from '../../src/config/model.js';
import { run as execute } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { pairUnits } from '../support/lab/unit.js';
import { end, type Ground } from './ground.js';
import { clientAddresses, makePairSocketNetwork, type PairNetwork, virtualAddress } from './network.js';
import type { Effort, Place, Row, Section, SectionResult } from './section.js';
import { stateDirectory, TandemUnit, writeConfig } from './tandem_unit.js';

export const commit: Section = { name: 'commit', needsRoot: true, run };

const program = join(repositoryRoot, 'out', 'bench-native', 'load');
const modes = ['off', 'async', 'commit'] as const satisfies readonly MirrorMode[];
const quantiles = ['p50', 'p99'] as const;
const port = 80;
const server = `bench${port}`;
/** Between two handshakes: each meets units at rest. */
const pauseS = 0.0005;

type Times = Readonly<Record<`${(typeof quantiles)[number]}Us`, number>>;
type Samples = Map<string, number[]>;

async function run(effort: Effort, { ground }: Place): Promise<SectionResult> {
  execute('make', ['--silent', `--directory=${repositoryRoot}`, '--file=test/bench/Makefile', 'sockets']);
  const network = makePairSocketNetwork(ground, 'mk');
  const config = writeConfig(ground, 'commit', {
    device: 'packet',
    connections: 1_000_000,
    protocol: 'tcp',
    ports: [port],
    paired: true,
    idleS: 60,
  });
  await pairUnits((unit) => stateDirectory(ground, unit));
  const active = TandemUnit.start(ground, network.unit, 'commit-a', config, 'a');
  const standby = TandemUnit.start(ground, network.standby, 'commit-b', config, 'b');
  const samples: Samples = new Map();
  let servers: ChildProcess | null = null;
  try {
    servers = await serve(ground, network);
    await active.isActive();
    await isInSync(active);
    await measure(ground, network, 100);
    for (let round = 0; round < effort.rounds; round++) {
      for (const mode of round % 2 === 0 ? modes : modes.toReversed()) {
        await active.api.setVirtualServer(server, { mirror: mode });
        await isInSync(active);
        const times = await measure(ground, network, effort.quick ? 500 : 4000);
        for (const quantile of quantiles) keep(samples, rowName(mode, quantile), times[`${quantile}Us`]);
      }
    }
    const { virtualServers } = await active.api.mirror();
    const counts = virtualServers.find(({ name }) => name === server)?.commit;
    if (counts === undefined || counts.timedOut + counts.refused + counts.beyond + counts.noPeer > 0) {
      throw new Error(`not every handshake was made sure: ${JSON.stringify(counts)}`);
    }
    return resultOf(samples);
  } finally {
    if (servers !== null) await end(servers);
    await Promise.all([active.stop(), standby.stop()]);
    ground.remove([network.generator, network.unit, network.sink, network.standby]);
  }
}

function isInSync(unit: TandemUnit): Promise<void> {
  return unit.until('in sync', ({ mirror }) => mirror.channel === 'up' && mirror.inSync);
}

async function serve(ground: Ground, { sink }: PairNetwork): Promise<ChildProcess> {
  const command = [program, 'serve', String(port), String(port + 1)];
  const child = ground.spawn(sink, `${sink}.log`, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  if (child.stdout === null) throw new Error('the server has no output');
  await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  if (child.exitCode !== null) throw new Error('the server did not start');
  return child;
}

async function measure(ground: Ground, { generator }: PairNetwork, count: number): Promise<Times> {
  const command = [program, 'times', virtualAddress, port, count, pauseS, ...clientAddresses].map(String);
  const child = ground.spawn(generator, `${generator}.log`, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  if (child.stdout === null) throw new Error('the client has no output');
  const answer = await text(child.stdout);
  if (answer === '') throw new Error(`the client ended without a word (${command.join(' ')})`);
  return JSON.parse(answer) as Times;
}

function rowName(mode: MirrorMode, quantile: (typeof quantiles)[number]): string {
  return `handshake, mirror ${mode}: ${quantile}`;
}

function keep(samples: Samples, name: string, value: number): void {
  samples.set(name, [...(samples.get(name) ?? []), value]);
}

function resultOf(samples: Samples): SectionResult {
  const of = (name: string) => samples.get(name) ?? [];
  const bounds = { p50: { must: 500, aim: 100 }, p99: { must: 3000, aim: 1000 } } as const;
  const added = (mode: 'async' | 'commit', quantile: (typeof quantiles)[number]): Row => ({
    name: `added by ${mode}: ${quantile}`,
    unit: 'µs',
    cores: 2,
    samples: of(rowName(mode, quantile)).map((value, round) => value - (of(rowName('off', quantile))[round] ?? 0)),
    ...(mode === 'commit' ? { bound: { better: 'lower', ...bounds[quantile] } as const } : {}),
  });
  const whole = modes.flatMap((mode) =>
    quantiles.map((quantile): Row => {
      const name = rowName(mode, quantile);
      return { name, unit: 'µs', cores: 2, samples: of(name) };
    }),
  );
  return {
    section: 'commit',
    title: 'Commit: what a client waits for its handshake',
    rows: [...(['commit', 'async'] as const).flatMap((mode) => quantiles.map((each) => added(mode, each))), ...whole],
    charts: [
      {
        name: 'handshake',
        title: 'connect() through a pair',
        unit: 'µs, less is better',
        rows: whole.map(({ name }) => name),
      },
    ],
    notes: [
      'one client, one handshake after the other, 0.5 ms apart; real sockets at both ends, NAT, IPv4, device packet',
      'client, server, both units and the mirror channel share two cores, so each hop may wait for a core',
      'added: less the same quantile with mirror off in the same round',
    ],
  };
}
