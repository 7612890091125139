/**
 * Goal: what holds for TCP over IPv4 with SNAT holds for the other kinds of virtual server.
 * Method: one pair, a connection of each kind through it, the active unit killed.
 */

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { directEchoPort } from '../support/lab/pair_config.js';
import { attachments, floatingAddress, virtualAddress } from '../support/lab/topology.js';
import { startDownload, startEcho, startHttp, startServers, startUdp } from '../support/lab/traffic.js';
import { hasRole, startPair } from '../support/lab/unit.js';
import { requestOutcomes, streamOutcome } from '../support/traffic/outcome.js';
import { pause } from '../support/traffic/time.js';

const clientAddresses = attachments
  .find((each) => each.host === 'client')!
  .addresses.map((each) => each.split('/')[0]!);

labTest('IPv6, UDP and virtual servers without SNAT go on when the active unit is killed', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const [ipv6, direct, direct6] = await Promise.all([
    startEcho(lab, virtualAddress.ipv6),
    startEcho(lab, virtualAddress.ipv4, directEchoPort),
    startEcho(lab, virtualAddress.ipv6, directEchoPort),
  ]);
  await pair.b.waitUntil('holding the connections', (status) => status.table.used >= 3);
  const [udp, http, http6] = await Promise.all([
    startUdp(lab, 100),
    startHttp(lab, 10),
    startHttp(lab, 10, 0, 0, virtualAddress.ipv6),
  ]);
  // Last, for it must last until the unit is killed, and end before we do.
  const download6 = await startDownload(lab, 12_000_000, 4_000_000, virtualAddress.ipv6);
  await pause(800);
  const killedAtMs = pair.a.kill();
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  await pause(6_000);

  const [udpReport, httpReport, http6Report] = await Promise.all([udp.stop(), http.stop(), http6.stop()]);
  expect(streamOutcome(await ipv6.stop(), killedAtMs), 'IPv6').toBe('survived');
  expect(streamOutcome(await direct.stop(), killedAtMs), 'IPv4 without SNAT').toBe('survived');
  expect(streamOutcome(await direct6.stop(), killedAtMs), 'IPv6 without SNAT').toBe('survived');
  expect(streamOutcome(await download6.stop(), killedAtMs), 'IPv6 download').toBe('survived');
  expect(udpReport.lastReceivedAtMs, 'UDP goes on, scheduled anew').toBeGreaterThan(killedAtMs + 2_000);
  expect(udpReport.received / udpReport.sent).toBeGreaterThan(0.7);
  for (const report of [httpReport, http6Report]) {
    const { before, after } = requestOutcomes(report, killedAtMs);
    expect([before.ok > 0, before.hung + before.reset, after.ok > 0, after.hung + after.reset]).toEqual([
      true,
      0,
      true,
      0,
    ]);
  }
});

labTest('servers see the floating address with SNAT and the client without', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const http = await startHttp(lab, 20);
  const direct = await startEcho(lab, virtualAddress.ipv4, directEchoPort);
  await pause(1_000);
  const { row } = await http.stop();
  expect(new Set(row.map((each) => each.from))).toEqual(new Set([`::ffff:${floatingAddress.server.ipv4}`]));
  expect(new Set(row.map((each) => each.server))).toEqual(new Set(['s1', 's2', 's3']));
  const { rows } = await pair.a.show('connections');
  const straight = rows.filter((each) => each.virtualServer === 'direct');
  expect(straight).toHaveLength(1);
  expect(clientAddresses.some((address) => straight[0]!.snat.includes(address))).toBe(true);
  await direct.stop();
});

labTest('a virtual address answers ping from whichever unit is active', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  for (const address of [virtualAddress.ipv4, virtualAddress.ipv6, ...Object.values(floatingAddress.client)]) {
    expect(lab.run('client', 'ping', ['-c', '2', '-i', '0.2', '-W', '2', address])).toContain(' 0% packet loss');
  }
  pair.a.kill();
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  for (const address of [virtualAddress.ipv4, virtualAddress.ipv6]) {
    expect(lab.run('client', 'ping', ['-c', '2', '-i', '0.2', '-W', '2', address])).toContain(' 0% packet loss');
  }
});
