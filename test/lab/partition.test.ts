/**
 * Goal: when units that were both active meet again, one is, it announces all addresses once more, and connections that
 * either opened meanwhile go on.
 * Method: every frame to and from b is lost, then every frame to and from a, so that both are active throughout and
 * clients reach one after the other; connections are opened before, through a, and through b.
 */

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { floatingAddress, virtualAddress } from '../support/lab/topology.js';
import { startCapture, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, isReady, startPair } from '../support/lab/unit.js';
import { isAnnouncement } from '../support/traffic/frames.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

const connections = 60;
/** Each way; a longer partition is the simulation's. */
const apartMs = 2_500;
/** From the first advert that passes to the end of one unit's role; the machine's share included. */
const meetMs = 1_000;
const busyMs = 1_000;

labTest('both were active: one yields within a second, and connections of either go on', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const before = await startIdle(lab, connections);
  await pair.b.waitUntil('holding the connections', (status) => status.table.used >= connections);

  lab.silenceLinks('b');
  await pair.b.waitUntil('active as well', (status) => hasRole(status, 'active'));
  const throughA = await startIdle(lab, connections);
  await pause(apartMs);
  lab.silenceLinks('a');
  lab.forgetAddresses();
  const throughB = await startIdle(lab, connections);
  await pause(apartMs);
  expect([hasRole(await pair.a.status(), 'active'), hasRole(await pair.b.status(), 'active')]).toEqual([true, true]);
  const held = await Promise.all([pair.a, pair.b].map(async (unit) => (await unit.status()).table.used));
  expect(held).toEqual([2 * connections, 2 * connections]);

  const capture = await startCapture(lab);
  const metAt = Date.now();
  const metAtMs = monotonicMs();
  lab.endSilence();
  await Promise.all([
    pair.a.waitUntil('active and in sync', (status) => isReady(status, 'active'), 30_000),
    pair.b.waitUntil('standby and in sync', (status) => isReady(status, 'standby'), 30_000),
  ]);
  const yielded = (await pair.b.show('failover')).trafficGroups[0]!.transitions.find(
    ({ reason }) => reason === 'outranked',
  );
  const yieldedAfterMs = Date.parse(yielded?.at ?? '') - metAt;
  expect(yieldedAfterMs).toBeGreaterThanOrEqual(0);
  expect(yieldedAfterMs).toBeLessThan(meetMs + busyMs);

  const all = { survived: connections, hung: 0, reset: 0 };
  expect(await Promise.all([before, throughA, throughB].map((each) => each.stop()))).toEqual([all, all, all]);
  for (const unit of [pair.a, pair.b]) expect((await unit.status()).table.used).toBeGreaterThanOrEqual(3 * connections);
  const seen = (await capture.stop()).frames.filter(({ atMs }) => atMs >= metAtMs);
  for (const address of [virtualAddress.ipv4, floatingAddress.client.ipv4]) {
    const announced = seen.some(({ frame }) => isAnnouncement(Buffer.from(frame, 'base64'), [address]));
    expect([address, announced]).toEqual([address, true]);
  }
});
