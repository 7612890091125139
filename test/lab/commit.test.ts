/**
 * Goal: with mirror: commit a client hears of its connection only when the peer has it; what happens when the peer does
 * not answer is as onTimeout says. Method: real clients through a pair; the peer is killed, stopped and continued.
 */

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { processesInside } from '../support/lab/namespaces.js';
import { port, virtualAddress } from '../support/lab/topology.js';
import { startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, startPair, type Unit } from '../support/lab/unit.js';
import { streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs } from '../support/traffic/time.js';

const strict = { mode: 'commit', onTimeout: 'strict', timeoutMs: 2_000 } as const;
const available = { mode: 'commit', onTimeout: 'available', timeoutMs: 100 } as const;

async function commitsOf(unit: Unit, name = 'echo') {
  const { virtualServers } = await unit.show('mirror');
  const found = virtualServers.find((server) => server.name === name);
  if (found === undefined) throw new Error(`no virtual server ${name}`);
  return found.commit;
}

labTest('every connection that a client has is at the peer, at once', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: strict });
  const idle = await Promise.all([startIdle(lab, 300, virtualAddress.ipv4), startIdle(lab, 300, virtualAddress.ipv6)]);
  pair.a.kill();
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  expect(await Promise.all(idle.map((each) => each.stop()))).toEqual([
    { survived: 300, hung: 0, reset: 0 },
    { survived: 300, hung: 0, reset: 0 },
  ]);
});

labTest('strict: without a peer nothing is opened, and what is open goes on', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: strict });
  const echo = await startEcho(lab);
  const killedAtMs = pair.b.kill();
  const { warnings } = await pair.a.waitUntil('alone', ({ mirror }) => mirror.channel !== 'up');
  expect(warnings.join('\n')).toContain('virtual server echo: there is no peer, so nothing is opened');
  await expect(startEcho(lab)).rejects.toThrow('no ready within');
  expect((await commitsOf(pair.a)).noPeer).toBeGreaterThan(0);
  expect(streamOutcome(await echo.stop(), killedAtMs)).toBe('survived');
});

labTest('available: without a peer connections are opened unprotected, until it is back and has them', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: available });
  pair.b.kill();
  await pair.a.waitUntil('alone', ({ mirror }) => mirror.channel !== 'up');
  const echo = await startEcho(lab);
  expect(await commitsOf(pair.a)).toMatchObject({ unprotected: 1 });
  const { rows } = await pair.a.show('connections');
  expect(rows.filter(({ unprotected }) => unprotected)).toHaveLength(1);
  pair.b.start();
  await pair.a.waitUntil('in sync', ({ mirror }) => mirror.inSync);
  await pair.a.waitUntil('protected', ({ warnings }) => !warnings.join().includes('not protected'));
  expect((await commitsOf(pair.a)).unprotected).toBe(0);
  const killedAtMs = pair.a.kill();
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  expect(streamOutcome(await echo.stop(), killedAtMs)).toBe('survived');
});

labTest('a peer that stands still is waited for as long as is said, whichever mode is switched to', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: { ...available, timeoutMs: 50 } });
  await pair.a.tandem('virtual', 'http', 'mirror', 'conn', 'enable');
  const still = processesInside(lab.namespace('b'));
  for (const pid of still) process.kill(pid, 'SIGSTOP');
  try {
    const before = monotonicMs();
    const echo = await startEcho(lab);
    expect(monotonicMs() - before).toBeGreaterThan(50);
    const commit = await commitsOf(pair.a);
    expect(commit.timedOut + commit.noPeer).toBeGreaterThan(0);
    expect((await commitsOf(pair.a, 'http')).held).toBe(0);
    await echo.stop();
  } finally {
    for (const pid of still) process.kill(pid, 'SIGCONT');
  }
  await pair.a.tandem('virtual', 'echo', 'mirror', 'conn', 'disable');
  const plain = await startEcho(lab, virtualAddress.ipv4, port.echo);
  await plain.stop();
  expect((await commitsOf(pair.a)).unprotected).toBeLessThanOrEqual(1);
});
