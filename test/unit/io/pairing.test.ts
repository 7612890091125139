/**
 * Goal: two units get each other's certificate by a code, and nobody without the code does.
 * Method: both ends over real sockets on 127.0.0.1, each with a directory of its own.
 */

import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';

import { afterEach, expect, test } from 'vitest';

import { CredentialStore, credentialsFile, fingerprint, readCredentials } from '../../../src/io/pair_credentials.js';
import { invite, join, pairedUnits } from '../../../src/io/pairing.js';
import { formatPairCode, type PairCode, parsePairCode } from '../../../src/wire/pair_code.js';

const made: string[] = [];

function directory(): string {
  const path = mkdtempSync(joinPath(tmpdir(), 'tandem-pair-'));
  made.push(path);
  return path;
}

afterEach(() => {
  for (const path of made.splice(0)) rmSync(path, { recursive: true });
});

const inviting = (at: string, lifeMs?: number) =>
  invite({ directory: at, address: '127.0.0.1', port: 0, ...(lifeMs === undefined ? {} : { lifeMs }) });

test("each unit ends with its own key and the other one's certificate, readable by its owner only", async () => {
  const [a, b] = [directory(), directory()];
  const { code, paired } = await inviting(a);
  const [there, here] = await Promise.all([join(code, b), paired]);
  expect(here.fingerprint).toBe(there.peerFingerprint);
  expect(there.fingerprint).toBe(here.peerFingerprint);
  expect(here.fingerprint).not.toBe(there.fingerprint);
  expect(pairedUnits(a)).toEqual(here);
  expect(pairedUnits(b)).toEqual(there);
  expect(statSync(credentialsFile(a)).mode & 0o777).toBe(0o600);
  expect(readCredentials(a)?.key).not.toBe(readCredentials(b)?.key);
});

test('a code is good once', async () => {
  const { code, paired } = await inviting(directory());
  await Promise.all([join(code, directory()), paired]);
  await expect(join(code, directory())).rejects.toThrow(/cannot reach the other unit/);
});

test('a code with another secret pairs nobody, and a few attempts make the true one void', async () => {
  const [a, stranger] = [directory(), directory()];
  const { code, paired } = await inviting(a);
  const known = parsePairCode(code) as PairCode;
  const guess = formatPairCode({ ...known, secret: known.secret.map((octet) => octet ^ 1) });
  const outcome = expect(paired).rejects.toThrow(/attempts to join failed; the code is void/);
  for (let attempt = 0; attempt < 5; attempt += 1) {
    await expect(join(guess, stranger)).rejects.toThrow();
  }
  await outcome;
  await expect(join(code, directory())).rejects.toThrow(/cannot reach/);
  expect(readCredentials(a)).toBeNull();
  expect(readCredentials(stranger)).toBeNull();
});

test('nonsense, silence and too much of it are no pairing', async () => {
  const { code, paired } = await inviting(directory());
  const { port } = parsePairCode(code) as PairCode;
  paired.catch(() => {});
  const said = ['GET / HTTP/1.1\r\n\r\n', '{}\n', 'x'.repeat(20_000)];
  const sockets = said.map((words) => {
    const socket = connect(port, '127.0.0.1');
    socket.write(words);
    return socket;
  });
  await Promise.all(sockets.map(closed));
  const b = directory();
  await Promise.all([join(code, b), paired]);
  expect(pairedUnits(b)).not.toBeNull();
});

test('a code is void when its time is over', async () => {
  const { paired } = await inviting(directory(), 20);
  await expect(paired).rejects.toThrow('nobody joined in time');
});

test('pairing anew replaces what was there, and a store notices', async () => {
  const [a, b] = [directory(), directory()];
  const store = new CredentialStore(a);
  expect(store.current()).toBeNull();
  for (let round = 0; round < 2; round += 1) {
    const { code, paired } = await inviting(a);
    const [, here] = await Promise.all([join(code, b), paired]);
    expect(fingerprint(store.current()?.certificate ?? '')).toBe(here.fingerprint);
  }
});

test('a file that holds something else is an error, not an unpaired unit', () => {
  const a = directory();
  writeFileSync(credentialsFile(a), 'nothing of the kind');
  expect(() => readCredentials(a)).toThrow(/pair the units again/);
});

async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  await once(socket, 'close');
}
