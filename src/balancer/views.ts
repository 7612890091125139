/** What the operator sees, put together from what the parts say. Pure: one function per `show` command. */

import { isDeepStrictEqual } from 'node:util';

import type {
  CounterRow,
  CountersStatus,
  LinkStatus,
  MemberOverride,
  MemberState,
  MemberStatus,
  PoolStatus,
  TrafficGroupStatus,
  VirtualServerStatus,
} from '../api.js';
import type {
  Config,
  MemberConfig,
  MirrorMode,
  MonitorConfig,
  PoolConfig,
  VirtualServerConfig,
} from '../config/model.js';
import { memberKey } from '../config/policy.js';
import type { MemberCounts, RoleName, VirtualServerCounts } from '../datapath.js';

export interface MemberHealth {
  readonly pool: string;
  readonly address: string;
  readonly port: number;
  readonly health: 'unknown' | 'up' | 'down';
  readonly reason: string;
  readonly since: Date;
}

export interface DeviceLinkStatus {
  readonly name: string;
  readonly interface: string;
  readonly mac: string | null;
  readonly carrier: boolean;
}

export interface MemberView {
  readonly health: ReadonlyMap<string, MemberHealth>;
  readonly hops: ReadonlyMap<string, { readonly device: number | null; readonly mac: string | null }>;
  readonly counts: readonly MemberCounts[];
  readonly overrideOf: (pool: string, member: MemberConfig) => MemberOverride | null;
}

export function linkViews(links: readonly DeviceLinkStatus[]): LinkStatus[] {
  return links.map(({ name, interface: device, mac, carrier }) => ({ name, interface: device, mac, carrier }));
}

export function poolViews(config: Config, members: MemberView): PoolStatus[] {
  const counts = new Map(members.counts.map((count) => [`${count.address} ${count.port}`, count]));
  return config.pools.map((pool) => ({
    name: pool.name,
    scheduler: pool.scheduler,
    minActiveMembers: pool.minActiveMembers,
    slowStartS: pool.slowStartS,
    onMemberDown: pool.onMemberDown,
    monitor: pool.monitor === null ? null : monitorText(pool.monitor),
    members: pool.members.map((member): MemberStatus => {
      const { address, port, weight, priority, maxConnections } = member;
      const health = members.health.get(memberKey(pool.name, address, port));
      const hop = members.hops.get(address);
      const count = counts.get(`${address} ${port}`);
      return {
        address,
        port,
        weight,
        state: memberState(member, pool, health),
        override: members.overrideOf(pool.name, member),
        reason: health?.reason ?? null,
        since: health === undefined ? null : health.since.toISOString(),
        link: hop?.device === null || hop === undefined ? null : (config.links[hop.device] ?? null),
        nextHopMac: hop?.mac ?? null,
        connections: count?.connections ?? 0,
        opened: count?.opened ?? 0,
        priority,
        maxConnections,
        limited: count?.limited ?? 0,
        persisted: count?.persisted ?? 0,
        share: count?.share ?? 1,
      };
    }),
  }));
}

function memberState(member: MemberConfig, pool: PoolConfig, health: MemberHealth | undefined): MemberState {
  if (member.state === 'down') return 'down';
  if (health?.health === 'down') return 'down';
  if (member.state === 'draining' || member.weight === 0) return 'draining';
  return pool.monitor !== null && (health === undefined || health.health === 'unknown') ? 'unknown' : 'up';
}

function monitorText({ type, intervalMs }: MonitorConfig): string {
  return `${type} every ${intervalMs} ms`;
}

export function virtualServerViews(
  config: Config,
  pools: readonly PoolStatus[],
  counts: readonly VirtualServerCounts[],
  roleOf: (trafficGroup: string) => RoleName,
  standingOf: (server: VirtualServerConfig) => { readonly enabled: boolean; readonly mirror: MirrorMode },
): VirtualServerStatus[] {
  const byName = new Map(counts.map((count) => [count.name, count]));
  return config.virtualServers.map((server) => {
    const members = pools.find(({ name }) => name === server.pool)?.members ?? [];
    const counted = byName.get(server.name) ?? noTraffic;
    const { connections, opened, packetsIn, bytesIn, packetsOut, bytesOut, commit } = counted;
    return {
      name: server.name,
      address: server.address,
      port: server.port,
      portLast: server.portLast,
      protocol: server.protocol,
      trafficGroup: server.trafficGroup,
      role: roleOf(server.trafficGroup),
      pool: server.pool,
      enabled: standingOf(server).enabled,
      // A member that the monitor has not judged yet is given connections, so it counts.
      membersUp: members.filter(({ state }) => state === 'up' || state === 'unknown').length,
      membersTotal: members.length,
      mirror: standingOf(server).mirror,
      mirrorConfigured: server.mirror.mode,
      onTimeout: server.mirror.onTimeout,
      connections,
      opened,
      packetsIn,
      bytesIn,
      packetsOut,
      bytesOut,
      commit,
    };
  });
}

export const noCommits = { held: 0, released: 0, timedOut: 0, refused: 0, beyond: 0, noPeer: 0, unprotected: 0 };
const noTraffic = {
  connections: 0,
  opened: 0,
  packetsIn: 0,
  bytesIn: 0,
  packetsOut: 0,
  bytesOut: 0,
  commit: noCommits,
};

type NamedSentence = readonly [name: string, sentence: string];

/** `values` in the order of readCounters(): drops, then counts. */
export function counterViews(
  dropNames: readonly NamedSentence[],
  countNames: readonly NamedSentence[],
  values: BigUint64Array,
): CountersStatus {
  const row = ([name, sentence]: NamedSentence, index: number): CounterRow => {
    return { name, sentence, value: Number(values[index] ?? 0n) };
  };
  return {
    drops: dropNames.map(row),
    counts: countNames.map((entry, index) => row(entry, dropNames.length + index)),
  };
}

/** One sentence for each thing that an operator should look at. */
export function warnings(
  groups: readonly TrafficGroupStatus[],
  servers: readonly VirtualServerStatus[],
  links: readonly LinkStatus[],
  peer: { readonly present: boolean; readonly confirms: boolean; readonly differences: readonly string[] },
): string[] {
  const mirrored = servers.some(({ mirror }) => mirror !== 'off');
  return [
    ...links
      .filter(({ carrier }) => carrier === false)
      .map(({ name, interface: device }) => `link ${name} (${device}) has no carrier`),
    ...servers
      .filter(({ enabled }) => !enabled)
      .map(({ name }) => `virtual server ${name} is disabled: it opens no connections`),
    ...servers
      .filter(({ membersUp }) => membersUp === 0)
      .map(({ name, pool }) => `virtual server ${name}: no member of pool ${pool} is up`),
    ...groups
      .filter(({ heldBack }) => heldBack !== null)
      .map(({ name, heldBack }) => `traffic group ${name}: ${heldBack}`),
    ...(mirrored && !peer.present
      ? ['the mirror channel is down: connections opened now would not survive a failover']
      : []),
    ...commitWarnings(servers, peer),
    ...peer.differences,
  ];
}

/** What mirror: commit does not do now. `confirms`: the peer names what it refuses, so a handshake can wait for it. */
function commitWarnings(
  servers: readonly VirtualServerStatus[],
  peer: { readonly present: boolean; readonly confirms: boolean },
): string[] {
  const commits = servers.filter(({ mirror }) => mirror === 'commit');
  const why = peer.present ? 'the peer is too old for mirror: commit' : 'there is no peer';
  return [
    ...(peer.confirms
      ? []
      : commits.map(({ name, onTimeout }) =>
          onTimeout === 'strict'
            ? `virtual server ${name}: ${why}, so nothing is opened (onTimeout: strict)`
            : `virtual server ${name}: ${why}, so connections open unprotected (onTimeout: available)`,
        )),
    ...servers
      .filter(({ commit }) => commit.unprotected > 0)
      .map(({ name, commit }) => `virtual server ${name}: ${commit.unprotected} connections are not protected`),
  ];
}

/** How the peer's config differs from ours, as far as its hello tells. */
export function peerDifferences(
  ours: { readonly links: readonly string[]; readonly virtualServers: readonly string[] },
  theirs: { readonly links: readonly string[]; readonly virtualServers: readonly string[] },
): string[] {
  const missing = (from: readonly string[], names: readonly string[]) => names.filter((name) => !from.includes(name));
  const sentence = (names: readonly string[], who: string) =>
    names.length === 0
      ? []
      : [`${who} has no virtual server ${names.slice(0, 5).join(', ')}${names.length > 5 ? ', ...' : ''}`];
  return [
    ...(isDeepStrictEqual(ours.links, theirs.links) ? [] : [`the peer's links are ${theirs.links.join(', ')}`]),
    ...sentence(missing(theirs.virtualServers, ours.virtualServers), 'the peer'),
    ...sentence(missing(ours.virtualServers, theirs.virtualServers), 'this unit'),
  ];
}

/** What the peer is told of a config. */
export function configNames(config: Config): {
  readonly links: readonly string[];
  readonly virtualServers: readonly string[];
} {
  return { links: config.links, virtualServers: config.virtualServers.map(({ name }) => name) };
}
