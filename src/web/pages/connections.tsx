/** A part of the connection table, and whether the peer holds each. The filter stands in the address bar. */

import { useEffect, useState } from 'preact/hooks';

import type { ConnectionRow, ConnectionsPage as Part } from '../../api.js';
import { ask } from '../ask.js';
import { count, plural } from '../format.js';
import { mirror, virtualServers } from '../live.js';
import { Badge, Card, type Column, Outcome, Table, type Tone } from '../parts.js';
import { route } from '../route.js';

const ROWS = 50;
const EACH_MS = 5_000;

const filters = ['virtualServer', 'client', 'member'] as const;

/** Asked for again each 5 s. What another filter found stays until this one's answer is here, so nothing jumps. */
export function ConnectionsPage() {
  const { query } = route.value;
  const asked = filters.flatMap((name) => (query.get(name) ? [[name, query.get(name)!]] : []));
  const filter = new URLSearchParams(asked).toString();
  // The cursors of the parts up to this one, of the filter that they belong to.
  const [cursors, setCursors] = useState<{ readonly filter: string; readonly from: readonly number[] } | null>(null);
  const from = cursors?.filter === filter ? cursors.from : [0];
  const setFrom = (wanted: readonly number[]) => setCursors({ filter, from: wanted });
  const [part, setPart] = useState<Part | null>(null);
  const [fault, setFault] = useState('');
  const cursor = from.at(-1)!;

  useEffect(() => {
    let isShown = true;
    const load = async () => {
      try {
        const query = new URLSearchParams(filter);
        query.set('cursor', String(cursor));
        query.set('limit', String(ROWS));
        const found = await ask<Part>(`/v1/connections?${query.toString()}`);
        if (!isShown) return;
        setPart(found);
        setFault('');
      } catch (error) {
        if (isShown) setFault(error instanceof Error ? error.message : String(error));
      }
    };
    void load();
    const timer = setInterval(() => void load(), EACH_MS);
    return () => {
      isShown = false;
      clearInterval(timer);
    };
  }, [filter, cursor]);

  const next = part?.next ?? null;
  return (
    <>
      <Card title="Which">
        <FilterForm key={filter} filter={filter} />
        <Outcome text={fault} isError />
      </Card>
      <Card title={part === null ? 'Connections' : `Of ${plural(part.used, 'connection')} in the table`}>
        <p class="form">
          <button type="button" disabled={from.length === 1} onClick={() => setFrom(from.slice(0, -1))}>
            Previous
          </button>
          <button type="button" disabled={next === null} onClick={() => next !== null && setFrom([...from, next])}>
            Next
          </button>
          <span class="muted">
            Part {count(from.length)}
            {next === null && part !== null ? ', the last' : ''}
          </span>
        </p>
        <Table
          caption="Read anew each 5 s"
          columns={columns}
          rows={part?.rows ?? null}
          keyOf={(row, index) => `${index} ${row.client}`}
          empty={next === null ? 'None that match.' : 'None that match in this part of the table; go on with Next.'}
        />
      </Card>
    </>
  );
}

/** What was told to a peer that is gone is held by nobody that could take over. */
function heldByPeer({ mirrored, unprotected }: ConnectionRow): readonly [Tone, string] {
  const channel = mirror.value?.channel;
  if (channel !== undefined && channel !== 'up') return ['bad', 'no: not connected'];
  if (unprotected) return ['warn', 'perhaps'];
  return mirrored ? ['good', 'yes'] : ['bad', 'no'];
}

const columns: readonly Column<ConnectionRow>[] = [
  { title: 'Client', cell: ({ client }) => client },
  { title: 'Virtual server', cell: ({ virtualServer, virtual }) => `${virtualServer} ${virtual}` },
  { title: 'Member', cell: ({ member }) => member },
  { title: 'Protocol', cell: ({ protocol }) => protocol },
  { title: 'State', cell: ({ state }) => state },
  { title: 'Idle', cell: ({ idleS }) => `${Math.round(idleS)} s`, figures: true },
  {
    title: 'Peer holds it',
    cell: (row) => {
      const [tone, word] = heldByPeer(row);
      return <Badge tone={tone}>{word}</Badge>;
    },
  },
];

function FilterForm({ filter }: { readonly filter: string }) {
  const now = new URLSearchParams(filter);
  const show = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const wanted = new URLSearchParams();
    for (const name of filters) {
      const value = given.get(name);
      if (typeof value === 'string' && value.trim() !== '') wanted.set(name, value.trim());
    }
    location.hash = wanted.size === 0 ? '#/connections' : `#/connections?${wanted.toString()}`;
  };
  const chosen = now.get('virtualServer') ?? '';
  const names = (virtualServers.value ?? []).map(({ name }) => name);
  return (
    <form class="form" onSubmit={show}>
      <label>
        Client
        <input name="client" placeholder="address or address:port" defaultValue={now.get('client') ?? ''} />
      </label>
      <label>
        Virtual server
        <select name="virtualServer">
          <option value="">all</option>
          {names.map((name) => (
            <option key={name} value={name} selected={name === chosen}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Member
        <input name="member" placeholder="address or address:port" defaultValue={now.get('member') ?? ''} />
      </label>
      <button class="main" type="submit">
        Show
      </button>
    </form>
  );
}
