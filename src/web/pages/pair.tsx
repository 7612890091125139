/** Both units as this one sees them, and what a failure of this one would cost now. */

import type { FailoverStatus, MirrorStatus, Survival, TrafficGroupStatus, VirtualServerSurvival } from '../../api.js';
import { compact, count, duration, milliseconds, moment, plural, sentence } from '../format.js';
import { failover, mirror, now, status, survival } from '../live.js';
import { Badge, Card, type Column, type FactRow, Facts, Table, type Tone } from '../parts.js';

export function PairPage() {
  return (
    <>
      <SurvivalCard known={survival.value} />
      <Warnings warnings={status.value?.warnings ?? null} />
      <div class="cards">
        <ThisUnit />
        <Peer />
        <MirrorCard known={mirror.value} />
      </div>
    </>
  );
}

/** Its place is kept while there is nothing to say. */
function Warnings({ warnings }: { readonly warnings: readonly string[] | null }) {
  return (
    <Card title="To look at">
      {warnings === null || warnings.length === 0 ? (
        <p class="muted">{warnings === null ? 'Not known yet.' : 'Nothing.'}</p>
      ) : (
        <ul>
          {warnings.map((warning) => (
            <li key={warning} class="warn">
              {warning}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

const survivalColumns: readonly Column<VirtualServerSurvival>[] = [
  {
    title: 'Virtual server',
    cell: ({ name }) => <a href={`#/virtual-servers/${encodeURIComponent(name)}`}>{name}</a>,
  },
  { title: 'Mirroring', cell: ({ mode }) => mode },
  { title: 'Connections', cell: ({ connections }) => count(connections), figures: true },
  { title: 'Would survive', cell: ({ wouldSurvive }) => count(wouldSurvive), figures: true },
  { title: 'Would be lost', cell: ({ wouldBeLost }) => count(wouldBeLost), figures: true },
  { title: 'Because', cell: ({ reason }) => reason ?? '–' },
];

function SurvivalCard({ known }: { readonly known: Survival | null }) {
  return (
    <Card title="If this unit failed now">
      <p class="lead" data-figure="survival">
        {known === null
          ? 'Not known yet.'
          : `${plural(known.wouldSurvive, 'connection')} would survive, ${count(known.wouldBeLost)} would be lost` +
            `${known.reasons.length === 0 ? '' : `, because ${known.reasons.join('; ')}`}.`}
      </p>
      <Table
        caption="By virtual server"
        columns={survivalColumns}
        rows={known?.virtualServers ?? null}
        keyOf={({ name }) => name}
        empty="There is no virtual server."
      />
    </Card>
  );
}

const roleTone = (role: string): Tone => (role === 'active' ? 'good' : 'plain');

function ThisUnit() {
  const unit = status.value;
  const groups = failover.value?.trafficGroups ?? [];
  const rows: FactRow[] = [
    ...groups.flatMap(ownRole),
    ['Running since', unit === null ? '–' : `${moment(unit.startedAt)} (${age(unit.startedAt)})`],
    ['Version', unit?.version ?? '–'],
    ['Connections', unit === null ? '–' : `${count(unit.table.used)} of ${count(unit.table.capacity)}`],
    [
      'Config',
      unit === null ? '–' : `revision ${unit.config.revision?.number ?? 'none'}${sameConfig(unit.config.same)}`,
    ],
    ...(unit?.links ?? []).map(
      ({ name, interface: device, carrier }): FactRow => [
        `Link ${name}`,
        `${device}, ${carrier === null ? 'carrier not known' : carrier ? 'carrier' : 'no carrier'}`,
      ],
    ),
  ];
  return (
    <Card title={`Unit ${unit?.unit ?? '–'} (this one)`}>
      <Facts rows={rows} />
    </Card>
  );
}

const age = (iso: string) => duration((now.value - Date.parse(iso)) / 1_000);

function sameConfig(same: boolean | null): string {
  if (same === null) return '; the peer has not said which it runs';
  return same ? ', the same at the peer' : '; the peer runs another one';
}

function ownRole({ name, role, term, heldBack, transitions }: TrafficGroupStatus): FactRow[] {
  const since = transitions[0];
  return [
    [
      `Group ${name}`,
      <Badge key={name} tone={roleTone(role)}>
        {role}
      </Badge>,
    ],
    [
      'Since, and why',
      since === undefined
        ? 'the daemon started'
        : `${moment(since.at)}: ${sentence(since.reason)}${after(since.silenceMs)}`,
    ],
    ...(heldBack === null ? [] : [['Held back', heldBack] as const]),
    ['Term', String(term)],
  ];
}

const after = (silenceMs: number | null) => (silenceMs === null ? '' : `, after ${milliseconds(silenceMs)} of silence`);

function Peer() {
  const [known, channel] = [failover.value, mirror.value];
  const name = channel?.peerUnit ?? (known === null ? null : known.unit === 'a' ? 'b' : 'a');
  const rows: FactRow[] = [
    ...(known?.trafficGroups ?? []).map((group): FactRow => [`Group ${group.name}`, peerRole(group)]),
    ['Adverts', known === null ? '–' : heard(known)],
    ['Mirror channel', channel === null ? '–' : channelText(channel)],
    ['Its config', peerRevision()],
  ];
  return (
    <Card title={`Unit ${name ?? '–'} (the peer, as seen from here)`}>
      <Facts rows={rows} />
    </Card>
  );
}

function peerRevision(): string {
  const peer = status.value?.config.peer;
  if (peer === null || peer === undefined) return 'not known';
  return `revision ${peer.revision?.number ?? 'none'}${peer.edited ? ', its file was edited since' : ''}`;
}

/** Longer than three intervals of any advert that is usual, and than the time between two of the figures. */
const HEARD_MS = 5_000;

/** What follows from this unit's own role: an active unit sends adverts, and hears none. */
function peerRole({ role, virtualRouters }: TrafficGroupStatus) {
  const channel = mirror.value?.channel;
  if (role !== 'active') {
    const isHeard = virtualRouters.some(({ peerAdvertAgeMs }) => (peerAdvertAgeMs ?? HEARD_MS) < HEARD_MS);
    return <Badge tone={isHeard ? 'good' : 'bad'}>{isHeard ? 'active' : 'not heard'}</Badge>;
  }
  if (channel === 'up') return <Badge tone="plain">standby</Badge>;
  if (channel === 'off' || channel === undefined) return <Badge tone="plain">not known</Badge>;
  return <Badge tone="bad">dead, or not to be reached</Badge>;
}

function heard({ trafficGroups }: FailoverStatus): string {
  const ages = trafficGroups.flatMap(({ virtualRouters }) =>
    virtualRouters.flatMap(({ peerAdvertAgeMs }) => (peerAdvertAgeMs === null ? [] : [peerAdvertAgeMs])),
  );
  const last = ages.length === 0 ? 'none heard' : `last heard ${milliseconds(Math.min(...ages))} ago`;
  return trafficGroups.every(({ role }) => role === 'active') ? `${last}; a standby sends none` : last;
}

function channelText({ channel, connectedSince, lastError }: MirrorStatus) {
  if (channel === 'up')
    return <Badge tone="good">up{connectedSince === null ? '' : ` for ${age(connectedSince)}`}</Badge>;
  return (
    <>
      <Badge tone={channel === 'off' ? 'plain' : 'bad'}>{channel}</Badge>
      {lastError === null ? '' : ` ${lastError}`}
    </>
  );
}

function MirrorCard({ known }: { readonly known: MirrorStatus | null }) {
  const rows: readonly FactRow[] =
    known === null
      ? [['State', '–']]
      : [
          [
            'State',
            <Badge key="state" tone={known.inSync ? 'good' : 'warn'}>
              {known.inSync ? 'in sync' : 'not in sync'}
            </Badge>,
          ],
          ['Bulk', bulkText(known.sending.bulk)],
          ['Not acknowledged', unackedText(known.lag)],
          [
            'Last acknowledged',
            known.lag.lastAckMs === null ? 'none yet' : `after ${milliseconds(known.lag.lastAckMs)}`,
          ],
          ['Refused: table full', count(known.sending.refusedFull)],
          ['Security', known.security],
          ...known.paths.map(({ name, peer, state }): FactRow => [`Path, ${name}`, `${peer}, ${state}`]),
        ];
  return (
    <Card title="Mirroring">
      <Facts rows={rows} />
    </Card>
  );
}

function bulkText({ running, announced, expected, perS, leftS, completed }: MirrorStatus['sending']['bulk']): string {
  if (!running) return `none runs, ${plural(completed, 'bulk')} completed`;
  const left = leftS === null ? '' : `, ${duration(leftS)} left`;
  return `${count(announced)} of ${count(expected)}, ${compact(perS)}/s${left}`;
}

function unackedText({ unackedBatches, oldestUnackedMs }: MirrorStatus['lag']): string {
  return `${plural(unackedBatches, 'batch', 'batches')}, the oldest ${milliseconds(oldestUnackedMs)}`;
}
