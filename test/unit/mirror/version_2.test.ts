/**
 * Goal: a unit of today mirrors with a peer that speaks version 2 of the channel, in both directions.
 * Method: what a pair of version 2 said to each other, recorded (recorded/version_2.json: each unit's messages in
 * order, base64), is said to a channel of today over real sockets, up to "in sync" on its side.
 */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';

import pino from 'pino';
import { afterEach, expect, test, vi } from 'vitest';

import { MirrorChannel } from '../../../src/io/mirror_channel.js';
import { MessageReader } from '../../../src/mirror/codec.js';
import type { GroupRole, Message } from '../../../src/mirror/messages.js';
import { ModelDatapath } from '../../sim/model_datapath.js';

const recorded = JSON.parse(readFileSync(new URL('recorded/version_2.json', import.meta.url), 'utf8')) as Readonly<
  Record<'a' | 'b', readonly string[]>
>;
const connections = 20;
const ending: { end(): unknown }[] = [];

afterEach(() => {
  for (const each of ending.splice(0)) each.end();
});

const waitFor = (condition: () => void): Promise<void> => vi.waitFor(condition, { timeout: 15_000 });

function unit(name: 'a' | 'b', port: number, role: GroupRole) {
  const datapath = new ModelDatapath(() => role);
  const end = { address: '127.0.0.1', port };
  const channel = new MirrorChannel({
    unit: name,
    paths: [
      { local: end, peer: end },
      { local: end, peer: { address: '127.0.0.1', port: port + 1 } },
    ].slice(0, name === 'a' ? 2 : 1),
    limits: { maxDelayMs: 5, queueBytesMax: 1024 * 1024, keepaliveMs: 5_000, plaintext: true },
    bootId: `boot-${name}`,
    datapath,
    groups: () => [role],
    config: () => ({ links: ['client', 'server'], virtualServers: ['www'] }),
    log: pino({ level: 'silent' }),
  });
  ending.push({ end: () => channel.stop() });
  return { channel, datapath };
}

/** Says what the recording holds, up to the first message of a kind that must wait for `heard`. */
function play(socket: Socket, side: 'a' | 'b', heard: readonly Message[]): void {
  const reader = new MessageReader();
  const left = [...recorded[side]].map((text) => Buffer.from(text, 'base64'));
  const typesHeard = (): Set<string> => new Set(heard.map(({ type }) => type));
  const waitsFor: Readonly<Record<number, string>> = { 5: 'batch', 8: 'bulk-end' };
  const sayMore = (): void => {
    for (let next = left[0]; next !== undefined; next = left[0]) {
      const wanted = waitsFor[next[5] as number];
      if (wanted !== undefined && !typesHeard().has(wanted)) return;
      socket.write(next);
      left.shift();
    }
  };
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    reader.read(chunk, (message) => {
      (heard as Message[]).push(message);
      return true;
    });
    sayMore();
  });
  ending.push({ end: () => socket.destroy() });
  sayMore();
}

test('an active unit of today brings a standby of version 2 in sync, and sends it nothing new', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  ending.push({ end: () => server.close() });
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const heard: Message[] = [];
  server.on('connection', (socket) => play(socket, 'b', heard));
  const a = unit('a', port, { name: 'main', role: 'active', term: 1 });
  for (let id = 0; id < connections; id += 1) a.datapath.open(id, 100 + id);
  a.channel.start();
  await waitFor(() => expect(a.channel.inSync).toEqual({ self: true, peer: true }));
  expect(a.channel.status()).toMatchObject({ peer: { version: 2 }, counters: { records_acked: connections } });
  const newer = heard.filter(({ type }) => ['join', 'switch', 'receipt'].includes(type));
  expect(newer).toEqual([]);
});

test('a standby of today takes the connections of an active unit of version 2', async () => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  const b = unit('b', port, { name: 'main', role: 'standby', term: 0 });
  b.channel.start();
  const socket = await vi.waitFor(() => dial(port), { timeout: 15_000 });
  play(socket, 'a', []);
  await waitFor(() => expect(b.channel.inSync.self).toBe(true));
  expect(b.datapath.connections.size).toBe(connections);
  expect(b.channel.status()).toMatchObject({ peer: { version: 2 }, counters: { records_applied: connections } });
});

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}
