/**
 * The operator's config and what was found out at run time, as the policy that the datapath decides by.
 * Pure: the same inputs give the same description, so a reload that changes nothing can be seen to.
 */

import type {
  AddressText,
  PolicyAddress,
  PolicyDescription,
  PolicyMember,
  PolicyMirror,
  PolicyPool,
  PolicyVirtualServer,
} from '../datapath.js';
import { addressKind, formatEndpoint, ipAddress } from '../wire/ip_address.js';
import type { Config, MemberConfig, MirrorMode, PoolConfig, TrafficGroupConfig, VirtualServerConfig } from './model.js';

export interface PolicyInputs {
  /**
   * What monitors say, by memberKey(). A member that is not named is up: a monitor that has not finished its
   * first round is no reason to refuse service.
   */
  readonly memberStates: ReadonlyMap<string, 'up' | 'down'>;
  /** By member, once its neighbour answers: index of the device (the link's place in the config) that it is on. */
  readonly memberDevices: ReadonlyMap<AddressText, number>;
  /** Mirroring switched at run time, by virtual server. */
  readonly mirrorOverrides: ReadonlyMap<string, MirrorMode>;
  /** Virtual servers that get no new connections. */
  readonly disabled?: ReadonlySet<string>;
}

/** Monitors belong to pools, so the same address and port may be up in one and down in another. */
export function memberKey(pool: string, address: AddressText, port: number): string {
  return `${pool} ${formatEndpoint(address, port)}`;
}

/** Pools that come out as they did `before` are the same objects: the datapath need not read them again. */
export function buildPolicy(
  config: Config,
  inputs: PolicyInputs,
  before: PolicyDescription | null = null,
): PolicyDescription {
  const idle = idlePools(config, inputs);
  const pools = [
    ...config.pools.map((pool) => policyPool(pool, inputs)),
    ...idle.map((pool) => idlePool(pool, inputs)),
  ];
  return {
    groups: config.trafficGroups.map((group) => ({
      name: group.name,
      vrids: config.links.map((link) => (floatingOn(group, link).length > 0 ? group.virtualRouterId : 0)),
      floating: config.links.map((link) => floatingOn(group, link)),
    })),
    addresses: ownedAddresses(config),
    pools: pools.map((pool, index) => unchanged(before?.pools[index], pool)),
    virtualServers: config.virtualServers.map((server) => {
      const made = policyVirtualServer(config, server, inputs);
      if (!inputs.disabled?.has(server.name)) return made;
      const at = idle.findIndex(({ name }) => name === server.pool);
      // A client that a persistence entry knows would be sent to a draining member.
      return { ...made, pool: config.pools.length + at, persistence: null };
    }),
  };
}

/** Of disabled virtual servers: open connections are treated as the pool says, none of the members gets another. */
function idlePools(config: Config, { disabled }: PolicyInputs): readonly PoolConfig[] {
  const idle = config.virtualServers.filter(({ name }) => disabled?.has(name));
  return config.pools.filter(({ name }) => idle.some(({ pool }) => pool === name));
}

function idlePool(pool: PoolConfig, inputs: PolicyInputs): PolicyPool {
  const made = policyPool(pool, inputs);
  const members = made.members.map((member) => ({ ...member, weight: 0 }));
  // No name of a config has a space in it.
  return { ...made, name: `${pool.name} idle`, slowStartS: 0, members };
}

function policyPool(pool: PoolConfig, inputs: PolicyInputs): PolicyPool {
  return {
    name: pool.name,
    scheduler: pool.scheduler,
    minActiveMembers: pool.minActiveMembers,
    slowStartS: pool.slowStartS,
    onMemberDown: pool.onMemberDown,
    members: pool.members.map((member) => policyMember(pool, member, inputs)),
  };
}

function unchanged(before: PolicyPool | undefined, made: PolicyPool): PolicyPool {
  if (before === undefined || before.members.length !== made.members.length) return made;
  const { members: membersBefore, ...rulesBefore } = before;
  const { members, ...rules } = made;
  const same = haveSameValues(rulesBefore, rules);
  return same && members.every((member, index) => haveSameValues(membersBefore[index]!, member)) ? before : made;
}

/** Of two objects that were made in the same way, so that their keys stand in the same order. */
function haveSameValues(left: object, right: object): boolean {
  const values: readonly unknown[] = Object.values(left);
  return Object.values(right).every((value, index) => value === values[index]);
}

function policyMember(pool: PoolConfig, member: MemberConfig, inputs: PolicyInputs): PolicyMember {
  const { address, port } = member;
  const device = inputs.memberDevices.get(address);
  const down = member.state === 'down' || inputs.memberStates.get(memberKey(pool.name, address, port)) === 'down';
  return {
    address,
    port,
    weight: member.state === 'draining' ? 0 : member.weight,
    // A member that no link reaches, or that does not answer there, gets no connection, and keeps what it has: the
    // link may come back. The device is then a number without meaning.
    up: !down && device !== undefined,
    down,
    device: device ?? 0,
    priority: member.priority,
    maxConnections: member.maxConnections ?? 0,
  };
}

function policyVirtualServer(config: Config, server: VirtualServerConfig, inputs: PolicyInputs): PolicyVirtualServer {
  const group = config.trafficGroups.findIndex(({ name }) => name === server.trafficGroup);
  const { name, address, port, portLast, protocol, unknown, forwarding, idleTimeoutS } = server;
  const { onePacket, newConnectionsPerClient, persistence } = server;
  return {
    name,
    group,
    address,
    port,
    portLast,
    protocol,
    pool: config.pools.findIndex((pool) => pool.name === server.pool),
    unknown,
    forwarding: typeof forwarding === 'string' ? forwarding : forwarding.tunnel,
    ...(typeof forwarding === 'string' ? {} : { guePort: forwarding.port }),
    snatAddresses: snatAddresses(server, config.trafficGroups[group]!),
    mirror: policyMirror(server, inputs.mirrorOverrides.get(name) ?? server.mirror.mode),
    idleTimeoutS,
    ...(onePacket ? { onePacket } : {}),
    newConnectionsPerClient,
    persistence,
  };
}

/** `mode` may have been switched since the config was read. */
export function policyMirror({ mirror }: VirtualServerConfig, mode: MirrorMode): PolicyMirror {
  switch (mode) {
    case 'off':
      return { mode };
    case 'async':
      return { mode, afterAgeS: mirror.after?.ageS ?? 0, afterBytes: mirror.after?.bytes ?? 0 };
    case 'commit':
      return { mode, onTimeout: mirror.onTimeout, timeoutMs: mirror.timeoutMs };
  }
}

/** automap: every floating address of the family; the datapath takes one that is answered on the member's device. */
function snatAddresses(server: VirtualServerConfig, group: TrafficGroupConfig): readonly AddressText[] {
  if (server.snat === 'none') return [];
  if (server.snat !== 'automap') return server.snat;
  const { family } = ipAddress(server.address);
  return Object.values(group.floating)
    .flat()
    .filter((text) => {
      const address = ipAddress(text);
      // A member beyond a router could not answer a link-local address.
      return address.family === family && addressKind(address) !== 'link-local';
    });
}

/** Virtual addresses on their links, floating ones on theirs, SNAT addresses on their group's. */
function ownedAddresses(config: Config): readonly PolicyAddress[] {
  const owned = new Map<AddressText, { group: number; devices: Set<number>; closed: 'drop' | 'reset' }>();
  const answer = (address: AddressText, group: number, devices: readonly number[], closed: 'drop' | 'reset') => {
    const entry = owned.get(address) ?? { group, devices: new Set<number>(), closed };
    for (const device of devices) entry.devices.add(device);
    owned.set(address, entry);
  };
  const devicesOf = (links: readonly string[]) => links.map((link) => config.links.indexOf(link));

  for (const server of config.virtualServers) {
    const group = config.trafficGroups.findIndex(({ name }) => name === server.trafficGroup);
    answer(server.address, group, devicesOf(server.links), server.closed);
  }
  for (const [index, group] of config.trafficGroups.entries()) {
    for (const [link, addresses] of Object.entries(group.floating)) {
      for (const address of addresses) answer(address, index, devicesOf([link]), 'drop');
    }
  }
  for (const server of config.virtualServers) {
    if (typeof server.snat === 'string') continue;
    const index = config.trafficGroups.findIndex(({ name }) => name === server.trafficGroup);
    const group = config.trafficGroups[index]!;
    for (const address of server.snat) {
      // Members may be on any link of the group and ask there. Floating and virtual addresses keep the links they have.
      const links = config.links.filter((link) => hasFamily(floatingOn(group, link), ipAddress(address).family));
      if (!owned.has(address)) answer(address, index, devicesOf(links), 'drop');
    }
  }
  return [...owned].map(([address, { group, devices, closed }]) => {
    return { address, group, devices: [...devices].sort((left, right) => left - right), closed };
  });
}

function floatingOn(group: TrafficGroupConfig, link: string): readonly AddressText[] {
  return Object.hasOwn(group.floating, link) ? group.floating[link]! : [];
}

function hasFamily(addresses: readonly AddressText[], family: 4 | 6): boolean {
  return addresses.some((address) => ipAddress(address).family === family);
}
