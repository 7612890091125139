/** Who is measured on the wire, and how each is set up. Each in its best honest setting; the notes say which. */

import { type ChildProcess, execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';

import type { Status } from '../../src/api.js';
import { runInside, spawnInside } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { macs, makeNetwork, members, type Network, snatAddresses, virtualAddress } from './wire_network.js';

export interface Contender {
  readonly name: string;
  /** Part of the names of its namespaces. */
  readonly short: string;
  readonly cores: number;
  /** Frames go to this MAC address and IPv4 address. */
  readonly toMac: string;
  readonly toAddress: string;
  readonly redirect: boolean;
  /** Keeps connections, so it has to be warmed up. */
  readonly stateful: boolean;
  setUp(network: Network): Promise<() => Promise<void>>;
}

const virtualRouterId = 51;
const nothing = async () => async () => {};

/** `xdp` joins this list when the device exists. */
const tandemDevices = ['packet'] as const;

export const contenders: readonly Contender[] = [
  ...tandemDevices.flatMap((device) => [tandem(device, 2), tandem(device, 1)]),
  {
    name: 'nft DNAT + SNAT, conntrack',
    short: 'nft',
    cores: 1,
    toMac: macs.client,
    toAddress: virtualAddress,
    redirect: false,
    stateful: true,
    setUp: setUpNft,
  },
  {
    name: 'ip_forward',
    short: 'forward',
    cores: 1,
    toMac: macs.client,
    toAddress: members[0] ?? '',
    redirect: false,
    stateful: false,
    setUp: nothing,
  },
  {
    name: 'XDP redirect, stateless: the limit',
    short: 'redirect',
    cores: 1,
    toMac: macs.client,
    toAddress: virtualAddress,
    redirect: true,
    stateful: false,
    setUp: nothing,
  },
];

function tandem(device: (typeof tandemDevices)[number], cores: 1 | 2): Contender {
  const short = `${device}${cores}`;
  return {
    name: `Tandem ${device}${cores === 1 ? ', one core' : ''}`,
    short,
    cores,
    toMac: `00:00:5e:00:01:${virtualRouterId.toString(16)}`,
    toAddress: virtualAddress,
    redirect: false,
    stateful: true,
    setUp: (network) => startTandem(network, short, cores),
  };
}

async function setUpNft(network: Network): Promise<() => Promise<void>> {
  const map = members.map((member, index) => `${index} : ${member}`).join(', ');
  const spread = `numgen inc mod ${members.length} map { ${map} }`;
  const rules = `table ip bench {
    chain pre {
      type nat hook prerouting priority dstnat;
      ip daddr ${virtualAddress} udp dport 80 dnat to ${spread};
    }
    chain post {
      type nat hook postrouting priority srcnat;
      oifname "server" snat to ${snatAddresses[0]}-${snatAddresses.at(-1)};
    }
  }`;
  runInside(network.unit, 'nft', ['-f', '-'], rules);
  // From the generator's first packet to the last round.
  for (const timeout of ['nf_conntrack_udp_timeout', 'nf_conntrack_udp_timeout_stream'])
    runInside(network.unit, 'sysctl', ['-qw', `net.netfilter.${timeout}=3600`]);
  return async () => {};
}

async function startTandem(network: Network, short: string, cores: 1 | 2): Promise<() => Promise<void>> {
  const directory = join(repositoryRoot, 'out', 'bench', short);
  mkdirSync(directory, { recursive: true });
  const [config, socket, logFile] = ['tandem.yaml', 'a.sock', 'a.log'].map((file) => join(directory, file)) as [
    string,
    string,
    string,
  ];
  writeFileSync(config, tandemConfig());
  const log = openSync(logFile, 'w');
  // The generator and the kernel's share of the work are on the first core.
  const launcher = join(repositoryRoot, 'scripts', 'tandem');
  const args = ['-c', cores === 2 ? '1' : '0', launcher, 'run', config, '--unit', 'a', '--socket', socket];
  const child = spawnInside(network.unit, 'taskset', args, { stdio: ['ignore', log, log] });
  closeSync(log);
  try {
    await untilActive(launcher, socket, child, logFile);
  } catch (error) {
    await end(child);
    throw error;
  }
  return () => end(child);
}

async function untilActive(launcher: string, socket: string, child: ChildProcess, logFile: string): Promise<void> {
  for (let tries = 0; tries < 300 && child.exitCode === null; tries++) {
    await pause(100);
    try {
      const text = execFileSync(launcher, ['status', '--json', '--socket', socket], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const status = JSON.parse(text.toString()) as Status;
      if (JSON.stringify(status).includes('"active"')) return;
    } catch {
      // It does not answer yet.
    }
  }
  throw new Error(`Tandem did not become active; its log:\n${readFileSync(logFile, 'utf8').slice(-2000)}`);
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    const limit = setTimeout(() => child.kill('SIGKILL'), 5000);
    child.once('exit', () => {
      clearTimeout(limit);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

function tandemConfig(): string {
  const unit = (host: number) => ({
    links: {
      client: { interface: 'client', addresses: [`10.1.0.${host}`] },
      server: { interface: 'server', addresses: [`10.2.0.${host}`] },
    },
    mirror: { address: `10.1.0.${host}`, port: 3780 },
  });
  return stringify({
    links: ['client', 'server'],
    units: { a: unit(2), b: unit(3) },
    trafficGroups: {
      main: { virtualRouterId, priority: { a: 150, b: 100 }, floating: { client: ['10.1.0.1'], server: ['10.2.0.1'] } },
    },
    pools: { sinks: { members: members.map((address) => ({ address, port: 80 })) } },
    virtualServers: {
      bench: {
        address: virtualAddress,
        port: 80,
        protocol: 'udp',
        pool: 'sinks',
        trafficGroup: 'main',
        snat: snatAddresses,
        idleTimeoutS: { udp: 3600 },
      },
    },
    datapath: { workers: 1, connections: 1_200_000 },
  });
}

/** A contender with its network up. */
export interface Standing {
  readonly contender: Contender;
  readonly network: Network;
  end(): Promise<void>;
}

export async function stand(contender: Contender): Promise<Standing> {
  const network = makeNetwork(contender.short);
  try {
    const stop = await contender.setUp(network);
    return {
      contender,
      network,
      end: async () => {
        await stop();
        network.down();
      },
    };
  } catch (error) {
    network.down();
    throw error;
  }
}
