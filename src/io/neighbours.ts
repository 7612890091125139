/**
 * Keeps the next hop of every member known, monitored or not, active or standby, so that a takeover finds
 * everything warm: which device, and which MAC.
 *
 * The kernel resolves (ARP, neighbour discovery), always from the unit's own addresses, for it has no others;
 * this class asks it to (CAP_NET_ADMIN), follows its changes, and tells the datapath. What a neighbour's entry
 * means, and when to ask, is decided in `src/monitor/neighbour.ts`. Routes are looked up again whenever a link, an
 * address or a route changes.
 *
 * Asking leaves no mark on the kernel's entries, so there is nothing to clean up, after a crash either. Entries that
 * the operator fixed are left alone; but the kernel makes an ordinary one of an entry that is fixed in the same instant
 * as it is asked about, so they are better fixed before the unit starts.
 */

import { EventEmitter } from 'node:events';

import type { Logger } from 'pino';

import type { NextHop } from '../datapath.js';
import {
  deadline,
  defaultTiming,
  entryInput,
  type Input,
  initial,
  type NeighbourState,
  type NeighbourTiming,
  step,
} from '../monitor/neighbour.js';
import { ipAddress } from '../wire/ip_address.js';
import {
  decodeLink,
  decodeNeighbour,
  encodeDump,
  encodeNeighbourUse,
  FLAG_CREATE,
  Group,
  type LinkMessage,
  MessageType,
  type NeighbourMessage,
} from '../wire/rtnetlink.js';
import { type Hop, type KernelLinks, readLinks, resolveHop, type UnitDevice } from './links.js';
import { Rtnetlink, RtnetlinkError } from './rtnetlink.js';

export interface MemberEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface MemberHop {
  readonly address: string;
  /** Device index; null: not reached through any of ours. */
  readonly device: number | null;
  /** The member's own address, or the gateway's. */
  readonly neighbour: string | null;
  readonly mac: string | null;
  /** Why there is no MAC; null if there is one. */
  readonly reason: string | null;
}

export interface DeviceLink extends UnitDevice {
  readonly mac: string | null;
  readonly up: boolean;
  readonly carrier: boolean;
}

interface Events {
  /** Those that changed. `mac` is null while nobody answers, or while there is no route: then `device` is 0. */
  'next-hops': [hops: NextHop[]];
  /** A link of the unit changed: up, down, carrier, MAC. */
  links: [links: DeviceLink[]];
}

/** Routes settle in bursts: what arrives within this long is looked at once, and a storm once per second. */
const ROUTES_SETTLE_MS = 50;
const ROUTES_EVERY_MS = 1_000;
/** Routes are looked up this often even if the kernel said nothing (policy rules announce no change). */
const ROUTES_CONFIRM_MS = 30_000;
/** Asking comes in ticks of this length, of at most so many: a thousand members make no burst of ARP requests. */
const TICK_MS = 100;
const ASKS_PER_TICK_MAX = 100;

interface Neighbour {
  readonly interfaceIndex: number;
  readonly address: string;
  state: NeighbourState;
  /** When the kernel last said something of it by itself; a dump begun before that knows less. */
  heardAt: number;
}

export class Neighbours extends EventEmitter<Events> {
  readonly #log: Logger;
  readonly #timing: NeighbourTiming;
  #rtnetlink: Rtnetlink | null = null;
  #devices: readonly UnitDevice[] = [];
  #kernel: KernelLinks = { links: [], addresses: [] };
  /** Ports by member address: a pool may have several on one host. */
  #members = new Map<string, Set<number>>();
  #hops = new Map<string, Hop>();
  readonly #neighbours = new Map<string, Neighbour>();
  /** What the datapath was told, as text, by member address and port. */
  readonly #told = new Map<string, string>();
  #tick: { readonly timer: NodeJS.Timeout; readonly at: number } | null = null;
  #tickedAt = 0;
  #soon: NodeJS.Timeout | null = null;
  #confirm: NodeJS.Timeout | null = null;
  #readAt = 0;
  #reading: Promise<void> = Promise.resolve();
  #publishing = false;
  #lastAskFault = '';

  constructor(log: Logger, timing: NeighbourTiming = defaultTiming) {
    super();
    this.#log = log;
    this.#timing = timing;
  }

  /**
   * Resolves when every member's device is known and what the kernel knew already was told; MACs that it did not
   * know follow as events. Rejects if rtnetlink cannot be opened.
   */
  async start(members: readonly MemberEndpoint[], devices: readonly UnitDevice[]): Promise<void> {
    if (this.#rtnetlink !== null) throw new Error('the neighbours are being watched already');
    const rtnetlink = new Rtnetlink();
    this.#rtnetlink = rtnetlink;
    this.#devices = devices;
    this.#members = byAddress(members);
    // Listen first: what changes while the tables are read is not missed.
    rtnetlink.listen(
      [Group.neighbour, Group.link, Group.ipv4Address, Group.ipv4Route, Group.ipv6Address, Group.ipv6Route],
      (type, payload) => this.#onChange(type, payload),
      () => {
        this.#log.warn('rtnetlink lost changes; links, routes and neighbours are read again');
        this.#readSoon();
      },
    );
    await this.#readNow();
  }

  /** The members are now these. Those that stay keep what is known of them. */
  async update(members: readonly MemberEndpoint[]): Promise<void> {
    this.#members = byAddress(members);
    await this.#readNow();
  }

  stop(): void {
    for (const timer of [this.#tick?.timer, this.#soon, this.#confirm]) clearTimeout(timer ?? undefined);
    this.#tick = null;
    this.#soon = null;
    this.#confirm = null;
    this.#rtnetlink?.close();
    this.#rtnetlink = null;
    this.#neighbours.clear();
    this.#hops.clear();
    this.#told.clear();
  }

  /** Makes sure of a member's neighbour now: its monitor failed, for instance. */
  doubt(address: string): void {
    const hop = this.#hops.get(address);
    const neighbour = hop?.reached ? this.#neighbours.get(keyOf(hop.interfaceIndex, hop.neighbour)) : undefined;
    if (neighbour !== undefined) this.#advance(neighbour, { type: 'doubt' });
    this.#schedule();
  }

  /** All of them, for a policy that was just set. */
  nextHops(): NextHop[] {
    return [...this.#members].flatMap(([address, ports]) => [...ports].map((port) => this.#nextHop(address, port)));
  }

  /** By member address. */
  status(): MemberHop[] {
    return [...this.#members.keys()].map((address) => {
      const hop = this.#hops.get(address);
      if (hop === undefined) return { address, device: null, neighbour: null, mac: null, reason: 'not looked up yet' };
      if (!hop.reached) return { address, device: null, neighbour: null, mac: null, reason: hop.reason };
      const mac = this.#macOf(hop);
      const link = this.#devices[hop.device]?.name ?? '';
      const reason = mac === null ? `${hop.neighbour} does not answer on link ${link}` : null;
      return { address, device: hop.device, neighbour: hop.neighbour, mac, reason };
    });
  }

  links(): DeviceLink[] {
    return this.#devices.map((device) => {
      const link = this.#kernel.links.find((candidate) => candidate.name === device.interface);
      return { ...device, mac: link?.mac ?? null, up: link?.up ?? false, carrier: link?.carrier ?? false };
    });
  }

  // ------------------------------------------------------------------------------- what the kernel says

  #onChange(type: number, payload: Uint8Array): void {
    switch (type) {
      case MessageType.newNeighbour:
      case MessageType.deleteNeighbour: {
        const message = decodeNeighbour(payload);
        if (message !== null) this.#onNeighbour(message, type === MessageType.deleteNeighbour);
        return;
      }
      case MessageType.newLink:
      case MessageType.deleteLink: {
        const link = decodeLink(payload);
        if (link === null || !this.#devices.some((device) => device.interface === link.name)) return;
        if (type === MessageType.newLink) this.#onLink(link);
        this.#readSoon();
        return;
      }
      default:
        this.#readSoon();
    }
  }

  #onNeighbour(message: NeighbourMessage, deleted: boolean): void {
    const neighbour = this.#neighbours.get(keyOf(message.interfaceIndex, message.address));
    if (neighbour === undefined) return;
    neighbour.heardAt = now();
    this.#advance(neighbour, entryInput(deleted ? null : message));
    this.#schedule();
  }

  /** At once, not when everything is read again: a link that comes back has lost its entries. */
  #onLink(link: LinkMessage): void {
    const before = this.links();
    const others = this.#kernel.links.filter((candidate) => candidate.index !== link.index);
    this.#kernel = { ...this.#kernel, links: [...others, link] };
    this.#followLinks(before);
    this.#schedule();
  }

  #readSoon(): void {
    if (this.#rtnetlink === null || this.#soon !== null) return;
    const wait = Math.max(ROUTES_SETTLE_MS, this.#readAt + ROUTES_EVERY_MS - now());
    this.#soon = setTimeout(() => this.#readInBackground(), wait);
  }

  #readInBackground(): void {
    this.#soon = null;
    this.#readNow().catch((error: unknown) => {
      this.#log.warn({ err: error }, 'links, routes and neighbours cannot be read; trying again');
      this.#readSoon();
    });
  }

  /** Reads one after the other, never two at once: the later sees at least what the earlier saw. */
  #readNow(): Promise<void> {
    this.#reading = this.#reading.catch(() => {}).then(() => this.#read());
    return this.#reading;
  }

  async #read(): Promise<void> {
    const rtnetlink = this.#rtnetlink;
    if (rtnetlink === null) return;
    this.#readAt = now();
    clearTimeout(this.#confirm ?? undefined);
    this.#confirm = setTimeout(() => this.#readInBackground(), ROUTES_CONFIRM_MS);

    const before = this.links();
    this.#kernel = await readLinks(rtnetlink);
    const hops = new Map<string, Hop>();
    for (const address of this.#members.keys()) {
      hops.set(address, await resolveHop(rtnetlink, address, this.#devices, this.#kernel.links));
    }
    if (this.#rtnetlink === null) return;
    this.#sayUnreached(hops);
    this.#hops = hops;
    this.#wantNeighbours();

    const dumpedAt = now();
    const entries = await rtnetlink.dump(MessageType.getNeighbour, encodeDump('neighbour'));
    if (this.#rtnetlink === null) return;
    this.#adoptEntries(entries, dumpedAt);
    this.#followLinks(before);
    this.#publish();
    this.#schedule();
  }

  /** The next hops of the members and no others, from here on followed by the kernel's changes. */
  #wantNeighbours(): void {
    const wanted = new Map<string, Extract<Hop, { reached: true }>>();
    for (const hop of this.#hops.values()) {
      if (hop.reached) wanted.set(keyOf(hop.interfaceIndex, hop.neighbour), hop);
    }
    for (const key of this.#neighbours.keys()) {
      if (!wanted.has(key)) this.#neighbours.delete(key);
    }
    for (const [key, { interfaceIndex, neighbour }] of wanted) {
      if (this.#neighbours.has(key)) continue;
      this.#neighbours.set(key, { interfaceIndex, address: neighbour, state: initial(now()), heardAt: 0 });
    }
  }

  /** The kernel's whole table; what it says of an entry counts unless we were told of the entry since. */
  #adoptEntries(payloads: readonly Uint8Array[], dumpedAt: number): void {
    const entries = new Map<string, NeighbourMessage>();
    for (const payload of payloads) {
      const entry = decodeNeighbour(payload);
      if (entry !== null) entries.set(keyOf(entry.interfaceIndex, entry.address), entry);
    }
    for (const [key, neighbour] of this.#neighbours) {
      if (neighbour.heardAt >= dumpedAt) continue;
      const entry = entries.get(key);
      this.#advance(neighbour, entryInput(entry ?? null));
    }
  }

  /** Tells of links that changed; neighbours of one whose carrier came back are resolved at once, not in their turn. */
  #followLinks(before: readonly DeviceLink[]): void {
    const after = this.links();
    if (JSON.stringify(before) === JSON.stringify(after)) return;
    for (const [device, link] of after.entries()) {
      if (!link.carrier || before[device]?.carrier) continue;
      const index = this.#kernel.links.find((candidate) => candidate.name === link.interface)?.index;
      for (const neighbour of this.#neighbours.values()) {
        if (neighbour.interfaceIndex === index) this.#advance(neighbour, { type: 'doubt' });
      }
    }
    this.emit('links', after);
  }

  #sayUnreached(hops: ReadonlyMap<string, Hop>): void {
    for (const [address, hop] of hops) {
      const before = this.#hops.get(address);
      const reason = hop.reached ? null : hop.reason;
      const reasonBefore = before === undefined || before.reached ? null : before.reason;
      if (reason === reasonBefore) continue;
      if (reason !== null) this.#log.warn({ member: address }, `member ${address} gets nothing: ${reason}`);
      else this.#log.info({ member: address }, `member ${address} is reached again`);
    }
  }

  // --------------------------------------------------------------------------------- asking the kernel

  #advance(neighbour: Neighbour, input: Input): boolean {
    const { state, actions } = step(this.#timing, neighbour.state, input, now());
    neighbour.state = state;
    let ask = false;
    for (const action of actions) {
      if (action.type === 'ask') ask = true;
      else this.#publishSoon();
    }
    if (ask) void this.#ask(neighbour);
    return ask;
  }

  async #ask({ interfaceIndex, address }: Neighbour): Promise<void> {
    try {
      const payload = encodeNeighbourUse(interfaceIndex, ipAddress(address));
      await this.#rtnetlink?.request(MessageType.newNeighbour, payload, FLAG_CREATE);
      this.#lastAskFault = '';
    } catch (error) {
      if (!(error instanceof RtnetlinkError)) throw error;
      // It is asked again in its turn. A link that is down refuses, and says so by itself.
      if (error.code === 'ECANCELED' || error.code === 'ENETDOWN' || error.code === this.#lastAskFault) return;
      this.#lastAskFault = error.code;
      const mend = error.code === 'EPERM' ? ': it needs CAP_NET_ADMIN' : '';
      this.#log.warn(
        { neighbour: address, code: error.code },
        `the kernel cannot be asked to resolve ${address}${mend}`,
      );
    }
  }

  /** Wakes at the earliest deadline, but not more often than once a tick. */
  #schedule(): void {
    if (this.#rtnetlink === null) return;
    let earliest = Number.POSITIVE_INFINITY;
    for (const { state } of this.#neighbours.values()) {
      earliest = Math.min(earliest, deadline(this.#timing, state) ?? Number.POSITIVE_INFINITY);
    }
    const at = Math.max(earliest, this.#tickedAt + TICK_MS);
    if (this.#tick !== null && this.#tick.at <= at) return;
    clearTimeout(this.#tick?.timer);
    this.#tick = null;
    if (at === Number.POSITIVE_INFINITY) return;
    this.#tick = { at, timer: setTimeout(() => this.#onTick(), Math.max(0, Math.ceil(at - now()))) };
  }

  #onTick(): void {
    this.#tick = null;
    this.#tickedAt = now();
    let asked = 0;
    for (const [key, neighbour] of [...this.#neighbours]) {
      const due = deadline(this.#timing, neighbour.state);
      if (due === null || due > now()) continue;
      if (asked >= ASKS_PER_TICK_MAX) break;
      if (!this.#advance(neighbour, { type: 'timeout' })) continue;
      asked++;
      // To the end of the line: at the bound, everyone is asked in turn.
      this.#neighbours.delete(key);
      this.#neighbours.set(key, neighbour);
    }
    this.#schedule();
  }

  // ------------------------------------------------------------------------------ telling the datapath

  /** Once for everything that the kernel said in one message: a gateway may be the next hop of a thousand members. */
  #publishSoon(): void {
    if (this.#publishing) return;
    this.#publishing = true;
    queueMicrotask(() => {
      this.#publishing = false;
      if (this.#rtnetlink !== null) this.#publish();
    });
  }

  #publish(): void {
    const changed: NextHop[] = [];
    const present = new Set<string>();
    for (const hop of this.nextHops()) {
      const key = `${hop.address} ${hop.port}`;
      const text = `${hop.device} ${hop.mac}`;
      present.add(key);
      if (this.#told.get(key) === text) continue;
      this.#told.set(key, text);
      changed.push(hop);
    }
    for (const key of this.#told.keys()) {
      if (!present.has(key)) this.#told.delete(key);
    }
    if (changed.length > 0) this.emit('next-hops', changed);
  }

  #nextHop(address: string, port: number): NextHop {
    const hop = this.#hops.get(address);
    // A sub-interface is a device of its own and the kernel tags its frames, so no tag is ever put on here.
    if (hop === undefined || !hop.reached) return { address, port, device: 0, mac: null, vlan: 0 };
    return { address, port, device: hop.device, mac: this.#macOf(hop), vlan: 0 };
  }

  #macOf(hop: Extract<Hop, { reached: true }>): string | null {
    return this.#neighbours.get(keyOf(hop.interfaceIndex, hop.neighbour))?.state.mac ?? null;
  }
}

function byAddress(members: readonly MemberEndpoint[]): Map<string, Set<number>> {
  const ports = new Map<string, Set<number>>();
  for (const { address, port } of members) ports.set(address, (ports.get(address) ?? new Set()).add(port));
  return ports;
}

function keyOf(interfaceIndex: number, address: string): string {
  return `${interfaceIndex} ${address}`;
}

/** Milliseconds, monotonic. */
function now(): number {
  return performance.now();
}
