/**
 * Goal: between paired units nobody else reads, writes or takes part; unpaired ones say what to do.
 * Method: the transports over real sockets on 127.0.0.1, with the certificates of two pairs.
 */

import { once } from 'node:events';
import { createServer } from 'node:net';

import { afterEach, beforeAll, expect, test, vi } from 'vitest';

import { securedTransport } from '../../../src/io/mirror_security.js';
import {
  type ByteStream,
  type Listener,
  type MirrorTransport,
  plainTransport,
} from '../../../src/io/mirror_transport.js';
import { makeIdentity, type PairCredentials } from '../../../src/io/pair_credentials.js';
import type { Fault } from '../../../src/mirror/codec.js';

let a: PairCredentials;
let b: PairCredentials;
let stranger: PairCredentials;

beforeAll(async () => {
  const [left, right, third] = await Promise.all([makeIdentity('a'), makeIdentity('b'), makeIdentity('c')]);
  a = { ...left, peerCertificate: right.certificate };
  b = { ...right, peerCertificate: left.certificate };
  stranger = { ...third, peerCertificate: left.certificate };
});

const paired = (credentials: PairCredentials) => securedTransport({ credentials: () => credentials, plaintext: true });
const unpaired = (plaintext: boolean) => securedTransport({ credentials: () => null, plaintext });

interface Listening {
  readonly port: number;
  readonly heard: string[];
  readonly refused: Fault[];
}

const open: (Listener | ByteStream)[] = [];

afterEach(() => {
  for (const each of open.splice(0)) {
    if ('close' in each) each.close(() => {});
    else each.destroy();
  }
});

async function listen(transport: MirrorTransport): Promise<Listening> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  const heard: string[] = [];
  const refused: Fault[] = [];
  const listener = transport.listen({ address: '127.0.0.1', port }, '127.0.0.1', {
    onStream: (stream) => {
      open.push(stream);
      stream.on('error', () => {});
      stream.on('data', (chunk) => {
        heard.push(Buffer.from(chunk).toString());
        stream.write(Buffer.from('answer'));
      });
    },
    onRefused: (fault) => refused.push(fault),
    onError: (error) => heard.push(error.message),
  });
  open.push(listener);
  return { port, heard, refused };
}

/** Says a word, and resolves with the answer or why there was none. */
function say(transport: MirrorTransport, port: number): Promise<string> {
  return new Promise((resolve) => {
    let why = 'closed';
    const stream = transport.connect('127.0.0.1', { address: '127.0.0.1', port }, () =>
      stream.write(Buffer.from('word')),
    );
    open.push(stream);
    stream.on('data', (chunk) => resolve(Buffer.from(chunk).toString()));
    stream.on('error', (error) => {
      why = error.message;
    });
    stream.on('close', () => resolve(why));
  });
}

test('paired units hear each other', async () => {
  const { port, heard, refused } = await listen(paired(b));
  expect(await say(paired(a), port)).toBe('answer');
  expect(heard).toEqual(['word']);
  expect(refused).toEqual([]);
  expect(paired(a).security()).toBe('tls');
});

test('a unit with another certificate is refused and counted, whichever end it is', async () => {
  const listening = await listen(paired(b));
  expect(await say(paired(stranger), listening.port)).not.toBe('answer');
  await vi.waitFor(() => expect(listening.refused).toMatchObject([{ name: 'unauthenticated' }]), { timeout: 15_000 });
  expect(listening.heard).toEqual([]);

  const false_ = await listen(paired(stranger));
  expect(await say(paired(a), false_.port)).not.toBe('answer');
  expect(false_.heard).toEqual([]);
});

test('a paired unit neither speaks nor hears plaintext, whatever the config allows', async () => {
  const listening = await listen(paired(b));
  expect(await say(plainTransport, listening.port)).not.toBe('answer');
  await vi.waitFor(() => expect(listening.refused).toMatchObject([{ name: 'unauthenticated' }]), { timeout: 15_000 });
  expect(listening.heard).toEqual([]);

  const plain = await listen(plainTransport);
  void say(paired(a), plain.port);
  await vi.waitFor(() => expect(plain.heard.length).toBeGreaterThan(0), { timeout: 15_000 });
  expect(plain.heard.join('')).not.toContain('word');
});

test('an unpaired unit mirrors nothing and says what to do, unless the config asks for plaintext', async () => {
  const closed_ = await listen(unpaired(false));
  expect(await say(unpaired(false), closed_.port)).toMatch(/not paired.*tandem pair init.*tandem pair join/);
  await say(plainTransport, closed_.port);
  await vi.waitFor(() => expect(closed_.refused).toHaveLength(1), { timeout: 15_000 });
  expect(unpaired(false).security()).toBe('unpaired');

  const open_ = await listen(unpaired(true));
  expect(await say(unpaired(true), open_.port)).toBe('answer');
  expect(unpaired(true).security()).toBe('plaintext');
});

test('units that are paired while they run need no restart, and pairing anew ends no connection', async () => {
  let credentials: PairCredentials | null = null;
  const transport = securedTransport({ credentials: () => credentials, plaintext: false });
  const { port, heard } = await listen(transport);
  expect(await say(paired(a), port)).not.toBe('answer');
  credentials = b;
  const stays = paired(a).connect('127.0.0.1', { address: '127.0.0.1', port }, () => stays.write(Buffer.from('first')));
  open.push(stays);
  stays.on('error', () => {});
  await vi.waitFor(() => expect(heard).toEqual(['first']), { timeout: 15_000 });

  credentials = { ...b, peerCertificate: stranger.certificate };
  expect(await say(paired(a), port)).not.toBe('answer');
  stays.write(Buffer.from('second'));
  await vi.waitFor(() => expect(heard).toEqual(['first', 'second']), { timeout: 15_000 });
});
