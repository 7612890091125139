/** Section `channel`: records through both ends of the mirror channel, with TLS and without, in two processes. */

import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';

import { makeIdentity, type PairCredentials } from '../../src/io/pair_credentials.js';
import type { FromEnd, ToEnd } from './channel_end.js';
import type { Effort, Section, SectionResult } from './section.js';

const program = fileURLToPath(new URL('channel_end.js', import.meta.url));
const loads = {
  quick: { connections: 100_000, ms: 300 },
  full: { connections: 1_000_000, ms: 2_000 },
} as const;

export const channel: Section = { name: 'channel', needsRoot: false, run };

async function run(effort: Effort): Promise<SectionResult> {
  const load = effort.quick ? loads.quick : loads.full;
  const [a, b] = await Promise.all([makeIdentity('a'), makeIdentity('b')]);
  const secured = {
    a: { ...a, peerCertificate: b.certificate },
    b: { ...b, peerCertificate: a.certificate },
  };
  const tls: number[] = [];
  const plain: number[] = [];
  for (let round = 0; round < effort.rounds; round += 1) {
    tls.push(await recordsPerS(secured, load));
    plain.push(await recordsPerS({ a: null, b: null }, load));
  }
  const bound = { better: 'higher', must: 1_000_000, aim: 3_000_000 } as const;
  return {
    section: 'channel',
    title: 'Mirror channel: records from one unit into the table of the other',
    rows: [
      { name: 'records, TLS 1.3', unit: '/s', cores: 2, samples: tls, bound },
      { name: 'records, plaintext', unit: '/s', cores: 2, samples: plain },
      { name: 'TLS ÷ plaintext', unit: 'ratio', cores: 2, samples: tls.map((each, at) => each / (plain[at] ?? 0)) },
    ],
    charts: [
      {
        name: 'records',
        title: 'Records through the mirror channel',
        unit: 'records/s, more is better',
        rows: ['records, TLS 1.3', 'records, plaintext'],
      },
    ],
    notes: [
      `state of ${load.connections} IPv4 connections, 46 octets each, over and over, each newer than the last`,
      'counted are records that the standby has applied to its table and acked; one that it ignored fails the run',
      'sender and receiver are processes on cores of their own, joined by the loopback interface',
    ],
  };
}

async function recordsPerS(
  credentials: Readonly<Record<'a' | 'b', PairCredentials | null>>,
  { connections, ms }: (typeof loads)[keyof typeof loads],
): Promise<number> {
  const port = await freePort();
  const [sender, receiver] = [new End(0), new End(1)];
  try {
    receiver.tell({ type: 'become', unit: 'b', port, credentials: credentials.b, connections });
    await receiver.hear('ready');
    sender.tell({ type: 'become', unit: 'a', port, credentials: credentials.a, connections });
    await sender.hear('ready');
    sender.tell({ type: 'measure', ms });
    const { records, stale, seconds } = await sender.hear('measured');
    if (stale > 0) throw new Error(`${stale} of ${records} records were not applied`);
    return records / seconds;
  } finally {
    await Promise.all([sender.end(), receiver.end()]);
  }
}

class End {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(core: number) {
    this.#child = fork(program, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#exited = once(this.#child, 'exit');
    if (cpus().length > core) spawnSync('taskset', ['-acp', String(core), String(this.#child.pid)]);
  }

  tell(message: ToEnd): void {
    this.#child.send(message);
  }

  /** The next word of this kind; an end that dies instead fails the run. */
  async hear<Type extends FromEnd['type']>(type: Type): Promise<Extract<FromEnd, { type: Type }>> {
    for (;;) {
      const heard = once(this.#child, 'message') as Promise<[FromEnd]>;
      const [message] = await Promise.race([heard, this.#exited.then((): [null] => [null])]);
      if (message === null) throw new Error(`an end of the channel ended before it said ${type}`);
      if (message.type === type) return message as Extract<FromEnd, { type: Type }>;
    }
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.tell({ type: 'stop' });
    await this.#exited;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
