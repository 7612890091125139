/**
 * keepalived in the place of unit b of the failover lab: one VRRP instance on the client link, in one family. What it
 * says of its state is read from its log.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { FailoverLab } from '../failover_lab.js';
import { runInside } from '../lab/namespaces.js';

export interface Instance {
  readonly family: 4 | 6;
  readonly virtualRouterId: number;
  readonly priority: number;
  readonly preempt: boolean;
  /** Of the other link: lost, the priority falls by so much. */
  readonly trackedWeight?: number;
  /** In the order in which adverts list them. */
  readonly addresses: readonly string[];
}

export type KeepalivedState = 'BACKUP' | 'MASTER' | 'FAULT';

/** It ends by itself if the test that started it could not. */
const LIFE_S_MAX = 60;
const PATIENCE_MS = 10_000;

/** Why it cannot be run here, or null. */
export function whyNoKeepalived(): string | null {
  try {
    execFileSync('keepalived', ['--version'], { stdio: 'ignore' });
    return null;
  } catch {
    return 'keepalived is not installed: run scripts/setup';
  }
}

export class Keepalived {
  readonly #lab: FailoverLab;
  readonly #directory: string;
  #child: ChildProcess | null = null;
  #log = '';
  #starts = 0;

  constructor(lab: FailoverLab, directory: string) {
    this.#lab = lab;
    this.#directory = directory;
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
  }

  start(instance: Instance): void {
    // One that was killed leaves its pid files, and the next would take them for a keepalived that runs.
    this.#starts++;
    writeFileSync(this.#file('conf'), configText(instance));
    const pidFiles = (['pid', 'vrrp_pid', 'checkers_pid', 'bfd_pid'] as const).map(
      (name) => `--${name}=${this.#file(name)}`,
    );
    const options = ['--dont-fork', '--log-console', '--no-syslog', '--log-detail', '--vrrp', ...pidFiles];
    const command = ['keepalived', ...options, `--use-file=${this.#file('conf')}`];
    const inside = ['netns', 'exec', this.#lab.namespace('b')];
    this.#log = '';
    const child = spawn('ip', [...inside, 'timeout', '--kill-after=1', String(LIFE_S_MAX), ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (this.#log += String(text)));
    this.#child = child;
  }

  get log(): string {
    return this.#log;
  }

  /** The last that it said it entered. */
  get state(): KeepalivedState | null {
    const found = [...this.#log.matchAll(/Entering (BACKUP|MASTER|FAULT) STATE/g)].at(-1)?.[1];
    return (found as KeepalivedState | undefined) ?? null;
  }

  async until(what: string, holds: (one: this) => boolean): Promise<void> {
    const began = performance.now();
    while (!holds(this)) {
      if (performance.now() - began > PATIENCE_MS) throw new Error(`keepalived: not ${what}; its log:\n${this.#log}`);
      await delay(5);
    }
  }

  enters(state: KeepalivedState): Promise<void> {
    return this.until(`in state ${state}`, (one) => one.state === state);
  }

  /** The addresses that its kernel has now. */
  holds(address: string): boolean {
    return runInside(this.#lab.namespace('b'), 'ip', ['-brief', 'address']).includes(`${address}/`);
  }

  /** SIGTERM: it sends priority 0 if it is master. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }

  /** SIGKILL of both of its processes: no word, and its addresses stay on its kernel. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null) return;
    const exited = once(child, 'exit');
    for (const name of ['pid', 'vrrp_pid']) process.kill(Number(readFileSync(this.#file(name), 'utf8')), 'SIGKILL');
    await exited;
  }

  #file(name: string): string {
    return join(this.#directory, `${this.#starts}.${name}`);
  }
}

function configText({ family, virtualRouterId, priority, preempt, trackedWeight, addresses }: Instance): string {
  const length = family === 4 ? 24 : 64;
  return `global_defs {
  vrrp_version 3
  vrrp_garp_master_repeat 2
}
vrrp_instance one {
  interface b-client
  ${family === 6 ? 'native_ipv6' : ''}
  state BACKUP
  virtual_router_id ${virtualRouterId}
  priority ${priority}
  advert_int 0.1
  ${preempt ? '' : 'nopreempt'}
  ${trackedWeight === undefined ? '' : `track_interface { b-server weight ${trackedWeight} }`}
  virtual_ipaddress {
    ${addresses.map((address) => `${address}/${length} dev b-client`).join('\n    ')}
  }
}
`;
}
