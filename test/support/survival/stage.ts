/** Where survival runs are played: a lab, a pair that takes turns being active, and the far ends of its connections. */

import type { Status } from '../../../src/api.js';
import { ApiClient } from '../../../src/io/api_client.js';
import type { Lab } from '../lab/lab.js';
import { type PairOptions, virtualRouterId } from '../lab/pair_config.js';
import { virtualAddress } from '../lab/topology.js';
import { startServers } from '../lab/traffic.js';
import { hasRole, isReady, type Launch, type Pair, startPair, type Unit } from '../lab/unit.js';
import { pause } from '../traffic/time.js';
import { FarEnd } from './far_ends.js';

export const servicePort = 9000;
const memberCount = 8;
const firstMember = { ipv4: '10.2.0.21', ipv6: 'fd02::21' } as const;
/** RFC 9568 section 7.3. */
const virtualMac = (family: 1 | 2) => `00:00:5e:00:0${family}:${virtualRouterId.toString(16).padStart(2, '0')}`;

export interface StageOptions {
  /** Of the virtual servers, as in a config. */
  readonly mirror: PairOptions['mirror'];
  readonly advertIntervalMs: number;
  /** Held open by the clients at once. */
  readonly connections: number;
  /** Those that are opened beside these, until a run ends. */
  readonly more: number;
  readonly launch?: Launch;
}

export interface Stage {
  readonly lab: Lab;
  readonly pair: Pair;
  readonly clients: FarEnd;
  readonly servers: FarEnd;
  readonly options: StageOptions;
}

/** Both units up and in sync, a active; every far end is there. */
export async function setStage(lab: Lab, options: StageOptions): Promise<Stage> {
  const capacity = options.connections + options.more;
  await startServers(lab);
  const servers = await FarEnd.start(lab, 's1', 'servers', {
    interface: 'server',
    count: memberCount,
    address4: firstMember.ipv4,
    address6: firstMember.ipv6,
    port: servicePort,
    gateway4: virtualMac(1),
    gateway6: virtualMac(2),
  });
  const clients = await FarEnd.start(lab, 'client', 'clients', {
    interface: 'client',
    address4: virtualAddress.ipv4,
    address6: virtualAddress.ipv6,
    port: servicePort,
    mac4: virtualMac(1),
    mac6: virtualMac(2),
    capacity,
  });
  const pair = await startPair(
    lab,
    {
      mirror: options.mirror,
      advertIntervalMs: options.advertIntervalMs,
      preempt: false,
      more: moreConfig(options.mirror, capacity, idleS(options.connections)),
    },
    options.launch,
  );
  return { lab, pair, clients, servers, options };
}

/** Longer than a run takes; what a starved machine did not close in one run is gone a few runs later. */
const idleS = (connections: number): number => Math.ceil(120 + connections / 5_000);

/** One virtual server of each family; so many SNAT addresses that no port is used twice in a run. */
function moreConfig(mirror: StageOptions['mirror'], capacity: number, idleTimeoutS: number) {
  const family = (name: 'ipv4' | 'ipv6', share: number) => ({
    pool: {
      scheduler: 'round-robin',
      monitor: { type: 'tcp', intervalMs: 2_000, timeoutMs: 1_500, rise: 1, fall: 5 },
      members: members(name).map((address) => ({ address, port: servicePort })),
    },
    server: {
      address: virtualAddress[name],
      port: servicePort,
      pool: `survival-${name}`,
      trafficGroup: 'main',
      mirror,
      unknown: 'drop',
      snat: snatAddresses(name, capacity * share),
      idleTimeoutS: { established: idleTimeoutS, closing: 1 },
    },
  });
  const [ipv4, ipv6] = [family('ipv4', 3 / 4), family('ipv6', 1 / 4)];
  return {
    pools: { 'survival-ipv4': ipv4.pool, 'survival-ipv6': ipv6.pool },
    virtualServers: { 'survival-ipv4': ipv4.server, 'survival-ipv6': ipv6.server },
    // What the last run left may still be closing, and the standby's own share of half-open ones is bounded by this.
    datapath: { connections: 2 * capacity + 100_000 },
  };
}

function members(family: keyof typeof firstMember): string[] {
  const [network, last] = family === 'ipv4' ? ['10.2.0.', 21] : ['fd02::', 0x21];
  return Array.from({ length: memberCount }, (_, index) => {
    return `${network}${family === 'ipv4' ? last + index : (last + index).toString(16)}`;
  });
}

/** Half of the ports of a SNAT address are a unit's own, for each member. Twice as many as are used at once. */
function snatAddresses(family: keyof typeof firstMember, connections: number): string[] {
  const perAddress = ((65_536 - 1024) / 2) * memberCount;
  const count = 1 + Math.ceil((2 * connections) / perAddress);
  const network = family === 'ipv4' ? '10.2.1.' : 'fd02:1::';
  return Array.from({ length: count }, (_, index) => `${network}${(1 + index).toString(family === 'ipv4' ? 10 : 16)}`);
}

export interface Roles {
  readonly active: Unit;
  readonly standby: Unit;
  /** Of the traffic group: one more with each takeover. */
  readonly term: number;
}

/** Waits until one is active, the other stands by, and they are in sync. */
export async function settled({ pair }: Stage, timeoutMs = 60_000): Promise<Roles> {
  const rounds = Math.ceil(timeoutMs / pollMs);
  let last = '';
  for (let round = 0; round < rounds; round++) {
    const [a, b] = await Promise.all([statusOf(pair.a), statusOf(pair.b)]);
    if (a !== null && b !== null) {
      if (isReady(a, 'active') && isReady(b, 'standby')) return { active: pair.a, standby: pair.b, term: termOf(a) };
      if (isReady(b, 'active') && isReady(a, 'standby')) return { active: pair.b, standby: pair.a, term: termOf(b) };
    }
    last = JSON.stringify({ a, b });
    await pause(pollMs);
  }
  throw new Error(`the pair did not settle within ${timeoutMs} ms: ${last}`);
}

function termOf(status: Status): number {
  return status.trafficGroups[0]?.term ?? 0;
}

export async function untilActive(unit: Unit, timeoutMs = 20_000): Promise<void> {
  const rounds = Math.ceil(timeoutMs / pollMs);
  for (let round = 0; round < rounds; round++) {
    const status = await statusOf(unit);
    if (status !== null && hasRole(status, 'active')) return;
    await pause(pollMs);
  }
  throw new Error(`unit ${unit.name} was not active within ${timeoutMs} ms; see ${unit.logFile}`);
}

/** Without a process of its own, unlike the command: the cores are busy enough. Null while it does not answer. */
export async function statusOf(unit: Unit) {
  try {
    return await new ApiClient(unit.socket).status();
  } catch {
    return null;
  }
}

const pollMs = 100;
