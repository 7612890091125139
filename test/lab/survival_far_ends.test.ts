/**
 * Goal: the programs that play a million clients and servers speak TCP as the kernel does, and see what is done to a
 * connection. Method: each of them face to face with the kernel, nobody between.
 */

import { expect } from 'vitest';

import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { ipBatch } from '../support/lab/namespaces.js';
import { TrafficProgram } from '../support/lab/program.js';
import { type HostName, port, serverAddress } from '../support/lab/topology.js';
import { startEcho, startIdle } from '../support/lab/traffic.js';
import { FarEnd, type ServersReport, type VerifyReport } from '../support/survival/far_ends.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

const timeoutMs = 30_000;

labTest('clients: the kernel answers each of them, and its resets are seen', async (lab) => {
  const kernel = await TrafficProgram.start(lab, 's1', 'servers', 's1', 'we end');
  // Where the clients' addresses are.
  ipBatch(lab.namespace('s1'), ['route add 10.64.0.0/10 via 10.2.0.12', 'route add fd64::/16 via fd02::12']);
  const mac = macOf(lab, 's1', 'server');
  const clients = await FarEnd.start(lab, 's2', 'clients', {
    interface: 'server',
    address4: serverAddress.s1.ipv4,
    address6: serverAddress.s1.ipv6,
    port: port.echo,
    mac4: mac,
    mac6: mac,
    capacity: 10_000,
  });
  const open = (run: number) =>
    clients.ask('open', { run, connections: 400, perS: 2_000, newPerS: 100, probesPerS: 100 }, timeoutMs);
  expect(await open(1)).toMatchObject({ established: 400, refused: 0 });
  await pause(300);
  const survived = await verify(clients);
  // All but the two streams, and what was opened since.
  expect(survived.established).toBeGreaterThanOrEqual(398);
  expect(survived).toMatchObject({ survived: survived.established, hung: 0, reset: 0, corrupt: 0, badChecksums: 0 });
  expect(survived.established6).toBeGreaterThanOrEqual(99);
  expect(survived).toMatchObject({ rstsOfUnits: 0, unexpected: 0 });
  const closed = await clients.ask<{ closed: number; of: number }>('close', { perS: 5_000 }, timeoutMs);
  // The two streams send nothing again and acknowledge ahead, so a kernel may leave them open.
  expect(closed.closed).toBeGreaterThanOrEqual(closed.of - 2);

  expect(await open(2)).toMatchObject({ established: 400 });
  kernel.kill();
  await pause(300);
  const reset = await verify(clients);
  expect(reset).toMatchObject({ survived: 0, reset: reset.established, corrupt: 0 });
  expect(reset.rstsOfUnits).toBeGreaterThanOrEqual(398);
  expect(reset.ages.older.lost).toBe(reset.ages.older.established);
});

labTest('servers: connections of the kernel open, echo and close', async (lab) => {
  const servers = await FarEnd.start(lab, 'a', 'servers', {
    interface: 'client',
    count: 2,
    address4: '10.1.0.31',
    address6: 'fd01::31',
    port: port.echo,
    gateway4: '02:00:00:00:00:01',
    gateway6: '02:00:00:00:00:01',
  });
  const [four, six, echo] = await Promise.all([
    startIdle(lab, 100, '10.1.0.31'),
    startIdle(lab, 100, 'fd01::32'),
    startEcho(lab, '10.1.0.32'),
  ]);
  await pause(300);
  const whole = { survived: 100, hung: 0, reset: 0 };
  expect(await Promise.all([four.stop(), six.stop()])).toEqual([whole, whole]);
  expect(await echo.stop()).toMatchObject({ complete: true, error: null });
  const report = await servers.ask<ServersReport>('report', {}, timeoutMs);
  expect(report.syns).toBeGreaterThanOrEqual(201);
  expect(report.data).toBeGreaterThanOrEqual(400);
  expect(report).toMatchObject({ rstsSent: 0, badChecksums: 0, lostFrames: 0 });
});

labTest('servers: a connection that comes to another of them is reset, and the client knows by whom', async (lab) => {
  const gateway = macOf(lab, 'client', 'client');
  await FarEnd.start(lab, 'a', 'servers', {
    interface: 'client',
    count: 2,
    address4: '10.1.0.31',
    address6: 'fd01::31',
    port: 9_000,
    gateway4: gateway,
    gateway6: gateway,
  });
  const mac = macOf(lab, 'a', 'client');
  const clients = await FarEnd.start(lab, 'client', 'clients', {
    interface: 'client',
    address4: '10.1.0.31',
    address6: 'fd01::31',
    port: 9_000,
    mac4: mac,
    mac6: mac,
    capacity: 1_000,
  });
  const words = { run: 1, connections: 100, perS: 2_000, newPerS: 0, probesPerS: 0 };
  expect(await clients.ask('open', words, timeoutMs)).toMatchObject({ established: 100 });
  // What a balancer that forgets would do: every packet goes to the second address now, answers come as from the first.
  lab.run('switch', 'nft', ['-f', '-'], toAnother);
  const report = await verify(clients);
  expect(report).toMatchObject({ survived: 0, reset: 98, rstsOfUnits: 0 });
  expect(report.rstsOfMembers).toBeGreaterThanOrEqual(98);
});

const toAnother = `table bridge another {
  chain to { type filter hook prerouting priority 0;
    ip daddr 10.1.0.31 ip daddr set 10.1.0.32
    ip6 daddr fd01::31 ip6 daddr set fd01::32
  }
  chain from { type filter hook postrouting priority 0;
    ip saddr 10.1.0.32 ip saddr set 10.1.0.31
    ip6 saddr fd01::32 ip6 saddr set fd01::31
  }
}
`;

function verify(clients: FarEnd): Promise<VerifyReport> {
  return clients.ask('verify', { before: Math.round(monotonicMs() * 1e6), perS: 5_000 }, timeoutMs);
}

function macOf(lab: Lab, host: HostName, link: string): string {
  const [found] = JSON.parse(lab.run(host, 'ip', ['-json', 'link', 'show', link])) as { readonly address: string }[];
  if (found === undefined) throw new Error(`${host} has no link ${link}`);
  return found.address;
}
