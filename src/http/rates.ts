/** Rates between two looks at what only ever grows. Pure. */

import type { PoolStatus, Rates, VirtualServerStatus } from '../api.js';

export interface Look {
  /** ISO 8601. */
  readonly at: string;
  /** Milliseconds, monotonic. */
  readonly atMs: number;
  readonly virtualServers: readonly VirtualServerStatus[];
  readonly pools: readonly PoolStatus[];
}

/** `Rates` in which null is what cannot be known: what was not there before, or counts anew. */
export interface KnownRates {
  readonly virtualServers: readonly Nullable<
    Rates['virtualServers'][number],
    'packetsPerS' | 'bytesPerS' | 'opensPerS'
  >[];
  readonly members: readonly Nullable<Rates['members'][number], 'opensPerS'>[];
}
type Nullable<Row, Names extends keyof Row> = Omit<Row, Names> & { readonly [Name in Names]: Row[Name] | null };

/** Per second, to a tenth, in the order of `now`. */
export function knownRates(before: Look | null, now: Look): KnownRates {
  const seconds = before === null ? 0 : (now.atMs - before.atMs) / 1_000;
  const perS = (is: number, was: number | undefined) =>
    was === undefined || is < was || seconds <= 0 ? null : Math.round((10 * (is - was)) / seconds) / 10;
  const servers = new Map(before?.virtualServers.map((server) => [server.name, server]));
  const members = new Map(before === null ? [] : membersOf(before).map((member) => [member.key, member]));
  return {
    virtualServers: now.virtualServers.map((server) => {
      const was = servers.get(server.name);
      return {
        name: server.name,
        packetsPerS: perS(server.packetsIn + server.packetsOut, was && was.packetsIn + was.packetsOut),
        bytesPerS: perS(server.bytesIn + server.bytesOut, was && was.bytesIn + was.bytesOut),
        opensPerS: perS(server.opened, was?.opened),
        connections: server.connections,
      };
    }),
    members: membersOf(now).map(({ key, pool, address, port, connections, opened }) => {
      return { pool, address, port, connections, opensPerS: perS(opened, members.get(key)?.opened) };
    }),
  };
}

/** The same with 0 for what is not known. */
export function ratesBetween(before: Look, now: Look): Rates {
  const { virtualServers, members } = knownRates(before, now);
  return {
    at: now.at,
    virtualServers: virtualServers.map(({ packetsPerS, bytesPerS, opensPerS, ...server }) => {
      return { ...server, packetsPerS: packetsPerS ?? 0, bytesPerS: bytesPerS ?? 0, opensPerS: opensPerS ?? 0 };
    }),
    members: members.map(({ opensPerS, ...member }) => ({ ...member, opensPerS: opensPerS ?? 0 })),
  };
}

function membersOf({ pools }: Look) {
  return pools.flatMap(({ name, members }) =>
    members.map((member) => ({ ...member, pool: name, key: `${name} ${member.address} ${member.port}` })),
  );
}
