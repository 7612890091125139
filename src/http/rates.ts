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

/** Per second; what was not there before, or counts anew, has a rate of 0. */
export function ratesBetween(before: Look, now: Look): Rates {
  const seconds = (now.atMs - before.atMs) / 1_000;
  const perS = (is: number, was: number | undefined) =>
    was === undefined || is < was || seconds <= 0 ? 0 : Math.round((10 * (is - was)) / seconds) / 10;
  const servers = new Map(before.virtualServers.map((server) => [server.name, server]));
  const members = new Map(membersOf(before).map((member) => [member.key, member]));
  return {
    at: now.at,
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

function membersOf({ pools }: Look) {
  return pools.flatMap(({ name, members }) =>
    members.map((member) => ({ ...member, pool: name, key: `${name} ${member.address} ${member.port}` })),
  );
}
