/**
 * Goal: what one process writes into the shared state, the other reads, and nothing else is taken for one.
 * Method: the addon itself, in this process and in a child that inherits the descriptor as the failover process does.
 */

import { spawnSync } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { native } from '../../../src/io/native.js';

const addon = createRequire(import.meta.url).resolve('../../../build/Release/tandem.node');

/** Runs `body` in another process, which has the state as `state`, and gives what it returns. */
function inChild(fd: number, body: string): unknown {
  const program = `const { SharedState } = require(${JSON.stringify(addon)});
    const state = new SharedState(3);
    const result = (() => { ${body} })();
    process.stdout.write(JSON.stringify(result, (_, value) => typeof value === 'bigint' ? String(value) : value));`;
  const child = spawnSync(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit', fd] });
  expect(child.status).toBe(0);
  return JSON.parse(child.stdout.toString());
}

test('a new state has every group on standby without a lease, and no worker', () => {
  const state = new native.SharedState();
  for (let index = 0; index < 16; index++) {
    expect(state.group(index)).toEqual({ role: 'standby', term: 0, leaseNs: 0n, activatedNs: 0n });
  }
  const heartbeats = new BigUint64Array(16).fill(9n);
  state.readHeartbeats(heartbeats);
  expect([...heartbeats]).toEqual(new Array(16).fill(0n));
});

test('a role that the child sets is what the parent reads, and the other way round', () => {
  const state = new native.SharedState();
  state.setRole(2, 'handing-over', 7, 1000);
  expect(
    inChild(state.fd, `const was = state.group(2); state.setRole(2, 'active', 8, 60000); return was;`),
  ).toMatchObject({
    role: 'handing-over',
    term: 7,
  });
  const now = BigInt(Math.round(state.now() * 1e6));
  const group = state.group(2);
  expect(group).toMatchObject({ role: 'active', term: 8 });
  expect(group.leaseNs - now).toBeGreaterThan(50_000_000_000n);
  expect(group.leaseNs - now).toBeLessThanOrEqual(60_000_000_000n);
  expect(now - group.activatedNs).toBeLessThan(10_000_000_000n);
});

test('extending a lease leaves role, term and time of activation alone', () => {
  const state = new native.SharedState();
  state.setRole(0, 'active', 3, 100);
  const before = state.group(0);
  state.setRole(0, 'active', 3, 200);
  state.extendLease(0, 5000);
  const after = state.group(0);
  expect(after).toEqual({ ...before, leaseNs: after.leaseNs });
  expect(after.leaseNs - before.leaseNs).toBeGreaterThan(4_000_000_000n);
});

test('an endless lease is Infinity, and no lease is 0', () => {
  const state = new native.SharedState();
  state.setRole(1, 'active', 1, Number.POSITIVE_INFINITY);
  expect(state.group(1).leaseNs).toBe(2n ** 64n - 1n);
  state.setRole(1, 'standby', 1, 0);
  expect(state.group(1).leaseNs).toBe(0n);
});

test('a descriptor that holds something else is refused with what is wrong with it', () => {
  const fd = openSync(join(tmpdir(), `tandem-no-state-${process.pid}`), 'w+');
  try {
    expect(() => new native.SharedState(fd)).toThrow(/holds 0 bytes.*another version of Tandem/);
    const state = new native.SharedState();
    const size = inChild(state.fd, `return require('fs').fstatSync(3).size;`) as number;
    writeSync(fd, new Uint8Array(size));
    expect(() => new native.SharedState(fd)).toThrow(/no shared state of version 1/);
  } finally {
    closeSync(fd);
  }
  expect(() => new native.SharedState(1_000_000)).toThrow(/EBADF/);
});

test('the memory cannot be shrunk under its readers', () => {
  const state = new native.SharedState();
  const code = inChild(
    state.fd,
    `try { require('fs').ftruncateSync(3, 1); return 'shrunk'; } catch (e) { return e.code; }`,
  );
  expect(code).toBe('EPERM');
});

test.each([
  [
    'a group out of range',
    (s: InstanceType<typeof native.SharedState>) => s.group(16),
    /group must be an integer from 0 to 15, and is 16/,
  ],
  [
    'a role that is none',
    (s: InstanceType<typeof native.SharedState>) => s.setRole(0, 'master' as never, 1, 0),
    /role must be standby, active or handing-over/,
  ],
  [
    'a negative lease',
    (s: InstanceType<typeof native.SharedState>) => s.extendLease(0, -1),
    /leaseMs must be 0 or more/,
  ],
])('%s is refused', (_, call, sentence) => {
  expect(() => call(new native.SharedState())).toThrow(sentence);
});
