/**
 * Goal: `tandem standby` hands over without losing a packet of an established connection.
 * Method: count TCP retransmissions of the client and of all servers; a lost packet would be sent again.
 */

import { expect } from 'vitest';

import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { serverNames } from '../support/lab/topology.js';
import { startDownload, startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, startPair } from '../support/lab/unit.js';
import { longestSilence, streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

/** A hand-over that costs no packet is not felt; this is the scheduler's share on a busy machine. */
const unfeltMs = 100;

labTest('a hand-over on purpose loses no packet, there and back', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const [echo, download, idle] = await Promise.all([
    startEcho(lab),
    startDownload(lab, 20_000_000, 4_000_000),
    startIdle(lab, 50),
  ]);
  await pair.b.waitUntil('holding the connections', (status) => status.table.used >= 52, 5_000);
  const sentAgainBefore = retransmissions(lab);

  const startedAtMs = monotonicMs();
  await pair.a.tandem('standby');
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  await pair.a.waitUntil('standby', (status) => hasRole(status, 'standby'));
  await pause(1_500);
  await pair.a.tandem('standby', '--release');
  await pair.a.waitUntil('active again', (status) => hasRole(status, 'active'));
  await pair.b.waitUntil('standby again', (status) => hasRole(status, 'standby'));
  const endedAtMs = monotonicMs();
  await pause(1_500);

  expect(retransmissions(lab) - sentAgainBefore, 'segments sent again').toBe(0);
  const echoReport = await echo.stop();
  expect(streamOutcome(echoReport, endedAtMs)).toBe('survived');
  expect(longestSilence(echoReport, startedAtMs, endedAtMs)?.ms ?? 0).toBeLessThan(unfeltMs);
  expect((await download.stop()).error).toBeNull();
  expect(await idle.stop()).toEqual({ survived: 50, hung: 0, reset: 0 });
});

labTest('a hand-over is refused while the peer is not there, unless forced', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  pair.b.kill();
  await pair.a.waitUntil('alone', (status) => status.mirror.channel !== 'up');
  await expect(pair.a.tandem('standby')).rejects.toThrow();
  expect(hasRole(await pair.a.status(), 'active')).toBe(true);
});

/** Tcp: RetransSegs of every host that ends connections. RFC 4022, tcpRetransSegs. */
function retransmissions(lab: Lab): number {
  return ['client' as const, ...serverNames]
    .map((host) => {
      const [names = [], values = []] = lab
        .run(host, 'cat', ['/proc/net/snmp'])
        .split('\n')
        .filter((line) => line.startsWith('Tcp:'))
        .map((line) => line.split(' '));
      return Number(values[names.indexOf('RetransSegs')]);
    })
    .reduce((sum, each) => sum + each, 0);
}
