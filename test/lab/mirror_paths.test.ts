/**
 * Goal: losing one of two mirror paths costs nothing: no bulk, no moment out of sync, no connection at a failover.
 * Method: a pair under traffic, its mirror link cut and mended, then the active unit killed on the path that is left.
 */

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { virtualAddress } from '../support/lab/topology.js';
import { startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, startPair, type Unit } from '../support/lab/unit.js';
import { streamOutcome } from '../support/traffic/outcome.js';
import { pause } from '../support/traffic/time.js';

const LOOKS = 100;
const LOOK_MS = 200;

/** Asks until the paths are in these states, the primary first. */
async function untilPaths(unit: Unit, ...wanted: string[]): Promise<void> {
  let states: string[] = [];
  for (let look = 0; look < LOOKS; look += 1) {
    states = (await unit.show('mirror')).paths.map(({ state }) => state);
    if (states.join() === wanted.join()) return;
    await pause(LOOK_MS);
  }
  throw new Error(`the paths of unit ${unit.name} are ${states.join(', ')}, not ${wanted.join(', ')}`);
}

labTest(
  'the mirror link fails and comes back: the other path carries on, and a failover costs nothing',
  async (lab) => {
    await startServers(lab);
    const pair = await startPair(lab, { mirror: 'async', secondaryPath: true });
    await untilPaths(pair.a, 'in use', 'standing by');
    const echo = await startEcho(lab);
    const before = await pair.a.show('mirror');

    lab.setLink('a', 'mirror', 'down');
    // Connections opened while nobody has noticed yet are told on the other path.
    const idle = await startIdle(lab, 200, virtualAddress.ipv4);
    await untilPaths(pair.b, 'down', 'in use');
    await pair.b.waitUntil('holding every connection', (status) => status.table.used >= 201);
    const after = await pair.a.show('mirror');
    expect({ inSync: after.inSync, connects: after.connects, switches: after.switches }).toEqual({
      inSync: true,
      connects: before.connects,
      switches: before.switches + 1,
    });
    expect(after.sending.bulk.completed).toBe(before.sending.bulk.completed);

    lab.setLink('a', 'mirror', 'up');
    await untilPaths(pair.a, 'in use', 'standing by');
    expect((await pair.a.show('mirror')).sending.bulk.completed).toBe(before.sending.bulk.completed);

    lab.setLink('a', 'mirror', 'down');
    await untilPaths(pair.b, 'down', 'in use');
    const killedAtMs = pair.a.kill();
    await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
    await pause(1_500);
    expect(streamOutcome(await echo.stop(), killedAtMs)).toBe('survived');
    expect(await idle.stop()).toEqual({ survived: 200, hung: 0, reset: 0 });
  },
);
