/**
 * Goal: path MTU discovery works through the pair, in both families, whoever finds the packet too long.
 * Method: 1 MiB one way over TCP, with "don't fragment" as Linux sends it. Both ends believe in 1500 octets; a link
 * between them has less. What the sender's kernel has learnt is read from its routes. Servers of their own: an
 * interface also refuses to receive more than its MTU, so the long packets must all go one way.
 */

import { readFileSync } from 'node:fs';

import { expect } from 'vitest';

import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { floatingAddress, port, serverAddress, virtualAddress } from '../support/lab/topology.js';
import { startPair } from '../support/lab/unit.js';

const families = ['ipv4', 'ipv6'] as const;
const smallMtu = 1400;
const bytes = 1 << 20;

labTest("packets longer than the unit's own server link: the unit tells the client", async (lab) => {
  for (const unit of ['a', 'b'] as const) lab.run(unit, 'ip', ['link', 'set', 'server', 'mtu', String(smallMtu)]);
  lab.spawn('s1', 's1-servers.log', process.execPath, ['-e', servers]);
  await startPair(lab, { mirror: 'async', members: ['s1'] });
  for (const family of families) {
    const address = virtualAddress[family];
    expect(learntMtu(lab, 'client', address), family).toBe(1500);
    expect(transfer(lab, port.echo, address), family).toBe(bytes);
    expect(learntMtu(lab, 'client', address), family).toBe(smallMtu);
  }
});

labTest("packets longer than the unit's own client link: the unit tells the server", async (lab) => {
  for (const unit of ['a', 'b'] as const) lab.run(unit, 'ip', ['link', 'set', 'client', 'mtu', String(smallMtu)]);
  lab.spawn('s1', 's1-servers.log', process.execPath, ['-e', servers]);
  await startPair(lab, { mirror: 'async', members: ['s1'] });
  for (const family of families) {
    expect(transfer(lab, port.download, virtualAddress[family]), family).toBe(bytes);
    expect(learntMtu(lab, 's1', floatingAddress.server[family]), family).toBe(smallMtu);
  }
});

labTest('a router before a server has a smaller link: its errors reach the client', async (lab) => {
  await moveServerBehindRouter(lab);
  await startPair(lab, { mirror: 'async', members: ['s1'] });
  for (const family of families) {
    const address = virtualAddress[family];
    expect(transfer(lab, port.echo, address), family).toBe(bytes);
    expect(learntMtu(lab, 'client', address), family).toBe(smallMtu);
  }
});

/** Octets that the server got (port.echo) or the client (port.download). */
function transfer(lab: Lab, at: number, address: string): number {
  return Number(lab.run('client', process.execPath, ['-e', client, address, String(at)]).trim());
}

/** What the host's kernel believes of the path, in octets. */
function learntMtu(lab: Lab, host: 'client' | 's1', address: string): number {
  const [, mtu = '1500'] = / mtu (\d+)/.exec(lab.run(host, 'ip', ['route', 'get', address])) ?? [];
  return Number(mtu);
}

const client = `
const [host, port] = process.argv.slice(1);
const upload = Number(port) === ${port.echo};
let received = 0;
let answer = '';
const end = () => { console.log(upload ? answer || 0 : received); process.exit(); };
setTimeout(end, 20_000);
const socket = require('node:net').connect(Number(port), host);
socket.write(upload ? Buffer.alloc(${bytes}, 'x') : 'x');
socket.on('data', (data) => {
  if (upload) answer += data;
  else received += data.length;
  if (upload || received >= ${bytes}) end();
});
socket.on('error', end);
`;

/** Monitors want every port to answer. */
const servers = `
const { createServer } = require('node:net');
const each = (port, serve) => createServer((socket) => serve(socket.on('error', () => undefined))).listen(port, '::');
each(${port.echo}, (socket) => {
  let received = 0;
  socket.on('data', (data) => { received += data.length; if (received >= ${bytes}) socket.end(String(received)); });
});
each(${port.download}, (socket) => socket.on('data', () => socket.end(Buffer.alloc(${bytes}, 'x'))));
require('node:http').createServer((request, response) => response.end('s1')).listen(${port.http}, '::');
`;

/**
 * s1 becomes a router, and the server moves behind it with its addresses:
 *
 *   server bridge ── 1500 ── s1, answers for the server (proxy ARP and ND) ── 1400 towards it, 1500 back ── server
 */
async function moveServerBehindRouter(lab: Lab): Promise<void> {
  const inner = lab.spawn('s1', 's1-inner.log', 'unshare', ['--net', 'sleep', '600']);
  // `unshare` has made its namespace before it becomes `sleep`.
  const command = () => readFileSync(`/proc/${inner.pid}/comm`, 'utf8').trim();
  await expect.poll(command, { timeout: 10_000, interval: 20 }).toBe('sleep');
  const inside = ['--target', String(inner.pid), '--net'];
  const { ipv4, ipv6 } = serverAddress.s1;
  const router = [
    `ip link add toserver mtu ${smallMtu} type veth peer name torouter netns ${inner.pid} mtu 1500`,
    `ip link set toserver up`,
    `ip address del ${ipv4}/24 dev server`,
    `ip address del ${ipv6}/64 dev server`,
    `ip address add 10.2.0.21/24 dev server`,
    `ip address add fd02::21/64 dev server`,
    `ip address add fe80::1/64 dev toserver`,
    `ip route add ${ipv4} dev toserver`,
    `ip route add ${ipv6} dev toserver`,
    `ip neigh add proxy ${ipv6} dev server`,
    `sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`,
    `sysctl -q net.ipv4.conf.server.proxy_arp=1 net.ipv4.conf.toserver.proxy_arp=1 net.ipv6.conf.server.proxy_ndp=1`,
  ];
  const server = [
    `ip link set lo up`,
    `ip address add ${ipv4}/24 dev torouter`,
    `ip link set torouter up`,
    `ip address add ${ipv6}/128 dev torouter nodad`,
    `ip route add default via ${floatingAddress.server.ipv4}`,
    `ip route add default via fe80::1 dev torouter`,
  ];
  lab.run('s1', 'sh', ['-e'], `${router.join('\n')}\n`);
  lab.run('s1', 'nsenter', [...inside, 'sh', '-e'], `${server.join('\n')}\n`);
  lab.spawn('s1', 's1-servers.log', 'nsenter', [...inside, process.execPath, '-e', servers]);
}
