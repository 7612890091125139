/**
 * Goal: a preferred unit that comes back takes over only when it holds what its peer holds, and no connection notices.
 * Method: kill a, let b serve old and new connections, start a again, watch its role and its bulk until it is active.
 */

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, isReady, startPair, type Unit } from '../support/lab/unit.js';
import { streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

labTest('the preferred unit comes back under traffic: in sync first, active then, no connection lost', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const old = await startEcho(lab);
  const idle = await startIdle(lab, 200);
  await pair.b.waitUntil('holding the connections', (status) => status.table.used >= 201);

  const killedAtMs = pair.a.kill();
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  const young = await startEcho(lab);
  await pause(500);

  pair.a.start();
  const watched = watch(pair.a);
  await pair.a.waitUntil('active again and in sync', (status) => isReady(status, 'active'));
  const preemptedAtMs = monotonicMs();
  await pair.b.waitUntil('standby again', (status) => hasRole(status, 'standby'));
  await pause(1_500);

  const { activeBeforeBulk, samples } = await watched.end();
  expect(samples).toBeGreaterThan(0);
  expect(activeBeforeBulk, 'samples in which a was active without the bulk of b').toBe(0);
  expect(streamOutcome(await old.stop(), killedAtMs)).toBe('survived');
  expect(streamOutcome(await young.stop(), preemptedAtMs)).toBe('survived');
  expect(await idle.stop()).toEqual({ survived: 200, hung: 0, reset: 0 });
});

labTest('without preempt the unit that came back stands by', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async', preempt: false });
  pair.a.kill();
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  pair.a.start();
  await pair.a.waitUntil('standby and in sync', (status) => isReady(status, 'standby'));
  await pause(1_000);
  expect(hasRole(await pair.a.status(), 'standby')).toBe(true);
  expect(hasRole(await pair.b.status(), 'active')).toBe(true);
});

/**
 * Samples a starting unit until told to end. It asks for the role before it asks for the bulk, so a sample
 * counts against the unit only if it was active before the question whose answer was "no bulk yet".
 */
function watch(unit: Unit) {
  let going = true;
  let samples = 0;
  let activeBeforeBulk = 0;
  const loop = (async () => {
    while (going) {
      try {
        const before = await unit.status();
        const mirror = await unit.show('mirror');
        samples++;
        if (hasRole(before, 'active') && mirror.receiving.bulk.completed === 0) activeBeforeBulk++;
      } catch {
        // It does not answer yet.
      }
      await pause(30);
    }
  })();
  return {
    end: async () => {
      going = false;
      await loop;
      return { samples, activeBeforeBulk };
    },
  };
}
