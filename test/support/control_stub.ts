/** A `Control` with made-up answers, for tests of what stands around it. */

import type {
  ApplyResult,
  ConfigSyncStatus,
  ConnectionsQuery,
  Control,
  Costs,
  CountersStatus,
  FailoverStatus,
  MirrorStatus,
  PoolStatus,
  Status,
  Survival,
  VirtualServerStatus,
} from '../../src/api.js';
import { noCommits } from '../../src/balancer/views.js';
import type { ConnectionRow } from '../../src/datapath.js';

/** The time at which the answers are looked at. */
export const NOW = Date.parse('2024-03-01T12:00:00Z');

const revision = { number: 7, digest: '3f2a91c0'.repeat(8), unit: 'a', appliedAt: '2024-03-01T10:00:00Z' } as const;

export const config: ConfigSyncStatus = {
  revision,
  digest: revision.digest,
  edited: false,
  peer: { revision, digest: revision.digest, edited: false },
  same: true,
  inDoubt: null,
  applying: false,
  warnings: [],
};

export const applied: ApplyResult = {
  outcome: 'applied',
  revision,
  changes: ['virtual server www added'],
  peer: 'applied',
  reason: null,
};

export const status: Status = {
  version: '0.1.0',
  unit: 'a',
  pid: 4711,
  configFile: '/etc/tandem.yaml',
  startedAt: '2024-03-01T09:48:00Z',
  configLoadedAt: '2024-03-01T11:59:15Z',
  config,
  trafficGroups: [{ name: 'main', role: 'active', term: 3 }],
  links: [
    { name: 'client', interface: 'eth0', mac: '02:00:00:00:00:01', carrier: true },
    { name: 'server', interface: 'eth1', mac: null, carrier: null },
  ],
  workers: 1,
  table: { capacity: 1_000_000, used: 12_345, waiting: 7, bytes: 134_217_728 },
  mirror: { channel: 'up', inSync: true },
  failoverPid: 4712,
  virtualServers: { total: 2, available: 1 },
  members: { total: 3, up: 2 },
  warnings: ['pool web6 has no member that is up'],
};

export const virtualServers: readonly VirtualServerStatus[] = [
  {
    name: 'www',
    address: '10.1.0.100',
    port: 80,
    portLast: 80,
    protocol: 'tcp',
    trafficGroup: 'main',
    role: 'active',
    pool: 'web',
    enabled: true,
    membersUp: 2,
    membersTotal: 2,
    mirror: 'off',
    mirrorConfigured: 'async',
    onTimeout: 'available',
    connections: 12_345,
    opened: 1_234_567,
    packetsIn: 100,
    bytesIn: 999,
    packetsOut: 100,
    bytesOut: 1_500_000_000,
    commit: noCommits,
  },
];

export const pools: readonly PoolStatus[] = [
  {
    name: 'web',
    scheduler: 'round-robin',
    minActiveMembers: 1,
    slowStartS: 0,
    onMemberDown: 'keep',
    monitor: 'http every 1000 ms',
    members: [
      {
        address: '10.2.0.11',
        port: 80,
        weight: 1,
        state: 'up',
        override: null,
        reason: null,
        since: '2024-03-01T11:00:00Z',
        link: 'server',
        nextHopMac: '02:00:00:00:00:11',
        connections: 5,
        opened: 10,
        priority: 0,
        maxConnections: null,
        limited: 0,
        persisted: 0,
        share: 1,
      },
      {
        address: 'fd02::12',
        port: 80,
        weight: 1,
        state: 'down',
        override: null,
        reason: 'connection refused',
        since: null,
        link: null,
        nextHopMac: null,
        connections: 0,
        opened: 0,
        priority: 0,
        maxConnections: null,
        limited: 0,
        persisted: 0,
        share: 1,
      },
    ],
  },
  {
    name: 'staged',
    scheduler: 'least-connections',
    monitor: 'tcp every 500 ms',
    minActiveMembers: 2,
    slowStartS: 30,
    onMemberDown: 'reselect',
    members: [
      {
        address: '10.2.0.21',
        port: 80,
        weight: 2,
        state: 'up',
        override: null,
        reason: null,
        since: '2024-03-01T11:59:50Z',
        link: 'server',
        nextHopMac: '02:00:00:00:00:21',
        connections: 12,
        opened: 40,
        priority: 10,
        maxConnections: 2000,
        limited: 3,
        persisted: 7,
        share: 0.33,
      },
      {
        address: '10.2.0.22',
        port: 80,
        weight: 1,
        state: 'up',
        override: null,
        reason: null,
        since: null,
        link: 'server',
        nextHopMac: '02:00:00:00:00:22',
        connections: 0,
        opened: 0,
        priority: 0,
        maxConnections: null,
        limited: 0,
        persisted: 0,
        share: 1,
      },
    ],
  },
  {
    name: 'none',
    scheduler: 'maglev',
    monitor: null,
    minActiveMembers: 1,
    slowStartS: 0,
    onMemberDown: 'keep',
    members: [],
  },
];

export const mirror: MirrorStatus = {
  security: 'tls',
  paths: [
    { name: 'primary', peer: '10.9.0.2', state: 'in use' },
    { name: 'secondary', peer: '10.8.0.2', state: 'standing by' },
  ],
  switches: 2,
  channel: 'up',
  peer: '10.9.0.2:3780',
  peerUnit: 'b',
  connectedSince: '2024-03-01T11:58:00Z',
  lastError: 'connection reset',
  connects: 2,
  inSync: true,
  peerSynced: false,
  generation: 4,
  sending: {
    records: 1_234_567,
    batches: 890,
    bytes: 56_789_000,
    ackedRecords: 1_234_500,
    refusedFull: 0,
    unknown: 2,
    bulk: { running: true, announced: 12_345, completed: 2, expected: 20_000, perS: 10_000, leftS: 0.7655 },
  },
  receiving: {
    records: 10,
    batches: 2,
    bytes: 460,
    applied: 8,
    stale: 1,
    refusedFull: 0,
    unknown: 1,
    droppedUnannounced: 3,
    bulk: { running: true, completed: 0 },
  },
  faults: { bad_magic: 1 },
  lag: { oldestUnackedMs: 1.2, unackedBytes: 4096, unackedBatches: 1, lastAckMs: 0.4 },
  virtualServers: [
    { name: 'www', mode: 'async', commit: noCommits, tables: 'agree', differences: 2, repairs: 1 },
    { name: 'dns', mode: 'off', commit: noCommits, tables: 'unknown', differences: 0, repairs: 0 },
  ],
  commitLatency: new Array<number>(24).fill(0),
};

export const failover: FailoverStatus = {
  unit: 'a',
  failoverPid: 4712,
  config,
  advertLateness: { adverts: 1_234, p50Ms: 0.6, p99Ms: 1.7, maxMs: 9.25 },
  trafficGroups: [
    {
      name: 'main',
      role: 'standby',
      term: 3,
      priority: 150,
      effectivePriority: 100,
      preempt: true,
      heldBack: 'waiting until in sync',
      leaseMs: 212.4,
      virtualRouters: [
        {
          link: 'client',
          family: 4,
          vrid: 51,
          state: 'backup',
          peerAdvertAgeMs: 43,
          peerPriority: 100,
          advertsSent: 12,
          advertsReceived: 3456,
          advertsDropped: { bad_ttl: 2 },
        },
      ],
      transitionCount: 1,
      transitions: [
        { at: '2024-03-01T11:59:00Z', role: 'standby', reason: 'the peer has the higher term', silenceMs: null },
      ],
    },
  ],
};

export const counters: CountersStatus = {
  counts: [
    { name: 'received', sentence: 'frames read from devices', value: 100 },
    { name: 'forwarded', sentence: 'frames sent for a known or new connection', value: 0 },
  ],
  drops: [
    { name: 'unknown', sentence: 'TCP of no known connection, and the virtual server says unknown: drop', value: 7 },
  ],
};

export const connection: ConnectionRow = {
  id: '17.3',
  virtualServer: 'www',
  protocol: 'tcp',
  client: '198.51.100.7:40000',
  virtual: '10.1.0.100:80',
  member: '10.2.0.11:80',
  snat: '10.2.0.1:1024',
  state: 'established',
  idleS: 3.2,
  fromPeer: true,
  unprotected: false,
  mirrored: true,
  forwarding: 'nat',
  lastHop: '02:00:00:00:0c:01 on client',
};

export const survival: Survival = {
  at: '2024-03-01T12:00:00Z',
  wouldSurvive: 12_000,
  wouldBeLost: 345,
  reasons: ['the peer was not told of them (yet): 345 of www'],
  virtualServers: [
    {
      name: 'www',
      mode: 'async',
      connections: 12_345,
      wouldSurvive: 12_000,
      wouldBeLost: 345,
      reason: 'the peer was not told of them (yet)',
    },
  ],
};

export const costs: Costs = {
  measuredAt: '2024-02-01T12:00:00Z',
  machine: 'a processor, 2 cores',
  commit: '0123456',
  rows: [{ section: 'mirror', name: 'async', unit: 'ns', median: 12.5, least: 11, most: 14 }],
};

/** Answers as above; what was asked is kept in `asked`, one line each. */
export function stubControl(connections = 2500): Control & { readonly asked: string[] } {
  const asked: string[] = [];
  const answer =
    <Result>(name: string, result: Result) =>
    (...details: readonly unknown[]): Promise<Result> => {
      asked.push([name, ...details.map((detail) => JSON.stringify(detail))].join(' '));
      return Promise.resolve(result);
    };
  const group = { name: 'main', role: 'standby', outcome: 'handed over to b in 12 ms' } as const;
  return {
    asked,
    status: answer('status', status),
    virtualServers: answer('virtualServers', [...virtualServers]),
    virtualServer: answer('virtualServer', virtualServers[0]!),
    pools: answer('pools', [...pools]),
    pool: answer('pool', pools[0]!),
    mirror: answer('mirror', mirror),
    failover: answer('failover', failover),
    counters: answer('counters', counters),
    reload: answer('reload', { changes: ['pool web: member 10.2.0.13:80 added'], loadedAt: '2024-03-01T12:00:00Z' }),
    apply: answer('apply', applied),
    standby: answer('standby', { trafficGroups: [group] }),
    releaseStandby: answer('releaseStandby', { trafficGroups: [{ ...group, outcome: 'released' }] }),
    survival: answer('survival', survival),
    costs: answer('costs', costs),
    busiest: answer('busiest', {
      at: '2024-03-01T12:00:00Z',
      forMs: 201.4,
      seen: 1,
      rows: [{ ...connection, packetsPerS: 1_200, bytesPerS: 1_750_000 }],
    }),
    setVirtualServer: answer('setVirtualServer', {
      name: 'www',
      was: { enabled: true, mirror: 'off' },
      now: { enabled: true, mirror: 'async' },
      holds: 'until reload or restart',
    }),
    setMember: answer('setMember', {
      pool: 'web',
      address: '10.2.0.11',
      port: 80,
      was: null,
      now: 'draining',
      holds: 'until reload or restart',
    }),
    connections: ({ cursor, limit, virtualServer, client, member }: ConnectionsQuery) => {
      const count = Math.min(limit, connections - cursor);
      const next = cursor + count < connections ? cursor + count : null;
      const rows = Array.from({ length: count }, () => connection);
      return answer('connections', { rows, next, used: connections })(
        virtualServer,
        cursor,
        limit,
        ...[client, member].filter((end) => end),
      );
    },
  };
}
