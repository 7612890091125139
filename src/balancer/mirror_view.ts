/** The mirror channel as the operator sees it. */

import type { ChannelState, MirroredVirtualServer, MirrorStatus } from '../api.js';
import type { Agreements } from '../mirror/state.js';
import type { MirrorStatus as ChannelStatus } from '../mirror/status.js';

/** What the balancer noted of the channel's ups and downs. */
export interface ChannelHistory {
  readonly peerAddress: string;
  readonly connectedSince: Date | null;
  readonly lastError: string | null;
}

const CHANNEL_STATES: Readonly<Record<ChannelStatus['link'], ChannelState>> = {
  stopped: 'off',
  waiting: 'connecting',
  dialling: 'connecting',
  greeting: 'greeting',
  open: 'up',
};

export function channelState(status: ChannelStatus): ChannelState {
  return CHANNEL_STATES[status.link];
}

export function mirrorView(
  status: ChannelStatus,
  history: ChannelHistory,
  virtualServers: readonly Omit<MirroredVirtualServer, 'tables' | 'differences' | 'repairs'>[],
  { latency, connections }: { readonly latency: readonly number[]; readonly connections: number },
): MirrorStatus {
  const { counters, bulk, peerBulk, inSync } = status;
  return {
    security: status.security,
    paths: status.paths,
    switches: status.switches,
    channel: channelState(status),
    peer: history.peerAddress,
    peerUnit: status.peer?.unit ?? null,
    connectedSince: history.connectedSince?.toISOString() ?? null,
    lastError: history.lastError,
    connects: counters.connects,
    inSync: inSync.peer,
    peerSynced: inSync.self,
    generation: status.generation,
    sending: {
      records: counters.records_sent,
      batches: counters.batches_sent,
      bytes: counters.bytes_sent,
      ackedRecords: counters.records_acked,
      refusedFull: counters.peer_refused_full,
      unknown: counters.peer_unknown,
      bulk: { ...bulkProgress(bulk, connections), completed: counters.bulks_acked },
    },
    receiving: {
      records: counters.records_received,
      batches: counters.batches_received,
      bytes: counters.bytes_received,
      applied: counters.records_applied,
      stale: counters.records_stale,
      refusedFull: counters.records_refused_full,
      unknown: counters.records_unknown,
      droppedUnannounced: counters.connections_dropped,
      bulk: { running: peerBulk.phase !== 'none' && peerBulk.phase !== 'complete', completed: counters.bulks_received },
    },
    faults: { ...status.faults, ...(status.strangers > 0 ? { strangers: status.strangers } : {}) },
    lag: {
      oldestUnackedMs: Math.round(status.lagMs * 10) / 10,
      unackedBytes: status.queueBytes,
      unackedBatches: status.queueBatches,
      lastAckMs: status.lastAckMs,
    },
    virtualServers: virtualServers.map((server) => ({ ...server, ...tablesOf(server.name, status.agreements) })),
    commitLatency: latency,
  };
}

function bulkProgress({ phase, announced, forMs }: ChannelStatus['bulk'], connections: number) {
  const running = phase === 'running' || phase === 'ended';
  const expected = Math.max(announced, phase === 'running' ? connections : 0);
  const perS = forMs > 0 ? Math.round((1_000 * announced) / forMs) : 0;
  return { running, announced, expected, perS, leftS: running && perS > 0 ? (expected - announced) / perS : null };
}

/** Of both directions: each unit may be active for some of a virtual server's connections. */
function tablesOf(
  name: string,
  { told, heard }: Agreements,
): Pick<MirroredVirtualServer, 'tables' | 'differences' | 'repairs'> {
  const sides = [told[name], heard[name]].filter((side) => side !== undefined);
  const any = (is: 'agrees' | 'differs'): boolean => sides.some((side) => side.is === is);
  return {
    tables: any('differs') ? 'differ' : any('agrees') ? 'agree' : 'unknown',
    differences: sides.reduce((sum, { differences }) => sum + differences, 0),
    repairs: sides.reduce((sum, { repairs }) => sum + repairs, 0),
  };
}
