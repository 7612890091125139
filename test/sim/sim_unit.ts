/**
 * One unit of a simulated pair: the real election (src/failover), the real balancer's groups, the real mirror
 * channel, and a model of the datapath, joined as the daemon and its failover process are, with the
 * delays that lie between them. It can be stopped and continued, killed and started again.
 */

import pino from 'pino';

import { Groups as BalancerGroups } from '../../src/balancer/groups.js';
import type { Ports } from '../../src/balancer/ports.js';
import type { Config, UnitConfig, UnitName } from '../../src/config/model.js';
import type { RoleName } from '../../src/datapath.js';
import { failoverConfiguration } from '../../src/failover/configuration.js';
import { Groups as Elections, type World } from '../../src/failover/groups.js';
import type { FromFailover, ToFailover } from '../../src/failover/messages.js';
import type { ReceivedMessage } from '../../src/failover/receive.js';
import { MirrorChannel } from '../../src/io/mirror_channel.js';
import type { GroupRole } from '../../src/mirror/messages.js';
import { linksTransport, type MirrorLink } from './mirror_link.js';
import { ModelDatapath } from './model_datapath.js';
import type { Simulator } from './simulator.js';

const log = pino({ level: 'silent' });

/** Adverts as they leave: to the other unit, over a network that loses, repeats and reorders them. */
export type SendAdvert = (interfaceName: string, advert: ReceivedMessage) => void;

export class SimUnit {
  readonly name: UnitName;
  /** Replaced at each start; null while the unit is dead. */
  life: Life | null = null;
  readonly #simulator: Simulator;
  readonly #config: Config;
  readonly #links: ReadonlyMap<string, MirrorLink>;
  readonly #sendAdvert: SendAdvert;
  #boots = 0;

  constructor(
    name: UnitName,
    simulator: Simulator,
    config: Config,
    links: ReadonlyMap<string, MirrorLink>,
    sendAdvert: SendAdvert,
  ) {
    this.name = name;
    this.#simulator = simulator;
    this.#config = config;
    this.#links = links;
    this.#sendAdvert = sendAdvert;
  }

  start(): void {
    if (this.life !== null) return;
    this.#boots += 1;
    const bootId = `${this.name}${this.#boots}`;
    this.life = new Life(this.name, bootId, this.#simulator, this.#config, this.#links, this.#sendAdvert);
  }

  /** As kill -9 of everything at once: nothing is said, the kernel resets its connections. */
  kill(): void {
    if (this.life === null) return;
    this.life.dead = true;
    this.life = null;
    for (const link of this.#links.values()) {
      if (this.name === 'b') link.forget();
      link.reset();
    }
  }
}

/** A unit from its start to its death. */
export class Life {
  dead = false;
  /** SIGSTOP until then: nothing runs, and what came meanwhile is done late, in its order. */
  #stoppedUntil = 0;
  #backlog: (() => void)[] = [];
  /** CLOCK_MONOTONIC stands still while the host sleeps; CLOCK_BOOTTIME, which elections and leases go by, does not. */
  #asleepMs = 0;
  /** How far the wall clock is off. Nothing may depend on it. */
  #wallOffsetMs = 0;
  readonly datapath: ModelDatapath;
  readonly channel: MirrorChannel;
  readonly balancer: BalancerGroups;
  readonly #elections: Elections;
  readonly #simulator: Simulator;
  /** The shared state of the one group. */
  #role: RoleName = 'standby';
  #term = 0;
  #leaseUntil = 0;
  #turnAt = Number.POSITIVE_INFINITY;
  #heartbeat = 1n;
  readonly #handOvers: ((seen: boolean) => void)[] = [];

  constructor(
    unit: UnitName,
    bootId: string,
    simulator: Simulator,
    config: Config,
    links: ReadonlyMap<string, MirrorLink>,
    sendAdvert: SendAdvert,
  ) {
    this.#simulator = simulator;
    const peer = unit === 'a' ? 'b' : 'a';
    const defer = (run: () => void): void => this.whenRunning(run);
    this.datapath = new ModelDatapath(() => this.shared());
    this.channel = new MirrorChannel({
      unit,
      paths: pathsBetween(config.units[unit].mirror, config.units[peer].mirror),
      limits: config.mirror,
      bootId,
      datapath: this.datapath,
      groups: () => [this.shared()],
      config: () => ({ links: config.links, virtualServers: ['www'] }),
      log,
      transport: linksTransport(links, defer),
      timers: { ...simulator.timers(defer), now: () => simulator.now - this.#asleepMs },
    });
    this.balancer = new BalancerGroups(config, unit, this.#ports());
    this.#elections = new Elections(this.#world(unit, config, sendAdvert));

    this.channel.on('peer', (hello) => {
      this.balancer.setPeer(hello);
      this.balancer.tellConditions(() => true);
    });
    this.channel.on('peer-gone', (_, byPeer) => {
      if (byPeer) this.balancer.peerClosed();
      this.balancer.setPeer(null);
      this.balancer.tellConditions(() => true);
    });
    this.channel.on('in-sync', () => this.balancer.tellConditions(() => true));
    this.channel.on('take-over', ({ group, term, forced }) => {
      this.channel.answerTakeOver(group, term, this.balancer.takeOver(group, term, forced));
    });
    this.channel.start();
    this.#toElections({ type: 'configure', configuration: failoverConfiguration(config, unit) });
    for (const name of config.links) {
      this.#afterIpc(() => this.#elections.carrier(config.units[unit].links[name]?.interface ?? '', true));
    }
    this.balancer.tellConditions(() => true);
  }

  /** What the shared state says, whoever has heard of it. */
  shared(): GroupRole {
    return { name: 'main', role: this.#role, term: this.#term };
  }

  /** Whether workers open connections: active, and the lease holds. */
  get serves(): boolean {
    return this.#role === 'active' && this.#simulator.now < this.#leaseUntil && this.running;
  }

  get running(): boolean {
    return !this.dead && this.#simulator.now >= this.#stoppedUntil;
  }

  stop(ms: number): void {
    this.#stoppedUntil = this.#simulator.now + ms;
    this.#simulator.at(this.#stoppedUntil, () => this.#catchUp());
  }

  /** The whole host sleeps. */
  sleep(ms: number): void {
    this.stop(ms);
    this.#asleepMs += ms;
  }

  stepWallClock(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  continue(): void {
    this.#stoppedUntil = Math.min(this.#stoppedUntil, this.#simulator.now);
    this.#catchUp();
  }

  receiveAdvert(interfaceName: string, advert: ReceivedMessage): void {
    this.whenRunning(() => this.#elections.receiveAdvert(interfaceName, advert));
  }

  /** Runs it now, or once the unit is continued, or never if it has died. */
  whenRunning(run: () => void): void {
    this.#backlog.push(run);
    this.#catchUp();
  }

  #catchUp(): void {
    while (this.running) {
      const run = this.#backlog.shift();
      if (run === undefined) break;
      run();
    }
    if (this.running) this.#arm();
  }

  #ports(): Ports {
    const failover = {
      condition: (group: string, condition: object) =>
        this.#toElections({ type: 'condition', group, ...condition } as ToFailover),
      termSeen: (group: string, term: number, peerActive: boolean) =>
        this.#toElections({ type: 'term-seen', group, term, peerActive }),
      takeOver: (group: string) => this.#toElections({ type: 'take-over', group }),
      peerClosed: (group: string) => this.#toElections({ type: 'peer-closed', group }),
      release: (group: string) => this.#toElections({ type: 'release', group }),
      handOver: (group: string) =>
        new Promise<boolean>((resolve) => {
          this.#toElections({ type: 'hand-over', group });
          this.#handOvers.push(resolve);
          this.#simulator.after(1_000, () => resolve(false));
        }),
    };
    const clock = {
      now: () => new Date(this.#simulator.now + this.#wallOffsetMs),
      monotonicMs: () => this.#simulator.now,
    };
    // Only what src/balancer/groups.ts calls.
    return { failover, mirror: this.channel, log, clock } as unknown as Ports;
  }

  #world(unit: UnitName, config: Config, sendAdvert: SendAdvert): World {
    return {
      now: () => this.#simulator.now,
      readHeartbeats: (into) => {
        this.#heartbeat += 1n;
        into[0] = this.#heartbeat;
      },
      readMldQueries: () => {},
      sharedTerm: () => this.#term,
      setRole: (_group, role, term, leaseMs) => {
        this.#role = role;
        this.#term = term;
        this.#leaseUntil = this.#simulator.now + leaseMs;
      },
      extendLease: (_group, leaseMs) => {
        this.#leaseUntil = this.#simulator.now + leaseMs;
      },
      sendAdvert: (router, message) => {
        const link = config.links.find((name) => config.units[unit].links[name]?.interface === router.interface);
        const { source } = router;
        if (link === undefined || source === null) return;
        const advert = { family: 4, message: message.slice(), source, destination: VRRP_GROUP, hopLimit: 255 } as const;
        sendAdvert(link, advert);
      },
      sendFrame: () => {},
      tell: (message) => this.#afterIpc(() => this.#fromElections(message)),
    };
  }

  #fromElections(message: FromFailover): void {
    if (message.type === 'role') {
      const { type: _, ...report } = message;
      this.balancer.onRole(report);
      this.channel.updateRoles();
      this.balancer.tellConditions(() => true);
    } else if (message.type === 'peer-took-over') {
      for (const resolve of this.#handOvers.splice(0)) resolve(true);
    }
  }

  #toElections(message: ToFailover): void {
    this.#afterIpc(() => this.#elections.receiveMessage(message));
  }

  #lastIpcAt = 0;

  /** In order, a moment later. */
  #afterIpc(run: () => void): void {
    this.#lastIpcAt = Math.max(this.#lastIpcAt, this.#simulator.now + this.#simulator.between(0.05, 0.5)) + 0.001;
    this.#simulator.at(this.#lastIpcAt, () => this.whenRunning(run));
  }

  #arm(): void {
    const at = this.#elections?.wakeAt ?? Number.POSITIVE_INFINITY;
    if (at >= this.#turnAt) return;
    this.#turnAt = at;
    this.#simulator.at(at + this.#simulator.between(0, 1), () => {
      this.#turnAt = Number.POSITIVE_INFINITY;
      this.whenRunning(() => this.#elections.turn());
    });
  }
}

function pathsBetween(ours: UnitConfig['mirror'], theirs: UnitConfig['mirror']) {
  const primary = { local: ours, peer: theirs };
  if (ours.secondary === undefined || theirs.secondary === undefined) return [primary];
  return [primary, { local: ours.secondary, peer: theirs.secondary }];
}

const VRRP_GROUP = Uint8Array.of(224, 0, 0, 18);
