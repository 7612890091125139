/** What `tandem watch` and `tandem top` show, from one look and the one before. Pure. */

import type {
  BusiestConnections,
  ConnectionRow,
  FailoverStatus,
  MirrorStatus,
  PoolStatus,
  Status,
  Survival,
  VirtualServerStatus,
} from '../api.js';
import { type KnownRates, knownRates, type Look } from '../http/rates.js';
import { formatEndpoint, parseEndpoint } from '../wire/ip_address.js';
import { roleChange } from './show.js';
import { showSurvival } from './show_survival.js';
import { ago, figure, left, milliseconds, pairs, right, table } from './table.js';

export interface Traffic {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly virtualServers: readonly VirtualServerStatus[];
  readonly pools: readonly PoolStatus[];
}

export interface Sample extends Traffic {
  readonly status: Status;
  readonly mirror: MirrorStatus;
  readonly failover: FailoverStatus;
  readonly survival: Survival;
}

export interface ConnectionSample extends Traffic {
  /** Or why it is not known. */
  readonly busiest: BusiestConnections | string;
  readonly connections: readonly ConnectionRow[];
  /** In the whole table. */
  readonly used: number;
}

// ------------------------------------------------------------------------------------------------ rates

export interface MemberRates {
  readonly pool: string;
  readonly member: string;
  readonly state: string;
  readonly connections: number;
  readonly opensPerS: number | null;
}

export interface Rates {
  readonly virtualServers: KnownRates['virtualServers'];
  readonly members: readonly MemberRates[];
}

export function ratesOf(now: Traffic, before: Traffic | null): Rates {
  const { virtualServers, members } = knownRates(before === null ? null : lookOf(before), lookOf(now));
  const states = new Map(
    now.pools.flatMap((pool) =>
      pool.members.map(({ address, port, state }) => [`${pool.name} ${formatEndpoint(address, port)}`, state] as const),
    ),
  );
  return {
    virtualServers,
    members: members.map(({ pool, address, port, connections, opensPerS }) => {
      const member = formatEndpoint(address, port);
      return { pool, member, state: states.get(`${pool} ${member}`)!, connections, opensPerS };
    }),
  };
}

function lookOf({ at, virtualServers, pools }: Traffic): Look {
  return { at: new Date(at).toISOString(), atMs: at, virtualServers, pools };
}

function perSecond(rate: number | null, unit = ''): string {
  return rate === null ? '-' : `${figure(Math.round(rate))}${unit}`;
}

// ------------------------------------------------------------------------------------------------ watch

/** The JSON of `watch`: everything of one look, and the rates. */
export function watchRates(now: Sample, before: Sample): unknown {
  const { status, mirror, failover, survival } = now;
  return { at: new Date(now.at).toISOString(), status, mirror, failover, survival, rates: ratesOf(now, before) };
}

const CHANGES_SHOWN = 3;

export function watchLines(now: Sample, before: Sample | null): string[] {
  const { at, status, mirror, failover, survival } = now;
  const { virtualServers, members } = ratesOf(now, before);
  const [forecast = ''] = showSurvival(survival, at).split('\n');
  const inSync = mirror.inSync ? 'in sync' : 'not in sync';
  const groups = failover.trafficGroups.map((group): [string, string] => {
    const since = group.transitions[0] === undefined ? '' : ` for ${ago(group.transitions[0].at, at)}`;
    const held = group.heldBack === null ? '' : `, ${group.heldBack}`;
    return [`group ${group.name}`, `${group.role}${since}, priority ${group.effectivePriority}${held}`];
  });
  const head = pairs([
    [`unit ${status.unit}`, `${new Date(at).toISOString().slice(11, 19)} UTC, up ${ago(status.startedAt, at)}`],
    ...groups,
    ['mirror', `${mirror.channel}, ${inSync}, lag ${milliseconds(mirror.lag.oldestUnackedMs)}`],
    ['connections', `${figure(status.table.used)} of ${figure(status.table.capacity)}`],
  ]);
  const details = new Map(now.virtualServers.map((server) => [server.name, server]));
  const servers = table(
    [
      left('VIRTUAL SERVER'),
      left('ROLE'),
      right('UP'),
      left('MIRROR'),
      right('CONNS'),
      right('OPENED/S'),
      right('PACKETS/S'),
      right('BYTES/S'),
    ],
    virtualServers.map((row) => {
      const server = details.get(row.name)!;
      return [
        row.name,
        server.enabled ? server.role : 'disabled',
        `${server.membersUp}/${server.membersTotal}`,
        server.mirror,
        figure(row.connections),
        perSecond(row.opensPerS),
        perSecond(row.packetsPerS),
        perSecond(row.bytesPerS, 'B'),
      ];
    }),
  );
  const changes = failover.trafficGroups.flatMap((group) =>
    group.transitions
      .slice(0, CHANGES_SHOWN)
      .map((change) => `${ago(change.at, at)} ago: ${group.name} ${roleChange(change)}`),
  );
  return [
    ...head.split('\n'),
    '',
    forecast,
    ...[...survival.reasons, ...status.warnings].map((warning) => `! ${warning}`),
    '',
    ...(virtualServers.length === 0 ? ['no virtual servers'] : servers.split('\n')),
    '',
    ...memberTable(members),
    ...(changes.length === 0 ? [] : ['', ...changes]),
  ];
}

function memberTable(members: readonly MemberRates[]): string[] {
  if (members.length === 0) return ['no members'];
  return table(
    [left('MEMBER'), left('POOL'), left('STATE'), right('CONNS'), right('OPENED/S')],
    members.map((row) => [row.member, row.pool, row.state, figure(row.connections), perSecond(row.opensPerS)]),
  ).split('\n');
}

// -------------------------------------------------------------------------------------------------- top

const ROWS_SHOWN = 10;

export interface ClientLoad {
  readonly client: string;
  readonly connections: number;
  /** More than at the look before; null: not known. */
  readonly change: number | null;
  /** Since the client's or a member's last packet on any of them, in seconds. */
  readonly idleS: number;
  /** The one that has most of them. */
  readonly virtualServer: string;
}

export function topRates(now: ConnectionSample, before: ConnectionSample): unknown {
  const { connections, used } = now;
  return {
    at: new Date(now.at).toISOString(),
    ...sorted(ratesOf(now, before)),
    busiest: typeof now.busiest === 'string' ? null : now.busiest,
    clients: clientsOf(now, before).slice(0, ROWS_SHOWN),
    connectionsRead: connections.length,
    connections: used,
  };
}

export function topLines(now: ConnectionSample, before: ConnectionSample | null): string[] {
  const { virtualServers, members } = sorted(ratesOf(now, before));
  const servers = table(
    [left('VIRTUAL SERVER'), right('BYTES/S'), right('PACKETS/S'), right('OPENED/S'), right('CONNS')],
    virtualServers
      .slice(0, ROWS_SHOWN)
      .map((row) => [
        row.name,
        perSecond(row.bytesPerS, 'B'),
        perSecond(row.packetsPerS),
        perSecond(row.opensPerS),
        figure(row.connections),
      ]),
  );
  const clients = table(
    [left('CLIENT'), right('CONNS'), right('CHANGE'), right('IDLE'), left('VIRTUAL SERVER')],
    clientsOf(now, before)
      .slice(0, ROWS_SHOWN)
      .map(({ client, connections, change, idleS, virtualServer }) => [
        client,
        figure(connections),
        change === null ? '-' : `${change < 0 ? '' : '+'}${change}`,
        `${Math.round(idleS)}s`,
        virtualServer,
      ]),
  );
  const read = now.connections.length;
  const part = read < now.used ? [`clients: of the first ${figure(read)} of ${figure(now.used)} connections`] : [];
  return [
    ...servers.split('\n'),
    '',
    ...busiestTable(now.busiest),
    '',
    ...memberTable(members.slice(0, ROWS_SHOWN)),
    '',
    ...(read === 0 ? ['no connections'] : clients.split('\n')),
    ...part,
  ];
}

function busiestTable(busiest: BusiestConnections | string): string[] {
  if (typeof busiest === 'string') return [`busiest connections: ${busiest}`];
  const { rows, forMs, seen } = busiest;
  const moment = `${Math.round(forMs)} ms${seen < 1 ? `, ${Math.floor(100 * seen)}% of the frames` : ''}`;
  if (rows.length === 0) return [`busiest connections: none carried anything in ${moment}`];
  const lines = table(
    [left('CONNECTION OF'), right('BYTES/S'), right('PACKETS/S'), left('VIRTUAL SERVER'), left('MEMBER')],
    rows.map((row) => [
      row.client,
      perSecond(row.bytesPerS, 'B'),
      perSecond(row.packetsPerS),
      row.virtualServer,
      row.member,
    ]),
  );
  return [...lines.split('\n'), `connections: of ${moment}`];
}

/** Busiest first; what is alike by connections, then by name. */
function sorted({ virtualServers, members }: Rates): Rates {
  const most = (left: number | null, right: number | null) => (right ?? -1) - (left ?? -1);
  return {
    virtualServers: virtualServers.toSorted(
      (one, two) =>
        most(one.bytesPerS, two.bytesPerS) || two.connections - one.connections || one.name.localeCompare(two.name),
    ),
    members: members.toSorted(
      (one, two) =>
        most(one.opensPerS, two.opensPerS) || two.connections - one.connections || one.member.localeCompare(two.member),
    ),
  };
}

function clientsOf(now: ConnectionSample, before: ConnectionSample | null): ClientLoad[] {
  const earlier = before === null ? null : countsByClient(before.connections);
  return [...countsByClient(now.connections)]
    .map(([client, { connections, idleS, servers }]): ClientLoad => {
      const [virtualServer = ''] = [...servers].toSorted(([, one], [, two]) => two - one)[0] ?? [];
      const change = earlier === null ? null : connections - (earlier.get(client)?.connections ?? 0);
      return { client, connections, change, idleS, virtualServer };
    })
    .toSorted((one, two) => two.connections - one.connections || one.client.localeCompare(two.client));
}

function countsByClient(rows: readonly ConnectionRow[]) {
  const clients = new Map<string, { connections: number; idleS: number; readonly servers: Map<string, number> }>();
  for (const { client, idleS, virtualServer } of rows) {
    const address = parseEndpoint(client)?.address ?? client;
    const load = clients.get(address) ?? { connections: 0, idleS, servers: new Map<string, number>() };
    load.connections++;
    load.idleS = Math.min(load.idleS, idleS);
    load.servers.set(virtualServer, (load.servers.get(virtualServer) ?? 0) + 1);
    clients.set(address, load);
  }
  return clients;
}
