/**
 * Goal: two mirror channels over real sockets agree on a table, through loss, hand-over and strangers.
 * Method: both ends in this process on 127.0.0.1, a model of the datapath behind each; nothing leaves the host.
 */

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import pino from 'pino';
import { afterEach, expect, test, vi } from 'vitest';

import type { RoleName } from '../../../src/datapath.js';
import { MirrorChannel } from '../../../src/io/mirror_channel.js';
import { type ByteStream, plainTransport } from '../../../src/io/mirror_transport.js';
import { encode } from '../../../src/mirror/codec.js';
import type { GroupRole } from '../../../src/mirror/messages.js';
import { VERSION_MAX, VERSION_MIN } from '../../../src/mirror/state.js';
import { ModelDatapath } from '../../sim/model_datapath.js';

const log = pino({ level: 'silent' });
const limits = { maxDelayMs: 5, queueBytesMax: 4 * 1024 * 1024, keepaliveMs: 200, plaintext: true };
const running: Unit[] = [];
vi.setConfig({ testTimeout: 20_000 });

/** Starved machines take their time; a condition that never comes is what fails. */
const waitFor = (condition: () => void): Promise<void> => vi.waitFor(condition, { timeout: 15_000 });

class Unit {
  role: GroupRole;
  readonly datapath: ModelDatapath;
  readonly channel: MirrorChannel;

  /** Connections dialled, by the address of their path. */
  readonly dialled: { readonly to: string; readonly stream: ByteStream }[] = [];
  /** Paths that cannot be dialled now. */
  readonly cut = new Set<string>();

  constructor(unit: 'a' | 'b', port: number, role: RoleName, term: number, addresses = ['127.0.0.1']) {
    this.role = { name: 'main', role, term };
    this.datapath = new ModelDatapath(() => this.role);
    this.channel = new MirrorChannel({
      unit,
      paths: addresses.map((address) => ({ local: { address, port }, peer: { address, port } })),
      transport: {
        ...plainTransport,
        connect: (from, to, onReady) => {
          const port = this.cut.has(to.address) ? 1 : to.port;
          const stream = plainTransport.connect(from, { ...to, port }, onReady);
          this.dialled.push({ to: to.address, stream });
          return stream;
        },
      },
      limits,
      bootId: `boot-${unit}`,
      datapath: this.datapath,
      groups: () => [this.role],
      config: () => ({ links: ['client', 'server'], virtualServers: ['www'] }),
      log,
    });
    running.push(this);
  }

  /** Ends the connections of a path and keeps it from being dialled. */
  cutPath(address: string): void {
    this.cut.add(address);
    for (const { to, stream } of this.dialled) if (to === address) stream.destroy();
  }

  become(role: RoleName, term: number): void {
    this.role = { ...this.role, role, term };
    this.channel.updateRoles();
  }

  table(): Map<number, number> {
    const open = [...this.datapath.connections].filter(([, connection]) => !connection.closed);
    return new Map(open.map(([id, { value }]) => [id, value] as const).toSorted(([left], [right]) => left - right));
  }
}

afterEach(async () => {
  await Promise.all(running.splice(0).map(({ channel }) => channel.stop()));
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function pair(connections = 0, addresses?: string[]): Promise<{ a: Unit; b: Unit; port: number }> {
  const port = await freePort();
  const a = new Unit('a', port, 'active', 1, addresses);
  const b = new Unit('b', port, 'standby', 0, addresses);
  for (let id = 0; id < connections; id += 1) a.datapath.open(id, id % 1_000);
  b.channel.start();
  a.channel.start();
  return { a, b, port };
}

const bothInSync = (a: Unit, b: Unit): Promise<void> =>
  waitFor(() => {
    expect(a.channel.inSync).toEqual({ self: true, peer: true });
    expect(b.channel.inSync.self).toBe(true);
  });

test('a joining standby gets every connection by bulk, and both ends know when', async () => {
  const { a, b } = await pair(20_000);
  await bothInSync(a, b);
  expect(b.table()).toEqual(a.table());
  expect(a.channel.status().bulk).toMatchObject({ phase: 'acked', announced: 20_000 });
});

test('changes reach the peer without a flush, and a flush waits for their application', async () => {
  const { a, b } = await pair();
  await bothInSync(a, b);
  for (let id = 0; id < 1_000; id += 1) a.datapath.open(id, 1);
  await waitFor(() => expect(b.table().size).toBe(1_000));
  for (let id = 0; id < 1_000; id += 2) a.datapath.close(id);
  for (let id = 1; id < 1_000; id += 2) a.datapath.change(id, 2);
  await a.channel.flush();
  expect(b.table()).toEqual(a.table());
  expect(a.channel.status()).toMatchObject({ queueBytes: 0, lagMs: 0 });
});

const PRIMARY = '127.0.0.1';
const SECONDARY = '127.0.0.2';

test('a path that ends under load costs no bulk, no change and not a moment of being in sync', async () => {
  const { a, b } = await pair(2_000, [PRIMARY, SECONDARY]);
  await bothInSync(a, b);
  await waitFor(() => expect(a.channel.status().paths.map(({ state }) => state)).toEqual(['in use', 'standing by']));
  const lost: unknown[] = [];
  for (const { channel } of [a, b]) {
    channel.on('in-sync', (inSync) => lost.push(inSync));
    channel.on('peer-gone', (reason) => lost.push(reason));
  }
  for (let round = 0; round < 40; round += 1) {
    for (let id = 0; id < 2_000; id += 7) a.datapath.change(id, 1_000 * round + (id % 1_000));
    for (let id = 0; id < 50; id += 1) a.datapath.open(10_000 + 50 * round + id, round);
    if (round === 20) a.cutPath(PRIMARY);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await a.channel.flush();
  expect(b.table()).toEqual(a.table());
  expect(lost).toEqual([]);
  expect(a.channel.status()).toMatchObject({ switches: 1, counters: { bulks_sent: 1, connects: 1, losses: 0 } });
  expect(b.channel.status().counters.bulks_received).toBe(1);

  // Whole again, the primary path takes the channel back.
  a.cut.clear();
  await waitFor(() => expect(a.channel.status().paths.map(({ state }) => state)).toEqual(['in use', 'standing by']));
  a.datapath.change(1, 42);
  await a.channel.flush();
  expect(b.table()).toEqual(a.table());
  expect(lost).toEqual([]);
});

test('the channel is lost when both paths are, and only then', async () => {
  const { a, b } = await pair(10, [PRIMARY, SECONDARY]);
  await bothInSync(a, b);
  await waitFor(() => expect(a.channel.status().paths.map(({ state }) => state)).toEqual(['in use', 'standing by']));
  const gone: string[] = [];
  b.channel.on('peer-gone', (_, byPeer) => gone.push(byPeer ? 'by the peer' : 'by us'));
  a.cutPath(PRIMARY);
  await waitFor(() => expect(b.channel.status().paths.map(({ state }) => state)).toEqual(['down', 'in use']));
  expect(gone).toEqual([]);
  a.cutPath(SECONDARY);
  await waitFor(() => expect(gone).toEqual(['by the peer']));
  a.cut.clear();
  await bothInSync(a, b);
});

test('a standby keeps what it holds when the active unit comes back empty', async () => {
  const { a, b, port } = await pair(100);
  await bothInSync(a, b);
  await a.channel.stop();
  await waitFor(() => expect(b.channel.inSync.self).toBe(false));
  const again = new Unit('a', port, 'standby', 0);
  again.channel.start();
  await waitFor(() => expect(again.channel.status().link).toBe('open'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(b.table().size).toBe(100);
  b.become('active', 2);
  await waitFor(() => expect(again.channel.inSync.self).toBe(true));
  expect(again.table()).toEqual(b.table());
});

test('a hand-over on purpose: flushed, asked for, answered, and the roles turned', async () => {
  const { a, b } = await pair(10);
  await bothInSync(a, b);
  b.channel.on('take-over', ({ group, term }) => {
    expect({ group, term }).toEqual({ group: 'main', term: 1 });
    b.become('active', 2);
    b.channel.answerTakeOver(group, 2, null);
  });
  a.datapath.change(3, 77);
  await a.channel.flush();
  await a.channel.requestTakeOver('main', 1);
  a.become('standby', 1);
  await waitFor(() => expect(a.channel.inSync.self && b.channel.inSync.peer).toBe(true));
  expect(b.table()).toEqual(a.table());
  expect(b.table().get(3)).toBe(77);
});

test('a hand-over is refused without a peer, and by a peer that is not in sync', async () => {
  const { a } = await pair();
  await expect(a.channel.requestTakeOver('main', 1)).rejects.toThrow('the peer is not connected');
  await expect(a.channel.flush()).rejects.toThrow('the peer is not connected');
});

test('a stranger who says nothing or nonsense does not end the connection to the peer', async () => {
  const { a, b, port } = await pair(10);
  await bothInSync(a, b);
  const silent = connect(port, '127.0.0.1');
  const loud = connect(port, '127.0.0.1');
  loud.write('GET / HTTP/1.1\r\nhost: nobody\r\n\r\n........');
  await closed(loud);
  const early = connect(port, '127.0.0.1');
  early.write(encode({ type: 'keepalive' }));
  await closed(early);
  silent.destroy();
  expect(b.channel.inSync.self).toBe(true);
  expect(b.channel.status().strangers).toBe(2);
});

test('a peer that claims to be this very unit is refused and counted', async () => {
  const port = await freePort();
  const b = new Unit('b', port, 'standby', 0);
  b.channel.start();
  const impostor = connect(port, '127.0.0.1');
  const groups: GroupRole[] = [];
  const config = { links: [], virtualServers: [] };
  const hello = { versionMin: VERSION_MIN, versionMax: VERSION_MAX, unit: 'b', bootId: 'x', groups, config } as const;
  impostor.write(encode({ type: 'hello', hello }));
  await closed(impostor);
  expect(b.channel.status()).toMatchObject({ link: 'waiting', strangers: 1 });
});

async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  await once(socket, 'close');
}
