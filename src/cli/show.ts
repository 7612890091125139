/** What each `show` prints for people, from what src/api.ts answers. Pure: `now` is passed in. */

import type {
  AdvertLatenessStatus,
  ConfigSyncStatus,
  ConnectionsPage,
  CountersStatus,
  FailoverStatus,
  MemberStatus,
  MirrorStatus,
  PoolStatus,
  Status,
  TrafficGroupStatus,
  VirtualServerStatus,
} from '../api.js';
import type { ReplaySummary } from '../replay.js';
import { formatEndpoint } from '../wire/ip_address.js';
import { ago, figure, left, milliseconds, pairs, right, table, yesNo } from './table.js';

export function showStatus(status: Status, now: number): string {
  const { table: connections, mirror } = status;
  const head = pairs([
    ['unit', `${status.unit} (tandem ${status.version}, pid ${status.pid}, up ${ago(status.startedAt, now)})`],
    ['config', `${status.configFile}, read ${ago(status.configLoadedAt, now)} ago`],
    ['revision', revisionText(status.config, now)],
    ...status.trafficGroups.map(({ name, role, term }): [string, string] => [
      'traffic group',
      `${name}: ${role} (term ${term})`,
    ]),
    ['mirror channel', `${mirror.channel}, ${mirror.inSync ? 'in sync' : 'not in sync'}`],
    ['failover process', status.failoverPid === null ? 'NOT RUNNING' : `pid ${status.failoverPid}`],
    [
      'connections',
      `${figure(connections.used)} of ${figure(connections.capacity)} (${figure(connections.bytes)}B reserved)`,
    ],
    ['virtual servers', `${status.virtualServers.available} of ${status.virtualServers.total} available`],
    ['members', `${status.members.up} of ${status.members.total} up`],
    ['workers', String(status.workers)],
  ]);
  const links = table(
    [left('LINK'), left('INTERFACE'), left('MAC'), left('CARRIER')],
    status.links.map((link) => [
      link.name,
      link.interface,
      link.mac ?? '-',
      link.carrier === null ? '-' : yesNo(link.carrier),
    ]),
  );
  const warnings = status.warnings.map((warning) => `! ${warning}`);
  return [head, '', links, ...(warnings.length > 0 ? ['', ...warnings] : [])].join('\n');
}

/** `7 (3f2a91c0), applied on a 2h12m ago, changed by hand since; the peer runs the same` */
function revisionText(
  { revision, digest, edited, peer, same, inDoubt, applying }: ConfigSyncStatus,
  now: number,
): string {
  const here =
    revision === null
      ? `none applied (${digest.slice(0, 8)})`
      : `${revision.number} (${digest.slice(0, 8)}), applied on ${revision.unit} ${ago(revision.appliedAt, now)} ago`;
  const there = peer?.revision?.number ?? 'no revision';
  const peers = same === true ? 'runs the same' : `runs ${there}${peer?.edited === true ? ', edited' : ''}`;
  return [
    `${here}${edited ? ', local, edited' : ''}`,
    ...(inDoubt === null ? [] : [`in doubt about ${inDoubt.number}`]),
    ...(applying ? ['applying'] : []),
    peer === null ? 'the peer has not said' : `the peer ${peers}`,
  ].join('; ');
}

export function showVirtualServers(servers: readonly VirtualServerStatus[]): string {
  if (servers.length === 0) return 'no virtual servers are configured';
  const commits = servers.some(({ mirror, commit }) => mirror === 'commit' || commit.unprotected > 0);
  const rows = table(
    [
      left('NAME'),
      left('ADDRESS'),
      left('ROLE'),
      left('POOL'),
      right('UP'),
      left('MIRROR'),
      right('CONNS'),
      right('OPENED'),
      right('IN'),
      right('OUT'),
      ...(commits ? [right('UNPROTECTED')] : []),
    ],
    servers.map((server) => [
      server.name,
      virtualAddressText(server),
      server.role,
      server.pool,
      `${server.membersUp}/${server.membersTotal}`,
      // A mode that the config does not say is gone with the next reload: worth a mark.
      server.mirror === server.mirrorConfigured ? server.mirror : `${server.mirror}*`,
      figure(server.connections),
      figure(server.opened),
      `${figure(server.bytesIn)}B`,
      `${figure(server.bytesOut)}B`,
      ...(commits ? [String(server.commit.unprotected)] : []),
    ]),
  );
  const disabled = servers.filter(({ enabled }) => !enabled);
  return [rows, ...disabled.map(({ name }) => `! ${name} is disabled: it schedules no new connection`)].join('\n');
}

/** `10.1.0.100:80/tcp`, `10.1.0.100:8000-8099/udp`, `10.1.0.100/any`. */
function virtualAddressText({ address, port, portLast, protocol }: VirtualServerStatus): string {
  const range = port !== 0 && portLast !== port ? `-${portLast}` : '';
  return `${formatEndpoint(address, port)}${range}/${protocol}`;
}

export function showPools(pools: readonly PoolStatus[], now: number): string {
  if (pools.length === 0) return 'no pools are configured';
  return pools
    .map((pool) => {
      const head = [
        `pool ${pool.name}: ${pool.scheduler}, ${pool.monitor ?? 'not monitored'}`,
        ...poolRules(pool),
      ].join('\n');
      const prioritized = new Set(pool.members.map(({ priority }) => priority)).size > 1;
      if (pool.members.length === 0) return `${head}\n(no members)`;
      const members = table(
        [
          left('MEMBER'),
          left('STATE'),
          right('FOR'),
          ...(prioritized ? [right('PRIO')] : []),
          right('WEIGHT'),
          right('CONNS'),
          right('OPENED'),
          left('LINK'),
          left('NEXT HOP'),
        ],
        pool.members.map((member) => [
          formatEndpoint(member.address, member.port),
          member.state,
          member.since === null ? '-' : ago(member.since, now),
          ...(prioritized ? [String(member.priority)] : []),
          String(member.weight),
          figure(member.connections),
          figure(member.opened),
          member.link ?? '-',
          member.nextHopMac ?? 'unknown',
        ]),
      );
      const reasons = pool.members
        .filter(({ state, reason }) => state === 'down' && reason !== null)
        .map(({ address, port, reason }) => `! ${formatEndpoint(address, port)}: ${reason}`);
      const notes = pool.members.flatMap(memberNotes);
      return [head, members, ...notes, ...reasons].join('\n');
    })
    .join('\n\n');
}

/** What a pool does that not every pool does, in one line or none. */
function poolRules(pool: PoolStatus): string[] {
  const rules = [
    ...(pool.minActiveMembers > 1 ? [`at least ${pool.minActiveMembers} active`] : []),
    ...(pool.slowStartS > 0 ? [`slow start ${pool.slowStartS} s`] : []),
    ...(pool.onMemberDown === 'keep' ? [] : [`onMemberDown ${pool.onMemberDown}`]),
  ];
  return rules.length === 0 ? [] : [rules.join(', ')];
}

/** What is to be said of a member beside the table. */
function memberNotes({ address, port, share, maxConnections, limited, persisted }: MemberStatus): string[] {
  const notes = [
    ...(share < 1 ? [`slow start ${Math.floor(share * 100)} %`] : []),
    ...(maxConnections === null ? [] : [`at most ${figure(maxConnections)}`]),
    ...(limited > 0 ? [`passed over ${figure(limited)} times`] : []),
    ...(persisted > 0 ? [`${figure(persisted)} persisted`] : []),
  ];
  return notes.length === 0 ? [] : [`${formatEndpoint(address, port)}: ${notes.join(', ')}`];
}

export function showConnections({ rows, next, used }: ConnectionsPage): string {
  if (rows.length === 0) return `no connections (${used} in the table)`;
  const lines = table(
    [
      left('VIRTUAL SERVER'),
      left('CLIENT'),
      left('MEMBER'),
      left('SNAT'),
      left('BY'),
      left('STATE'),
      right('IDLE'),
      left('FROM'),
      left('PEER HAS IT'),
    ],
    rows.map((row) => [
      row.virtualServer,
      row.client,
      row.member,
      row.snat === '' || row.forwarding !== 'nat' ? '-' : row.snat,
      row.forwarding,
      row.protocol === 'tcp' ? row.state : protocolText(row.protocol),
      `${Math.round(row.idleS)}s`,
      row.unprotected ? 'here, unprotected' : row.fromPeer ? 'peer' : 'here',
      yesNo(row.mirrored),
    ]),
  );
  return next === null ? lines : `${lines}\n(${rows.length} of ${used} shown; --limit shows more)`;
}

function protocolText(protocol: string): string {
  return /^\d+$/.test(protocol) ? `protocol ${protocol}` : protocol;
}

export function showMirror(mirror: MirrorStatus, now: number): string {
  const { sending, receiving, lag } = mirror;
  const up = mirror.connectedSince === null ? '' : ` for ${ago(mirror.connectedSince, now)}`;
  const last = mirror.lastError === null ? [] : [['last error', mirror.lastError] as const];
  const peer = mirror.peerUnit === null ? mirror.peer : `unit ${mirror.peerUnit} at ${mirror.peer}`;
  const { bulk } = sending;
  const of = bulk.leftS === null ? '' : ` of ${figure(bulk.expected)}`;
  const pace = bulk.leftS === null ? '' : `, ${figure(bulk.perS)}/s, ${bulk.leftS.toFixed(1)} s left`;
  const bulkOut = `${running(bulk)}, ${figure(bulk.announced)}${of} told${pace}`;
  const paths = mirror.paths.map((path) => `${path.name} ${path.peer} ${path.state}`);
  const state = pairs([
    ['channel', `${mirror.channel}${up}; came up ${mirror.connects} times`],
    ...last,
    ['security', SECURITY[mirror.security]],
    ['paths', `${paths.join(', ')}, ${mirror.switches} moves`],
    ['peer', peer],
    ['in sync', `${yesNo(mirror.inSync)}: the peer holds our connections`],
    ['peer synced', `${yesNo(mirror.peerSynced)}: we hold the peer's, or are active`],
    ['generation', String(mirror.generation)],
    [
      'unacked',
      `${lag.unackedBatches} batches, ${figure(lag.unackedBytes)}B, for ${milliseconds(lag.oldestUnackedMs)}`,
    ],
    ['last ack', `after ${milliseconds(lag.lastAckMs)}`],
    ['bulk out', `${bulkOut}; ${bulk.completed} completed`],
    ['bulk in', `${running(receiving.bulk)}; ${receiving.bulk.completed} completed`],
  ]);
  const traffic = table(
    [left(''), right('RECORDS'), right('BATCHES'), right('BYTES'), right('ACKED'), right('APPLIED')],
    [
      ['sent', ...volume(sending), figure(sending.ackedRecords), ''],
      ['received', ...volume(receiving), '', figure(receiving.applied)],
    ],
  );
  const losses = table(
    [left('NOT APPLIED'), right('HERE'), right('BY PEER'), left('MEANING')],
    [
      ['stale', String(receiving.stale), '', 'older than what is held; ignored'],
      ['refused', String(receiving.refusedFull), String(sending.refusedFull), 'no free slot: not protected'],
      ['unknown', String(receiving.unknown), String(sending.unknown), 'virtual server or member not in the config'],
      ['dropped', String(receiving.droppedUnannounced), '', "not announced by the peer's bulk"],
    ],
  );
  const faults = Object.entries(mirror.faults).map(([reason, count]) => `! channel closed ${count} times: ${reason}`);
  const commits = showCommits(mirror);
  const servers = table(
    [left('VIRTUAL SERVER'), left('MODE'), left('TABLES'), right('DIFFERED'), right('REPAIRED')],
    mirror.virtualServers.map(({ name, mode, tables, differences, repairs }) => [
      name,
      mode,
      mode === 'off' ? '' : tables,
      String(differences),
      String(repairs),
    ]),
  );
  const bottom = mirror.virtualServers.length === 0 ? 'no virtual servers' : servers;
  return [state, '', traffic, '', losses, ...faults, ...commits, '', bottom].join('\n');
}

const SECURITY: Readonly<Record<MirrorStatus['security'], string>> = {
  tls: 'TLS 1.3, both units show the certificates they were paired with',
  plaintext: 'none: mirror.plaintext allows it until the units are paired',
  unpaired: 'NOT PAIRED, nothing is mirrored: tandem pair init here, tandem pair join on the other unit',
};

/** Handshakes that waited for the peer: nothing where no virtual server has them. */
function showCommits({ virtualServers, commitLatency }: MirrorStatus): string[] {
  const rows = virtualServers.filter(({ mode, commit }) => mode === 'commit' || commit.held > 0);
  if (rows.length === 0) return [];
  const counts = table(
    [
      left('COMMIT'),
      right('HELD'),
      right('RELEASED'),
      right('TIMED OUT'),
      right('REFUSED'),
      right('BEYOND'),
      right('NO PEER'),
      right('UNPROTECTED'),
    ],
    rows.map(({ name, commit }) => [
      name,
      ...[commit.held, commit.released, commit.timedOut, commit.refused, commit.beyond, commit.noPeer].map(figure),
      String(commit.unprotected),
    ]),
  );
  const total = commitLatency.reduce((sum, count) => sum + count, 0);
  const waited = [0.5, 0.99].map((share) => `${share * 100} % ${latencyBelow(commitLatency, share)}`).join(', ');
  return ['', counts, ...(total === 0 ? [] : [`kept waiting  ${waited} of ${figure(total)} handshakes`])];
}

/** The bucket in which this share of the handshakes ends, as its upper bound. */
function latencyBelow(buckets: readonly number[], share: number): string {
  const wanted = buckets.reduce((sum, count) => sum + count, 0) * share;
  let seen = 0;
  const bucket = buckets.findIndex((count) => {
    seen += count;
    return seen >= wanted;
  });
  if (bucket === 0) return 'not at all';
  return bucket === buckets.length - 1 ? 'longer' : `less than ${milliseconds(2 ** bucket / 1000)}`;
}

function running(bulk: { readonly running: boolean }): string {
  return bulk.running ? 'running' : 'idle';
}

function volume({ records, batches, bytes }: { records: number; batches: number; bytes: number }): string[] {
  return [figure(records), figure(batches), `${figure(bytes)}B`];
}

export function showFailover(status: FailoverStatus, now: number): string {
  const process =
    status.failoverPid === null ? 'failover process NOT RUNNING' : `failover process ${status.failoverPid}`;
  const config = `config revision ${revisionText(status.config, now)}`;
  const head = `unit ${status.unit}, ${process}\n${config}\n${latenessLine(status.advertLateness)}`;
  return [head, ...status.trafficGroups.map((group) => showGroup(group, now))].join('\n\n');
}

export function latenessLine(lateness: AdvertLatenessStatus | null): string {
  if (lateness === null) return 'no advert was due yet';
  const { adverts, p50Ms, p99Ms, maxMs } = lateness;
  const [p50, p99, max] = [p50Ms, p99Ms, maxMs].map((ms) => ms.toFixed(1));
  return `${figure(adverts)} adverts, late by ${p50} ms (p50), ${p99} ms (p99), ${max} ms (max)`;
}

/** `active, peer_silent, after 312 ms of silence`. */
export function roleChange({ role, reason, silenceMs }: TrafficGroupStatus['transitions'][number]): string {
  return `${role}, ${reason}${silenceMs === null ? '' : `, after ${milliseconds(silenceMs)} of silence`}`;
}

function showGroup(group: TrafficGroupStatus, now: number): string {
  const head = pairs([
    [
      'traffic group',
      `${group.name}: ${group.role.toUpperCase()}, term ${group.term}, lease ${milliseconds(group.leaseMs)}`,
    ],
    ['priority', `${group.effectivePriority} of ${group.priority}, preempt ${yesNo(group.preempt)}`],
    ...(group.heldBack === null ? [] : [['held back', group.heldBack] as [string, string]]),
    ['role changes', String(group.transitionCount)],
    ...group.transitions
      .slice(0, 5)
      .map((change): [string, string] => ['', `${ago(change.at, now)} ago: ${roleChange(change)}`]),
  ]);
  const routers = table(
    [
      left('LINK'),
      left('FAMILY'),
      right('VRID'),
      left('STATE'),
      right('PEER PRIO'),
      right('PEER ADVERT'),
      right('SENT'),
      right('RECEIVED'),
      right('DROPPED'),
    ],
    group.virtualRouters.map((router) => [
      router.link,
      `IPv${router.family}`,
      String(router.vrid),
      router.state,
      router.peerPriority === null ? '-' : String(router.peerPriority),
      router.peerAdvertAgeMs === null ? 'never' : `${milliseconds(router.peerAdvertAgeMs)} ago`,
      figure(router.advertsSent),
      figure(router.advertsReceived),
      figure(Object.values(router.advertsDropped).reduce((sum, count) => sum + count, 0)),
    ]),
  );
  const dropped = group.virtualRouters.flatMap(({ link, family, advertsDropped }) =>
    Object.entries(advertsDropped)
      .filter(([, count]) => count > 0)
      .map(([reason, count]) => `! adverts dropped on ${link} IPv${family}: ${count} ${reason}`),
  );
  return [head, routers, ...dropped].join('\n');
}

/** Counters that are zero are left out unless `all`. */
export function showCounters({ counts, drops }: CountersStatus, all: boolean): string {
  const section = (title: string, rows: CountersStatus['counts'], none: string) => {
    const told = rows.filter(({ value }) => all || value > 0);
    if (told.length === 0) return `${title}: ${none}`;
    return table(
      [left(title), right('VALUE'), left('MEANING')],
      told.map(({ name, value, sentence }) => [name, String(value), sentence]),
    );
  };
  return `${section('COUNTER', counts, 'none')}\n\n${section('DROPPED', drops, 'nothing')}`;
}

export function showReplay(summary: ReplaySummary): string {
  const { read, forwarded, punted, dropped, damage, accounted } = summary;
  const droppedTotal = dropped.reduce((sum, { value }) => sum + value, 0);
  const lines = pairs([
    ['read', String(read)],
    ['forwarded', String(forwarded)],
    ['punted', `${punted} (left to the kernel)`],
    ['dropped', String(droppedTotal)],
    ...dropped.map(({ name, value, sentence }): [string, string] => [`  ${name}`, `${value} (${sentence})`]),
  ]);
  const sum = `forwarded + punted + dropped = ${forwarded + punted + droppedTotal}`;
  return [
    lines,
    accounted ? `${sum}: every frame is accounted for` : `! ${sum}, but ${read} were read`,
    ...(damage === null ? [] : [`! ${damage}; the frames before were replayed`]),
  ].join('\n');
}
