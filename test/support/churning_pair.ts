/**
 * Two native datapaths without interfaces and the real mirror channel between them, on 127.0.0.1: the active one opens
 * and ends connections all the while, the standby's table can be altered behind the channel's back.
 */

import { once } from 'node:events';
import { createServer } from 'node:net';
import pino from 'pino';

import type { ConnectionRow, Datapath, PolicyDescription } from '../../src/datapath.js';
import { MirrorChannel } from '../../src/io/mirror_channel.js';
import type { GroupRole } from '../../src/mirror/messages.js';
import type { Agreement } from '../../src/mirror/state.js';
import {
  CLIENT_DEVICE,
  CLIENT_MAC,
  encode,
  MEMBER,
  MemoryDatapath,
  policy,
  VIRTUAL_MAC,
  virtualServer,
} from './memory_datapath.js';
import { ipFrame, tcp } from './packets.js';

/** One virtual server for each way of altering a table, one that is left alone, and one that churns. */
export const names = ['deleted', 'altered', 'added', 'untouched', 'churning'] as const;
export type Name = (typeof names)[number];

const OTHER_MEMBER = '10.2.0.12';
/** Connections of each of the quiet virtual servers. */
const QUIET = 50;
const TICK_MS = 10;
const ACTIVE = { role: 'active', term: 1 } as const;
const STANDBY = { role: 'standby', term: 0 } as const;

const churnPolicy: PolicyDescription = {
  ...policy,
  addresses: names.map((_, index) => ({
    address: addressOf(index),
    group: 0,
    devices: [CLIENT_DEVICE],
    closed: 'drop' as const,
  })),
  pools: policy.pools.map((pool) => ({
    ...pool,
    members: [...pool.members, { ...pool.members[0]!, address: OTHER_MEMBER }],
  })),
  virtualServers: names.map((name, index) => ({
    ...virtualServer,
    name,
    address: addressOf(index),
    // An ACK opens a connection, and nobody waits for the member: one frame for each change, and no port runs out.
    unknown: 'adopt' as const,
    forwarding: 'dsr' as const,
    snatAddresses: [],
    idleTimeoutS: { ...virtualServer.idleTimeoutS, established: 3_600, closing: 0.1 },
  })),
};

function addressOf(server: number): string {
  return `10.1.0.${100 + server}`;
}

export class ChurningPair {
  readonly a: Unit;
  readonly b = new Unit('b', []);
  /** Connections opened and ended, each one change. */
  changes = 0;
  #churn: NodeJS.Timeout | null = null;
  #clients = 0;
  #startedMs = 0;

  /** `lost`: the active unit says at any time that it lost closes of these. */
  constructor(lost: readonly Name[] = []) {
    this.a = new Unit('a', lost);
  }

  async start(): Promise<void> {
    const port = await freePort();
    for (const unit of [this.b, this.a]) unit.connect(port);
    for (let server = 0; server < 4; server += 1) this.#open(server, QUIET);
  }

  /** Half of the changes open connections, the others end those of the tick before. */
  churn(changesPerS: number): void {
    this.#startedMs = performance.now();
    const server = names.indexOf('churning');
    let last: readonly number[] = [];
    this.#churn = setInterval(() => {
      const due = ((performance.now() - this.#startedMs) / 1_000) * changesPerS - this.changes;
      const opens = Math.min(Math.floor(due / 2), changesPerS / 10);
      const fresh = Array.from({ length: Math.max(0, opens) }, () => ++this.#clients);
      this.a.send([
        ...fresh.map((client) => segment(server, client, 'A')),
        ...last.map((client) => segment(server, client, 'R')),
      ]);
      this.changes += fresh.length + last.length;
      last = fresh;
    }, TICK_MS);
  }

  get changesPerS(): number {
    return (this.changes / (performance.now() - this.#startedMs)) * 1_000;
  }

  /** By records that the active unit never sent, of the very next sequence. */
  alter(): void {
    const victims = (name: Name) => this.b.datapath.connections(0, 1, name).rows[0]!;
    const deleted = victims('deleted');
    const altered = victims('altered');
    const other = altered.member.startsWith(MEMBER) ? OTHER_MEMBER : MEMBER;
    const faults = [
      record({ kind: 2, term: 2, client: deleted.client, virtual: deleted.virtual }),
      record({
        kind: 3,
        term: 1,
        client: altered.client,
        virtual: altered.virtual,
        member: other,
        server: this.a.idOf('altered'),
      }),
      record({
        kind: 3,
        term: 1,
        client: '10.1.9.9:999',
        virtual: addressOf(2) + ':80',
        member: MEMBER,
        server: this.a.idOf('added'),
      }),
    ];
    for (const fault of faults) {
      const { applied } = this.b.datapath.applyMirror(fault, 0);
      if (applied !== 1) throw new Error('the standby did not take the altered record');
    }
  }

  agreement(name: Name): Agreement | undefined {
    return this.b.channel.status().agreements.heard[name];
  }

  /** What `tandem show connections` shows of the quiet ones, in one order. */
  quietTables(): Record<'a' | 'b', string[]> {
    const rows = (unit: Unit): string[] =>
      names
        .slice(0, 4)
        .flatMap((name) => allOf(unit, name))
        .map(({ client, member, snat }) => `${client} ${member} ${snat}`)
        .toSorted();
    return { a: rows(this.a), b: rows(this.b) };
  }

  async stop(): Promise<void> {
    if (this.#churn !== null) clearInterval(this.#churn);
    await Promise.all([this.a.channel.stop(), this.b.channel.stop()]);
  }

  #open(server: number, count: number): void {
    this.a.send(Array.from({ length: count }, () => segment(server, ++this.#clients, 'A')));
  }
}

class Unit {
  readonly #memory: MemoryDatapath;
  readonly datapath;
  channel!: MirrorChannel;
  readonly #unit: 'a' | 'b';
  readonly #lost: readonly Name[];
  readonly #madeMs = performance.now();

  constructor(unit: 'a' | 'b', lost: readonly Name[]) {
    this.#unit = unit;
    this.#lost = lost;
    // Ended connections stay until the sweep comes by: at most its lap and their timeout.
    this.#memory = new MemoryDatapath({ unit: unit === 'a' ? 0 : 1, connections: 400_000 }).activate(churnPolicy);
    this.datapath = this.#memory.datapath;
    const hop = { port: 8080, device: 1, mac: '02:00:00:00:02:12', vlan: 0 };
    this.datapath.setNextHops([{ ...hop, address: OTHER_MEMBER }]);
    if (unit === 'b') this.#memory.shared.setRole(0, 'standby', 0, 0);
  }

  connect(port: number): void {
    const end = { address: '127.0.0.1', port };
    const datapath = this.#lost.length === 0 ? this.datapath : saying(this.datapath, this.#lost);
    const groups: readonly GroupRole[] = [{ name: 'main', ...(this.#unit === 'a' ? ACTIVE : STANDBY) }];
    this.channel = new MirrorChannel({
      unit: this.#unit,
      paths: [{ local: end, peer: end }],
      limits: { maxDelayMs: 5, queueBytesMax: 4 * 1024 * 1024, keepaliveMs: 1_000, plaintext: true },
      bootId: `boot-${this.#unit}`,
      datapath,
      groups: () => groups,
      config: () => ({ links: ['client', 'server'], virtualServers: [...names] }),
      log: pino({ level: 'silent' }),
    });
    this.channel.start();
  }

  idOf(name: Name): number {
    return this.datapath.mirrorDictionary().virtualServers.find((server) => server.name === name)!.id;
  }

  send(frames: readonly Uint8Array[]): void {
    const atS = (performance.now() - this.#madeMs) / 1_000;
    const input = encode(
      frames.map((frame) => ({ atS, device: CLIENT_DEVICE, frame })),
      this.#memory.madeNs,
    );
    this.datapath.replay(input, new Uint8Array(input.length + 128 * frames.length));
  }
}

function saying(datapath: Datapath, lost: readonly Name[]): Datapath {
  return new Proxy(datapath, {
    get: (target, name: keyof Datapath) => (name === 'lostCloses' ? () => [...lost] : target[name].bind(target)),
  });
}

/** A call looks at a part of the table. */
function allOf({ datapath }: Unit, name: Name): ConnectionRow[] {
  const all: ConnectionRow[] = [];
  for (let cursor: number | null = 0; cursor !== null; ) {
    const { rows, next } = datapath.connections(cursor, 10 * QUIET, name);
    all.push(...rows);
    cursor = next;
  }
  return all;
}

/** Clients are numbered: 10.64.0.0 and on, so that no tuple is used twice. */
function segment(server: number, client: number, flags: string): Uint8Array {
  const source = `10.${64 + (client >> 16)}.${(client >> 8) & 255}.${client & 255}`;
  return ipFrame(
    { from: CLIENT_MAC, to: VIRTUAL_MAC },
    { source, destination: addressOf(server) },
    tcp({ sourcePort: 40_000, destinationPort: 80, flags }),
  );
}

interface Fault {
  readonly kind: 2 | 3;
  readonly term: number;
  readonly client: string;
  readonly virtual: string;
  readonly member?: string;
  readonly server?: number;
}

/** native/wire/mirror.h, IPv4, not translated. Newer than the quiet connections' records and older than what comes. */
function record({ kind, term, client, virtual, member, server }: Fault): Uint8Array {
  const bytes = new Uint8Array(kind === 3 ? 54 : 24);
  const view = new DataView(bytes.buffer);
  const put = (at: number, address: string): void => bytes.set(address.split('.').map(Number), at);
  const [clientAddress = '', clientPort] = client.split(':');
  const [virtualAddress = '', virtualPort] = virtual.split(':');
  view.setUint8(0, (kind << 4) | 4);
  view.setUint8(1, 6);
  view.setUint8(2, 0x80 | 2);
  view.setUint16(4, term);
  view.setUint16(6, 1);
  view.setUint32(8, ALTERED_SEQUENCE);
  view.setUint16(12, Number(clientPort));
  view.setUint16(14, Number(virtualPort));
  put(16, clientAddress);
  put(20, virtualAddress);
  if (kind === 2) return bytes;
  view.setUint16(24, 8080);
  view.setUint16(26, server ?? 0);
  view.setUint8(37, 4);
  put(38, member ?? '');
  return bytes;
}

/** The channel must have sent more records than this before a table is altered. */
export const ALTERED_SEQUENCE = 2_000;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
