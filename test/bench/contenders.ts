/**
 * Who is measured forwarding frames, and how each is set up: one list for the sections wire and latency. Each in its
 * best honest setting; README says which.
 */

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

import { runInside } from '../support/lab/namespaces.js';
import { FarEnds, type Forward } from './far_ends.js';
import type { Ground } from './ground.js';
import { macs, makeNetwork, members, type Network, snatAddresses, virtualAddress, virtualMac } from './network.js';
import type { Effort } from './section.js';
import { type Device, TandemUnit, writeConfig } from './tandem_unit.js';

export const million = 1 << 20;

/** Connections that are open while frames are forwarded: a million; in a quick run fewer, which are opened sooner. */
export function crowdOf({ quick }: Effort): { readonly count: number; readonly name: string } {
  return quick ? { count: 1 << 17, name: '128 k' } : { count: million, name: '1 M' };
}

export type Cores = 1 | 2;

/**
 * Frames that are on their way at most. On one core the generator must not rob the unit of it; on two it has one for
 * itself, and a worker with frames to take at any time does not wait for them.
 */
export const windowOf = (cores: Cores): number => (cores === 1 ? 4096 : 0);

export interface Contender {
  readonly name: string;
  /** Part of the names of its namespaces. */
  readonly short: string;
  /** Keeps connections, so they have to be opened before it is measured. */
  readonly stateful: boolean;
  /** Frames go to this MAC address and IPv4 address. */
  readonly to: { readonly mac: string; readonly address: string };
  readonly forward: Forward;
  /** Keeps `connections`, if any, and those of the probes. */
  setUp(ground: Ground, network: Network, connections: number): Promise<Running>;
}

interface Running {
  /** Where its work is done from now on: on the generator's core, or on a second one. */
  useCores(cores: Cores): void;
  stop(): Promise<void>;
}

const toUnit = { mac: macs.client, address: virtualAddress };

export const contenders: readonly Contender[] = [
  tandem('xdp'),
  tandem('packet'),
  kernel({ name: 'nft DNAT + SNAT, conntrack', short: 'nft', stateful: true }, setUpNft),
  kernel({ name: 'ip_forward', short: 'forward', to: { mac: macs.client, address: members[0] ?? '' } }),
  kernel({ name: 'XDP + BPF hash', short: 'hash', stateful: true, forward: 'hash' }),
  kernel({ name: 'XDP redirect, stateless: the limit', short: 'redirect', forward: 'redirect' }),
];

export function contender(short: string): Contender {
  const found = contenders.find((each) => each.short === short);
  if (found === undefined) throw new Error(`no contender is called ${short}`);
  return found;
}

function tandem(device: Device): Contender {
  return {
    name: `Tandem ${device}`,
    short: device,
    stateful: true,
    to: { mac: virtualMac, address: virtualAddress },
    forward: 'none',
    setUp: async (ground, network, connections) => {
      const config = writeConfig(ground, device, {
        device,
        connections: Math.ceil(1.1 * connections),
        protocol: 'udp',
        ports: [80],
        paired: false,
        idleS: 3600,
      });
      const unit = TandemUnit.start(ground, network.unit, device, config, 'a');
      await unit.isActive();
      return { useCores: (cores) => unit.pin(cores - 1), stop: () => unit.stop() };
    },
  };
}

type KernelOptions = Pick<Contender, 'name' | 'short'> & Partial<Pick<Contender, 'to' | 'stateful' | 'forward'>>;

function kernel(
  options: KernelOptions,
  prepare: (network: Network, connections: number) => void = () => {},
): Contender {
  return {
    to: toUnit,
    stateful: false,
    forward: 'none',
    ...options,
    setUp: async (_ground, network, connections) => {
      prepare(network, connections);
      return { useCores: (cores) => placeReceiving(network.unit, cores), stop: async () => {} };
    },
  };
}

/**
 * On one core the unit's kernel takes frames where the generator is. On two it has a thread of its own for what
 * arrives from the client (threaded NAPI), on the other core.
 */
function placeReceiving(unit: string, cores: Cores): void {
  const threads = new Set(receivingThreads());
  const threaded = cores === 2 ? '1' : '0';
  runInside(unit, 'sh', ['-c', `echo ${threaded} > /sys/class/net/client/threaded`]);
  for (const thread of receivingThreads().filter((each) => !threads.has(each))) {
    execFileSync('taskset', ['-cp', '1', thread], { stdio: 'ignore' });
  }
}

function receivingThreads(): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => commandOf(pid).startsWith('napi/client'));
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8');
  } catch {
    return '';
  }
}

function setUpNft({ unit }: Network, connections: number): void {
  loadNft(unit, 'udp', connections);
}

/** DNAT to the members in turn, SNAT to as many addresses as Tandem gets; a flowtable where the kernel has one. */
export function loadNft(unit: string, protocol: 'udp' | 'tcp', connections: number): void {
  const map = members.map((member, index) => `${index} : ${member}`).join(', ');
  const snat = snatAddresses(connections);
  const rules = (flowtable: boolean) => `table ip bench {
    ${flowtable ? 'flowtable fast { hook ingress priority 0; devices = { client, server }; }' : ''}
    chain pre {
      type nat hook prerouting priority dstnat;
      ip daddr ${virtualAddress} ${protocol} dport { 80, 81 } dnat to numgen inc mod ${members.length} map { ${map} };
    }
    chain post {
      type nat hook postrouting priority srcnat;
      oifname "server" snat to ${snat[0]}-${snat.at(-1)};
    }
    ${flowtable ? 'chain through { type filter hook forward priority filter; flow add @fast; }' : ''}
  }`;
  runInside(unit, 'nft', ['-f', '-'], rules(hasFlowtable(unit)));
  const settings = {
    // From the generator's first packet to the last round.
    nf_conntrack_udp_timeout: 3600,
    nf_conntrack_udp_timeout_stream: 3600,
    nf_conntrack_acct: 0,
    nf_conntrack_checksum: 0,
  };
  runInside(unit, 'sysctl', [
    '-qw',
    ...Object.entries(settings).map(([name, value]) => `net.netfilter.${name}=${value}`),
  ]);
}

export function hasFlowtable(unit: string): boolean {
  const rules = `table ip probe {
    flowtable fast { hook ingress priority 0; devices = { client }; }
    chain through { type filter hook forward priority filter; flow add @fast; }
  }`;
  try {
    runInside(unit, 'nft', ['-f', '-'], rules);
  } catch {
    return false;
  }
  runInside(unit, 'nft', ['delete', 'table', 'ip', 'probe']);
  return true;
}

/** The limits are global and can be raised outside of namespaces only. */
export function raiseConntrackLimits(ground: Ground): void {
  ground.set('/proc/sys/net/netfilter/nf_conntrack_max', String(8 * million));
  ground.set('/proc/sys/net/netfilter/nf_conntrack_buckets', String(2 * million));
}

/** A contender with its network up. */
export interface Standing {
  readonly contender: Contender;
  readonly unit: string;
  readonly ends: FarEnds;
  useCores(cores: Cores): void;
  stop(): Promise<void>;
}

export async function stand(ground: Ground, chosen: Contender, connections: number): Promise<Standing> {
  const network = makeNetwork(ground, chosen.short);
  const running = await chosen.setUp(ground, network, connections);
  const ends = await FarEnds.start(ground, network, chosen.to, chosen.forward);
  return {
    contender: chosen,
    unit: network.unit,
    ends,
    useCores: (cores) => running.useCores(cores),
    stop: async () => {
      await ends.end();
      await running.stop();
      ground.remove(Object.values(network));
    },
  };
}

/** All of them, so many connections open; kept for the next section that wants them. */
export async function standAll(ground: Ground, connections: number): Promise<readonly Standing[]> {
  FarEnds.build();
  raiseConntrackLimits(ground);
  const standing = await Promise.all(contenders.map((each) => stand(ground, each, connections)));
  for (const each of standing) {
    each.useCores(1);
    // Each of them once, and answered, so that none counts as half-open; and the probes' connections as well.
    const load = { protocol: 'udp', bytes: 64, connections, seconds: 0, window: windowOf(1) } as const;
    if (!each.contender.stateful) continue;
    await each.ends.measure({ ...load, openSet: true, frames: connections });
    await each.ends.measure({ ...load, frames: 8192, probeEvery: 1 });
  }
  return standing;
}
