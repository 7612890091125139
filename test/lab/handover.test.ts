/**
 * Goal: `tandem standby` hands over without losing a packet of an established connection.
 * Method: count what TCP sends again on the client and on all servers. On two busy cores it sends some segments again
 * that were not lost at all, so two accounts are kept, and a segment was lost if both say so: segments sent again that
 * the other side did not report as doubled (duplicate SACK, RFC 2883), and repairs that TCP did not take back.
 */

import { expect } from 'vitest';

import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { serverNames } from '../support/lab/topology.js';
import { startDownload, startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, startPair, type Unit } from '../support/lab/unit.js';
import { longestSilence, streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

/**
 * A hand-over that costs no packet is not felt; this is the scheduler's share. On a machine that is busier than that
 * the stream's own silences before it say what is usual.
 */
const unfeltMs = 100;
const usualTimes = 2;

labTest('a hand-over on purpose loses no packet', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const [echo, download, idle] = await Promise.all([
    startEcho(lab),
    startDownload(lab, 20_000_000, 4_000_000),
    startIdle(lab, 50),
  ]);
  await pair.b.waitUntil('holding the connections', (status) => status.table.used >= 52);
  const quietAtMs = monotonicMs();
  await pause(1_500);
  const lostBefore = lostSegments(lab);
  const startedAtMs = monotonicMs();
  await pair.a.tandem('standby');
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  await pair.a.waitUntil('standby', (status) => hasRole(status, 'standby'));
  await pause(1_500);
  const handedOverAtMs = monotonicMs();
  const lostAfter = lostSegments(lab);
  const lost = Math.min(lostAfter.sentAgain - lostBefore.sentAgain, lostAfter.repaired - lostBefore.repaired);
  expect(lost, `segments lost; dropped by a: ${await drops(pair.a)}; by b: ${await drops(pair.b)}`).toBeLessThanOrEqual(
    0,
  );

  // The way back is an ordinary preemption.
  await pair.a.tandem('standby', '--release');
  await pair.a.waitUntil('active again', (status) => hasRole(status, 'active'));
  await pair.b.waitUntil('standby again', (status) => hasRole(status, 'standby'));
  await pause(1_500);

  const echoReport = await echo.stop();
  expect(streamOutcome(echoReport, handedOverAtMs)).toBe('survived');
  const usualMs = longestSilence(echoReport, quietAtMs, startedAtMs)?.ms ?? 0;
  const felt = longestSilence(echoReport, startedAtMs, handedOverAtMs)?.ms ?? 0;
  expect(felt, `usual: ${usualMs} ms`).toBeLessThan(Math.max(unfeltMs, usualTimes * usualMs));
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

/** What a unit dropped, by reason: where to look when a segment was lost. */
async function drops(unit: Unit): Promise<string> {
  const rows = (await unit.show('counters')).drops.filter((row) => row.value > 0);
  return rows.map((row) => `${row.value} ${row.name}`).join(', ') || 'nothing';
}

/** Since boot, over every host that ends connections; differences count. */
function lostSegments(lab: Lab): { readonly sentAgain: number; readonly repaired: number } {
  const hosts = ['client' as const, ...serverNames].map((host) =>
    readCounters(lab.run(host, 'cat', ['/proc/net/snmp', '/proc/net/netstat'])),
  );
  const sum = (group: string, ...names: string[]) =>
    hosts.reduce((total, counter) => total + names.reduce((all, name) => all + counter(group, name), 0), 0);
  const undone = sum('TcpExt', 'TCPSpuriousRTOs', 'TCPDSACKUndo', 'TCPFullUndo', 'TCPPartialUndo');
  return {
    sentAgain: sum('Tcp', 'RetransSegs') - sum('TcpExt', 'TCPDSACKRecvSegs'),
    repaired: sum('TcpExt', 'TCPTimeouts', 'TCPLossProbeRecovery', 'TCPSackRecovery', 'TCPRenoRecovery') - undone,
  };
}

/** proc(5): a line of names, then a line of values, each beginning with the group's name and a colon. */
function readCounters(text: string): (group: string, name: string) => number {
  const lines = text.split('\n').map((line) => line.split(' '));
  return (group, name) => {
    const [names = [], values = []] = lines.filter((line) => line[0] === `${group}:`);
    const value = values[names.indexOf(name)];
    if (value === undefined) throw new Error(`the kernel has no counter ${group} ${name}`);
    return Number(value);
  };
}
