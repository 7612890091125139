/** Generator and sink of one network: the program wire.cc, which lives as long as the network and answers in lines. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { run } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { end, type Ground } from './ground.js';
import { macs, members, type Network, virtualAddress } from './network.js';

const build = join(repositoryRoot, 'out', 'bench-native');
const answerMs = 120_000;

/** What forwards inside the unit, where that is a program of wire.bpf.c. */
export type Forward = 'none' | 'redirect' | 'hash';

export interface Load {
  readonly protocol: 'udp' | 'tcp';
  /** The virtual server's; 80 when not said. */
  readonly port?: number;
  /** On the wire, the check sequence of 4 included. */
  readonly bytes: number;
  /** A power of two; those that are open and go on. */
  readonly connections: number;
  /** Which of them a frame belongs to: all in turn, or drawn by Zipf's law. */
  readonly zipf?: boolean;
  /** The frames open those connections. */
  readonly openSet?: boolean;
  /** One frame in so many opens a connection that never was; 0: none. */
  readonly openEvery?: number;
  /** One frame in so many is sent back by the far end and timed; a power of two; 0: none. */
  readonly probeEvery?: number;
  readonly seconds: number;
  /** Before the clock starts. */
  readonly settle?: number;
  /** So many in all; 0: until the time is over. */
  readonly frames?: number;
  /** Per second; 0: as many as can be made. */
  readonly rate?: number;
  /** On their way at most, so that what would be lost is not made; 0: however many. */
  readonly window?: number;
  /** The port and another take turns of so many seconds; needs a window. */
  readonly slices?: { readonly seconds: number; readonly otherPort: number };
}

/** Per second, where not said otherwise. */
export interface Measured {
  readonly generated: number;
  /** At the sink, of what was generated. */
  readonly received: number;
  /** Handshakes that the member saw complete. */
  readonly established: number;
  /** Counts from the first frame to the last, warming up included. */
  readonly establishedInAll: number;
  readonly openedInAll: number;
  /** Count. */
  readonly probes: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  /** `received` of the port, then of the other, each while it had its turns; empty without slices. */
  readonly sides: readonly number[];
}

export class FarEnds {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #logFile: string;

  private constructor(child: ChildProcess, logFile: string) {
    this.#child = child;
    this.#logFile = logFile;
    if (child.stdout === null) throw new Error('wire has no output');
    this.#lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  }

  /** Frames are for `to`: MAC and IP address. */
  static async start(
    ground: Ground,
    network: Network,
    to: { readonly mac: string; readonly address: string },
    forward: Forward,
  ): Promise<FarEnds> {
    const words = {
      ...network,
      to: to.mac,
      'to-address': to.address,
      from: macs.generator,
      'client-mac': macs.client,
      'server-mac': macs.server,
      'sink-mac': macs.sink,
      address: virtualAddress,
      member: members[0] ?? '',
      members: members.length,
      forward,
    };
    const log = `${network.unit}-wire.log`;
    const command = [join(build, 'wire'), join(build, 'wire.bpf.o'), ...assignments(words)];
    const child = ground.spawn(null, log, command, { stdio: ['pipe', 'pipe', 'inherit'] });
    const ends = new FarEnds(child, ground.log(log));
    await ends.#answer();
    return ends;
  }

  static build(): void {
    run('make', ['--silent', `--directory=${repositoryRoot}`, '--file=test/bench/Makefile', 'wire']);
  }

  async measure(load: Load): Promise<Measured> {
    const words = {
      protocol: load.protocol,
      bytes: load.bytes,
      connections: load.connections,
      zipf: load.zipf === true ? 'yes' : 'no',
      'open-set': load.openSet === true ? 'yes' : 'no',
      'open-every': load.openEvery ?? 0,
      'probe-every': load.probeEvery ?? 0,
      seconds: load.seconds,
      frames: load.frames ?? 0,
      settle: load.settle ?? 0.05,
      rate: load.rate ?? 0,
      window: load.window ?? 0,
      port: load.port ?? 80,
      slice: load.slices?.seconds ?? 0,
      'other-port': load.slices?.otherPort ?? 0,
    };
    this.#child.stdin?.write(`${assignments(words).join(' ')}\n`);
    return JSON.parse(await this.#answer()) as Measured;
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    await end(this.#child);
  }

  async #answer(): Promise<string> {
    const limit = AbortSignal.timeout(answerMs);
    const late = once(limit, 'abort').then(() => ({ done: true as const, value: '' }));
    const { value, done } = await Promise.race([this.#lines.next(), late]);
    if (done === true) {
      const why = limit.aborted ? `said nothing for ${answerMs} ms` : 'ended';
      throw new Error(`the generator ${why}; ${readFileSync(this.#logFile, 'utf8')}`);
    }
    return value;
  }
}

function assignments(words: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(words).map(([name, value]) => `${name}=${value}`);
}
