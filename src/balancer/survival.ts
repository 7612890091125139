/**
 * Which connections would go on at the peer if this unit failed now. Pure.
 *
 * Counted is what the peer was told, as the digests sum it: a connection that was told of and not yet of its close.
 * What is on its way to the peer at this moment is counted as told, and said beside it.
 */

import type { Survival, VirtualServerStatus, VirtualServerSurvival } from '../api.js';
import type { Digest, Digests } from '../datapath.js';
import type { MirrorStatus as ChannelStatus } from '../mirror/status.js';

export interface Standing {
  readonly at: string;
  readonly servers: readonly VirtualServerStatus[];
  /** Null: not summed now. */
  readonly told:
    | (Pick<Digests, 'unsummed'> & { readonly sums: readonly Pick<Digest, 'name' | 'connections'>[] })
    | null;
  readonly channel: Pick<ChannelStatus, 'link' | 'inSync' | 'queueBatches' | 'lagMs' | 'bulk'>;
}

export function survivalOf({ at, servers, told, channel }: Standing): Survival {
  const counts = new Map(told?.sums.map(({ name, connections }) => [name, connections]));
  const isSummed = (name: string): boolean => told !== null && !told.unsummed.includes(name);
  const share = announcedShare(servers, channel.bulk);
  const rows = servers.map((server) => {
    const count = isSummed(server.name) ? (counts.get(server.name) ?? 0) : null;
    return ofServer(server, count, channel, share);
  });
  const areSummed = rows.every(({ name, mode }) => mode === 'off' || isSummed(name));
  const sum = (of: 'wouldSurvive' | 'wouldBeLost') => rows.reduce((total, row) => total + row[of], 0);
  return {
    at,
    wouldSurvive: sum('wouldSurvive'),
    wouldBeLost: sum('wouldBeLost'),
    reasons: reasonsOf(rows, channel, areSummed),
    virtualServers: rows,
  };
}

function ofServer(
  { name, mirror, role, connections }: VirtualServerStatus,
  told: number | null,
  channel: Standing['channel'],
  share: number,
): VirtualServerSurvival {
  const row = (survive: number, reason: string): VirtualServerSurvival => {
    const wouldSurvive = Math.max(0, Math.min(connections, survive));
    const wouldBeLost = connections - wouldSurvive;
    return { name, mode: mirror, connections, wouldSurvive, wouldBeLost, reason: wouldBeLost > 0 ? reason : null };
  };
  // The peer forwards them; this unit holds a copy.
  if (role === 'standby' && channel.link === 'open') return row(connections, '');
  if (mirror === 'off') return row(0, 'mirroring is off');
  if (channel.link !== 'open') return row(0, 'the mirror channel is down');
  if (!channel.inSync.peer) return row(Math.floor(share * connections), notInSync(channel));
  if (told !== null) return row(told, 'the peer was not told of them (yet)');
  return row(connections, '');
}

/** Of the connections that a bulk announces: it goes by the order of the table, whatever their virtual server. */
function announcedShare(servers: readonly VirtualServerStatus[], { phase, announced }: ChannelStatus['bulk']): number {
  if (phase !== 'running') return phase === 'ended' ? 1 : 0;
  const mirrored = servers.filter(({ mirror, role }) => mirror !== 'off' && role !== 'standby');
  const expected = mirrored.reduce((sum, { connections }) => sum + connections, 0);
  return announced / Math.max(announced, expected, 1);
}

function notInSync({ bulk }: Standing['channel']): string {
  return bulk.phase === 'running'
    ? `the peer is being told of what was open before: ${bulk.announced} so far`
    : 'the peer is not in sync';
}

function reasonsOf(
  rows: readonly VirtualServerSurvival[],
  { queueBatches, lagMs, link, inSync }: Standing['channel'],
  areSummed: boolean,
): string[] {
  const lost = rows.filter(({ reason }) => reason !== null);
  const byReason = new Map<string, { count: number; names: string[] }>();
  for (const { name, reason, wouldBeLost } of lost) {
    const entry = byReason.get(reason!) ?? { count: 0, names: [] };
    entry.count += wouldBeLost;
    entry.names.push(name);
    byReason.set(reason!, entry);
  }
  const sentences = [...byReason].map(([reason, { count, names }]) => {
    const where = names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
    return `${reason}: ${count} of ${where}`;
  });
  if (link === 'open' && inSync.peer && !areSummed) {
    sentences.push('what the peer was told is not all summed up yet: what is not is counted as told');
  }
  if (link === 'open' && queueBatches > 0) {
    const batches = queueBatches === 1 ? 'one batch of changes' : `${queueBatches} batches of changes`;
    sentences.push(`${batches} not acknowledged for ${Math.round(lagMs)} ms: what is new in them is not certain`);
  }
  return sentences;
}
