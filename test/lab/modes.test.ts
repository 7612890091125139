/**
 * Goal: members that have the virtual address themselves take what DSR and tunnels bring them, and their clients hear
 * them: downloads and uploads over TCP, with the answers past the pair.
 * Method: s1 and s2 hold the virtual addresses on their loopback, and each has a link of its own to the client for the
 * way back. s1 is a DSR member. On s2 the kernel's own tunnel devices take the packets out (ipip, sit, ip6tnl, fou with
 * GUE); a kernel that lacks them is a counted skip, and there a small program does it for every kernel: raw and UDP
 * sockets in, TUN out. In either case the TCP that answers is the kernel's.
 */

import { expect } from 'vitest';
import { parse, stringify } from 'yaml';

import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { pairConfig } from '../support/lab/pair_config.js';
import { serverAddress, virtualAddress } from '../support/lab/topology.js';
import { hasRole, Unit, writeConfig } from '../support/lab/unit.js';
import { pause } from '../support/traffic/time.js';

type Family = 'ipv4' | 'ipv6';
interface Mode {
  readonly name: string;
  readonly port: number;
  /** Of the virtual address, and of the member's. */
  readonly inner: Family;
  readonly outer: Family;
  readonly member: 's1' | 's2';
  readonly forwarding: unknown;
}

const ipip = { tunnel: 'ipip' };
const gue = { tunnel: 'gue' };
const dsr: readonly Mode[] = [
  { name: 'dsr', port: 9001, inner: 'ipv4', outer: 'ipv4', member: 's1', forwarding: 'dsr' },
  { name: 'dsr6', port: 9001, inner: 'ipv6', outer: 'ipv6', member: 's1', forwarding: 'dsr' },
];
const tunnels: readonly Mode[] = [
  { name: 'ipip', port: 9002, inner: 'ipv4', outer: 'ipv4', member: 's2', forwarding: ipip },
  { name: 'ipip6', port: 9002, inner: 'ipv6', outer: 'ipv6', member: 's2', forwarding: ipip },
  { name: '4in6', port: 9003, inner: 'ipv4', outer: 'ipv6', member: 's2', forwarding: ipip },
  { name: '6in4', port: 9003, inner: 'ipv6', outer: 'ipv4', member: 's2', forwarding: ipip },
  { name: 'gue', port: 9004, inner: 'ipv4', outer: 'ipv4', member: 's2', forwarding: gue },
  { name: 'gue6', port: 9004, inner: 'ipv6', outer: 'ipv6', member: 's2', forwarding: gue },
  { name: 'gue-4in6', port: 9005, inner: 'ipv4', outer: 'ipv6', member: 's2', forwarding: gue },
];

const bytes = 1 << 20;

labTest('DSR members answer their clients past the pair', async (lab) => {
  prepareMembers(lab);
  const unit = await startUnit(lab, dsr, 'auto');
  for (const mode of dsr) expectBothWays(lab, mode);
  await expectPastUs(unit, dsr);
});

for (const device of ['auto', 'packet'] as const) {
  labTest(`tunnels of every kind reach a member that takes the packets out, ${device} devices`, async (lab) => {
    prepareMembers(lab);
    lab.run('s2', 'test', ['-c', '/dev/net/tun']);
    lab.spawn('s2', 'receiver.log', '/usr/bin/python3', ['-c', receiver]);
    // AF_PACKET is given what the sender's stack has joined, and that goes into no tunnel.
    if (device === 'packet') lab.run('client', 'ethtool', ['-K', 'client', 'tso', 'off', 'gso', 'off']);
    const unit = await startUnit(lab, tunnels, device);
    for (const mode of tunnels) expectBothWays(lab, mode);
    await expectPastUs(unit, tunnels);
  });
}

/** What `ip` is asked for on s2, and which modes it then takes. */
const kernelTunnels = [
  { device: 'type ipip local 10.2.0.12 remote any', modes: ['ipip'] },
  { device: 'type sit local 10.2.0.12 remote any', modes: ['6in4'] },
  { device: 'type ip6tnl local fd02::12 remote :: mode any', modes: ['ipip6', '4in6'] },
  { device: 'type ipip local 10.2.0.12 remote any encap gue encap-sport auto encap-dport 6080', modes: ['gue'] },
];

for (const { device, modes } of kernelTunnels) {
  labTest(
    `the kernel's own device takes the packets out: ${device}`,
    async (lab) => {
      prepareMembers(lab);
      const wanted = tunnels.filter(({ name }) => modes.includes(name));
      if (device.includes('gue')) lab.run('s2', 'ip', ['fou', 'add', 'port', '6080', 'gue']);
      lab.run('s2', 'ip', ['link', 'add', 'in0', ...device.split(' ')]);
      lab.run('s2', 'ip', ['link', 'set', 'in0', 'up']);
      await startUnit(lab, wanted, 'auto');
      for (const mode of wanted) expectBothWays(lab, mode);
    },
    60_000,
    (lab) => {
      try {
        if (device.includes('gue')) lab.run('s2', 'ip', ['fou', 'add', 'port', '6079', 'gue']);
        lab.run('s2', 'ip', ['link', 'add', 'probe', ...device.split(' ')]);
        lab.run('s2', 'ip', ['link', 'del', 'probe']);
        return null;
      } catch (error) {
        return `this kernel has no such device: ${(error as Error).message}`;
      }
    },
  );
}

/** Neither retransmissions beyond reason nor a lucky path: the pair saw the client's packets and no answer. */
async function expectPastUs(unit: Unit, modes: readonly Mode[]): Promise<void> {
  const shown = JSON.parse(await unit.tandem('show', 'virtual', '--json')) as readonly {
    name: string;
    packetsIn: number;
    packetsOut: number;
  }[];
  for (const { name } of modes) {
    const seen = shown.find((server) => server.name === name);
    expect(seen?.packetsIn, name).toBeGreaterThan(10);
    expect(seen?.packetsOut, name).toBe(0);
  }
  const { rows } = await unit.show('connections');
  for (const { name, member, outer, forwarding } of modes) {
    const row = rows.find(({ virtualServer }) => virtualServer === name);
    expect(row?.member, name).toContain(serverAddress[member][outer]);
    expect(row?.forwarding, name).toBe(typeof forwarding === 'string' ? forwarding : (forwarding as typeof gue).tunnel);
  }
}

function expectBothWays(lab: Lab, { name, port, inner }: Mode): void {
  for (const way of ['download', 'upload']) {
    const got = lab.run('client', process.execPath, ['-e', client, virtualAddress[inner], String(port), way]).trim();
    expect(Number(got), `${name}, ${way}`).toBe(bytes);
  }
}

/** Virtual addresses on the loopback, silent in ARP, and a way back of each member's own. */
function prepareMembers(lab: Lab): void {
  for (const [index, server] of (['s1', 's2'] as const).entries()) {
    const link = `back${index}`;
    lab.run('client', 'ip', [
      'link',
      'add',
      link,
      'type',
      'veth',
      'peer',
      'name',
      'back',
      'netns',
      lab.namespace(server),
    ]);
    lab.run(
      'client',
      'sh',
      ['-e'],
      [
        `sysctl -q net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.${link}.rp_filter=0`,
        `ip link set ${link} address 02:00:00:00:cc:0${index} up`,
        '',
      ].join('\n'),
    );
    lab.run(
      server,
      'sh',
      ['-e'],
      [
        'sysctl -q net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.server.rp_filter=0 net.ipv4.conf.default.rp_filter=0',
        'sysctl -q net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2',
        `ip address add ${virtualAddress.ipv4}/32 dev lo`,
        `ip address add ${virtualAddress.ipv6}/128 dev lo nodad`,
        'ip link set back up',
        'ip route add 10.1.0.50/32 dev back',
        'ip route add fd01::50/128 dev back',
        `ip neigh add 10.1.0.50 dev back lladdr 02:00:00:00:cc:0${index}`,
        `ip neigh add fd01::50 dev back lladdr 02:00:00:00:cc:0${index}`,
        '',
      ].join('\n'),
    );
    lab.spawn(server, `${server}-servers.log`, process.execPath, ['-e', servers]);
  }
}

async function startUnit(lab: Lab, modes: readonly Mode[], device: 'auto' | 'packet'): Promise<Unit> {
  const config = parse(pairConfig({ mirror: 'off' })) as Record<string, unknown>;
  const text = stringify({
    ...config,
    datapath: { workers: 1, connections: 65_536, device },
    pools: Object.fromEntries(
      modes.map(({ name, port, member, outer }) => [
        name,
        {
          monitor: { type: 'tcp', intervalMs: 500, rise: 1 },
          members: [{ address: serverAddress[member][outer], port }],
        },
      ]),
    ),
    virtualServers: Object.fromEntries(
      modes.map(({ name, port, inner, forwarding }) => [
        name,
        { address: virtualAddress[inner], port, pool: name, trafficGroup: 'main', forwarding },
      ]),
    ),
  });
  writeConfig(lab, text);
  const unit = new Unit(lab, 'a');
  unit.start();
  await unit.waitUntil(
    'active with every member up',
    (status) => hasRole(status, 'active') && status.members.up === modes.length,
  );
  await pause(500);
  return unit;
}

const ports = [...new Set([...dsr, ...tunnels].map(({ port }) => port))];

const client = `
const [host, port, way] = process.argv.slice(1);
let received = 0;
let answer = '';
const end = () => { console.log(way === 'upload' ? answer || 0 : received); process.exit(); };
setTimeout(end, 10_000);
const socket = require('node:net').connect(Number(port), host);
socket.write(way === 'upload' ? Buffer.concat([Buffer.from('u'), Buffer.alloc(${bytes}, 'x')]) : 'd');
socket.on('data', (data) => {
  received += data.length;
  if (way === 'upload') answer += data;
});
socket.on('end', end);
socket.on('error', end);
`;

/** 'd': sends; 'u': counts what comes behind it. */
const servers = `
const { createServer } = require('node:net');
const serve = (socket) => {
  let received = -1; // the word itself does not count
  let counts = false;
  socket.on('error', () => undefined).on('data', (data) => {
    if (received < 0) counts = data[0] === 0x75;
    received += data.length;
    if (!counts) socket.end(Buffer.alloc(${bytes}, 'x'));
    else if (received >= ${bytes}) socket.end(String(received));
  });
};
for (const port of ${JSON.stringify(ports)}) createServer(serve).listen(port, '::');
`;

/** Protocols 4 and 41 over either family, and GUE on 6080, into a TUN device. */
const receiver = `
import fcntl, os, select, socket, struct, subprocess
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'in0', 0x1001))
subprocess.check_call(['ip', 'link', 'set', 'in0', 'up'])
def header(data): return (data[0] & 15) * 4
take = {}
for protocol in (4, 41):
    take[socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)] = header
    take[socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol)] = lambda data: 0
for family in (socket.AF_INET, socket.AF_INET6):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(('::' if family == socket.AF_INET6 else '', 6080))
    take[s] = lambda data: 4 if data[0] == 0 and data[1] in (4, 41) and data[2:4] == bytes(2) else len(data)
for s in take: s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
while True:
    for s in select.select(list(take), [], [])[0]:
        data = s.recv(65536)
        inside = data[take[s](data):]
        if inside: os.write(tun, inside)
`;
