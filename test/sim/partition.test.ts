/**
 * Goal: after a partition in which both units were active, connections of either go on where their tuples do not clash.
 * Method: cut the adverts, with the mirror link or without, for as long as both forward; open connections on each, and
 * some on both; let them meet, and look at every moment whether anything was dropped that the other did not have.
 */

import { describe, expect, test } from 'vitest';

import type { UnitName } from '../../src/config/model.js';
import { MirrorLink } from './mirror_link.js';
import { ONE_PATH } from './pair.js';
import { type Life, SimUnit } from './sim_unit.js';
import { Simulator } from './simulator.js';

const SETTLED_MS = 6_000;
const CUT_MS = 30_000;
const MEET_MS_MAX = 1_000;
/** Backoff, hello, and bulks both ways. */
const AGREED_MS = 8_000;

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);
const before = range(0, 20);
const onA = range(20, 40);
const onB = range(40, 60);
const onBoth = range(60, 65);

class Partition {
  readonly simulator: Simulator;
  readonly link: MirrorLink;
  readonly units: Readonly<Record<UnitName, SimUnit>>;
  apart = false;

  constructor(seed: number) {
    this.simulator = new Simulator(seed);
    this.link = new MirrorLink(this.simulator);
    const links = new Map([[ONE_PATH.units.b.mirror.address, this.link]]);
    const unit = (name: UnitName) =>
      new SimUnit(name, this.simulator, ONE_PATH, links, (link, advert) => {
        if (this.apart) return;
        const to = name === 'a' ? 'b' : 'a';
        this.simulator.after(this.simulator.between(0.05, 2), () =>
          this.units[to].life?.receiveAdvert(ONE_PATH.units[to].links[link]?.interface ?? '', advert),
        );
      });
    this.units = { a: unit('a'), b: unit('b') };
    for (const one of Object.values(this.units)) one.start();
  }

  life(name: UnitName): Life {
    const { life } = this.units[name];
    if (life === null) throw new Error(`unit ${name} is dead`);
    return life;
  }

  roles(): string {
    return `${this.life('a').shared().role} ${this.life('b').shared().role}`;
  }

  has(name: UnitName, id: number): boolean {
    return this.life(name).datapath.connections.get(id)?.closed === false;
  }
}

describe.each([
  { what: 'adverts and mirror link cut', mirror: false },
  { what: 'adverts alone cut', mirror: true },
])('$what', ({ mirror }) => {
  test.each(range(1, 26))('seed %i: one is active within a second, and both hold everything', async (seed) => {
    const pair = new Partition(seed);
    const { simulator, link } = pair;
    await simulator.run(SETTLED_MS, () => undefined);
    expect(pair.roles()).toBe('active standby');
    const [a, b] = [pair.life('a').datapath, pair.life('b').datapath];
    for (const id of before) a.open(id, 1);
    await simulator.run(SETTLED_MS + 500, () => undefined);

    pair.apart = true;
    link.up = mirror;
    await simulator.run(SETTLED_MS + CUT_MS, () => undefined);
    expect(pair.roles()).toBe('active active');
    for (const id of onA) a.open(id, 2);
    for (const id of onB) b.open(id, 3);
    for (const id of onBoth) {
      a.open(id, 4);
      b.open(id, 5);
    }
    await simulator.run(SETTLED_MS + CUT_MS + 10, () => undefined);

    pair.apart = false;
    link.up = true;
    const metAt = simulator.now;
    const lost = new Set<number>();
    const look = () => {
      for (const id of [...before, ...onA]) if (!pair.has('a', id)) lost.add(id);
      for (const id of onB) if (!pair.has('b', id)) lost.add(id);
    };
    await simulator.run(metAt + MEET_MS_MAX, look);
    expect([pair.life('a').serves, pair.life('b').serves].filter((serves) => serves).length).toBe(1);
    await simulator.run(metAt + AGREED_MS, look);
    expect(pair.roles()).toBe('active standby');
    expect([...lost]).toEqual([]);
    expect(pair.life('b').channel.inSync.self && pair.life('a').channel.inSync.peer).toBe(true);
    for (const id of [...before, ...onA, ...onB, ...onBoth]) {
      expect([id, pair.has('a', id), pair.has('b', id)]).toEqual([id, true, true]);
      expect(b.connections.get(id)?.value).toBe(a.connections.get(id)?.value);
    }
  });
});
