/** Two pairs that mirror connections, set up alike: Tandem's, and nft with conntrackd in FT-FW mode. */

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { runInside } from '../support/lab/namespaces.js';
import { pairUnits } from '../support/lab/unit.js';
import { loadNft, raiseConntrackLimits } from './contenders.js';
import { FarEnds } from './far_ends.js';
import { end, type Ground } from './ground.js';
import { macs, makePairNetwork, type PairNetwork, pairAddress, virtualAddress, virtualMac } from './network.js';
import { stateDirectory, TandemUnit, writeConfig } from './tandem_unit.js';

/** The active unit's frames are moved where the generator is; everything else is done on the other core. */
const cores = { frames: 0, rest: 1 } as const;

/** How connections are mirrored from set() on. */
export interface Mode {
  readonly name: string;
  readonly mirrors: boolean;
  set(): Promise<void>;
}

export interface Pair {
  readonly name: string;
  readonly network: PairNetwork;
  readonly ends: FarEnds;
  /** Those that mirror come first. */
  readonly modes: readonly Mode[];
  /** Of connections that no mode mirrors, where some can be beside those that it does. */
  readonly unmirroredPort?: number;
  /** Connections that the standby holds now. */
  held(): Promise<number>;
  stop(): Promise<void>;
}

export const tandemModes = ['async', 'commit', 'off'] as const;
export const pairNames = { tandem: 'Tandem xdp', conntrackd: 'nft + conntrackd FT-FW' } as const;

export interface TandemPair extends Pair {
  readonly active: TandemUnit;
  /** At once, without a word. */
  killStandby(): Promise<void>;
  startStandby(): Promise<void>;
}

const unmirroredPort = 81;

/** `connections` may be opened before the pair is made anew. */
export async function standTandem(ground: Ground, connections: number): Promise<TandemPair> {
  const network = makePairNetwork(ground, 'mt');
  const config = writeConfig(ground, 'mirror', {
    device: 'xdp',
    connections,
    protocol: 'tcp',
    ports: [80, unmirroredPort],
    paired: true,
    idleS: 100_000,
  });
  await pairUnits((unit) => stateDirectory(ground, unit));
  const active = TandemUnit.start(ground, network.unit, 'mirror-a', config, 'a');
  const startStandby = () => TandemUnit.start(ground, network.standby, 'mirror-b', config, 'b');
  let standby = startStandby();
  const inSync = () => active.until('in sync', ({ mirror }) => mirror.channel === 'up' && mirror.inSync);
  await active.isActive();
  await inSync();
  active.pin(cores.rest, cores.frames);
  standby.pin(cores.rest);
  await active.api.setVirtualServer(`bench${unmirroredPort}`, { mirror: 'off' });
  const ends = await FarEnds.start(ground, network, { mac: virtualMac, address: virtualAddress }, 'none');
  return {
    name: pairNames.tandem,
    network,
    ends,
    modes: tandemModes.map((name) => ({
      name,
      mirrors: name !== 'off',
      set: async () => {
        await active.api.setVirtualServer('bench80', { mirror: name });
        // The standby is told anew what it is to hold.
        await inSync();
      },
    })),
    unmirroredPort,
    active,
    killStandby: () => standby.kill(),
    startStandby: async () => {
      standby = startStandby();
      await standby.until('there', () => true);
      standby.pin(cores.rest);
    },
    held: () => standby.connections(),
    stop: async () => {
      await ends.end();
      await Promise.all([active.stop(), standby.stop()]);
      ground.remove(namespacesOf(network));
    },
  };
}

export async function standConntrackd(ground: Ground, connections: number): Promise<Pair> {
  raiseConntrackLimits(ground);
  const network = makePairNetwork(ground, 'mc');
  for (const unit of [network.unit, network.standby]) {
    loadNft(unit, 'tcp', connections);
    runInside(unit, 'sysctl', ['-qw', 'net.netfilter.nf_conntrack_tcp_timeout_established=100000']);
  }
  const ends = await FarEnds.start(ground, network, { mac: macs.client, address: virtualAddress }, 'none');
  const daemons = new Daemons(ground, network);
  return {
    name: pairNames.conntrackd,
    network,
    ends,
    modes: [
      { name: 'on', mirrors: true, set: () => daemons.start() },
      { name: 'off', mirrors: false, set: () => daemons.stop() },
    ],
    held: async () => daemons.external(),
    stop: async () => {
      await ends.end();
      await daemons.stop();
      ground.remove(namespacesOf(network));
    },
  };
}

const namespacesOf = ({ generator, unit, sink, standby }: PairNetwork) => [generator, unit, sink, standby];

/** conntrackd on both units. What is done once per unit of theirs is done for `active` and `standby` alike. */
class Daemons {
  readonly #ground: Ground;
  readonly #network: PairNetwork;
  #running: readonly [ReturnType<Ground['spawn']>, ReturnType<Ground['spawn']>] | null = null;

  constructor(ground: Ground, network: PairNetwork) {
    this.#ground = ground;
    this.#network = network;
  }

  async start(): Promise<void> {
    if (this.#running !== null) return;
    this.#running = [this.#spawn('active', this.#network.unit), this.#spawn('standby', this.#network.standby)];
    for (let tries = 0; tries < 100; tries++) {
      await pause(50);
      try {
        if (/([1-9]\d*) Pckts recv/.test(this.#statistics('standby'))) return;
      } catch {
        // It does not listen yet.
      }
    }
    throw new Error(`conntrackd found no peer:\n${readFileSync(this.#ground.log('conntrackd-standby.log'), 'utf8')}`);
  }

  async stop(): Promise<void> {
    await Promise.all((this.#running ?? []).map(end));
    this.#running = null;
  }

  external(): number {
    const found = /cache external:\s+current active connections:\s+(\d+)/.exec(this.#statistics('standby'));
    if (found === null) throw new Error('conntrackd says nothing of its external cache');
    return Number(found[1]);
  }

  #statistics(unit: 'active' | 'standby'): string {
    return execFileSync('conntrackd', ['-C', this.#configFile(unit), '-s'], { encoding: 'utf8' });
  }

  #spawn(unit: 'active' | 'standby', namespace: string) {
    writeFileSync(this.#configFile(unit), this.#config(unit));
    const command = ['taskset', '-c', String(cores.rest), 'conntrackd', '-C', this.#configFile(unit)];
    return this.#ground.spawn(namespace, `conntrackd-${unit}.log`, command);
  }

  #configFile(unit: 'active' | 'standby'): string {
    return this.#ground.log(`conntrackd-${unit}.conf`);
  }

  /** As its manual and its examples advise for speed: buffers that do not run over, and the kernel's own filter. */
  #config(unit: 'active' | 'standby'): string {
    const peer = unit === 'active' ? 'standby' : 'active';
    const directory = this.#ground.socketDirectory;
    return `Sync {
  Mode FTFW { }
  UDP {
    IPv4_address ${pairAddress[unit]}
    IPv4_Destination_Address ${pairAddress[peer]}
    Port 3780
    Interface pair
    SndSocketBuffer 33554432
    RcvSocketBuffer 33554432
    Checksum on
  }
}
General {
  HashSize 2097152
  HashLimit 8388608
  LogFile off
  Syslog off
  LockFile ${join(directory, `conntrackd-${unit}.lock`)}
  UNIX { Path ${join(directory, `conntrackd-${unit}.sock`)} }
  NetlinkBufferSize 16777216
  NetlinkBufferSizeMaxGrowth 268435456
  NetlinkOverrunResync off
  EventIterationLimit 1000
  Filter From Kernelspace {
    Protocol Accept { TCP }
    State Accept { ESTABLISHED for TCP }
  }
}
`;
  }
}

/** Octets that the active unit has sent to its peer. */
export function channelBytes({ unit }: PairNetwork): number {
  return Number(runInside(unit, 'cat', ['/sys/class/net/pair/statistics/tx_bytes']));
}
