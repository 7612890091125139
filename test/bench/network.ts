/** The networks of the benchmark: namespaces joined by veths, without a bridge in the way. */

import { ipBatch, runInside } from '../support/lab/namespaces.js';
import type { Ground } from './ground.js';

export const macs = {
  generator: '02:00:00:00:00:01',
  client: '02:00:00:00:00:02',
  server: '02:00:00:00:00:03',
  sink: '02:00:00:00:00:04',
} as const;
export const virtualAddress = '10.1.0.100';
export const virtualRouterId = 51;
export const virtualMac = `00:00:5e:00:01:${virtualRouterId.toString(16)}`;
export const members = Array.from({ length: 8 }, (_, index) => `10.2.0.${11 + index}`);

/** Half of the ports of a SNAT address are a unit's own, for each member; `connections` need so many addresses. */
export function snatAddresses(connections: number): string[] {
  const perAddress = ((65_536 - 1024) / 2) * members.length;
  return Array.from({ length: Math.ceil((1.1 * connections) / perAddress) }, (_, index) => `10.2.1.${1 + index}`);
}

/** The unit's interfaces are `client` and `server`; their far ends are the generator's `out` and the sink's `in`. */
export interface Network {
  readonly generator: string;
  readonly unit: string;
  readonly sink: string;
}

const clientNetwork = '10.1.0';
export const generatorAddress = `${clientNetwork}.254`;

/** For frames that are made and taken by programs: neighbours are fixed, and nothing else moves. */
export function makeNetwork(ground: Ground, name: string): Network {
  const network = joined(ground, name);
  const { generator, unit, sink } = network;
  ipBatch(unit, [
    ...members.map((member) => `neigh replace ${member} lladdr ${macs.sink} dev server nud permanent`),
    `neigh replace ${generatorAddress} lladdr ${macs.generator} dev client nud permanent`,
    // Where the generator's clients are.
    `route add default via ${generatorAddress} dev client`,
  ]);
  for (const device of ['client', 'server']) takeRedirected(unit, device);
  prepareFarEnds(generator, sink);
  return network;
}

/** The generator straight at the sink. There is no unit; nothing is done where it would be. */
export function makeBareNetwork(ground: Ground, name: string): Network {
  const [generator, sink] = ['gen', 'sink'].map((part) => ground.namespace(`${name}-${part}`)) as [string, string];
  ipBatch(null, [`link add out netns ${generator} type veth peer name in netns ${sink}`]);
  ipBatch(generator, [`link set out address ${macs.generator} up`]);
  ipBatch(sink, [`link set in address ${macs.sink} up`]);
  prepareFarEnds(generator, sink);
  return { generator, unit: generator, sink };
}

function prepareFarEnds(generator: string, sink: string): void {
  // Holds the generator's program, see wire.cc.
  ipBatch(generator, ['link add idle type veth peer name idle-peer', 'link set idle up', 'link set idle-peer up']);
  takeRedirected(generator, 'out');
  takeRedirected(sink, 'in');
}

/** A veth takes redirected frames only while its peer runs NAPI; offloads would leave checksums to nobody. */
function takeRedirected(namespace: string, device: string): void {
  runInside(namespace, 'ethtool', ['-K', device, 'gro', 'on', 'tx', 'off']);
}

/** Where two units talk to each other: `pair`, for adverts and for mirroring. */
export const pairAddress = { active: '10.9.0.2', standby: '10.9.0.3' } as const;

export interface PairNetwork extends Network {
  /** Its `client` and `server` end where nobody sends. */
  readonly standby: string;
}

export function makePairNetwork(ground: Ground, name: string): PairNetwork {
  return withStandby(ground, name, makeNetwork(ground, name));
}

/** The same with real sockets at both ends. */
export function makePairSocketNetwork(ground: Ground, name: string): PairNetwork {
  return withStandby(ground, name, makeSocketNetwork(ground, name));
}

function withStandby(ground: Ground, name: string, network: Network): PairNetwork {
  const standby = ground.namespace(`${name}-standby`);
  ipBatch(null, [
    `link add pair netns ${network.unit} type veth peer name pair netns ${standby}`,
    ...['client', 'server'].map(
      (link) => `link add ${link} netns ${standby} type veth peer name far-${link} netns ${network.sink}`,
    ),
  ]);
  ipBatch(network.unit, [`address add ${pairAddress.active}/24 dev pair`, 'link set pair up']);
  ipBatch(network.sink, ['link set far-client up', 'link set far-server up']);
  runInside(standby, 'sysctl', ['-qw', 'net.ipv6.conf.all.disable_ipv6=1']);
  ipBatch(standby, [
    ...['lo', 'client', 'server', 'pair'].map((link) => `link set ${link} up`),
    'address add 10.1.0.3/24 dev client',
    'address add 10.2.0.3/16 dev server',
    `address add ${pairAddress.standby}/24 dev pair`,
    ...members.map((member) => `neigh replace ${member} lladdr ${macs.sink} dev server nud permanent`),
  ]);
  return { ...network, standby };
}

/** The client's own addresses: so many that ports do not run out. */
export const clientAddresses = Array.from({ length: 8 }, (_, index) => `${clientNetwork}.${10 + index}`);

/** For real sockets at both ends: offloads as the kernel has them, neighbours are asked for. A queue a worker. */
export function makeSocketNetwork(ground: Ground, name: string, workers = 1): Network {
  const network = joined(ground, name, workers);
  ipBatch(network.generator, [
    'link set lo up',
    ...clientAddresses.map((address) => `address add ${address}/24 dev out`),
  ]);
  ipBatch(network.sink, ['link set lo up', ...members.map((address) => `address add ${address}/16 dev in`)]);
  for (const namespace of [network.generator, network.sink]) tuneSockets(namespace);
  return network;
}

/** The client straight at the members: what the two of them can do with nobody between. */
export function makeDirectNetwork(ground: Ground, name: string): Pick<Network, 'generator' | 'sink'> {
  const [generator, sink] = ['gen', 'sink'].map((part) => ground.namespace(`${name}-${part}`)) as [string, string];
  ipBatch(null, [`link add out netns ${generator} type veth peer name in netns ${sink}`]);
  ipBatch(generator, [
    'link set lo up',
    'link set out up',
    ...clientAddresses.map((address) => `address add ${address}/8 dev out`),
  ]);
  ipBatch(sink, ['link set lo up', 'link set in up', ...members.map((address) => `address add ${address}/8 dev in`)]);
  for (const namespace of [generator, sink]) tuneSockets(namespace);
  return { generator, sink };
}

function tuneSockets(namespace: string): void {
  runInside(namespace, 'sysctl', [
    '-qw',
    'net.ipv4.ip_local_port_range=1024 65535',
    'net.ipv4.tcp_tw_reuse=1',
    'net.core.somaxconn=16384',
    'net.ipv4.tcp_max_syn_backlog=16384',
    'net.ipv4.tcp_syncookies=0',
  ]);
}

function joined(ground: Ground, name: string, queues = 1): Network {
  const [generator, unit, sink] = ['gen', 'unit', 'sink'].map((part) => ground.namespace(`${name}-${part}`)) as [
    string,
    string,
    string,
  ];
  const many = `numtxqueues ${queues} numrxqueues ${queues}`;
  ipBatch(null, [
    `link add out netns ${generator} ${many} type veth peer name client netns ${unit} ${many}`,
    `link add server netns ${unit} ${many} type veth peer name in netns ${sink} ${many}`,
  ]);
  ipBatch(generator, [`link set out address ${macs.generator} up`]);
  ipBatch(sink, [`link set in address ${macs.sink} up`]);
  // IPv6 off: nothing but what is measured may move.
  runInside(unit, 'sysctl', [
    '-qw',
    ...['all', 'default', 'client', 'server'].map((device) => `net.ipv4.conf.${device}.rp_filter=0`),
    'net.ipv4.ip_forward=1',
    'net.ipv6.conf.all.disable_ipv6=1',
  ]);
  ipBatch(unit, [
    'link set lo up',
    `link set client address ${macs.client} up`,
    `link set server address ${macs.server} up`,
    `address add ${clientNetwork}.2/24 dev client`,
    'address add 10.2.0.2/16 dev server',
  ]);
  return { generator, unit, sink };
}
