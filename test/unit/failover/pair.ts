/**
 * Two units' failover processes joined by simulated links, on a simulated clock: what a test cuts, stops or
 * loses is here, and what each unit's workers would see.
 */

import type { RoleName } from '../../../src/datapath.js';
import type { VirtualRouter } from '../../../src/failover/configuration.js';
import { Groups, type World } from '../../../src/failover/groups.js';
import type { FromFailover, GroupSettings, RoleReport, ToFailover } from '../../../src/failover/messages.js';
import { foldChecksum, sumPseudoHeader, sumWords } from '../../../src/wire/bytes.js';
import { ipAddress } from '../../../src/wire/ip_address.js';
import { VRRP_IPV4_GROUP, VRRP_IPV6_GROUP, VRRP_PROTOCOL } from '../../../src/wire/vrrp.js';
import { group, peerOf } from './example.js';

const STEP_MS = 1;

export class Unit implements World {
  readonly groups: Groups;
  readonly reports: RoleReport[] = [];
  readonly told: FromFailover[] = [];
  frames = 0;
  role: RoleName = 'standby';
  term = 0;
  leaseUntil = 0;
  heartbeats = [1n];
  beating = true;
  mldQueries = 0n;
  /** The process does not run: SIGSTOP, or a starved machine. Adverts wait in its sockets. */
  stopped = false;
  /** Dead for good. */
  killed = false;
  readonly #name: string;
  readonly #pair: Pair;
  #waiting: (() => void)[] = [];

  constructor(name: string, pair: Pair) {
    this.#name = name;
    this.#pair = pair;
    this.groups = new Groups(this);
  }

  now = () => this.#pair.now;
  /** What a worker does with it, once per burst. */
  get serves(): RoleName {
    return this.#pair.now < this.leaseUntil ? this.role : 'standby';
  }

  get lastReason(): string | undefined {
    return this.reports.at(-1)?.reason;
  }

  get lastSilenceMs(): number | null | undefined {
    return this.reports.at(-1)?.silenceMs;
  }

  tellIt(message: ToFailover): void {
    this.groups.receiveMessage(message);
  }

  condition(changes: { inSync?: boolean; peerCanServe?: boolean; demotion?: number } = {}): void {
    this.tellIt({ type: 'condition', group: 'main', demotion: 0, inSync: true, peerCanServe: true, ...changes });
  }

  receive(interfaceName: string, router: VirtualRouter, message: Uint8Array): void {
    if (this.killed) return;
    const linkLocal = this.#name === 'a' ? 'fe80::3' : 'fe80::2';
    const source = router.source ?? ipAddress(linkLocal).octets;
    const destination = ipAddress(router.family === 4 ? VRRP_IPV4_GROUP : VRRP_IPV6_GROUP).octets;
    // The kernel's part: the IPv6 checksum.
    const received = router.family === 4 ? message : withIpv6Checksum(message, source, destination);
    const deliver = () =>
      this.groups.receiveAdvert(interfaceName, {
        family: router.family,
        message: received,
        source,
        destination,
        hopLimit: 255,
      });
    if (this.stopped) this.#waiting.push(deliver);
    else deliver();
  }

  /** One millisecond: workers beat, sockets are read, then what is due is done. */
  tick(): void {
    if (this.beating) this.heartbeats = this.heartbeats.map((beat) => beat + 1n);
    if (this.stopped || this.killed) return;
    for (const deliver of this.#waiting.splice(0)) deliver();
    if (this.now() >= this.groups.wakeAt) this.groups.turn();
  }

  readHeartbeats(into: BigUint64Array): void {
    into.fill(0n);
    into.set(this.heartbeats);
  }
  readMldQueries(into: BigUint64Array): void {
    into[0] = this.mldQueries;
  }
  sharedTerm(): number {
    return this.term;
  }
  setRole(_group: number, role: RoleName, term: number, leaseMs: number): void {
    this.role = role;
    this.term = term;
    this.leaseUntil = this.now() + leaseMs;
  }
  extendLease(_group: number, leaseMs: number): void {
    this.leaseUntil = this.now() + leaseMs;
  }
  sendAdvert(router: VirtualRouter, message: Uint8Array): void {
    this.#pair.carry(this, router, message);
  }
  sendFrame(): void {
    this.frames++;
  }
  tell(message: FromFailover): void {
    if (message.type === 'role') {
      const { type: _, ...report } = message;
      this.reports.push(report);
    } else if (message.type !== 'counters') this.told.push(message);
  }
}

export class Pair {
  now = 1_000_000;
  /** Links that carry nothing, by name: a broken switch between units that both have carrier. */
  readonly cut = new Set<string>();
  readonly a: Unit;
  readonly b: Unit;
  /** Milliseconds in which both units served as active, and in which neither did. */
  bothMs = 0;
  neitherMs = 0;

  constructor(changes: Partial<GroupSettings> = {}) {
    this.a = new Unit('a', this);
    this.b = new Unit('b', this);
    const settings = group(changes);
    for (const [unit, own] of [
      [this.a, settings],
      [this.b, peerOf(settings, 100)],
    ] as const) {
      unit.tellIt({ type: 'configure', configuration: { groups: [own], heartbeatTimeoutMs: null } });
      for (const link of own.links) unit.groups.carrier(link.interface, true);
    }
  }

  /** Both units up, in sync, and a active. */
  static settled(changes: Partial<GroupSettings> = {}): Pair {
    const pair = new Pair(changes);
    pair.run(1_000);
    pair.a.condition();
    pair.b.condition();
    pair.b.tellIt({ type: 'term-seen', group: 'main', term: pair.a.term, peerActive: true });
    pair.run(500);
    pair.bothMs = 0;
    pair.neitherMs = 0;
    return pair;
  }

  run(ms: number): void {
    for (const until = this.now + ms; this.now < until; this.now += STEP_MS) {
      this.a.tick();
      this.b.tick();
      const active = [this.a, this.b].filter(({ serves }) => serves === 'active').length;
      if (active === 2) this.bothMs += STEP_MS;
      if (active === 0) this.neitherMs += STEP_MS;
    }
  }

  carry(from: Unit, router: VirtualRouter, message: Uint8Array): void {
    if (this.cut.has(router.link)) return;
    const to = from === this.a ? this.b : this.a;
    to.receive(`${to === this.a ? 'a' : 'b'}-${router.link}`, router, message);
  }

  kill(unit: Unit): void {
    unit.killed = true;
    unit.beating = false;
  }
}

function withIpv6Checksum(message: Uint8Array, source: Uint8Array, destination: Uint8Array): Uint8Array {
  const sum = sumWords(message, sumPseudoHeader(source, destination, VRRP_PROTOCOL, message.length));
  const checksum = foldChecksum(sum);
  return message.with(6, checksum >> 8).with(7, checksum & 0xff);
}
