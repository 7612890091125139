/**
 * The daemon's side of the failover process: forks it, tells it what to do, hears from it, and starts it
 * again when it dies. What was configured and told is kept, so a new process is told all of it; it begins
 * as backup, and not in sync where the one before it was active.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { fileURLToPath } from 'node:url';

import type { SharedStateHandle } from '../datapath.js';
import type {
  AdvertLateness,
  FailoverConfiguration,
  FailoverCounts,
  Fault,
  FromFailover,
  GroupCondition,
  RoleReport,
  ToFailover,
  VirtualRouterReport,
} from '../failover/messages.js';

interface FailoverChildEvents {
  /** The process runs and has been told everything that was told before. */
  ready: [];
  role: [RoleReport];
  carrier: [{ readonly link: string; readonly up: boolean }];
  counters: [];
  fault: [Fault];
  takeOverRefused: [{ readonly group: string }];
  /** The process died and will be started again; until then nobody extends the leases. */
  gone: [];
}

export interface FailoverChildOptions {
  /** The compiled entry point, `dist/io/failover_process.js`. */
  readonly entry?: string;
  /** Command and arguments that run the entry point; the default is this Node. A lab puts `ip netns exec` here. */
  readonly command?: readonly [string, ...string[]];
}

const ENTRY = fileURLToPath(new URL('./failover_process.js', import.meta.url));

const RESTART_MS_MIN = 200;
const RESTART_MS_MAX = 5_000;
/** A process that lived so long did not die of how it was started. */
const STEADY_MS = 10_000;
/** The hand-over itself lasts up to 1 s; the process's answer may be a little late. */
const HAND_OVER_MS = 1_000;
const STOP_MS = 500;

export class FailoverChild extends EventEmitter<FailoverChildEvents> {
  readonly #sharedState: SharedStateHandle;
  readonly #entry: string;
  readonly #command: readonly [string, ...string[]];
  #child: ChildProcess | null = null;
  #configuration: FailoverConfiguration | null = null;
  readonly #conditions = new Map<string, GroupCondition>();
  readonly #terms = new Map<string, { readonly term: number; readonly peerActive: boolean }>();
  readonly #handOvers = new Map<string, (seen: boolean) => void>();
  readonly #active = new Set<string>();
  #counts: FailoverCounts = {};
  #lateness: AdvertLateness | null = null;
  #virtualRouters: readonly VirtualRouterReport[] = [];
  #restart: NodeJS.Timeout | null = null;
  #restartMs = RESTART_MS_MIN;
  #startedAt = 0;
  #stopping = false;

  constructor(
    sharedState: SharedStateHandle,
    { entry = ENTRY, command = [process.execPath] }: FailoverChildOptions = {},
  ) {
    super();
    this.#sharedState = sharedState;
    this.#entry = entry;
    this.#command = command;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** As last told, once a second. */
  get counts(): FailoverCounts {
    return this.#counts;
  }

  get lateness(): AdvertLateness | null {
    return this.#lateness;
  }

  get virtualRouters(): readonly VirtualRouterReport[] {
    return this.#virtualRouters;
  }

  start(): void {
    this.#stopping = false;
    this.#fork();
  }

  /** What the groups are; at run time too: groups that are still there keep their state. */
  configure(configuration: FailoverConfiguration): void {
    this.#configuration = configuration;
    this.#send({ type: 'configure', configuration });
  }

  condition(group: string, condition: GroupCondition): void {
    this.#conditions.set(group, condition);
    this.#send({ type: 'condition', group, ...condition });
  }

  /** Of the peer's hello: the highest term it has seen, and whether it is active. */
  termSeen(group: string, term: number, peerActive: boolean): void {
    this.#terms.set(group, { term, peerActive });
    this.#send({ type: 'term-seen', group, term, peerActive });
  }

  /** Resolves true when the peer's advert was seen, false when there was none within 1 s. */
  handOver(group: string): Promise<boolean> {
    this.#handOvers.get(group)?.(false);
    return new Promise((resolve) => {
      const finish = (seen: boolean) => {
        clearTimeout(timer);
        if (this.#handOvers.get(group) === finish) this.#handOvers.delete(group);
        resolve(seen);
      };
      const timer = setTimeout(() => finish(false), HAND_OVER_MS);
      this.#handOvers.set(group, finish);
      this.#send({ type: 'hand-over', group });
    });
  }

  /** The peer's kernel ended the mirror channel: one silent interval is enough to take over. */
  peerClosed(group: string): void {
    this.#send({ type: 'peer-closed', group });
  }

  /** The peer hands over: active at once, without waiting for the skew time. */
  takeOver(group: string): void {
    this.#send({ type: 'take-over', group });
  }

  /** Ends what a hand-over began: the unit's own priority counts again. */
  release(group: string): void {
    this.#send({ type: 'release', group });
  }

  /** Ends the channel as the daemon's death does: the process resigns and exits by itself. */
  disconnect(): void {
    this.#stopping = true;
    if (this.#child?.connected) this.#child.disconnect();
  }

  /** The process resigns and exits; killed if it does not. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    for (const finish of [...this.#handOvers.values()]) finish(false);
    const child = this.#child;
    if (child === null) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#send({ type: 'shutdown' });
    const killer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(killer);
  }

  #fork(): void {
    this.#restart = null;
    this.#startedAt = performance.now();
    const [execPath, ...execArgv] = this.#command;
    const child = fork(this.#entry, [], {
      execPath,
      execArgv,
      // 3 is the IPC channel, 4 the shared state: the numbers that the entry point expects.
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', this.#sharedState.fd],
    });
    this.#child = child;
    child.on('message', (message) => this.#receive(message as FromFailover));
    child.once('error', (error) => {
      // An error after the start is followed by `exit`; one instead of the start is not.
      if (child.pid === undefined) this.#onExit(child, error.message);
    });
    child.once('exit', (code, signal) => this.#onExit(child, signal ?? `code ${code}`));
  }

  #onExit(child: ChildProcess, how: string): void {
    if (this.#child !== child) return;
    this.#child = null;
    if (this.#stopping) return;
    // Its lease is running out; when the new process is there, the peer may be active and ahead of us.
    for (const group of this.#active) {
      const told = this.#conditions.get(group);
      if (told !== undefined) this.#conditions.set(group, { ...told, inSync: false });
    }
    this.#active.clear();
    for (const finish of [...this.#handOvers.values()]) finish(false);
    if (performance.now() - this.#startedAt >= STEADY_MS) this.#restartMs = RESTART_MS_MIN;
    this.#emitFault(
      'failover_process',
      `the failover process ended (${how}); it is started again in ${this.#restartMs} ms`,
    );
    this.#restart = setTimeout(() => this.#fork(), this.#restartMs);
    this.#restartMs = Math.min(RESTART_MS_MAX, 2 * this.#restartMs);
    this.emit('gone');
  }

  #receive(message: FromFailover): void {
    switch (message.type) {
      case 'ready':
        this.#tellAll();
        this.emit('ready');
        return;
      case 'role': {
        const { type: _, ...report } = message;
        if (report.role === 'active') this.#active.add(report.group);
        else this.#active.delete(report.group);
        this.emit('role', report);
        return;
      }
      case 'peer-took-over':
        this.#handOvers.get(message.group)?.(true);
        return;
      case 'take-over-refused':
        this.emit('takeOverRefused', { group: message.group });
        return;
      case 'carrier':
        this.emit('carrier', { link: message.link, up: message.up });
        return;
      case 'counters':
        this.#counts = message.counts;
        this.#lateness = message.lateness;
        this.#virtualRouters = message.virtualRouters;
        this.emit('counters');
        return;
      case 'fault':
        this.#emitFault(message.code, message.message);
        return;
    }
  }

  #tellAll(): void {
    if (this.#configuration !== null) this.#send({ type: 'configure', configuration: this.#configuration });
    for (const [group, condition] of this.#conditions) this.#send({ type: 'condition', group, ...condition });
    for (const [group, seen] of this.#terms) this.#send({ type: 'term-seen', group, ...seen });
  }

  #emitFault(code: string, message: string): void {
    this.emit('fault', { code, message });
  }

  #send(message: ToFailover): void {
    const child = this.#child;
    // While there is no process, what is lasting is told to the next one. A channel that just broke is told by `exit`.
    if (child?.connected) child.send(message, () => {});
  }
}
