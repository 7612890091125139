/** Changes of role on this unit, newest first: the bounded list that the daemon keeps since it started. */

import type { Transition } from '../../api.js';
import { milliseconds, moment, sentence } from '../format.js';
import { failover } from '../live.js';
import { Badge, Card, type Column, Table } from '../parts.js';

const columns: readonly Column<Transition>[] = [
  { title: 'Time', cell: ({ at }) => moment(at) },
  { title: 'Traffic group', cell: ({ trafficGroup }) => trafficGroup },
  { title: 'Became', cell: ({ role }) => <Badge tone={role === 'active' ? 'good' : 'plain'}>{role}</Badge> },
  { title: 'Because', cell: ({ reason }) => sentence(reason) },
  {
    title: 'Silence',
    cell: ({ silenceMs }) => (silenceMs === null ? '–' : milliseconds(silenceMs)),
    figures: true,
  },
];

const CAPTION =
  "Since the daemon started. Silence: from the peer's last advert until this unit forwarded; " +
  'for at most so long did nobody.';

export function EventsPage() {
  const groups = failover.value?.trafficGroups;
  const rows =
    groups
      ?.flatMap(({ name, transitions }) => transitions.map((each): Transition => ({ ...each, trafficGroup: name })))
      .toSorted((left, right) => Date.parse(right.at) - Date.parse(left.at)) ?? null;
  return (
    <Card title={`Failovers of unit ${failover.value?.unit ?? '–'}`}>
      <Table
        caption={CAPTION}
        columns={columns}
        rows={rows}
        keyOf={({ at, trafficGroup }, index) => `${at} ${trafficGroup} ${index}`}
        empty="No change of role since the daemon started."
      />
    </Card>
  );
}
