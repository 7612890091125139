/**
 * Runs the monitors of all pools: timers and probes around `src/monitor/monitor.ts`. Each unit monitors by itself,
 * active or standby.
 *
 * At most PROBES_MAX probes run at once; one that has to wait is late, not failed, and is counted. A reload keeps what
 * is known of every member that stays, and a changed monitor begins from the member's present health, so that a
 * reload takes no working member out.
 */

import { EventEmitter } from 'node:events';

import type { MemberConfig, MonitorConfig, PoolConfig } from '../config/model.js';
import {
  type Action,
  deadline,
  type Health,
  type Input,
  initial,
  type MonitorState,
  spreadMs,
  step,
} from '../monitor/monitor.js';
import { formatEndpoint } from '../wire/ip_address.js';
import { httpProbe } from './http_probe.js';
import { IcmpProber } from './icmp_probe.js';
import type { Probe, ProbeAnswer, ProbeTarget } from './probe.js';
import { tcpProbe } from './tcp_probe.js';

export interface MemberHealth {
  readonly pool: string;
  readonly address: string;
  readonly port: number;
  /** Whether it may be given new connections, its weight aside. */
  readonly up: boolean;
  /** `unknown`: its monitor has not decided yet; not up. */
  readonly health: Health;
  /** The monitor's last answer in words, or why there is none. */
  readonly reason: string;
  /** When `health` last changed. */
  readonly since: Date;
}

interface Events {
  /** A member went up or down, by its monitor or by a reload; also when a new one is found down. */
  member: [member: MemberHealth];
}

/** Well below the descriptors a process has, far above what a thousand working members need. */
const PROBES_MAX = 256;

interface Monitored {
  readonly pool: string;
  readonly address: string;
  readonly port: number;
  monitor: MonitorConfig | null;
  administrativelyDown: boolean;
  state: MonitorState;
  timer: NodeJS.Timeout | null;
  running: AbortController | null;
  /** As last told, and when that was. */
  health: Health;
  since: Date;
}

export type Probes = Readonly<Record<MonitorConfig['type'], Probe>>;

export class MonitorRunner extends EventEmitter<Events> {
  readonly #icmp = new IcmpProber();
  readonly #probes: Probes;
  readonly #members = new Map<string, Monitored>();
  /** Whose time has come, in the order of it. */
  #ready: Monitored[] = [];
  #runningCount = 0;
  #lateCount = 0;

  constructor(probes?: Probes) {
    super();
    this.#probes = probes ?? { tcp: tcpProbe, http: httpProbe, icmp: this.#icmp.probe };
  }

  /** Probes that had to wait for a slot since the start. */
  get lateCount(): number {
    return this.#lateCount;
  }

  start(pools: readonly PoolConfig[]): void {
    this.update(pools);
  }

  /** The pools are now these. Emits for members that go up or down by it; new ones are in states(). */
  update(pools: readonly PoolConfig[]): void {
    const monitored = pools.reduce((sum, pool) => sum + (pool.monitor === null ? 0 : pool.members.length), 0);
    const wanted = new Set<string>();
    for (const pool of pools) {
      for (const member of pool.members) {
        const key = `${pool.name} ${formatEndpoint(member.address, member.port)}`;
        wanted.add(key);
        const known = this.#members.get(key);
        if (known === undefined) this.#members.set(key, this.#begin(pool, member, monitored));
        else this.#adopt(known, pool, member, monitored);
      }
    }
    for (const [key, member] of this.#members) {
      if (wanted.has(key)) continue;
      this.#rest(member);
      this.#members.delete(key);
    }
  }

  stop(): void {
    for (const member of this.#members.values()) this.#rest(member);
    this.#members.clear();
    this.#ready = [];
    this.#icmp.close();
  }

  states(): MemberHealth[] {
    return [...this.#members.values()].map(describe);
  }

  // ---------------------------------------------------------------------------------------- members

  #begin(pool: PoolConfig, member: MemberConfig, monitored: number): Monitored {
    const now = performance.now();
    const begun: Monitored = {
      pool: pool.name,
      address: member.address,
      port: member.port,
      monitor: pool.monitor,
      administrativelyDown: member.state === 'down',
      state: initial(now, firstDelayMs(pool.monitor, monitored)),
      timer: null,
      running: null,
      health: 'unknown',
      since: new Date(),
    };
    begun.health = healthOf(begun);
    this.#arm(begun);
    return begun;
  }

  #adopt(member: Monitored, pool: PoolConfig, config: MemberConfig, monitored: number): void {
    const administrativelyDown = config.state === 'down';
    const sameMonitor = JSON.stringify(member.monitor) === JSON.stringify(pool.monitor);
    if (sameMonitor && administrativelyDown === member.administrativelyDown) return;

    const health = administrativelyDown || member.administrativelyDown ? 'unknown' : healthOf(member);
    this.#rest(member);
    member.monitor = pool.monitor;
    member.administrativelyDown = administrativelyDown;
    const delayMs = firstDelayMs(pool.monitor, monitored);
    member.state = initial(performance.now(), delayMs, health, 'not probed since the config changed');
    this.#arm(member);
    this.#tell(member);
  }

  #tell(member: Monitored): void {
    const health = healthOf(member);
    if (health === member.health) return;
    member.health = health;
    member.since = new Date();
    // From down by config to unknown: nothing to act on until the monitor decides.
    if (health !== 'unknown') this.emit('member', describe(member));
  }

  // ----------------------------------------------------------------------------------------- probes

  #arm(member: Monitored): void {
    if (member.timer !== null) clearTimeout(member.timer);
    member.timer = null;
    if (member.monitor === null || member.administrativelyDown) return;
    const wait = Math.max(0, Math.ceil(deadline(member.state) - performance.now()));
    member.timer = setTimeout(() => this.#onDeadline(member), wait);
  }

  #onDeadline(member: Monitored): void {
    member.timer = null;
    if (member.state.probe.name === 'running') {
      this.#advance(member, { type: 'timeout' });
    } else if (this.#runningCount < PROBES_MAX) {
      this.#advance(member, { type: 'start' });
    } else {
      this.#lateCount++;
      this.#ready.push(member);
    }
  }

  #advance(member: Monitored, input: Input): void {
    if (member.monitor === null) return;
    const { state, actions } = step(member.monitor, member.state, input, performance.now());
    member.state = state;
    // The timer first: whoever hears of the change may stop or update this runner.
    this.#arm(member);
    for (const action of actions) this.#carryOut(member, member.monitor, action);
  }

  #carryOut(member: Monitored, monitor: MonitorConfig, action: Action): void {
    switch (action.type) {
      case 'probe':
        void this.#run(member, monitor);
        return;
      case 'cancel':
        member.running?.abort();
        return;
      case 'up':
      case 'down':
        this.#tell(member);
        return;
    }
  }

  async #run(member: Monitored, monitor: MonitorConfig): Promise<void> {
    const running = new AbortController();
    member.running = running;
    this.#runningCount++;
    const target = { address: member.address, port: monitor.port ?? member.port, monitor };
    const answer = await this.#ask(target, monitor, running.signal);
    this.#runningCount--;
    this.#startNext();
    // Given up or no longer wanted: the member may be on its next probe already.
    if (running.signal.aborted) return;
    member.running = null;
    this.#advance(member, { type: 'answer', ...answer });
  }

  /** A path or host that Node.js refuses to send throws: the member fails, the unit does not. */
  async #ask(target: ProbeTarget, monitor: MonitorConfig, signal: AbortSignal): Promise<ProbeAnswer> {
    try {
      return await this.#probes[monitor.type](target, signal);
    } catch (error) {
      return { ok: false, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  #startNext(): void {
    const next = this.#ready.shift();
    if (next !== undefined) this.#advance(next, { type: 'start' });
  }

  /** No timer, no probe, no place in the line. */
  #rest(member: Monitored): void {
    if (member.timer !== null) clearTimeout(member.timer);
    member.timer = null;
    this.#ready = this.#ready.filter((waiting) => waiting !== member);
    member.running?.abort();
    member.running = null;
  }
}

function firstDelayMs(monitor: MonitorConfig | null, monitored: number): number {
  return monitor === null ? 0 : Math.random() * spreadMs(monitored, monitor.intervalMs);
}

/** What the config says comes first; a member without a monitor is always up. */
function healthOf(member: Monitored): Health {
  if (member.administrativelyDown) return 'down';
  return member.monitor === null ? 'up' : member.state.health;
}

function reasonOf(member: Monitored): string {
  if (member.administrativelyDown) return 'down by config';
  return member.monitor === null ? 'no monitor' : member.state.reason;
}

function describe(member: Monitored): MemberHealth {
  const { pool, address, port, health, since } = member;
  return { pool, address, port, up: health === 'up', health, reason: reasonOf(member), since };
}
