/**
 * One namespace for golden cases over a real device: a veth pair for each link, both ends inside. No end has an address
 * and IPv6 is off, so nothing is sent but what a case or the datapath sends. Needs root.
 *
 *     case ── client ══ eth0 ── datapath ── eth1 ══ server ── case
 */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type {
  FromGoldenDevice,
  GoldenDeviceCase,
  GoldenDeviceOptions,
  GoldenDeviceRun,
} from '../../lab/programs/golden_device_program.js';
import { labId } from './lab.js';
import { ipBatch, listNamespaces, processesInside, run, runInside, spawnInside } from './namespaces.js';
import { repositoryRoot } from './paths.js';

const built = join(repositoryRoot, 'out/lab-programs/test/lab/programs');

let compiled = false;

/** Compiles what is preloaded: the kernel's clock cannot be put forward. */
function givenTime(): string {
  const library = join(built, 'given_time.so');
  if (compiled) return library;
  compiled = true;
  const source = join(repositoryRoot, 'test/lab/programs/given_time.cc');
  run('g++', ['-std=c++20', '-O1', '-shared', '-fPIC', '-Wall', '-Wextra', '-Werror', '-o', library, source, '-ldl']);
  return library;
}

export interface GoldenLink {
  /** The config's name, which the case's end has, too. */
  readonly name: string;
  readonly interface: string;
  /** Of the datapath's end. */
  readonly mac: string;
}

export class GoldenLab {
  readonly #namespace: string;
  #child: ChildProcess | null = null;

  constructor(
    readonly kind: GoldenDeviceOptions['kind'],
    /** Tells labs of one kind apart. */
    readonly lane: number,
    readonly links: readonly GoldenLink[],
  ) {
    this.#namespace = labId(`golden-${kind}${lane}`);
  }

  async up(): Promise<void> {
    this.down();
    run('ip', ['netns', 'add', this.#namespace]);
    const settings = ['default', 'all'].map((of) => `echo 1 > /proc/sys/net/ipv6/conf/${of}/disable_ipv6`);
    runInside(this.#namespace, 'sh', ['-c', settings.join('; ')]);
    ipBatch(this.#namespace, [
      'link set lo up',
      ...this.links.flatMap(({ name, interface: link, mac }) => [
        `link add ${link} address ${mac} type veth peer name ${name}`,
        `link set ${link} up`,
        `link set ${name} up`,
      ]),
    ]);
    const devices = this.links.map(({ name, interface: link }) => ({ name, interface: link, peer: name }));
    const program = join(built, 'golden_device_program.js');
    const options = JSON.stringify({ kind: this.kind, devices } satisfies GoldenDeviceOptions);
    const clock = join(built, `clock-${this.#namespace}`);
    writeFileSync(clock, new Uint8Array(8));
    this.#child = spawnInside(this.#namespace, process.execPath, [program, options], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { ...process.env, LD_PRELOAD: givenTime(), GIVEN_TIME: clock },
    });
    const ready = await this.#next();
    if (ready.type !== 'ready') throw new Error(`the program did not start: ${JSON.stringify(ready)}`);
  }

  async run(golden: GoldenDeviceCase): Promise<GoldenDeviceRun> {
    const answer = this.#next();
    this.#child!.send(golden);
    const message = await answer;
    if (message.type === 'run') return message.run;
    throw new Error(message.type === 'failed' ? message.message : 'the program began anew');
  }

  /** Ends what runs inside, and removes it; what an aborted run left, too. Idempotent. */
  down(): void {
    this.#child?.disconnect();
    this.#child = null;
    if (!listNamespaces().includes(this.#namespace)) return;
    for (const pid of processesInside(this.#namespace)) process.kill(pid, 'SIGKILL');
    run('ip', ['netns', 'delete', this.#namespace]);
  }

  async #next(): Promise<FromGoldenDevice> {
    const over = new AbortController();
    try {
      return await Promise.race([
        once(this.#child!, 'message', { signal: over.signal }).then(([message]) => message as FromGoldenDevice),
        once(this.#child!, 'exit', { signal: over.signal }).then(([code]) => {
          throw new Error(`the program ended with ${code}`);
        }),
      ]);
    } finally {
      over.abort();
    }
  }
}
