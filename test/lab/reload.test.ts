/**
 * Goal: a reload costs no connection, whatever it does to the pool; the command switches mirroring at run time.
 * Method: streams and idle connections over all members, then change the file and reload by command and by SIGHUP.
 */

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { startEcho, startHttp, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, startPair, type Unit, writePairConfig } from '../support/lab/unit.js';
import { requestOutcomes, streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

labTest('members are added, drained and removed under traffic, and no connection is lost', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async', members: ['s1', 's2'] });
  const streams = await Promise.all([startEcho(lab), startEcho(lab), startEcho(lab)]);
  const [idle, http] = await Promise.all([startIdle(lab, 60), startHttp(lab, 25)]);
  await pause(500);

  writePairConfig(lab, { mirror: 'async', members: ['s1', 's2', 's3'], draining: ['s1'] });
  const changes = await pair.a.tandem('reload');
  expect(changes).toContain('10.2.0.13');
  pair.b.reloadBySignal();
  await waitForMembers(pair.a, 9 + 9);
  const drainedAtMs = monotonicMs();
  await pause(1_500);

  const removedAtMs = monotonicMs();
  writePairConfig(lab, { mirror: 'async', members: ['s2', 's3'] });
  pair.a.reloadBySignal();
  pair.b.reloadBySignal();
  await waitForMembers(pair.a, 6 + 6);
  await pause(1_000);

  const httpReport = await http.stop();
  for (const stream of streams) expect(streamOutcome(await stream.stop(), removedAtMs)).toBe('survived');
  expect(await idle.stop()).toEqual({ survived: 60, hung: 0, reset: 0 });
  const whole = requestOutcomes(httpReport, removedAtMs);
  expect([whole.before, whole.after].map((each) => each.hung + each.reset)).toEqual([0, 0]);
  const afterDraining = httpReport.row.filter((each) => each.startedAtMs > drainedAtMs + 100);
  const servers = new Set(afterDraining.map((each) => each.server));
  expect(servers).toEqual(new Set(['s2', 's3']));
});

labTest('a file with a fault is refused whole and traffic goes on', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const echo = await startEcho(lab);
  const before = await pair.a.status();
  writePairConfig(lab, { mirror: 'async', advertIntervalMs: 1 });
  await expect(pair.a.tandem('reload')).rejects.toThrow(/advertIntervalMs/);
  const refusedAtMs = monotonicMs();
  await pause(300);
  const after = await pair.a.status();
  expect(after.configLoadedAt).toBe(before.configLoadedAt);
  expect(streamOutcome(await echo.stop(), refusedAtMs)).toBe('survived');
});

labTest('tandem virtual NAME mirror conn enable: connections opened before and after survive', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'off' });
  const before = await startEcho(lab);
  expect((await pair.b.status()).table.used).toBe(0);
  for (const unit of [pair.a, pair.b]) await unit.tandem('virtual', 'echo', 'mirror', 'conn', 'enable');
  const after = await startEcho(lab);
  await pair.b.waitUntil('holding both connections', (status) => status.table.used >= 2);

  const killedAtMs = pair.a.kill();
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  await pause(1_500);
  expect(streamOutcome(await after.stop(), killedAtMs)).toBe('survived');
  expect(streamOutcome(await before.stop(), killedAtMs)).toBe('survived');
});

/** All monitors have spoken about this many members. */
async function waitForMembers(unit: Unit, total: number): Promise<void> {
  await unit.waitUntil(`serving ${total} members`, (status) => status.members.total === total);
}
