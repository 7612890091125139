/**
 * The contract of src/api.ts as zod schemas: the OpenAPI document is made of them, requests are checked by them, and
 * the compiler checks them against the types, both ways (src/http/agreement.ts).
 */

import { z } from '@hono/zod-openapi';

import {
  CAPTURE_PACKETS_DEFAULT,
  CAPTURE_PACKETS_MAX,
  CAPTURE_SECONDS_DEFAULT,
  CAPTURE_SECONDS_MAX,
  CAPTURE_SNAPLEN_BYTES_MAX,
  CAPTURE_SNAPLEN_BYTES_MIN,
} from '../api.js';
import { type AddressPrefix, parsePrefix } from '../wire/ip_address.js';

const count = z.int().min(0);
const time = z.iso.datetime({ offset: true });
const role = z.enum(['standby', 'active', 'handing-over']);
export const mirrorMode = z.enum(['off', 'async', 'commit']);
export const memberOverride = z.enum(['up', 'draining', 'down']);
const channel = z.enum(['off', 'connecting', 'greeting', 'up']);
const unit = z.enum(['a', 'b']);
const sentences = z.array(z.string());
const byReason = z.record(z.string(), count);

// ---------------------------------------------------------------------------------------------- status

export const configRevision = z
  .object({ number: count, digest: z.string(), unit, appliedAt: z.string() })
  .openapi('ConfigRevision');

const standing = { revision: configRevision.nullable(), digest: z.string(), edited: z.boolean() };

export const configSync = z
  .object({
    ...standing,
    peer: z.object(standing).nullable(),
    same: z.boolean().nullable(),
    inDoubt: configRevision.nullable(),
    applying: z.boolean(),
    warnings: sentences,
  })
  .openapi('ConfigSyncStatus');

export const status = z
  .object({
    version: z.string(),
    unit: z.string(),
    pid: count,
    configFile: z.string(),
    startedAt: time,
    configLoadedAt: time,
    config: configSync,
    trafficGroups: z.array(z.object({ name: z.string(), role, term: count })),
    links: z.array(
      z.object({
        name: z.string(),
        interface: z.string(),
        mac: z.string().nullable(),
        carrier: z.boolean().nullable(),
      }),
    ),
    workers: count,
    table: z.object({ capacity: count, used: count, waiting: count, bytes: count }),
    mirror: z.object({ channel, inSync: z.boolean() }),
    failoverPid: count.nullable(),
    virtualServers: z.object({ total: count, available: count }),
    members: z.object({ total: count, up: count }),
    warnings: sentences,
  })
  .openapi('Status');

// ------------------------------------------------------------------------- virtual servers and pools

const commitCounts = z
  .object({
    held: count,
    released: count,
    timedOut: count,
    refused: count,
    beyond: count,
    noPeer: count,
    unprotected: count,
  })
  .openapi('CommitCounts');

export const virtualServer = z
  .object({
    name: z.string(),
    address: z.string(),
    port: count,
    portLast: count,
    protocol: z.enum(['tcp', 'udp', 'any']),
    trafficGroup: z.string(),
    role,
    pool: z.string(),
    enabled: z.boolean(),
    membersUp: count,
    membersTotal: count,
    mirror: mirrorMode,
    mirrorConfigured: mirrorMode,
    onTimeout: z.enum(['strict', 'available']),
    connections: count,
    opened: count,
    packetsIn: count,
    bytesIn: count,
    packetsOut: count,
    bytesOut: count,
    commit: commitCounts,
  })
  .openapi('VirtualServerStatus');

export const member = z
  .object({
    address: z.string(),
    port: count,
    weight: count,
    state: z.enum(['up', 'down', 'draining', 'unknown']),
    override: memberOverride.nullable(),
    reason: z.string().nullable(),
    since: time.nullable(),
    link: z.string().nullable(),
    nextHopMac: z.string().nullable(),
    connections: count,
    opened: count,
    priority: count,
    maxConnections: count.nullable(),
    limited: count,
    persisted: count,
    share: z.number(),
  })
  .openapi('MemberStatus');

export const pool = z
  .object({
    name: z.string(),
    scheduler: z.enum([
      'round-robin',
      'weighted-round-robin',
      'least-connections',
      'weighted-least-connections',
      'maglev',
      'source-hash',
    ]),
    minActiveMembers: count,
    slowStartS: z.number(),
    onMemberDown: z.enum(['keep', 'reset', 'reselect']),
    monitor: z.string().nullable(),
    members: z.array(member),
  })
  .openapi('PoolStatus');

// ----------------------------------------------------------------------------------------- connections

export const connection = z
  .object({
    id: z.string().openapi({ description: 'As in the comments of a capture' }),
    virtualServer: z.string(),
    protocol: z.string(),
    client: z.string(),
    virtual: z.string(),
    member: z.string(),
    snat: z.string(),
    state: z.string(),
    idleS: z.number(),
    fromPeer: z.boolean(),
    unprotected: z.boolean(),
    mirrored: z.boolean().openapi({ description: 'The peer holds it' }),
    lastHop: z.string(),
    forwarding: z.enum(['nat', 'dsr', 'ipip', 'gue']),
  })
  .openapi('Connection');

export const connectionsPage = z
  .object({ rows: z.array(connection), next: count.nullable(), used: count })
  .openapi('ConnectionsPage');

export const busiestConnections = z
  .object({
    at: time,
    forMs: z.number().openapi({ description: 'How long frames were looked at' }),
    seen: z.number().min(0).max(1).openapi({ description: 'Of the frames of that time; rates are of all' }),
    rows: z.array(connection.extend({ packetsPerS: z.number(), bytesPerS: z.number() })),
  })
  .openapi('BusiestConnections');

// ---------------------------------------------------------------------------------------------- mirror

export const mirror = z
  .object({
    security: z.enum(['tls', 'plaintext', 'unpaired']),
    paths: z.array(
      z.object({
        name: z.enum(['primary', 'secondary']),
        peer: z.string(),
        state: z.enum(['down', 'dialling', 'greeting', 'standing by', 'in use']),
      }),
    ),
    switches: count,
    channel,
    peer: z.string(),
    peerUnit: z.string().nullable(),
    connectedSince: time.nullable(),
    lastError: z.string().nullable(),
    connects: count,
    inSync: z.boolean(),
    peerSynced: z.boolean(),
    generation: count,
    sending: z.object({
      records: count,
      batches: count,
      bytes: count,
      ackedRecords: count,
      refusedFull: count,
      unknown: count,
      bulk: z.object({
        running: z.boolean(),
        announced: count,
        completed: count,
        expected: count,
        perS: count,
        leftS: z.number().nullable(),
      }),
    }),
    receiving: z.object({
      records: count,
      batches: count,
      bytes: count,
      applied: count,
      stale: count,
      refusedFull: count,
      unknown: count,
      droppedUnannounced: count,
      bulk: z.object({ running: z.boolean(), completed: count }),
    }),
    faults: byReason,
    lag: z.object({
      oldestUnackedMs: z.number(),
      unackedBytes: count,
      unackedBatches: count,
      lastAckMs: z.number().nullable(),
    }),
    virtualServers: z.array(
      z.object({
        name: z.string(),
        mode: mirrorMode,
        commit: commitCounts,
        tables: z.enum(['agree', 'differ', 'unknown']),
        differences: count,
        repairs: count,
      }),
    ),
    commitLatency: z.array(count),
  })
  .openapi('MirrorStatus');

// -------------------------------------------------------------------------------------------- failover

export const failover = z
  .object({
    unit: z.string(),
    failoverPid: count.nullable(),
    config: configSync,
    advertLateness: z.object({ adverts: count, p50Ms: z.number(), p99Ms: z.number(), maxMs: z.number() }).nullable(),
    trafficGroups: z.array(
      z.object({
        name: z.string(),
        role,
        term: count,
        priority: count,
        effectivePriority: count,
        preempt: z.boolean(),
        heldBack: z.string().nullable(),
        leaseMs: z.number(),
        virtualRouters: z.array(
          z.object({
            link: z.string(),
            family: z.union([z.literal(4), z.literal(6)]),
            vrid: count,
            state: z.enum(['initialize', 'backup', 'active', 'handing-over']),
            peerAdvertAgeMs: z.number().nullable(),
            peerPriority: count.nullable(),
            advertsSent: count,
            advertsReceived: count,
            advertsDropped: byReason,
          }),
        ),
        transitionCount: count,
        transitions: z.array(z.object({ at: time, role, reason: z.string(), silenceMs: z.number().nullable() })),
      }),
    ),
  })
  .openapi('FailoverStatus');

// -------------------------------------------------------------------------------------------- counters

const counter = z.object({ name: z.string(), sentence: z.string(), value: count }).openapi('Counter');
export const counters = z.object({ counts: z.array(counter), drops: z.array(counter) }).openapi('CountersStatus');

// -------------------------------------------------------------------------------------------- survival

export const survival = z
  .object({
    at: time,
    wouldSurvive: count,
    wouldBeLost: count,
    reasons: sentences,
    virtualServers: z.array(
      z.object({
        name: z.string(),
        mode: mirrorMode,
        connections: count,
        wouldSurvive: count,
        wouldBeLost: count,
        reason: z.string().nullable(),
      }),
    ),
  })
  .openapi('Survival');

export const costs = z
  .object({
    measuredAt: time,
    machine: z.string(),
    commit: z.string(),
    rows: z.array(
      z.object({
        section: z.string(),
        name: z.string(),
        unit: z.string(),
        median: z.number(),
        least: z.number(),
        most: z.number(),
      }),
    ),
  })
  .openapi('Costs');

// ---------------------------------------------------------------------------------------------- events

export const rates = z
  .object({
    at: time,
    virtualServers: z.array(
      z.object({
        name: z.string(),
        packetsPerS: z.number(),
        bytesPerS: z.number(),
        opensPerS: z.number(),
        connections: count,
      }),
    ),
    members: z.array(
      z.object({
        pool: z.string(),
        address: z.string(),
        port: count,
        connections: count,
        opensPerS: z.number(),
      }),
    ),
  })
  .openapi('Rates');

export const transition = z
  .object({ at: time, trafficGroup: z.string(), role, reason: z.string(), silenceMs: z.number().nullable() })
  .openapi('Transition');

export const stateEvent = z.object({ status, survival }).openapi('StateEvent');

// ---------------------------------------------------------------------------------- changes and results

const holds = z.literal('until reload or restart');

export const virtualServerChange = z
  .strictObject({ enabled: z.boolean().optional(), mirror: mirrorMode.optional() })
  .openapi('VirtualServerChange');

const serverStanding = z.object({ enabled: z.boolean(), mirror: mirrorMode });
export const virtualServerChanged = z
  .object({ name: z.string(), was: serverStanding, now: serverStanding, holds })
  .openapi('VirtualServerChanged');

export const memberChange = z.strictObject({ state: memberOverride }).openapi('MemberChange');
export const memberChanged = z
  .object({
    pool: z.string(),
    address: z.string(),
    port: count,
    was: memberOverride.nullable(),
    now: memberOverride,
    holds,
  })
  .openapi('MemberChanged');

export const unitChange = z
  .strictObject({
    standby: z.boolean(),
    force: z.boolean().default(false),
    trafficGroup: z.string().nullable().default(null),
  })
  .openapi('UnitChange');

export const standbyResult = z
  .object({ trafficGroups: z.array(z.object({ name: z.string(), role, outcome: z.string() })) })
  .openapi('StandbyResult');

export const applyRequest = z
  .strictObject({
    text: z.string().openapi({ description: 'YAML, whole' }),
    file: z.string().default('config').openapi({ description: "The file's name in errors" }),
    local: z.boolean().default(false),
    dryRun: z.boolean().default(false),
  })
  .openapi('ApplyRequest');

export const applyResult = z
  .object({
    outcome: z.enum(['applied', 'unchanged', 'valid']),
    revision: configRevision.nullable(),
    changes: sentences,
    peer: z.enum(['applied', 'valid', 'absent', 'too-old', 'in-doubt', 'failed']),
    reason: z.string().nullable(),
  })
  .openapi('ApplyResult');

const prefix = z
  .string()
  .nullable()
  .default(null)
  .transform((text, { issues }): AddressPrefix | null => {
    const found = text === null ? null : parsePrefix(text);
    if (text !== null && found === null)
      issues.push({
        code: 'custom',
        input: text,
        message: 'must be an address, or ADDRESS/BITS',
        params: { code: 'bad_address' },
      });
    return found;
  });

const within = (low: number, high: number, otherwise: number) => z.int().min(low).max(high).default(otherwise);

export const captureRequest = z
  .strictObject({
    virtualServer: z.string().nullable().default(null),
    client: prefix.openapi({ type: ['string', 'null'], description: 'ADDRESS or ADDRESS/BITS' }),
    packets: within(1, CAPTURE_PACKETS_MAX, CAPTURE_PACKETS_DEFAULT),
    seconds: within(1, CAPTURE_SECONDS_MAX, CAPTURE_SECONDS_DEFAULT),
    snaplenBytes: within(CAPTURE_SNAPLEN_BYTES_MIN, CAPTURE_SNAPLEN_BYTES_MAX, CAPTURE_SNAPLEN_BYTES_MAX),
  })
  .openapi('CaptureRequest');

export const reloadResult = z.object({ changes: sentences, loadedAt: time }).openapi('ReloadResult');

// ---------------------------------------------------------------------------------------------- errors

export const errorBody = z
  .object({
    kind: z.enum(['bad_request', 'not_found', 'refused', 'failed']),
    code: z.string().openapi({ description: 'Stable word for programs' }),
    message: z.string(),
    mend: z.string().nullable().openapi({ description: 'What can be done about it' }),
    configErrors: z.array(
      z.object({
        code: z.string(),
        message: z.string(),
        hint: z.string().nullable(),
        file: z.string(),
        path: z.string(),
        line: count,
        column: count,
      }),
    ),
    path: z.string().nullable().openapi({ description: 'What of the request is wrong' }),
  })
  .openapi('Error');
