/** Pools, and their members up, draining or down. */

import { useState } from 'preact/hooks';

import type { MemberChanged, MemberOverride, MemberState, MemberStatus, PoolStatus } from '../../api.js';
import { formatEndpoint } from '../../wire/ip_address.js';
import { change } from '../ask.js';
import { compact, count, moment } from '../format.js';
import { pools, rates, refresh } from '../live.js';
import { Badge, Card, Choice, type Column, Outcome, Table, type Tone } from '../parts.js';

export function PoolsPage() {
  if (pools.value === null) return <p>Not known yet.</p>;
  if (pools.value.length === 0) return <p>The config has no pool.</p>;
  return (
    <>
      {pools.value.map((pool) => (
        <PoolCard key={pool.name} pool={pool} />
      ))}
    </>
  );
}

const overrides: readonly MemberOverride[] = ['up', 'draining', 'down'];
const tones: Readonly<Record<MemberState, Tone>> = { up: 'good', down: 'bad', draining: 'warn', unknown: 'plain' };

function PoolCard({ pool }: { readonly pool: PoolStatus }) {
  const [answer, setAnswer] = useState({ text: '', isError: false });

  async function set({ address, port }: MemberStatus, state: MemberOverride): Promise<void> {
    const member = formatEndpoint(address, port);
    try {
      const path = `/v1/pools/${encodeURIComponent(pool.name)}/members/${encodeURIComponent(member)}`;
      const { now, holds } = await change<MemberChanged>(path, { state });
      setAnswer({ text: `${member}: ${now}, ${holds}.`, isError: false });
      await refresh();
    } catch (error) {
      setAnswer({ text: `${member}: ${error instanceof Error ? error.message : String(error)}`, isError: true });
    }
  }

  const columns: readonly Column<MemberStatus>[] = [
    { title: 'Member', cell: ({ address, port }) => formatEndpoint(address, port) },
    { title: 'State', cell: ({ state }) => <Badge tone={tones[state]}>{state}</Badge> },
    { title: 'Since', cell: ({ since }) => (since === null ? '–' : moment(since)) },
    { title: 'Monitor says', cell: ({ reason }) => reason ?? '–' },
    { title: 'Connections', cell: connectionsText, figures: true },
    { title: 'Opened', cell: ({ opened }) => count(opened), figures: true },
    { title: 'Opened/s', cell: ({ address, port }) => opensText(pool.name, address, port), figures: true },
    { title: 'Weight', cell: ({ weight }) => weight, figures: true },
    {
      title: 'Set',
      cell: (member) => (
        <Choice
          label={`State of ${formatEndpoint(member.address, member.port)}`}
          values={overrides}
          chosen={member.override}
          onChoose={(state) => void set(member, state)}
        />
      ),
    },
  ];
  return (
    <Card title={pool.name}>
      <Table
        caption={captionOf(pool)}
        columns={columns}
        rows={pool.members}
        keyOf={({ address, port }) => formatEndpoint(address, port)}
        empty="The pool has no member."
      />
      <Outcome {...answer} />
    </Card>
  );
}

function captionOf({ scheduler, monitor, minActiveMembers, slowStartS, onMemberDown }: PoolStatus): string {
  return [
    scheduler,
    monitor === null ? 'no monitor' : `monitor: ${monitor}`,
    ...(minActiveMembers > 1 ? [`at least ${minActiveMembers} members active`] : []),
    ...(slowStartS > 0 ? [`slow start ${slowStartS} s`] : []),
    `when a member goes down: ${onMemberDown}`,
  ].join(' · ');
}

const connectionsText = ({ connections, maxConnections }: MemberStatus) =>
  maxConnections === null ? count(connections) : `${count(connections)} of ${count(maxConnections)}`;

function opensText(pool: string, address: string, port: number): string {
  const found = rates.value
    .at(-1)
    ?.members.find((each) => each.pool === pool && each.address === address && each.port === port);
  return found === undefined ? '–' : compact(found.opensPerS);
}
