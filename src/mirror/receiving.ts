/**
 * The receiving half of an open link: batches into the table, and the peer's bulk to its end.
 *
 * After a bulk's end marker, what the bulk did not announce is dropped, but only once roles are clear:
 * a peer that is active for nothing announces nothing, and its silence must not empty our table. While
 * both units are active, after a partition, nothing is dropped either; the winner's next bulk, after
 * the loser has yielded, decides.
 */

import type { Fault } from './codec.js';
import type { Message } from './messages.js';
import { clear, holds } from './roles.js';
import {
  type Action,
  count,
  type Input,
  type Millis,
  type OpenLink,
  type Receiving,
  type State,
  type Step,
  VERSION_NACK,
} from './state.js';

type Applied = Extract<Input, { type: 'applied' }>;
type Dropped = Extract<Input, { type: 'dropped' }>;

export function onBatch(state: State, link: OpenLink, batch: Extract<Message, { type: 'batch' }>): Step | Fault {
  const { receive } = link;
  if (batch.generation !== receive.generation) {
    return { name: 'out_of_order', detail: `batch of generation ${batch.generation} in ${receive.generation}` };
  }
  if (batch.sequence !== receive.sequence + 1) {
    return { name: 'bad_sequence', detail: `batch ${batch.sequence} after ${receive.sequence}` };
  }
  const counters = count(state.counters, {
    batches_received: 1,
    records_received: batch.count,
    bytes_received: batch.records.length,
  });
  return {
    state: { ...state, counters, link: { ...link, receive: { ...receive, sequence: batch.sequence } } },
    actions: [{ type: 'apply', sequence: batch.sequence, records: batch.records, stamp: state.stamp }],
  };
}

/** The ack follows application: what it covers is in the table that packets are looked up in. */
export function onApplied(state: State, link: OpenLink, applied: Applied): Step | Fault {
  const more = applied.counts;
  if (more.malformed) return { name: 'malformed_records', detail: `batch ${applied.sequence}` };
  const before = link.receive.counts;
  const counts = {
    applied: before.applied + more.applied,
    stale: before.stale + more.stale,
    refusedFull: before.refusedFull + more.refusedFull,
    unknown: before.unknown + more.unknown,
  };
  const counters = count(state.counters, {
    records_applied: more.applied,
    records_stale: more.stale,
    records_refused_full: more.refusedFull,
    records_unknown: more.unknown,
  });
  const { sequence } = applied;
  const nacks: Action[] =
    more.refused.length > 0 && link.version >= VERSION_NACK
      ? [{ type: 'send', message: { type: 'nack', sequence, refused: more.refused } }]
      : [];
  return {
    state: { ...state, counters, link: { ...link, receive: { ...link.receive, counts } } },
    actions: [...nacks, { type: 'send', message: { type: 'ack', sequence, counts } }],
  };
}

export function onBulkBegin(state: State, link: OpenLink, generation: number): Step {
  // What we offered was not applied when it began: it would have us drop what the peer is about to learn.
  const early = link.send.acked < link.receive.offeredUntil;
  const receive: Receiving = {
    ...link.receive,
    phase: early ? 'none' : 'announcing',
    generation,
    dropAt: null,
    dropped: 0,
    unknownBefore: link.receive.counts.unknown,
  };
  const serverBulks = { ...link.serverBulks, receiving: null };
  // The stamp is ours: a peer that restarted counts its generations from the start again.
  return { state: { ...state, stamp: (state.stamp % 255) + 1, link: { ...link, receive, serverBulks } }, actions: [] };
}

export function onBulkEnd(state: State, link: OpenLink, end: Extract<Message, { type: 'bulk-end' }>): Step | Fault {
  const { receive } = link;
  if (end.generation !== receive.generation || end.sequence !== receive.sequence) {
    const detail = `end of bulk ${end.generation} at ${end.sequence} in ${receive.generation} at ${receive.sequence}`;
    return { name: 'bad_sequence', detail };
  }
  // Roles changed while it ran: the peer learns of it and announces once more.
  if (receive.phase !== 'announcing') return { state, actions: [] };
  return settle(state, { ...link, receive: { ...receive, phase: 'announced' } });
}

/** Carries a bulk that has ended as far as the roles of this moment allow. */
export function settle(state: State, link: OpenLink): Step {
  const { receive } = link;
  const unchanged: Step = { state: { ...state, link }, actions: [] };
  if (receive.phase !== 'announced' && receive.phase !== 'dropping') return unchanged;
  if (state.offers && receive.phase === 'announced') return unchanged;
  if (!clear(state.groups, link.peer.groups) || !isCurrent(state, link)) {
    return {
      state: { ...state, link: { ...link, receive: { ...receive, phase: 'announced', dropAt: null } } },
      actions: [],
    };
  }
  if (!link.peer.groups.some(holds)) return complete(state, { ...link, receive: { ...receive, dropped: 0 } });
  if (receive.phase === 'dropping') return unchanged;
  const dropping: OpenLink = { ...link, receive: { ...receive, phase: 'dropping', dropAt: null } };
  return dropSome(state, dropping, true);
}

/**
 * Whether the peer is active under terms that make its records newer than what we hold. One that is not raises its
 * term when it hears of ours, and announces again.
 */
export function isCurrent({ termFloors }: State, link: OpenLink): boolean {
  return link.peer.groups.every((group) => !holds(group) || group.term >= (termFloors[group.name] ?? 0));
}

export function dropIfDue(state: State, link: OpenLink, now: Millis): Step {
  const { dropAt } = link.receive;
  if (dropAt === null || now < dropAt) return { state: { ...state, link }, actions: [] };
  return dropSome(state, link, false);
}

function dropSome(state: State, link: OpenLink, restart: boolean): Step {
  const action: Action = { type: 'drop-unannounced', stamp: state.stamp, restart };
  return { state: { ...state, link: { ...link, receive: { ...link.receive, dropAt: null } } }, actions: [action] };
}

export function onDropped(state: State, link: OpenLink, dropped: Dropped, now: Millis): Step {
  const counters = count(state.counters, { connections_dropped: dropped.closed });
  const next: State = { ...state, counters };
  if (link.receive.phase !== 'dropping') return { state: next, actions: [] };
  const receive: Receiving = { ...link.receive, dropped: link.receive.dropped + dropped.closed };
  if (dropped.done) return complete(next, { ...link, receive });
  // The next part in the next turn: batches and packets come in between.
  return { state: { ...next, link: { ...link, receive: { ...receive, dropAt: now } } }, actions: [] };
}

function complete(state: State, link: OpenLink): Step {
  const { generation, dropped } = link.receive;
  return {
    state: {
      ...state,
      counters: count(state.counters, { bulks_received: 1 }),
      link: { ...link, receive: { ...link.receive, phase: 'complete', dropAt: null } },
    },
    actions: [{ type: 'send', message: { type: 'bulk-ack', generation: generation ?? 0, count: dropped } }],
  };
}

/** Who counts has changed: what was announced so far proves nothing. */
export function forget(link: OpenLink): OpenLink {
  const serverBulks = { ...link.serverBulks, receiving: null };
  return { ...link, receive: { ...link.receive, phase: 'none', dropAt: null }, serverBulks };
}
