/**
 * Goal: a service manager hears that the unit serves, how it is, and that it lives, as long as that is true.
 * Method: a real datagram socket; time and heartbeats are the test's.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import type { Status } from '../../../src/api.js';
import { native } from '../../../src/io/native.js';
import { ServiceNotices, statusLine } from '../../../src/io/service_notices.js';
import type { Timers } from '../../../src/io/timers.js';
import { NotifySocket } from '../../support/systemd/notify_socket.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tandem-notify-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test.each([
  ['in the file system', () => join(directory, 'notify')],
  ['in the abstract namespace', () => `@${directory}/notify`],
])('a datagram arrives whole at an address %s', async (_where, address) => {
  const socket = await NotifySocket.open(address());
  try {
    native.sendDatagram(address(), 'READY=1\nSTATUS=é');
    await socket.until('heard', (messages) => messages.length === 1);
    expect(socket.messages).toEqual(['READY=1\nSTATUS=é']);
  } finally {
    socket.close();
  }
});

test('a datagram that cannot be sent says why', () => {
  expect(() => native.sendDatagram(join(directory, 'nobody'), 'x')).toThrow(/ENOENT/);
  expect(() => native.sendDatagram(`/${'x'.repeat(107)}`, 'x')).toThrow(/1 to 107 octets/);
  expect(() => native.sendDatagram('', 'x')).toThrow(/1 to 107 octets/);
});

/** A manager whose time goes on by hand, and what it said. */
function rehearse(environment: Record<string, string>) {
  const said: string[] = [];
  const faults: string[] = [];
  const world = { now: 0, heartbeats: [1n], status: 'main standby', broken: false };
  let due: { readonly at: number; readonly run: () => void } | null = null;
  const timers: Timers = {
    now: () => world.now,
    after(ms, run) {
      due = { at: world.now + ms, run };
      return () => {
        due = null;
      };
    },
    soon: () => () => undefined,
    chance: () => 0,
  };
  const manager = new ServiceNotices({
    environment,
    pid: 7,
    send: (_socket, message) => {
      if (world.broken) throw new Error('ECONNREFUSED');
      said.push(message);
    },
    timers,
    monotonicUs: () => 42n,
    readHeartbeats: (into) => into.set(world.heartbeats),
    status: async () => world.status,
    onFault: (message) => faults.push(message),
  });
  /** Lets `ms` pass; the workers named beat meanwhile. */
  const pass = async (ms: number, ...beating: number[]) => {
    const end = world.now + ms;
    while (due !== null && due.at <= end) {
      const { at, run } = due;
      world.now = at;
      for (const worker of beating) world.heartbeats[worker] = (world.heartbeats[worker] ?? 0n) + 1n;
      run();
      await Promise.resolve();
    }
    world.now = end;
  };
  const watchdogs = () => said.filter((message) => message === 'WATCHDOG=1').length;
  return { manager, said, faults, world, pass, watchdogs };
}

const socketOnly = { NOTIFY_SOCKET: '/run/notify' };
const watched = { ...socketOnly, WATCHDOG_USEC: '4000000', WATCHDOG_PID: '7' };

test('nobody is told without a socket', async () => {
  const { manager, said, pass } = rehearse({ WATCHDOG_USEC: '4000000' });
  manager.ready();
  await pass(10_000, 0);
  manager.stopping();
  expect(said).toEqual([]);
});

test('ready, reload and stop are told in order, the status when it has changed', async () => {
  const { manager, said, world, pass } = rehearse(socketOnly);
  manager.ready();
  await pass(20_000, 0);
  world.status = 'main active';
  await pass(5_000, 0);
  manager.reloading();
  manager.ready();
  manager.stopping();
  await pass(60_000, 0);
  expect(said).toEqual([
    'READY=1',
    'STATUS=main standby',
    'STATUS=main active',
    'RELOADING=1\nMONOTONIC_USEC=42',
    'READY=1',
    'STOPPING=1\nSTATUS=handing over and stopping',
  ]);
});

test('the watchdog hears of a living unit several times in its interval', async () => {
  const { manager, pass, watchdogs } = rehearse(watched);
  manager.ready();
  await pass(4_000, 0);
  expect(watchdogs()).toBeGreaterThanOrEqual(4);
});

test('the watchdog hears nothing more once one of two workers stands still', async () => {
  const { manager, world, pass, watchdogs } = rehearse(watched);
  world.heartbeats = [1n, 1n];
  manager.ready();
  await pass(4_000, 0, 1);
  const before = watchdogs();
  await pass(8_000, 0);
  // What was heard within half an interval of the last heartbeat is not yet a lie.
  expect(watchdogs() - before).toBeLessThanOrEqual(2);
  const stalled = watchdogs();
  await pass(8_000, 0);
  expect(watchdogs()).toBe(stalled);
});

test('a watchdog for another process hears nothing', async () => {
  const { manager, pass, watchdogs } = rehearse({ ...watched, WATCHDOG_PID: '8' });
  manager.ready();
  await pass(8_000, 0);
  expect(watchdogs()).toBe(0);
});

test('a socket that refuses is a warning once, and no more than that', async () => {
  const { manager, world, faults, pass, watchdogs } = rehearse(watched);
  world.broken = true;
  manager.ready();
  await pass(8_000, 0);
  expect(faults).toEqual(['the service manager does not hear of this unit: ECONNREFUSED']);
  world.broken = false;
  await pass(4_000, 0);
  expect(watchdogs()).toBeGreaterThan(0);
});

test('the status line says roles, mirroring, members and the first warning', () => {
  const status = {
    trafficGroups: [{ name: 'main', role: 'active', term: 3 }],
    mirror: { channel: 'up', inSync: false },
    members: { total: 3, up: 2 },
    warnings: ['s3 is down', 'another'],
  } as unknown as Status;
  expect(statusLine(status)).toBe(
    'main active; mirror up, not in sync; 2 of 3 members up; look at: s3 is down (and 1 more)',
  );
});
