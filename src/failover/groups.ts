/**
 * All traffic groups of one unit: takes what happens (adverts, carrier, messages, time), runs each group's
 * election, and carries its actions out on a `World`. Deterministic: the world tells the time, so two of
 * these joined by a simulated link are a test.
 *
 * The caller comes back with `turn()` no later than `wakeAt`, and after it has read what sockets hold: an
 * advert that waits to be read must count before silence does.
 */

import type { RoleName } from '../datapath.js';
import { ipAddress } from '../wire/ip_address.js';
import { encodeAdvert, VRRP_IPV4_GROUP } from '../wire/vrrp.js';
import {
  type AnnouncementPlan,
  type Announcing,
  announce,
  announcementPlan,
  startAnnouncing,
} from './announcements.js';
import { effectivePriority, type GroupRouter, type LinksUp, type Millis } from './condition.js';
import { groupRouter, type VirtualRouter, virtualRouters } from './configuration.js';
import { type AdvertDrop, type Counts, zeroCounts } from './counts.js';
import { deadline, type Election, initialElection, step } from './election.js';
import {
  HEARTBEAT_POLL_MS_MIN,
  heartbeatTimeoutMs,
  NEARLY_DUE,
  noHeartbeats,
  observe,
  WORKERS_MAX,
  workersAlive,
} from './heartbeats.js';
import { Lateness } from './lateness.js';
import type {
  FailoverConfiguration,
  FromFailover,
  GroupSettings,
  ToFailover,
  VirtualRouterReport,
} from './messages.js';
import { type ReceivedMessage, receiveAdvert } from './receive.js';
import type { Action, Input } from './signals.js';

/** What the groups act on. None of it waits, and none of it throws: what fails is counted by the world. */
export interface World {
  /** CLOCK_BOOTTIME. */
  now(): Millis;
  readHeartbeats(into: BigUint64Array): void;
  readMldQueries(into: BigUint64Array): void;
  /** The term left in the shared state, by this process or one before it. */
  sharedTerm(group: number): number;
  setRole(group: number, role: RoleName, term: number, leaseMs: Millis): void;
  extendLease(group: number, leaseMs: Millis): void;
  sendAdvert(router: VirtualRouter, message: Uint8Array): void;
  sendFrame(interfaceName: string, frame: Uint8Array): void;
  tell(message: FromFailover): void;
}

/** Copies of a resignation: one lost frame must not cost three intervals. */
const RESIGN_COPIES = 3;
const COUNTERS_MS: Millis = 1_000;
const DEVICES_MAX = 16;

interface RouterRuntime extends VirtualRouter {
  sent: number;
  received: number;
  peerAdvertAt: Millis | null;
  peerPriority: number | null;
  /** The last message sent, and the priority in it: an advert changes rarely. */
  message: Uint8Array | null;
  messagePriority: number;
}

interface GroupRuntime {
  settings: GroupSettings;
  router: GroupRouter;
  routers: RouterRuntime[];
  plan: AnnouncementPlan;
  election: Election;
  announcing: Announcing | null;
  /** Until when this unit was active; null: it never was. */
  activeUntil: Millis | null;
  /** The role and why, as last told. */
  told: Told | null;
}

interface Told extends Extract<Action, { type: 'set-role' }> {
  readonly silenceMs: Millis | null;
}

export class Groups {
  readonly counts: Counts = zeroCounts();
  readonly #world: World;
  #groups: GroupRuntime[] = [];
  #heartbeatTimeoutMs: Millis | null = null;
  #heartbeats = noHeartbeats;
  #workersAlive = false;
  readonly #carriers = new Map<string, boolean>();
  readonly #lateness = new Lateness();
  /** Drops by interface and family, `eth0/4`. */
  readonly #drops = new Map<string, Record<string, number>>();
  readonly #heartbeatValues = new BigUint64Array(WORKERS_MAX);
  readonly #mldQueries = new BigUint64Array(DEVICES_MAX);
  readonly #mldAnswered = new BigUint64Array(DEVICES_MAX);
  #countersAt: Millis;
  #stopped = false;

  constructor(world: World) {
    this.#world = world;
    this.#countersAt = world.now() + COUNTERS_MS;
    world.readMldQueries(this.#mldAnswered);
  }

  /** When `turn()` is due. */
  get wakeAt(): Millis {
    let at = Math.min(this.#countersAt, this.#heartbeats.readAt + this.#pollMs());
    for (const { election, announcing } of this.#groups) {
      at = Math.min(at, deadline(election) ?? at, announcing?.dueAt ?? at);
    }
    return at;
  }

  /** The least advert interval, or null without groups: how often carriers are worth reading. */
  get advertIntervalMs(): Millis | null {
    return this.#groups.length === 0 ? null : this.#leastIntervalMs();
  }

  /** Interfaces in use, with the families of their virtual routers. */
  interfaces(): Map<string, Set<4 | 6>> {
    const used = new Map<string, Set<4 | 6>>();
    for (const { settings, routers } of this.#groups) {
      for (const link of settings.links) if (!used.has(link.interface)) used.set(link.interface, new Set());
      for (const router of routers) used.get(router.interface)?.add(router.family);
    }
    return used;
  }

  receiveMessage(message: ToFailover): void {
    const now = this.#world.now();
    if (message.type === 'configure') return this.#configure(message.configuration, now);
    if (message.type === 'shutdown') return this.stop();
    const group = this.#groups.find(({ settings }) => settings.name === message.group);
    // A message that crossed a reconfiguration names a group that is gone.
    if (group !== undefined) this.#step(group, message, now);
  }

  /** An advert from a socket of an interface. */
  receiveAdvert(interfaceName: string, received: ReceivedMessage): void {
    for (const group of this.#groups) {
      const routers = group.routers.filter((router) => router.interface === interfaceName);
      if (!routers.some(({ family, virtualRouterId }) => namesRouter(received, family, virtualRouterId))) continue;
      return this.#accept(group, routers, received);
    }
    // No group's VRID: what is wrong with it, if only that, is found out against no routers.
    const outcome = receiveAdvert(received, []);
    if (!outcome.ok) this.drop(interfaceName, received.family, outcome.drop);
  }

  drop(interfaceName: string, family: 4 | 6, reason: AdvertDrop): void {
    this.counts[`drop_${reason}`]++;
    const key = `${interfaceName}/${family}`;
    const drops = this.#drops.get(key) ?? {};
    drops[reason] = (drops[reason] ?? 0) + 1;
    this.#drops.set(key, drops);
  }

  carrier(interfaceName: string, up: boolean): void {
    if (this.#carriers.get(interfaceName) === up) return;
    this.#carriers.set(interfaceName, up);
    const now = this.#world.now();
    const links = new Set<string>();
    for (const group of this.#groups) {
      for (const link of group.settings.links) if (link.interface === interfaceName) links.add(link.name);
      this.#step(group, { type: 'links', links: this.#linksUp(group) }, now);
    }
    for (const link of links) this.#world.tell({ type: 'carrier', link, up });
  }

  /** Does what is due. */
  turn(): void {
    if (this.#stopped) return;
    const now = this.#world.now();
    // With the advert that is due now, and not at a turn of its own right behind it.
    if (now >= this.#heartbeats.readAt + NEARLY_DUE * this.#pollMs()) this.#readShared(now);
    for (const group of this.#groups) {
      const dueAt = deadline(group.election);
      if (dueAt !== null && now >= dueAt) {
        if (group.election.state.name === 'active') this.#lateness.record(now - dueAt);
        this.#step(group, { type: 'timeout' }, now);
      }
      this.#announce(group, now);
    }
    if (now >= this.#countersAt) this.#tellCounters(now);
  }

  /** Resigns every group; nothing is done after it. */
  stop(): void {
    const now = this.#world.now();
    for (const group of this.#groups) this.#step(group, { type: 'shutdown' }, now);
    this.#stopped = true;
  }

  #configure({ groups, heartbeatTimeoutMs }: FailoverConfiguration, now: Millis): void {
    if (this.#stopped) return;
    this.#heartbeatTimeoutMs = heartbeatTimeoutMs;
    const isSame = (before: GroupSettings) => (after: GroupSettings) =>
      before.name === after.name && before.index === after.index;
    for (const group of this.#groups) {
      if (!groups.some(isSame(group.settings))) this.#step(group, { type: 'shutdown' }, now);
    }
    const before = this.#groups;
    this.#groups = groups.map((settings) => {
      const kept = before.find((group) => isSame(group.settings)(settings));
      return kept === undefined ? this.#create(settings) : this.#change(kept, settings, now);
    });
    this.#readShared(now);
    for (const group of this.#groups) {
      this.#step(group, { type: 'workers', alive: this.#workersAlive }, now);
      this.#step(group, { type: 'links', links: this.#linksUp(group) }, now);
      if (!group.election.condition.running) this.#step(group, { type: 'startup' }, now);
    }
  }

  #create(settings: GroupSettings): GroupRuntime {
    const term = this.#world.sharedTerm(settings.index);
    // A process before this one may have died active.
    this.#world.setRole(settings.index, 'standby', term, 0);
    return {
      settings,
      router: groupRouter(settings),
      routers: this.#routers(settings),
      plan: announcementPlan(settings),
      election: initialElection(term),
      announcing: null,
      activeUntil: null,
      told: null,
    };
  }

  /** Takes new settings over; the election goes on where it was. */
  #change(group: GroupRuntime, settings: GroupSettings, now: Millis): GroupRuntime {
    if (JSON.stringify(group.settings) === JSON.stringify(settings)) return group;
    return {
      settings,
      router: groupRouter(settings),
      routers: this.#routers(settings),
      plan: announcementPlan(settings),
      election: group.election,
      announcing: group.announcing === null ? null : startAnnouncing(now),
      activeUntil: group.activeUntil,
      told: group.told,
    };
  }

  #routers(settings: GroupSettings): RouterRuntime[] {
    const { routers, faults } = virtualRouters(settings);
    for (const fault of faults) this.#world.tell({ type: 'fault', ...fault });
    return routers.map((router) => ({
      ...router,
      sent: 0,
      received: 0,
      peerAdvertAt: null,
      peerPriority: null,
      message: null,
      messagePriority: 0,
    }));
  }

  #accept(group: GroupRuntime, routers: readonly RouterRuntime[], received: ReceivedMessage): void {
    const outcome = receiveAdvert(received, routers);
    if (!outcome.ok) return this.drop(routers[0]!.interface, received.family, outcome.drop);
    const now = this.#world.now();
    const { router, priority, advertIntervalMs } = outcome;
    router.received++;
    router.peerAdvertAt = now;
    router.peerPriority = priority;
    this.counts.adverts_received++;
    if (outcome.otherInterval) this.counts.adverts_other_interval++;
    this.#step(group, { type: 'advert', priority, advertIntervalMs }, now);
  }

  #step(group: GroupRuntime, input: Input, now: Millis): void {
    if (this.#stopped) return;
    const { election, actions } = step(group.router, group.election, input, now);
    const before = effectivePriority(group.router, group.election.condition);
    // A unit that was stopped past its lease was active until that ended, and not until it noticed.
    const { state } = group.election;
    if (state.name === 'active') group.activeUntil = Math.min(now, state.leaseUntil);
    group.election = election;
    for (const action of actions) this.#perform(group, action, now);
    const changed = effectivePriority(group.router, election.condition) !== before;
    if (changed && group.told !== null && !actions.some(({ type }) => type === 'set-role')) {
      this.#tellRole(group, group.told);
    }
  }

  #perform(group: GroupRuntime, action: Action, now: Millis): void {
    const { index } = group.settings;
    switch (action.type) {
      case 'send-advert':
        return this.#sendAdverts(group, action.priority, action.priority === 0 ? RESIGN_COPIES : 1);
      case 'ask-active':
        this.counts.peer_asked++;
        return this.#sendAdverts(group, 0, 1);
      case 'extend-lease':
        return this.#world.extendLease(index, action.leaseMs);
      case 'announce':
        group.announcing = startAnnouncing(now);
        return this.#announce(group, now);
      case 'report':
        return this.#world.tell({ type: action.event, group: group.settings.name });
      case 'set-role':
        this.#world.setRole(index, action.role, action.term, action.leaseMs);
        if (action.role !== 'active') group.announcing = null;
        if (action.reason === 'lease_lost') this.counts.leases_lost++;
        return this.#tellRole(group, { ...action, silenceMs: this.#silence(group, action) });
    }
  }

  /** Measured when the datapath has its role: from then on it forwards. */
  #silence({ routers, activeUntil }: GroupRuntime, { role, reason }: Extract<Action, { type: 'set-role' }>) {
    if (role !== 'active' || reason === 'take_over_requested' || reason === 'term_raised') return null;
    const signs = routers.flatMap(({ peerAdvertAt }) => peerAdvertAt ?? []);
    if (activeUntil !== null) signs.push(activeUntil);
    return signs.length === 0 ? null : this.#world.now() - Math.max(...signs);
  }

  #tellRole(group: GroupRuntime, told: Told): void {
    const { role, term, reason, silenceMs } = told;
    group.told = told;
    const { state, condition } = group.election;
    this.#world.tell({
      type: 'role',
      group: group.settings.name,
      state: state.name,
      role,
      term,
      reason,
      silenceMs,
      effectivePriority: effectivePriority(group.router, condition),
      inSync: condition.inSync,
      forcedStandby: condition.forcedStandby,
    });
  }

  #sendAdverts(group: GroupRuntime, priority: number, copies: number): void {
    for (let copy = 0; copy < copies; copy++) {
      for (const router of group.routers) {
        if (router.message === null || router.messagePriority !== priority) {
          router.message = encode(router, priority);
          router.messagePriority = priority;
        }
        this.#world.sendAdvert(router, router.message);
        router.sent++;
        this.counts.adverts_sent++;
      }
    }
  }

  #announce(group: GroupRuntime, now: Millis): void {
    if (group.announcing === null) return;
    const { announcing, from, to } = announce(group.announcing, group.plan.frames.length, now);
    group.announcing = announcing;
    for (let index = from; index < to; index++) this.#sendFrame(group, group.plan.frames[index]!);
  }

  #sendFrame(group: GroupRuntime, { link, frame }: AnnouncementPlan['frames'][number]): void {
    this.#world.sendFrame(group.settings.links[link]!.interface, frame);
  }

  #readShared(now: Millis): void {
    const timeoutMs = this.#heartbeatTimeoutMs ?? heartbeatTimeoutMs(this.#leastIntervalMs());
    this.#world.readHeartbeats(this.#heartbeatValues);
    this.#heartbeats = observe(this.#heartbeats, this.#heartbeatValues, now, timeoutMs);
    const alive = workersAlive(this.#heartbeats, now, timeoutMs);
    if (alive !== this.#workersAlive) {
      this.#workersAlive = alive;
      for (const group of this.#groups) this.#step(group, { type: 'workers', alive }, now);
    }
    this.#answerMldQueries();
  }

  /** RFC 3810 section 5.1.10 lets a listener wait; one unit answers for all addresses, so it need not. */
  #answerMldQueries(): void {
    this.#world.readMldQueries(this.#mldQueries);
    for (let device = 0; device < DEVICES_MAX; device++) {
      if (this.#mldQueries[device] === this.#mldAnswered[device]) continue;
      this.#mldAnswered[device] = this.#mldQueries[device]!;
      for (const group of this.#groups) {
        if (group.election.state.name !== 'active') continue;
        const reports = group.plan.listening.filter(({ link }) => group.settings.links[link]!.device === device);
        for (const report of reports) this.#sendFrame(group, report);
        if (reports.length > 0) this.counts.mld_queries_answered++;
      }
    }
  }

  #tellCounters(now: Millis): void {
    this.#countersAt = now + COUNTERS_MS;
    const virtualRouters = this.#groups.flatMap((group) =>
      group.routers.map(
        (router): VirtualRouterReport => ({
          group: group.settings.name,
          link: router.link,
          family: router.family,
          virtualRouterId: router.virtualRouterId,
          state: group.election.state.name,
          peerAdvertAgeMs: router.peerAdvertAt === null ? null : now - router.peerAdvertAt,
          peerPriority: router.peerPriority,
          advertsSent: router.sent,
          advertsReceived: router.received,
          advertsDropped: this.#drops.get(`${router.interface}/${router.family}`) ?? {},
        }),
      ),
    );
    this.#world.tell({
      type: 'counters',
      counts: { ...this.counts },
      lateness: this.#lateness.report(),
      virtualRouters,
    });
  }

  #linksUp({ settings: { links }, routers }: GroupRuntime): LinksUp {
    // Without a virtual router nobody would hear that we are active.
    if (routers.length === 0) return 'none';
    const up = links.filter((link) => this.#carriers.get(link.interface) === true).length;
    if (up === 0) return 'none';
    return up === links.length ? 'all' : 'some';
  }

  #pollMs(): Millis {
    return Math.max(HEARTBEAT_POLL_MS_MIN, this.#leastIntervalMs());
  }

  #leastIntervalMs(): Millis {
    return this.#groups.reduce((least, { router }) => Math.min(least, router.advertIntervalMs), 1_000);
  }
}

function namesRouter(received: ReceivedMessage, family: 4 | 6, virtualRouterId: number): boolean {
  return received.family === family && received.message[1] === virtualRouterId;
}

function encode(router: VirtualRouter, priority: number): Uint8Array {
  const { virtualRouterId, advertIntervalMs, addresses, source, checksum } = router;
  const advert = { virtualRouterId, priority, advertIntervalMs, addresses };
  if (source === null) return encodeAdvert(advert, { form: 'kernel' });
  if (checksum === 'plain') return encodeAdvert(advert, { form: 'plain' });
  return encodeAdvert(advert, { form: 'pseudo-header', source, destination: IPV4_GROUP });
}

const IPV4_GROUP = ipAddress(VRRP_IPV4_GROUP).octets;
