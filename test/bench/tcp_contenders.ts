/** Who is measured with real sockets, and how each is set up. Each in its best honest setting; README says which. */

import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

import { ipBatch, runInside } from '../support/lab/namespaces.js';
import { loadNft, million, raiseConntrackLimits } from './contenders.js';
import { end, type Ground } from './ground.js';
import {
  makeDirectNetwork,
  makeSocketNetwork,
  members,
  type Network,
  snatAddresses,
  virtualAddress,
} from './network.js';
import { type Device, TandemUnit, writeConfig } from './tandem_unit.js';

/** As many as the kernel and HAProxy have cores. */
const workers = 2;

export const ports = { handshakes: 80, bulk: 81 } as const;

export interface SocketContender {
  readonly name: string;
  readonly short: string;
  /** The network up and what stands in it running. */
  setUp(ground: Ground): Promise<SocketStanding>;
}

export interface SocketStanding {
  readonly generator: string;
  readonly sink: string;
  /** What the client connects to. */
  readonly address: string;
  stop(): Promise<void>;
}

export const socketContenders: readonly SocketContender[] = [
  tandem('xdp'),
  tandem('packet'),
  between('nft DNAT + SNAT', 'nft', setUpNft),
  between('HAProxy, TCP mode', 'haproxy', setUpHaproxy),
  { name: 'direct, no balancer', short: 'direct', setUp: setUpDirect },
];

type SetUp = (ground: Ground, network: Network) => Promise<() => Promise<void>>;

function between(name: string, short: string, prepare: SetUp): SocketContender {
  return {
    name,
    short,
    setUp: async (ground) => {
      const network = makeSocketNetwork(ground, `t${short}`, workers);
      const stop = await prepare(ground, network);
      return {
        ...network,
        address: virtualAddress,
        stop: async () => {
          await stop();
          ground.remove([network.generator, network.unit, network.sink]);
        },
      };
    },
  };
}

function tandem(device: Device): SocketContender {
  return between(`Tandem ${device}`, device, async (ground, { unit }) => {
    const name = `tcp-${device}`;
    const config = writeConfig(ground, name, {
      device,
      workers,
      connections: million,
      protocol: 'tcp',
      ports: Object.values(ports),
      paired: false,
      idleS: 300,
    });
    const daemon = TandemUnit.start(ground, unit, name, config, 'a');
    await daemon.isActive();
    return () => daemon.stop();
  });
}

async function setUpNft(ground: Ground, { unit }: Network): Promise<() => Promise<void>> {
  raiseConntrackLimits(ground);
  ipBatch(unit, [
    `address add ${virtualAddress}/24 dev client`,
    ...snatAddresses(million).map((address) => `address add ${address}/16 dev server`),
  ]);
  loadNft(unit, 'tcp', million);
  return async () => {};
}

async function setUpHaproxy(ground: Ground, { unit }: Network): Promise<() => Promise<void>> {
  const config = ground.log('haproxy.cfg');
  writeFileSync(config, haproxyConfig());
  ipBatch(unit, [`address add ${virtualAddress}/24 dev client`]);
  runInside(unit, 'sysctl', [
    '-qw',
    'net.ipv4.ip_local_port_range=1024 65535',
    'net.ipv4.tcp_tw_reuse=1',
    'net.core.somaxconn=16384',
    'net.ipv4.tcp_max_syn_backlog=16384',
  ]);
  const child = ground.spawn(unit, 'haproxy.log', ['haproxy', '-db', '-f', config]);
  await pause(300);
  return () => end(child);
}

/** Two threads on two cores, no log, splice where it pays, RST passed on as RST. */
function haproxyConfig(): string {
  const proxies = Object.entries(ports).map(
    ([name, port]) => `listen ${name}
  bind ${virtualAddress}:${port}
  balance roundrobin
${members.map((member, index) => `  server s${index} ${member}:${port}`).join('\n')}
`,
  );
  return `global
  nbthread 2
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  option splice-auto
  option nolinger
${proxies.join('')}`;
}

async function setUpDirect(ground: Ground): Promise<SocketStanding> {
  const { generator, sink } = makeDirectNetwork(ground, 'tdirect');
  return {
    generator,
    sink,
    address: members[0] ?? '',
    stop: async () => ground.remove([generator, sink]),
  };
}
