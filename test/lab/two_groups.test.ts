/**
 * Goal: with two traffic groups and opposite priorities both units work at once, each the other's standby.
 * Method: traffic through both groups; one unit is killed and comes back; roles, tables and streams are looked at.
 */

import { expect } from 'vitest';

import type { Status } from '../../src/api.js';
import { labTest } from '../support/lab/lab_test.js';
import { secondGroup, virtualAddress } from '../support/lab/topology.js';
import { startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { type Pair, pairUnits, Unit, writePairConfig } from '../support/lab/unit.js';
import { streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

const rolesOf = ({ trafficGroups }: Status) => trafficGroups.map(({ name, role }) => `${name} ${role}`).join(', ');
const ready = (roles: string) => (status: Status) =>
  rolesOf(status) === roles && status.members.up === status.members.total && status.mirror.inSync;

/** Each unit active for its own group, and in sync as sender and as receiver. */
const bothWork = ({ a, b }: Pair) =>
  Promise.all([
    a.waitUntil('active for main alone, in sync', ready('main active, second standby'), 30_000),
    b.waitUntil('active for second alone, in sync', ready('main standby, second active'), 30_000),
  ]);

labTest('two traffic groups, one active on each unit: both work, and one takes over for the other', async (lab) => {
  await startServers(lab);
  writePairConfig(lab, { mirror: 'async', secondGroup: true });
  const pair = { a: new Unit(lab, 'a'), b: new Unit(lab, 'b') };
  await pairUnits((unit) => pair[unit].state);
  pair.a.start();
  pair.b.start();
  await bothWork(pair);

  const idle = await Promise.all([startIdle(lab, 100, virtualAddress.ipv4), startIdle(lab, 100, secondGroup.virtual)]);
  const [main, second] = await Promise.all([startEcho(lab), startEcho(lab, secondGroup.virtual)]);
  for (const unit of [pair.a, pair.b]) {
    await unit.waitUntil('holding the connections of both groups', (status) => status.table.used >= 202);
  }
  // Each group is forwarded where it is active.
  const served = await Promise.all([pair.a, pair.b].map((unit) => unit.show('mirror')));
  expect(served.map(({ sending, receiving }) => sending.records > 0 && receiving.applied > 0)).toEqual([true, true]);

  const killedAtMs = pair.a.kill();
  await pair.b.waitUntil('active for both', (status) => rolesOf(status) === 'main active, second active');
  await pause(1_000);
  const young = await startEcho(lab);
  pair.a.start();
  await bothWork(pair);
  const backAtMs = monotonicMs();
  await pause(1_500);

  expect(streamOutcome(await main.stop(), killedAtMs)).toBe('survived');
  expect(streamOutcome(await second.stop(), killedAtMs)).toBe('survived');
  expect(streamOutcome(await young.stop(), backAtMs)).toBe('survived');
  const all = { survived: 100, hung: 0, reset: 0 };
  expect(await Promise.all(idle.map((each) => each.stop()))).toEqual([all, all]);
  const dropped = await Promise.all([pair.a, pair.b].map((unit) => unit.show('mirror')));
  expect(dropped.map(({ receiving }) => receiving.refusedFull + receiving.unknown)).toEqual([0, 0]);
});
