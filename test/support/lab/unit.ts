/** One Tandem daemon in its namespace: started as an operator would, asked through its CLI, killed as a fault would. */

import { type ChildProcess, execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { ConnectionsPage, CountersStatus, FailoverStatus, MirrorStatus, Status } from '../../../src/api.js';
import { makeIdentity, writeCredentials } from '../../../src/io/pair_credentials.js';
import { monotonicMs, pause } from '../traffic/time.js';
import type { Lab } from './lab.js';
import { processesInside } from './namespaces.js';
import { type PairOptions, pairConfig } from './pair_config.js';
import { repositoryRoot } from './paths.js';
import type { UnitName } from './topology.js';

const launcher = join(repositoryRoot, 'scripts', 'tandem');
const execute = promisify(execFile);
const pollMs = 100;

/** The words of `tandem show ... --json`, and what they print. */
interface Shown {
  readonly connections: ConnectionsPage;
  readonly counters: CountersStatus;
  readonly failover: FailoverStatus;
  readonly mirror: MirrorStatus;
}

/** The command that runs `tandem` with these arguments. */
export type Launch = (args: readonly string[]) => readonly [command: string, ...args: string[]];

export class Unit {
  readonly #lab: Lab;
  readonly configFile: string;
  readonly socket: string;
  /** What outlives the daemon, as /var/lib/tandem would. */
  readonly state: string;
  #child: ChildProcess | null = null;

  readonly #launch: Launch;

  constructor(
    lab: Lab,
    readonly name: UnitName,
    launch: Launch = (args) => [launcher, ...args],
  ) {
    this.#lab = lab;
    this.#launch = launch;
    this.configFile = configFile(lab, name);
    this.socket = join(lab.socketDirectory, `${name}.sock`);
    this.state = stateDirectory(lab, name);
  }

  start(): void {
    const args = ['run', this.configFile, '--unit', this.name, '--socket', this.socket, '--state', this.state];
    const [command, ...rest] = this.#launch(args);
    this.#child = this.#lab.spawn(this.name, `${this.name}.log`, command, rest);
  }

  /** Runs the CLI against this unit; rejects with its message if it fails. */
  async tandem(...args: string[]): Promise<string> {
    const { stdout } = await execute(launcher, [...args, '--socket', this.socket], {
      timeout: 20_000,
      maxBuffer: 1 << 28,
    });
    return stdout;
  }

  async status(): Promise<Status> {
    return JSON.parse(await this.tandem('status', '--json')) as Status;
  }

  async show<What extends keyof Shown>(what: What): Promise<Shown[What]> {
    return JSON.parse(await this.tandem('show', what, '--json')) as Shown[What];
  }

  /** Asks until `ready` is content; rejects with the last answer. */
  async waitUntil(what: string, ready: (status: Status) => boolean, timeoutMs = 20_000): Promise<Status> {
    const until = monotonicMs() + timeoutMs;
    let last = 'it never answered';
    while (monotonicMs() < until) {
      try {
        const status = await this.status();
        if (ready(status)) return status;
        last = JSON.stringify(status);
      } catch (error) {
        last = (error as Error).message.trim();
      }
      const exit = this.#child?.exitCode ?? this.#child?.signalCode ?? null;
      if (exit !== null)
        throw new Error(`unit ${this.name} ended (${exit}) before it was ${what}; see ${this.logFile}`);
      await pause(pollMs);
    }
    throw new Error(`unit ${this.name} was not ${what} within ${timeoutMs} ms; see ${this.logFile}; last: ${last}`);
  }

  get logFile(): string {
    return join(this.#lab.directory, `${this.name}.log`);
  }

  /** The daemon and its failover process die together, without a word. Returns when, on CLOCK_MONOTONIC. */
  kill(): number {
    const pids = processesInside(this.#lab.namespace(this.name));
    const at = monotonicMs();
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    return at;
  }

  /** Asks it to end (SIGTERM) and waits until it has. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }

  reloadBySignal(): void {
    this.#child?.kill('SIGHUP');
  }
}

export interface Pair {
  readonly a: Unit;
  readonly b: Unit;
}

export function writePairConfig(lab: Lab, options: PairOptions): void {
  writeConfig(lab, pairConfig(options));
}

/** Each unit has a copy of its own, as on two hosts. */
export function writeConfig(lab: Lab, text: string): void {
  for (const name of ['a', 'b'] as const) writeFileSync(configFile(lab, name), text);
}

function configFile(lab: Lab, name: UnitName): string {
  return join(lab.directory, `${name}.yaml`);
}

export function stateDirectory(lab: Lab, unit: UnitName): string {
  return join(lab.directory, `state-${unit}`);
}

/** The certificates by which the units know each other, as `tandem pair` leaves them. */
export async function pairUnits(directoryOf: (unit: UnitName) => string): Promise<void> {
  const [a, b] = await Promise.all([makeIdentity('a'), makeIdentity('b')]);
  writeCredentials(directoryOf('a'), { ...a, peerCertificate: b.certificate });
  writeCredentials(directoryOf('b'), { ...b, peerCertificate: a.certificate });
}

/** Both units up: a active, b standby, in sync with each other, every member up. The servers must run already. */
export async function startPair(lab: Lab, options: PairOptions, launch?: Launch): Promise<Pair> {
  writePairConfig(lab, options);
  const pair = { a: new Unit(lab, 'a', launch), b: new Unit(lab, 'b', launch) };
  await pairUnits((unit) => pair[unit].state);
  pair.a.start();
  // Without preemption the first to be able is active: give a the time to be it.
  if (options.preempt === false) await pair.a.waitUntil('active', (status) => hasRole(status, 'active'));
  pair.b.start();
  await Promise.all([
    pair.a.waitUntil('active with all members up and in sync', (status) => isReady(status, 'active')),
    pair.b.waitUntil('standby with all members up and in sync', (status) => isReady(status, 'standby')),
  ]);
  return pair;
}

export function isReady(status: Status, role: 'active' | 'standby'): boolean {
  return (
    hasRole(status, role) &&
    status.members.total > 0 &&
    status.members.up === status.members.total &&
    status.mirror.channel === 'up' &&
    status.mirror.inSync
  );
}

export function hasRole(status: Status, role: Status['trafficGroups'][number]['role']): boolean {
  return status.trafficGroups.length > 0 && status.trafficGroups.every((group) => group.role === role);
}
