/** What /metrics tells, list by list: name, kind, sentence, and where the value comes from. Pure. */

import type {
  CountersStatus,
  FailoverStatus,
  MemberStatus,
  MirrorStatus,
  PoolStatus,
  Status,
  Survival,
  TrafficGroupStatus,
  VirtualServerStatus,
} from '../api.js';
import { formatEndpoint } from '../wire/ip_address.js';

export interface Seen {
  readonly status: Status;
  readonly virtualServers: readonly VirtualServerStatus[];
  readonly pools: readonly PoolStatus[];
  readonly counters: CountersStatus;
  readonly mirror: MirrorStatus;
  readonly failover: FailoverStatus;
  readonly survival: Survival;
}

type Labels = Readonly<Record<string, string>>;

export interface Metric {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  /** The same keys wherever the name is the same. */
  readonly labels: Labels;
  readonly value: number;
}

/** Several values of one thing: each with labels that tell them apart. */
type Values = number | boolean | readonly (readonly [Labels, number | boolean])[];
type Row<Of> = readonly [name: string, help: string, values: (of: Of) => Values];

/** A name that ends in _total is a counter's. */
function told<Of>(rows: readonly Row<Of>[], of: Of, labels: Labels): Metric[] {
  return rows.flatMap(([name, help, valuesOf]): Metric[] => {
    const values = valuesOf(of);
    const each = typeof values === 'object' ? values : ([[{}, values]] as const);
    const kind = name.endsWith('_total') ? 'counter' : 'gauge';
    return each.map(([more, value]) => ({ name, kind, help, labels: { ...labels, ...more }, value: Number(value) }));
  });
}

const oneOf = <Word extends string>(label: string, words: readonly Word[], is: Word) =>
  words.map((word) => [{ [label]: word }, word === is] as const);

// ------------------------------------------------------------------------------------------------ unit

const UNIT: readonly Row<Seen>[] = [
  ['tandem_info', 'Always 1', ({ status }) => [[{ version: status.version, unit: status.unit }, 1]]],
  ['tandem_failover_process_up', 'Whether the failover process runs', ({ status }) => status.failoverPid !== null],
  ['tandem_warnings', 'What an operator should look at, as tandem status says', ({ status }) => status.warnings.length],
  ['tandem_config_revision', 'Revision of the config; 0: none', ({ status }) => status.config.revision?.number ?? 0],
  [
    'tandem_config_same',
    'Whether the peer runs the same config; -1: not known',
    ({ status: { config } }) => (config.same === null ? -1 : config.same),
  ],
  ['tandem_table_connections', 'Connections in the table', ({ status }) => status.table.used],
  ['tandem_table_capacity_connections', 'Connections that the table can hold', ({ status }) => status.table.capacity],
  ['tandem_table_waiting_connections', 'Closed, and the peer is yet to be told', ({ status }) => status.table.waiting],
  ['tandem_table_bytes', 'Memory reserved for the table', ({ status }) => status.table.bytes],
  [
    'tandem_link_carrier',
    'Whether a link has a carrier; not known counts as having one',
    ({ status }) => status.links.map(({ name, carrier }) => [{ link: name }, carrier !== false]),
  ],
  ['tandem_connections_would_survive', 'If this unit failed now', ({ survival }) => survival.wouldSurvive],
  ['tandem_connections_would_be_lost', 'If this unit failed now', ({ survival }) => survival.wouldBeLost],
];

// -------------------------------------------------------------------------------------------- datapath

function datapath({ counters }: Seen): Metric[] {
  return [
    ...counters.counts.map(({ name, sentence, value }): Metric => {
      return { name: `tandem_datapath_${name}_total`, kind: 'counter', help: sentence, labels: {}, value };
    }),
    ...counters.drops.map(({ name, value }): Metric => {
      const help = 'Frames that went no further, by reason (tandem show counters --all says each in a sentence)';
      return { name: 'tandem_datapath_drops_total', kind: 'counter', help, labels: { reason: name }, value };
    }),
  ];
}

// ------------------------------------------------------------------------- virtual servers and members

const MODES = ['off', 'async', 'commit'] as const;

const VIRTUAL_SERVER: readonly Row<VirtualServerStatus>[] = [
  ['tandem_virtual_server_enabled', 'Whether it opens connections', ({ enabled }) => enabled],
  ['tandem_virtual_server_members', 'Members of its pool', ({ membersTotal }) => membersTotal],
  ['tandem_virtual_server_members_up', 'Members of its pool that are given connections', ({ membersUp }) => membersUp],
  ['tandem_virtual_server_connections', 'Open connections', ({ connections }) => connections],
  ['tandem_virtual_server_connections_opened_total', 'Connections opened', ({ opened }) => opened],
  [
    'tandem_virtual_server_packets_total',
    'Packets forwarded; in: from clients',
    ({ packetsIn, packetsOut }) => bothWays(packetsIn, packetsOut),
  ],
  [
    'tandem_virtual_server_bytes_total',
    'Bytes forwarded; in: from clients',
    ({ bytesIn, bytesOut }) => bothWays(bytesIn, bytesOut),
  ],
  ['tandem_virtual_server_mirror_mode', '1 of the mode in force', ({ mirror }) => oneOf('mode', MODES, mirror)],
  [
    'tandem_virtual_server_commit_frames_total',
    'Frames of handshakes with mirror: commit: held, and what became of them',
    ({ commit }) => [
      [{ outcome: 'held' }, commit.held],
      [{ outcome: 'released' }, commit.released],
      [{ outcome: 'timed_out' }, commit.timedOut],
      [{ outcome: 'refused' }, commit.refused],
      [{ outcome: 'beyond' }, commit.beyond],
      [{ outcome: 'no_peer' }, commit.noPeer],
    ],
  ],
  [
    'tandem_virtual_server_unprotected_connections',
    'Open with mirror: commit, and the peer may not have them',
    ({ commit }) => commit.unprotected,
  ],
];

function bothWays(into: number, out: number) {
  return [
    [{ direction: 'in' }, into],
    [{ direction: 'out' }, out],
  ] as const;
}

const SURVIVAL: readonly Row<Survival['virtualServers'][number]>[] = [
  [
    'tandem_virtual_server_connections_would_be_lost',
    'Open connections that would be lost if this unit failed now',
    ({ wouldBeLost }) => wouldBeLost,
  ],
];

const MEMBER: readonly Row<MemberStatus>[] = [
  [
    'tandem_member_state',
    '1 of the state it is in',
    ({ state }) => oneOf('state', ['up', 'draining', 'down', 'unknown'], state),
  ],
  ['tandem_member_connections', 'Open connections', ({ connections }) => connections],
  ['tandem_member_connections_opened_total', 'Connections opened', ({ opened }) => opened],
  ['tandem_member_limited_total', 'Times it had as many as maxConnections', ({ limited }) => limited],
  ['tandem_member_persisted_total', 'Of those opened: by a persistence entry', ({ persisted }) => persisted],
  ['tandem_member_share_ratio', 'Of its share of new connections, what slow start gives it now', ({ share }) => share],
  ['tandem_member_weight', 'Weight in the config', ({ weight }) => weight],
];

// ---------------------------------------------------------------------------------------------- mirror

/** Cumulative, as a histogram's buckets are; [0] waited not at all, [n] less than 2^n microseconds. */
function waits(buckets: readonly number[]) {
  let sum = 0;
  return buckets.map((count, index) => {
    sum += count;
    const below = index === 0 ? 0 : 2 ** index / 1e6;
    return [{ le: index === buckets.length - 1 ? '+Inf' : String(below) }, sum] as const;
  });
}

const MIRROR: readonly Row<MirrorStatus>[] = [
  ['tandem_mirror_channel_up', 'Whether the mirror channel is up', ({ channel }) => channel === 'up'],
  [
    'tandem_mirror_in_sync',
    'peer: the peer holds what this unit holds; self: this unit holds what the peer holds',
    ({ inSync, peerSynced }) => [
      [{ side: 'peer' }, inSync],
      [{ side: 'self' }, peerSynced],
    ],
  ],
  ['tandem_mirror_connects_total', 'Times that the channel came up', ({ connects }) => connects],
  ['tandem_mirror_path_switches_total', 'Times that it moved to another path', ({ switches }) => switches],
  ['tandem_mirror_lag_seconds', 'Age of the oldest batch not acknowledged', ({ lag }) => lag.oldestUnackedMs / 1_000],
  ['tandem_mirror_ack_seconds', 'From a batch to its ack, the last time', ({ lag }) => (lag.lastAckMs ?? 0) / 1_000],
  ['tandem_mirror_unacked_bytes', 'Sent and not acknowledged', ({ lag }) => lag.unackedBytes],
  ['tandem_mirror_unacked_batches', 'Sent and not acknowledged', ({ lag }) => lag.unackedBatches],
  [
    'tandem_mirror_pending_records',
    'Sent and not acknowledged',
    ({ sending }) => Math.max(0, sending.records - sending.ackedRecords),
  ],
  ['tandem_mirror_sent_records_total', 'Records sent', ({ sending }) => sending.records],
  ['tandem_mirror_sent_batches_total', 'Batches sent', ({ sending }) => sending.batches],
  ['tandem_mirror_sent_bytes_total', 'Bytes of batches sent', ({ sending }) => sending.bytes],
  [
    'tandem_mirror_peer_refused_total',
    'Records that the peer refused: its table was full, or its config does not know them',
    ({ sending }) => [
      [{ reason: 'full' }, sending.refusedFull],
      [{ reason: 'unknown' }, sending.unknown],
    ],
  ],
  [
    'tandem_mirror_commit_handshakes_total',
    'Handshakes with mirror: commit whose client was kept waiting for at most le seconds; for histogram_quantile()',
    ({ commitLatency }) => waits(commitLatency),
  ],
  ['tandem_mirror_received_records_total', 'Records received', ({ receiving }) => receiving.records],
  ['tandem_mirror_received_batches_total', 'Batches received', ({ receiving }) => receiving.batches],
  ['tandem_mirror_received_bytes_total', 'Bytes of batches received', ({ receiving }) => receiving.bytes],
  [
    'tandem_mirror_received_outcomes_total',
    'Records received, by what became of them',
    ({ receiving }) => [
      [{ outcome: 'applied' }, receiving.applied],
      [{ outcome: 'stale' }, receiving.stale],
      [{ outcome: 'refused_full' }, receiving.refusedFull],
      [{ outcome: 'unknown' }, receiving.unknown],
    ],
  ],
  [
    'tandem_mirror_bulks_total',
    'Bulks completed',
    ({ sending, receiving }) => [
      [{ direction: 'sent' }, sending.bulk.completed],
      [{ direction: 'received' }, receiving.bulk.completed],
    ],
  ],
  ['tandem_mirror_bulk_running', 'Whether the peer is being told of everything', ({ sending }) => sending.bulk.running],
  [
    'tandem_mirror_faults_total',
    'Connections of the channel closed for what they said, by reason',
    ({ faults }) => Object.entries(faults).map(([reason, count]) => [{ reason }, count]),
  ],
  [
    'tandem_mirror_tables_differ',
    'Whether both tables were found to differ',
    ({ virtualServers }) => virtualServers.map(({ name, tables }) => [{ virtual_server: name }, tables === 'differ']),
  ],
  [
    'tandem_mirror_table_differences_total',
    'Times that both tables were found to differ',
    ({ virtualServers }) => virtualServers.map(({ name, differences }) => [{ virtual_server: name }, differences]),
  ],
];

// -------------------------------------------------------------------------------------------- failover

const GROUP: readonly Row<TrafficGroupStatus>[] = [
  [
    'tandem_traffic_group_role',
    '1 of the role it has',
    ({ role }) => oneOf('role', ['standby', 'active', 'handing-over'], role),
  ],
  ['tandem_traffic_group_transitions_total', 'Role changes', ({ transitionCount }) => transitionCount],
  ['tandem_traffic_group_term', 'Term: grows with each takeover on either unit', ({ term }) => term],
  ['tandem_traffic_group_priority', 'Priority in the config', ({ priority }) => priority],
  ['tandem_traffic_group_effective_priority', 'Priority less demotions', ({ effectivePriority }) => effectivePriority],
  ['tandem_traffic_group_held_back', 'Whether it is kept from taking over', ({ heldBack }) => heldBack !== null],
];

type Router = TrafficGroupStatus['virtualRouters'][number];
const ROUTER: readonly Row<Router>[] = [
  ['tandem_virtual_router_adverts_sent_total', 'Adverts sent', ({ advertsSent }) => advertsSent],
  ['tandem_virtual_router_adverts_received_total', 'Adverts accepted', ({ advertsReceived }) => advertsReceived],
  [
    'tandem_virtual_router_adverts_dropped_total',
    'Adverts refused, by reason',
    ({ advertsDropped }) => Object.entries(advertsDropped).map(([reason, count]) => [{ reason }, count]),
  ],
];

const LATENESS: readonly Row<FailoverStatus>[] = [
  [
    'tandem_advert_lateness_seconds',
    'How late adverts left since the failover process started',
    ({ advertLateness: late }) =>
      late === null
        ? []
        : [
            [{ quantile: '0.5' }, late.p50Ms / 1_000],
            [{ quantile: '0.99' }, late.p99Ms / 1_000],
            [{ quantile: '1' }, late.maxMs / 1_000],
          ],
  ],
];

/** Everything, in the order of the text. */
export const LISTS: readonly ((seen: Seen) => readonly Metric[])[] = [
  (seen) => told(UNIT, seen, {}),
  datapath,
  ({ virtualServers }) =>
    virtualServers.flatMap((server) => told(VIRTUAL_SERVER, server, { virtual_server: server.name })),
  ({ survival }) =>
    survival.virtualServers.flatMap((server) => told(SURVIVAL, server, { virtual_server: server.name })),
  ({ pools }) =>
    pools.flatMap(({ name, members }) =>
      members.flatMap((member) =>
        told(MEMBER, member, { pool: name, member: formatEndpoint(member.address, member.port) }),
      ),
    ),
  ({ mirror }) => told(MIRROR, mirror, {}),
  ({ failover }) => failover.trafficGroups.flatMap((group) => told(GROUP, group, { traffic_group: group.name })),
  ({ failover }) =>
    failover.trafficGroups.flatMap(({ name, virtualRouters }) =>
      virtualRouters.flatMap((router) =>
        told(ROUTER, router, { traffic_group: name, link: router.link, family: String(router.family) }),
      ),
    ),
  ({ failover }) => told(LATENESS, failover, {}),
];
