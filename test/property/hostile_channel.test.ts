/**
 * Goal: whatever comes over a mirror channel, a unit applies nothing that its peer did not say, says what was wrong,
 * and takes the real peer afterwards.
 * Method: what a real unit a says is recorded; a stranger says it to a fresh unit b with one thing changed, over a real
 * socket on 127.0.0.1. The channel is the plain one: behind TLS nothing of this would come as far as here.
 */

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

import fc from 'fast-check';
import pino from 'pino';
import { expect, test, vi } from 'vitest';

import type { RoleName } from '../../src/datapath.js';
import { MirrorChannel } from '../../src/io/mirror_channel.js';
import { type MirrorTransport, plainTransport } from '../../src/io/mirror_transport.js';
import { HEADER_BYTES, PAYLOAD_BYTES_MAX } from '../../src/mirror/codec.js';
import { ModelDatapath } from '../sim/model_datapath.js';

const log = pino({ level: 'silent' });
const address = '127.0.0.1';
const CONNECTIONS = 40;
const RUNS = 150;
const limits = { maxDelayMs: 5, queueBytesMax: 1 << 20, keepaliveMs: 5_000, plaintext: true };
const waitFor = (condition: () => void): Promise<void> => vi.waitFor(condition, { timeout: 15_000, interval: 5 });

function stand(unit: 'a' | 'b', port: number, role: RoleName, transport: MirrorTransport = plainTransport) {
  const groups = [{ name: 'main', role, term: role === 'active' ? 1 : 0 }];
  const datapath = new ModelDatapath(() => groups[0]!);
  const channel = new MirrorChannel({
    unit,
    paths: [{ local: { address, port }, peer: { address, port } }],
    transport,
    limits,
    bootId: `boot-${unit}`,
    datapath,
    groups: () => groups,
    config: () => ({ links: ['client', 'server'], virtualServers: ['www'] }),
    log,
  });
  return { channel, datapath };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, address);
  await once(server, 'listening');
  const found = server.address();
  server.close();
  await once(server, 'close');
  if (found === null || typeof found === 'string') throw new Error('no port');
  return found.port;
}

/** What unit a says, whole messages in their order, until its 40 connections and a change of each are acked. */
async function recorded(): Promise<Buffer[]> {
  const port = await freePort();
  const said: Buffer[] = [];
  const a = stand('a', port, 'active', {
    ...plainTransport,
    connect: (from, to, onReady) => {
      const stream = plainTransport.connect(from, to, onReady);
      const write = stream.write.bind(stream);
      stream.write = (chunk: Uint8Array) => {
        said.push(Buffer.from(chunk));
        return write(chunk);
      };
      return stream;
    },
  });
  const b = stand('b', port, 'standby');
  for (let id = 0; id < CONNECTIONS; id += 1) a.datapath.open(id, valueFor(id));
  b.channel.start();
  a.channel.start();
  await waitFor(() => expect(b.channel.inSync.self).toBe(true));
  for (let id = CONNECTIONS; id < 2 * CONNECTIONS; id += 1) {
    a.datapath.open(id, valueFor(id));
    if (id % 10 === 9) await a.channel.flush();
  }
  await a.channel.stop();
  await b.channel.stop();
  return messagesOf(Buffer.concat(said));
}

const valueFor = (id: number): number => (7 * id) % 1_000;

function messagesOf(stream: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < stream.length; ) {
    const end = at + HEADER_BYTES + stream.readUInt32BE(at + 24);
    messages.push(stream.subarray(at, end));
    at = end;
  }
  return messages;
}

const messages = await recorded();
const BATCH = 4;
const batches = messages.flatMap((message, index) => (message[5] === BATCH ? [index] : []));

/** Says it to a fresh unit b, which must come through it; what it says of it afterwards. */
async function sayTo(stream: Buffer): Promise<{ readonly held: number; readonly faults: readonly string[] }> {
  const port = await freePort();
  const b = stand('b', port, 'standby');
  b.channel.start();
  await waitFor(() => expect(b.channel.status().link).not.toBe('open'));
  const stranger = await connected(port);
  stranger.end(stream);
  await waitFor(() => expect(stranger.closed).toBe(true));
  const status = b.channel.status();
  const faults = [...Object.keys(status.faults), ...(status.strangers > 0 ? ['stranger'] : [])];
  let held = 0;
  for (const [id, { value, closed }] of b.datapath.connections) {
    if (closed) continue;
    held += 1;
    expect({ id, value }).toEqual({ id, value: valueFor(id) });
  }
  const a = stand('a', port, 'active');
  for (let id = 0; id < 3; id += 1) a.datapath.open(id, valueFor(id));
  a.channel.start();
  await waitFor(() => expect(a.channel.inSync).toEqual({ self: true, peer: true }));
  await a.channel.stop();
  await b.channel.stop();
  return { held, faults };
}

/** A unit that was just started may not listen yet. */
async function connected(port: number) {
  for (let attempt = 0; ; attempt += 1) {
    const socket = connect({ port, host: address, allowHalfOpen: true });
    socket.on('error', () => {});
    socket.resume();
    const [what] = await Promise.race([once(socket, 'connect').then(() => ['up']), once(socket, 'close')]);
    if (what === 'up') {
      // Unit b may end it before or after we do.
      socket.on('end', () => socket.destroy());
      return socket;
    }
    if (attempt > 200) throw new Error('unit b does not listen');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const changed = (index: number, change: (message: Buffer) => Buffer | readonly Buffer[]): Buffer =>
  Buffer.concat(messages.flatMap((message, at) => (at === index ? change(Buffer.from(message)) : message)));

const byte = (at: number, value: number) => (message: Buffer) => {
  message[at] = value;
  return message;
};

test('unchanged, all of it is applied: what is recorded is a conversation', async () => {
  expect(batches.length).toBeGreaterThan(3);
  expect(await sayTo(Buffer.concat(messages))).toEqual({ held: 2 * CONNECTIONS, faults: [] });
});

test.each([
  ['another magic', byte(0, 0x47), 'bad_magic'],
  ['a version of the layout that nobody reads', byte(4, 9), 'wrong_layout_version'],
  ['a type that nobody knows', byte(5, 200), 'unknown_type'],
  ['a reserved field that says something', byte(31, 1), 'bad_header'],
  ['a payload that claims too much', byte(24, (2 * PAYLOAD_BYTES_MAX) >>> 24 || 1), 'oversized'],
  ['a batch said twice', (message: Buffer) => [message, message], 'bad_sequence'],
  ['a batch left out', () => [], 'bad_sequence'],
  ['records that are cut off', (message: Buffer) => cutOff(message), 'malformed_records'],
] as const)('%s: closed, counted, and nothing behind it applied', async (_, change, fault) => {
  const index = batches[1]!;
  const { held, faults } = await sayTo(changed(index, change));
  expect(faults).toEqual([fault]);
  expect(held).toBeLessThan(2 * CONNECTIONS);
});

/** The last octet of the payload is missing, and the header says so. */
function cutOff(message: Buffer): Buffer {
  message.writeUInt32BE(message.readUInt32BE(24) - 1, 24);
  return message.subarray(0, -1);
}

test('one bit of a header, an end anywhere, two messages the wrong way round: nothing is invented', async () => {
  const whole = Buffer.concat(messages);
  const index = fc.nat(messages.length - 1);
  // Not of a payload's length: records of a wrong one may be whole by chance, and only TLS can tell.
  const bit = fc.nat(8 * HEADER_BYTES - 1).filter((at) => at >> 5 !== LENGTH_WORD);
  const strange = fc.oneof(
    fc.record({ what: fc.constant('bit' as const), index, bit }),
    fc.record({ what: fc.constant('end' as const), at: fc.nat(whole.length) }),
    fc.record({ what: fc.constant('swapped' as const), index }),
  );
  const streamOf = (one: StrangeOf<typeof strange>): Buffer => {
    if (one.what === 'end') return whole.subarray(0, one.at);
    if (one.what === 'bit') return changed(one.index, flip(one.bit));
    return Buffer.concat(messages.toSpliced(one.index, 2, ...messages.slice(one.index, one.index + 2).toReversed()));
  };
  await fc.assert(
    fc.asyncProperty(strange, async (one) => {
      const { held, faults } = await sayTo(streamOf(one));
      if (one.what === 'bit' && held < 2 * CONNECTIONS) expect(faults).toHaveLength(1);
    }),
    { numRuns: RUNS },
  );
}, 120_000);

type StrangeOf<A> = A extends fc.Arbitrary<infer T> ? T : never;
/** Of 32 bits, in a header. */
const LENGTH_WORD = 6;

const flip = (bit: number) => (message: Buffer) => {
  message[bit >> 3]! ^= 1 << (bit & 7);
  return message;
};
