/** All virtual servers; a page for each is in virtual_server.tsx. */

import type { VirtualServerStatus } from '../../api.js';
import { formatEndpoint } from '../../wire/ip_address.js';
import { compact, count } from '../format.js';
import { rates, virtualServers } from '../live.js';
import { Card, type Column, Table } from '../parts.js';
import { route } from '../route.js';
import { Availability, VirtualServerPage } from './virtual_server.js';

export function VirtualServersPage() {
  const { name } = route.value;
  if (name !== null) return <VirtualServerPage key={name} name={name} />;
  return (
    <Card title="All">
      <Table
        caption="Rates are of the last second."
        columns={columns}
        rows={virtualServers.value}
        keyOf={({ name: each }) => each}
        empty="The config has no virtual server."
      />
    </Card>
  );
}

const rateOf = (name: string) => rates.value.at(-1)?.virtualServers.find((each) => each.name === name);

const columns: readonly Column<VirtualServerStatus>[] = [
  { title: 'Name', cell: ({ name }) => <a href={`#/virtual-servers/${encodeURIComponent(name)}`}>{name}</a> },
  { title: 'Address', cell: ({ address, port, protocol }) => `${formatEndpoint(address, port)} ${protocol}` },
  { title: 'State', cell: (server) => <Availability server={server} /> },
  { title: 'Pool', cell: ({ pool, membersUp, membersTotal }) => `${pool}, ${membersUp} of ${membersTotal} up` },
  { title: 'Mirroring', cell: ({ mirror }) => mirror },
  { title: 'Connections', cell: ({ connections }) => count(connections), figures: true },
  { title: 'Opened/s', cell: ({ name }) => figure(rateOf(name)?.opensPerS), figures: true },
  { title: 'Packets/s', cell: ({ name }) => figure(rateOf(name)?.packetsPerS), figures: true },
];

const figure = (value: number | undefined) => (value === undefined ? '–' : compact(value));
