/** `tandem show`: what is asked for each of its words. */

import { buildCommand, buildRouteMap, numberParser } from '@stricli/core';

import { CONNECTIONS_PAGE_MAX, type ConnectionsPage, type ConnectionsQuery, type Control } from '../api.js';
import { asking, type ClientFlags, clientFlags, proposing, showing } from './asking.js';
import type { CliContext } from './context.js';
import { type End, endOf } from './ends.js';
import {
  showConnections,
  showCounters,
  showFailover,
  showMirror,
  showPools,
  showStatus,
  showVirtualServers,
} from './show.js';
import { showCosts, showSurvival } from './show_survival.js';

const CONNECTIONS_SHOWN = 100;

interface ConnectionFlags extends ClientFlags {
  readonly virtual?: string;
  readonly client?: End;
  readonly member?: End;
  readonly limit: number;
}

/** As `tandem status`, and among its kind. */
export const statusCommand = showing('The unit at a glance', (control) => control.status(), showStatus);

export const showRoutes = buildRouteMap({
  docs: { brief: 'Show what the daemon knows' },
  routes: {
    status: statusCommand,
    virtual: showingOneOrAll(
      'Virtual servers, their traffic and their mirroring',
      'virtual server',
      async (control, name) => (name === null ? control.virtualServers() : [await control.virtualServer(name)]),
      showVirtualServers,
    ),
    pool: showingOneOrAll(
      'Pools, their members and what monitors say',
      'pool',
      async (control, name) => (name === null ? control.pools() : [await control.pool(name)]),
      showPools,
    ),
    connections: buildCommand<ConnectionFlags, [], CliContext>({
      docs: { brief: 'Connections in the table' },
      parameters: {
        flags: {
          ...clientFlags,
          virtual: {
            kind: 'parsed',
            parse: String,
            optional: true,
            placeholder: 'name',
            brief: 'Only of this virtual server',
            proposeCompletions: proposing('virtual server'),
          },
          client: {
            kind: 'parsed',
            parse: endOf,
            optional: true,
            placeholder: 'address[:port]',
            brief: 'Only of this client',
          },
          member: {
            kind: 'parsed',
            parse: endOf,
            optional: true,
            placeholder: 'address[:port]',
            brief: 'Only to this member',
            proposeCompletions: proposing('member'),
          },
          limit: {
            kind: 'parsed',
            parse: positiveNumber,
            default: String(CONNECTIONS_SHOWN),
            placeholder: 'count',
            brief: 'Show at most so many',
          },
        },
      },
      func: asking(async (control, _now, { virtual, client, member, limit }) => {
        const filter = { virtualServer: virtual ?? null, client: client ?? null, member: member ?? null };
        const page = await readConnections(control, filter, limit);
        return { json: page, text: showConnections(page) };
      }),
    }),
    mirror: showing(
      'The mirror channel: in sync, lag, what was sent and applied',
      (control) => control.mirror(),
      showMirror,
    ),
    survival: showing(
      'What would become of the connections if this unit failed now',
      (control) => control.survival(),
      showSurvival,
    ),
    costs: showing('What mirroring costs on this machine, as last measured', (control) => control.costs(), showCosts),
    failover: showing(
      'Traffic groups, priorities, adverts, role changes',
      (control) => control.failover(),
      showFailover,
    ),
    counters: buildCommand<ClientFlags & { readonly all: boolean }, [], CliContext>({
      docs: { brief: 'What the datapath counted, and why it dropped what it dropped' },
      parameters: {
        flags: {
          ...clientFlags,
          all: { kind: 'boolean', default: false, withNegated: false, brief: 'Also those that are zero' },
        },
      },
      func: asking(async (control, _now, { all }) => {
        const counters = await control.counters();
        return { json: counters, text: showCounters(counters, all) };
      }),
    }),
  },
});

/** All of a kind, or the one that is named; a list either way. */
function showingOneOrAll<Row>(
  brief: string,
  kind: 'virtual server' | 'pool',
  ask: (control: Control, name: string | null) => Promise<readonly Row[]>,
  show: (rows: readonly Row[], now: number) => string,
) {
  const name = { parse: String, optional: true, placeholder: 'NAME', brief: 'One of them; default: all' } as const;
  return buildCommand<ClientFlags, [name: string | undefined], CliContext>({
    docs: { brief },
    parameters: {
      flags: clientFlags,
      positional: { kind: 'tuple', parameters: [{ ...name, proposeCompletions: proposing(kind) }] },
    },
    func: asking(async (control, now, _flags, wanted) => {
      const rows = await ask(control, wanted ?? null);
      return { json: rows, text: show(rows, now) };
    }),
  });
}

/** Follows pages until `limit` rows are there or the table ends. */
async function readConnections(
  control: Control,
  filter: Omit<ConnectionsQuery, 'cursor' | 'limit'>,
  limit: number,
): Promise<ConnectionsPage> {
  let page: ConnectionsPage = { rows: [], next: 0, used: 0 };
  while (page.next !== null && page.rows.length < limit) {
    const missing = Math.min(limit - page.rows.length, CONNECTIONS_PAGE_MAX);
    const more = await control.connections({ ...filter, cursor: page.next, limit: missing });
    page = { ...more, rows: [...page.rows, ...more.rows] };
  }
  return page;
}

function positiveNumber(text: string): number {
  const value = numberParser(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new SyntaxError(`${text} is not a whole number above 0`);
}
