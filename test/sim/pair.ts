/**
 * A simulated pair under traffic and faults, and what must hold at every moment of it.
 *
 *   - one active: with the wire between them whole, two units are active together only for a moment
 *   - nothing stale: what the active unit has written is not changed by records of a lower or equal term
 *   - in sync means equal: both ends say so, and the tables differ at most where a change is on its way, or where one
 *     was altered behind the mirror's back and has not been found yet
 *   - no false alarm: without such a fault no digest differs
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
const FAULTS_MS = 10_000;
/** A long lease, three lost adverts in a row, a bulk and the longest backoff fit in. */
const REST_MS = 12_000;
/** At rest for so long it is believed to stay so: a switch back to the primary path and a preemption fit in. */
const RESTED_MS = 3_000;
const LOOK_MS = 250;
/** How long both may be active while adverts pass: until the next ones meet, with some of them lost. */
const CONTEST_MS_MAX = 1_500;
const QUEUE_BYTES_MAX = 2_000;
/** An altered table is found and put right within this while the pair is in sync. */
const FOUND_MS = 12_000;

export class Pair {
  readonly simulator: Simulator;
  /** Of the primary path and the secondary; some pairs have no secondary. */
  readonly links: readonly MirrorLink[];
  readonly units: Readonly<Record<UnitName, SimUnit>>;
  readonly journal: string[] = [];
  #advertsPass = true;
  #advertLoss = 0;
  #traffic = true;
  #contestSince: number | null = null;
  #checks = 0;
  /** Connections that were altered on one unit. */
  readonly #altered = new Set<number>();

  constructor(seed: number) {
    this.simulator = new Simulator(seed);
    const config = this.simulator.chance(0.75) ? CONFIG : ONE_PATH;
    this.links = mirrorsOf(config, 'b').map(() => new MirrorLink(this.simulator));
    const byAddress = new Map(
      mirrorsOf(config, 'b').map((address, index) => [address, this.links[index] as MirrorLink]),
    );
    const unit = (name: UnitName): SimUnit =>
      new SimUnit(name, this.simulator, config, byAddress, (link, advert) => {
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
    // Whatever happened, it comes to rest in time, and stays so under traffic and without.
    let restedAt: number | null = null;
    for (let at = FAULTS_MS; at < FAULTS_MS + REST_MS && !restsFor(restedAt, at); at += LOOK_MS) {
      await simulator.run(at + LOOK_MS, check);
      restedAt = this.#unrest() === null ? (restedAt ?? at) : null;
    }
    this.#traffic = false;
    await simulator.run(simulator.now + 1_000, check);
    this.#checkAlarms();
    const unrest = this.#unrest();
    if (unrest !== null) throw new Error(`at rest ${unrest}`);
    for (const life of this.#lives()) {
      const pending = life.shared().role === 'active' ? life.datapath.pending.size : 0;
      if (pending > 0) throw new Error(`at rest ${pending} changes are pending`);
    }
    // An altered table is found while the pair is at rest, if no bulk of all has put it right before.
    if (this.#altered.size > 0) await simulator.run(simulator.now + FOUND_MS, check);
    this.#altered.clear();
    const difference = this.#differenceInSync();
    if (difference !== null) throw new Error(`at rest: ${difference}`);
  }

  note(what: string): void {
    this.journal.push(`${this.simulator.now.toFixed(1)} ${what}`);
  }

  // ---- traffic and faults

  #scheduleTraffic(): void {
    const { simulator } = this;
    simulator.after(simulator.between(0.2, simulator.chance(0.1) ? 200 : 30), () => {
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
    simulator.after(simulator.between(50, 3_000), () => {
      if (simulator.now >= FAULTS_MS) return;
      this.#fault();
      this.#scheduleFault();
    });
  }

  #fault(): void {
    const { simulator } = this;
    const unit = simulator.chance(0.5) ? this.units.a : this.units.b;
    const forMs = simulator.chance(0.5) ? simulator.between(1, 400) : simulator.between(400, 5_000);
    const path = this.links[simulator.below(this.links.length)] as MirrorLink;
    const faults: readonly (readonly [string, () => unknown])[] = [
      ['one path cut', () => this.#cut([path], forMs)],
      ['every path cut', () => this.#cut(this.links, forMs)],
      ['one path reset', () => path.reset()],
      ['every path reset', () => this.#everyPath((link) => link.reset())],
      ['one path narrow', () => this.#narrow([path], forMs)],
      ['adverts cut', () => this.#cutAdverts(forMs)],
      ['everything cut', () => [this.#cut(this.links, forMs), this.#cutAdverts(forMs)]],
      [`unit ${unit.name} killed`, () => this.#kill(unit, forMs)],
      [`unit ${unit.name} killed while the other is stopped`, () => this.#killWhileStopped(unit, forMs)],
      [`unit ${unit.name} stopped`, () => this.#stop(unit, forMs)],
      [`unit ${unit.name} asleep`, () => unit.life?.sleep(forMs)],
      [`wall clock of unit ${unit.name} steps`, () => unit.life?.stepWallClock(simulator.between(-1e9, 1e9))],
      [`unit ${unit.name} told to stand by`, () => this.#standBy(unit)],
      [`unit ${unit.name} resyncs`, () => unit.life?.whenRunning(() => unit.life?.channel.resync())],
      ['every path narrow', () => this.#narrow(this.links, forMs)],
      ["the standby unit's table altered", () => this.#alter()],
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

  #everyPath(inflict: (link: MirrorLink) => void): void {
    for (const link of this.links) inflict(link);
  }

  #cut(links: readonly MirrorLink[], ms: number): void {
    for (const link of links) {
      link.up = false;
      this.simulator.after(ms, () => {
        link.up = true;
      });
    }
  }

  #cutAdverts(ms: number): void {
    this.#advertsPass = false;
    this.simulator.after(ms, () => {
      this.#advertsPass = true;
    });
  }

  #narrow(links: readonly MirrorLink[], ms: number): void {
    for (const link of links) {
      link.bytesPerMs = 2;
      this.simulator.after(ms, () => {
        link.bytesPerMs = 10_000;
      });
    }
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

  /** Deletes, alters or adds an entry behind the mirror's back. */
  #alter(): void {
    const { simulator } = this;
    const standby = this.#lives().find((life) => life.shared().role === 'standby');
    if (standby === undefined) return;
    const id = simulator.below(CONNECTIONS);
    const { connections } = standby.datapath;
    const known = connections.get(id);
    if (known === undefined) {
      const value = 1 + simulator.below(60_000);
      connections.set(id, {
        value,
        closed: false,
        term: 0,
        incarnation: 0,
        sequence: 0,
        stamp: 0,
        own: false,
        announced: true,
      });
    } else if (simulator.chance(0.5)) {
      connections.delete(id);
    } else {
      known.value = (known.value % 60_000) + 1;
    }
    this.#altered.add(id);
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
    this.#everyPath((link) => {
      link.up = true;
      link.bytesPerMs = 10_000;
    });
    this.#advertsPass = true;
    for (const unit of Object.values(this.units)) {
      this.#start(unit);
      unit.life?.continue();
    }
  }

  // ---- what must hold

  #lives(): Life[] {
    const { a, b } = this.units;
    return [a.life, b.life].filter((life) => life !== null);
  }

  #check(): void {
    this.#checkContest();
    this.#checks += 1;
    if (this.#checks % 64 !== 0) return;
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
      if (this.#altered.has(id)) continue;
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

  /** Why the pair is not at rest: one active, one standing by, in sync. */
  #unrest(): string | null {
    const lives = this.#lives();
    const roles = lives.map((life) => life.shared().role);
    if (!roles.includes('active') || !roles.includes('standby')) return `the units are ${roles.join(' and ')}`;
    for (const life of lives) {
      const { role } = life.shared();
      const { self, peer } = life.channel.inSync;
      if (!self) return `a ${role} unit is not in sync`;
      if (role === 'active' && !peer) return 'the peer is not in sync';
    }
    return null;
  }

  #checkAlarms(): void {
    if (this.#altered.size > 0) return;
    for (const life of this.#lives()) {
      const { told, heard } = life.channel.status().agreements;
      const alarms = [...Object.values(told), ...Object.values(heard)].filter(({ differences }) => differences > 0);
      if (alarms.length > 0) throw new Error('a digest differed although nothing was altered');
    }
  }
}

function restsFor(since: number | null, now: number): boolean {
  return since !== null && now - since >= RESTED_MS;
}

function open(datapath: ModelDatapath, id: number): number | null {
  const connection = datapath.connections.get(id);
  return connection === undefined || connection.closed ? null : connection.value;
}

const links = (unit: number) => ({
  client: { interface: `c${unit}`, addresses: [`10.1.0.${unit}`] },
  server: { interface: `s${unit}`, addresses: [`10.2.0.${unit}`] },
});

const mirror = (unit: number) => ({
  address: `10.9.0.${unit}`,
  port: 3780,
  secondary: { address: `10.8.0.${unit}`, port: 3780 },
});

function mirrorsOf(config: Config, unit: UnitName): string[] {
  const { address, secondary } = config.units[unit].mirror;
  return secondary === undefined ? [address] : [address, secondary.address];
}

const CONFIG: Config = {
  units: {
    a: { links: links(2), mirror: mirror(1) },
    b: { links: links(3), mirror: mirror(2) },
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

export const ONE_PATH: Config = {
  ...CONFIG,
  units: {
    a: { ...CONFIG.units.a, mirror: { ...mirror(1), secondary: undefined } },
    b: { ...CONFIG.units.b, mirror: { ...mirror(2), secondary: undefined } },
  },
};
