/**
 * A simulated pair under traffic and faults, and what must hold at every moment of it.
 *
 *   - one active: with the wire between them whole, two units are active together only for a moment
 *   - nothing stale: what the active unit has written is not changed by records of a lower or equal term
 *   - in sync means equal: both ends say so, and the tables differ at most where a change is on its way
 *   - bounds: what is sent and not acked stays below queueBytesMax
 *   - no stall: after the last fault the pair comes to rest, one active, in sync, tables equal
 */

import type { Config, UnitName } from '../../src/config/model.js';
import { UNACKED_BATCHES_MAX } from '../../src/mirror/state.js';
import { MirrorLink } from './mirror_link.js';
import type { ModelDatapath } from './model_datapath.js';
import { type Life, SimUnit } from './sim_unit.js';
import { Simulator } from './simulator.js';

const CONNECTIONS = 120;
const FAULTS_MS = 15_000;
/** A long lease, three lost adverts in a row, a bulk and the longest backoff fit in. */
const REST_MS = 12_000;
/** How long both may be active while adverts pass: until the next ones meet, with some of them lost. */
const CONTEST_MS_MAX = 1_500;
const QUEUE_BYTES_MAX = 2_000;

export class Pair {
  readonly simulator: Simulator;
  readonly link: MirrorLink;
  readonly units: Readonly<Record<UnitName, SimUnit>>;
  readonly journal: string[] = [];
  #advertsPass = true;
  #advertLoss = 0;
  #traffic = true;
  #contestSince: number | null = null;
  #checks = 0;

  constructor(seed: number) {
    this.simulator = new Simulator(seed);
    this.link = new MirrorLink(this.simulator);
    const unit = (name: UnitName): SimUnit =>
      new SimUnit(name, this.simulator, CONFIG, this.link, (link, advert) => {
        if (!this.#advertsPass || this.simulator.chance(this.#advertLoss)) return;
        const copies = this.simulator.chance(0.05) ? 2 : 1;
        const to = name === 'a' ? 'b' : 'a';
        for (let copy = 0; copy < copies; copy += 1) {
          this.simulator.after(this.simulator.between(0.05, this.simulator.chance(0.05) ? 30 : 2), () =>
            this.units[to].life?.receiveAdvert(CONFIG.units[to].links[link]?.interface ?? '', advert),
          );
        }
      });
    this.units = { a: unit('a'), b: unit('b') };
  }

  async run(): Promise<void> {
    const { simulator } = this;
    for (const unit of Object.values(this.units)) simulator.after(simulator.between(0, 3_000), () => this.#start(unit));
    this.#advertLoss = simulator.chance(0.5) ? simulator.between(0, 0.1) : 0;
    this.#scheduleTraffic();
    this.#scheduleFault();
    const check = (): void => this.#check();
    await simulator.run(FAULTS_MS, check);
    this.#heal();
    await simulator.run(FAULTS_MS + REST_MS, check);
    this.#traffic = false;
    await simulator.run(FAULTS_MS + REST_MS + 1_000, check);
    this.#checkRest();
  }

  note(what: string): void {
    this.journal.push(`${this.simulator.now.toFixed(1)} ${what}`);
  }

  // ---- traffic and faults

  #scheduleTraffic(): void {
    const { simulator } = this;
    simulator.after(simulator.between(0.2, simulator.chance(0.1) ? 200 : 20), () => {
      if (!this.#traffic) return;
      for (const life of this.#lives()) if (life.serves) this.#touch(life.datapath);
      this.#scheduleTraffic();
    });
  }

  #touch(datapath: ModelDatapath): void {
    const { simulator } = this;
    for (let times = simulator.below(simulator.chance(0.1) ? 40 : 4); times >= 0; times -= 1) {
      const id = simulator.below(CONNECTIONS);
      const value = 1 + simulator.below(60_000);
      if (simulator.chance(0.5)) datapath.open(id, value);
      else if (simulator.chance(0.6)) datapath.change(id, value);
      else datapath.close(id);
    }
  }

  #scheduleFault(): void {
    const { simulator } = this;
    simulator.after(simulator.between(50, 4_000), () => {
      if (simulator.now >= FAULTS_MS) return;
      this.#fault();
      this.#scheduleFault();
    });
  }

  #fault(): void {
    const { simulator } = this;
    const unit = simulator.chance(0.5) ? this.units.a : this.units.b;
    const forMs = simulator.chance(0.5) ? simulator.between(1, 400) : simulator.between(400, 5_000);
    const faults: readonly (readonly [string, () => unknown])[] = [
      ['mirror link cut', () => this.#cutMirror(forMs)],
      ['mirror connections reset', () => this.link.reset()],
      ['adverts cut', () => this.#cutAdverts(forMs)],
      ['everything cut', () => [this.#cutMirror(forMs), this.#cutAdverts(forMs)]],
      [`unit ${unit.name} killed`, () => this.#kill(unit, forMs)],
      [`unit ${unit.name} killed while the other is stopped`, () => this.#killWhileStopped(unit, forMs)],
      [`unit ${unit.name} stopped`, () => this.#stop(unit, forMs)],
      [`unit ${unit.name} told to stand by`, () => this.#standBy(unit)],
      [`unit ${unit.name} resyncs`, () => unit.life?.whenRunning(() => unit.life?.channel.resync())],
      ['mirror link narrow', () => this.#narrow(forMs)],
    ];
    const [name, inflict] = faults[simulator.below(faults.length)] as (typeof faults)[number];
    this.note(`${name} (${forMs.toFixed(0)} ms)`);
    inflict();
  }

  #start(unit: SimUnit): void {
    if (unit.life !== null) return;
    unit.start();
    const other = unit.name === 'a' ? this.units.b : this.units.a;
    const datapath = unit.life === null ? null : (unit.life as Life).datapath;
    if (datapath === null) return;
    datapath.onApplied = (id, sequence) => {
      const flying = other.life?.datapath.flying;
      if ((flying?.get(id) ?? Number.POSITIVE_INFINITY) <= sequence) flying?.delete(id);
    };
  }

  #cutMirror(ms: number): void {
    this.link.up = false;
    this.simulator.after(ms, () => {
      this.link.up = true;
    });
  }

  #cutAdverts(ms: number): void {
    this.#advertsPass = false;
    this.simulator.after(ms, () => {
      this.#advertsPass = true;
    });
  }

  #narrow(ms: number): void {
    this.link.bytesPerMs = 2;
    this.simulator.after(ms, () => {
      this.link.bytesPerMs = 10_000;
    });
  }

  #kill(unit: SimUnit, ms: number): void {
    unit.kill();
    this.simulator.after(ms, () => this.#start(unit));
  }

  /** It starts again, and is active for a while, before the other can take over or say what it knows. */
  #killWhileStopped(unit: SimUnit, ms: number): void {
    this.#stop(unit === this.units.a ? this.units.b : this.units.a, 800 + ms);
    this.#kill(unit, this.simulator.between(1, 300));
  }

  #stop(unit: SimUnit, ms: number): void {
    unit.life?.stop(ms);
  }

  #standBy(unit: SimUnit): void {
    const { life } = unit;
    life?.whenRunning(() => {
      // Refused when the peer is not in sync; that is an answer, not a fault.
      life.balancer.standby(null, false).catch(() => undefined);
      this.simulator.after(3_000, () =>
        life.whenRunning(() => void life.balancer.release(null).catch(() => undefined)),
      );
    });
  }

  #heal(): void {
    this.note('healed');
    this.link.up = true;
    this.link.bytesPerMs = 10_000;
    this.#advertsPass = true;
    for (const unit of Object.values(this.units)) {
      this.#start(unit);
      unit.life?.continue();
    }
  }

  // ---- what must hold

  #lives(): Life[] {
    return Object.values(this.units).flatMap(({ life }) => (life === null ? [] : [life]));
  }

  #check(): void {
    this.#checkContest();
    this.#checks += 1;
    if (this.#checks % 16 !== 0) return;
    for (const life of this.#lives()) {
      const { queueBytes, queueBatches } = life.channel.status();
      if (queueBytes > QUEUE_BYTES_MAX) throw new Error(`${queueBytes} bytes wait for an ack`);
      if (queueBatches > UNACKED_BATCHES_MAX) throw new Error(`${queueBatches} batches wait for an ack`);
    }
    const difference = this.#differenceInSync();
    if (difference !== null) throw new Error(difference);
  }

  #checkContest(): void {
    const contest = this.#advertsPass && this.#lives().filter(({ serves }) => serves).length > 1;
    if (!contest) {
      this.#contestSince = null;
      return;
    }
    this.#contestSince ??= this.simulator.now;
    if (this.simulator.now - this.#contestSince > CONTEST_MS_MAX) throw new Error('both units stay active');
  }

  /** Where tables differ although both ends say "in sync" and nothing about it is on its way. */
  #differenceInSync(): string | null {
    const active = this.#lives().find((life) => life.shared().role === 'active');
    const standby = this.#lives().find((life) => life.shared().role === 'standby');
    if (active === undefined || standby === undefined) return null;
    if (!active.channel.inSync.peer || !standby.channel.inSync.self) return null;
    // For the moment between a takeover and the news of it, "in sync" is said of the roles before.
    if (!this.#knowsPeer(active, standby) || !this.#knowsPeer(standby, active)) return null;
    for (let id = 0; id < CONNECTIONS; id += 1) {
      if (active.datapath.pending.has(id) || active.datapath.flying.has(id)) continue;
      const here = open(active.datapath, id);
      const there = open(standby.datapath, id);
      if (here !== there) return `in sync, and connection ${id} is ${here} on one unit and ${there} on the other`;
    }
    return null;
  }

  #knowsPeer(life: Life, peer: Life): boolean {
    const known = life.balancer.roles()[0];
    if (known?.role !== life.shared().role || known.term !== life.shared().term) return false;
    const told = life.channel.status().peer?.groups[0];
    const { role, term } = peer.shared();
    // A standby names the highest term it knows of, and it may be on its way.
    return told?.role === role && (role === 'standby' || told.term === term);
  }

  #checkRest(): void {
    const { a, b } = this.units;
    const roles = [a.life?.shared().role, b.life?.shared().role];
    const settled = roles.includes('active') && roles.includes('standby');
    if (!settled) throw new Error(`at rest the units are ${roles.join(' and ')}`);
    for (const life of this.#lives()) {
      const { inSync, pendingAt } = { inSync: life.channel.inSync, pendingAt: life.datapath.pending.size };
      if (!inSync.self) throw new Error(`at rest a ${life.shared().role} unit is not in sync`);
      if (life.shared().role === 'active' && !inSync.peer) throw new Error('at rest the peer is not in sync');
      if (life.shared().role === 'active' && pendingAt > 0) throw new Error(`at rest ${pendingAt} changes are pending`);
    }
    const difference = this.#differenceInSync();
    if (difference !== null) throw new Error(`at rest: ${difference}`);
  }
}

function open(datapath: ModelDatapath, id: number): number | null {
  const connection = datapath.connections.get(id);
  return connection === undefined || connection.closed ? null : connection.value;
}

const links = (unit: number) => ({
  client: { interface: `c${unit}`, addresses: [`10.1.0.${unit}`] },
  server: { interface: `s${unit}`, addresses: [`10.2.0.${unit}`] },
});

export const CONFIG: Config = {
  units: {
    a: { links: links(2), mirror: { address: '10.9.0.1', port: 3780 } },
    b: { links: links(3), mirror: { address: '10.9.0.2', port: 3780 } },
  },
  links: ['client', 'server'],
  trafficGroups: [
    {
      name: 'main',
      virtualRouterId: 51,
      priority: { a: 150, b: 100 },
      preempt: true,
      preemptDelayS: 0,
      demotion: { notInSync: 100, pools: {} },
      advertIntervalMs: 100,
      checksum: 'pseudo-header',
      floating: { client: ['10.1.0.1'], server: ['10.2.0.1'] },
    },
  ],
  pools: [],
  virtualServers: [],
  datapath: { workers: 1, connections: 1_000, device: 'packet', wait: 'poll' },
  mirror: { maxDelayMs: 5, queueBytesMax: QUEUE_BYTES_MAX, keepaliveMs: 200, plaintext: true },
};
