/**
 * What differs between two configs, for the log and for the operator who asked for a reload: what was
 * changed, and what cannot be while the daemon runs.
 */

import { isDeepStrictEqual } from 'node:util';

import { formatEndpoint } from '../wire/ip_address.js';
import { formatPath, type Path } from './faults.js';
import type { Config, MemberConfig, MirrorConfig, PoolConfig, UnitName } from './model.js';

export interface ConfigDiff {
  /** One line each, `pool web: member 10.2.0.13:80 added`. */
  readonly changes: readonly string[];
  /** Those of the changes that take effect only when the daemon is started anew; a reload with any is refused. */
  readonly needRestart: readonly RestartChange[];
}

export interface RestartChange {
  readonly path: Path;
  /** `changed`, `1 -> 2` */
  readonly change: string;
}

export function formatRestartChange({ path, change }: RestartChange): string {
  return `${formatPath(path)}: ${change}`;
}

/** As seen by `unit`: the peer's interfaces are the peer's matter, its addresses are ours too. */
export function diffConfigs(before: Config, after: Config, unit: UnitName): ConfigDiff {
  const needRestart = restartChanges(before, after, unit);
  return {
    needRestart,
    changes: [
      ...needRestart.map(formatRestartChange),
      ...entityChanges('traffic group', before.trafficGroups, after.trafficGroups, keysThatDiffer),
      ...entityChanges('pool', before.pools, after.pools, poolChanges),
      ...entityChanges('virtual server', servers(before), servers(after), keysThatDiffer),
      ...keysThatDiffer(before.mirror, after.mirror).map((change) => `mirror: ${change}`),
    ],
  };
}

/** Devices, threads, memory and sockets are made once, at start. */
function restartChanges(before: Config, after: Config, unit: UnitName): RestartChange[] {
  const peer = unit === 'a' ? 'b' : 'a';
  const addressesOf = (config: Config, of: UnitName) =>
    Object.entries(config.units[of].links).map(([link, { addresses }]) => [link, addresses]);
  const changed = (path: Path, left: unknown, right: unknown, change = 'changed') =>
    isDeepStrictEqual(left, right) ? [] : [{ path, change }];
  const names = (config: Config) => config.trafficGroups.map(({ name }) => name);
  return [
    ...changed(['links'], before.links, after.links),
    ...changed(['units', unit, 'links'], before.units[unit].links, after.units[unit].links),
    ...changed(['units', peer, 'links'], addressesOf(before, peer), addressesOf(after, peer), 'addresses changed'),
    ...changed(['units', unit, 'mirror'], before.units[unit].mirror, after.units[unit].mirror),
    ...changed(['units', unit, 'api'], before.units[unit].api, after.units[unit].api),
    ...changed(['units', peer, 'mirror'], before.units[peer].mirror, after.units[peer].mirror),
    ...keyChanges(before.datapath, after.datapath).map(({ key, change }) => ({ path: ['datapath', key], change })),
    ...changed(['trafficGroups'], names(before), names(after), 'one was added, removed or moved'),
  ];
}

function entityChanges<Entity extends { readonly name: string }>(
  kind: string,
  before: readonly Entity[],
  after: readonly Entity[],
  describe: (before: Entity, after: Entity) => readonly string[],
): string[] {
  const old = new Map(before.map((entity) => [entity.name, entity]));
  const names = new Set(after.map(({ name }) => name));
  return [
    ...after.flatMap((entity) => {
      const was = old.get(entity.name);
      if (was === undefined) return [`${kind} ${entity.name} added`];
      return describe(was, entity).map((change) => `${kind} ${entity.name}: ${change}`);
    }),
    ...before.filter(({ name }) => !names.has(name)).map(({ name }) => `${kind} ${name} removed`),
  ];
}

function servers({ virtualServers }: Config) {
  return virtualServers.map((server) => ({ ...server, mirror: mirrorText(server.mirror) }));
}

/** `async after 1 s`, `commit (strict, 100 ms)`. */
function mirrorText({ mode, after, onTimeout, timeoutMs }: MirrorConfig): string {
  if (mode === 'commit') return `commit (${onTimeout}, ${timeoutMs} ms)`;
  if (mode === 'off' || after === null) return mode;
  const bounds = [
    ...(after.ageS === null ? [] : [`${after.ageS} s`]),
    ...(after.bytes === null ? [] : [`${after.bytes} bytes`]),
  ];
  return `async after ${bounds.join(' or ')}`;
}

function poolChanges(before: PoolConfig, after: PoolConfig): string[] {
  const { members: oldMembers, ...oldRest } = before;
  const { members: newMembers, ...newRest } = after;
  const named = (members: readonly MemberConfig[]) =>
    members.map((member) => ({ ...member, name: formatEndpoint(member.address, member.port) }));
  return [
    ...keysThatDiffer(oldRest, newRest),
    ...entityChanges('member', named(oldMembers), named(newMembers), keysThatDiffer),
  ];
}

/** `port: 80 -> 8080` */
function keysThatDiffer(before: object, after: object): string[] {
  return keyChanges(before, after).map(({ key, change }) => `${key}: ${change}`);
}

function keyChanges(before: object, after: object): { readonly key: string; readonly change: string }[] {
  const old = new Map<string, unknown>(Object.entries(before));
  return Object.entries(after)
    .filter(([key, value]) => !isDeepStrictEqual(old.get(key), value))
    .map(([key, value]) => ({ key, change: `${brief(old.get(key))} -> ${brief(value)}` }));
}

/** As YAML would have it on one line, cut short. */
function brief(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
