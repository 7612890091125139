/**
 * The sending half of an open link: when changes are taken, what is in flight, when a bulk ends.
 *
 * The datapath queues changes and coalesces them; this decides only when to take. Idle: at once. Under
 * load: PACE_MS apart, so that a burst becomes one batch. What a handshake waits for (mirror: commit) is taken at once
 * whatever the pace, and nothing of a bulk with it. Nothing is taken while too much is unacked or
 * the socket is full: changes then stay pending in the datapath, which costs staleness and no memory.
 */

import type { Fault } from './codec.js';
import { tellDigests } from './digests.js';
import type { Message } from './messages.js';
import { sameGroups } from './roles.js';
import { endServerBulk } from './server_bulk.js';
import {
  type Action,
  count,
  FLUSHES_MAX,
  type Input,
  type Millis,
  NARROW_BYTES_MIN,
  type OpenLink,
  PACE_MS,
  type Sending,
  type Settings,
  STALL_MS,
  type State,
  type Step,
  UNACKED_BATCHES_MAX,
  type Unacked,
  VERSION_NACK,
} from './state.js';

/** A window beyond this bounds nothing. */
const WINDOW_BYTES_MAX = 1024 * 1024;

type Taken = Extract<Input, { type: 'taken' }>;
type Ack = Extract<Message, { type: 'ack' }>;
type Nack = Extract<Message, { type: 'nack' }>;

/** When takeIfDue() has something to do; null: only an input can change that. */
export function takeDeadline(settings: Settings, send: Sending): Millis | null {
  if (!mayTake(settings, send)) return null;
  return send.urgent ? send.lastTakeAt : send.takeAt;
}

/** Begins a bulk anew: what the datapath announces from here on carries the next generation. */
export function beginBulk(state: State, link: OpenLink, now: Millis): Step {
  // The one that begins when it is released covers everything.
  if (link.send.heldUntil !== null) return { state: { ...state, link }, actions: [] };
  const generation = (state.generation % 0xffff_ffff) + 1;
  const send: Sending = {
    ...link.send,
    bulk: 'running',
    bulkBeganAt: now,
    bulkEndedAt: null,
    bulkGroups: state.groups,
    takeAt: now,
  };
  return {
    state: {
      ...state,
      generation,
      // It announces what a bulk of single virtual servers would have.
      link: { ...link, send, serverBulks: { ...link.serverBulks, sending: null, wanted: [] } },
      counters: count(state.counters, { bulks_sent: 1 }),
    },
    actions: [
      { type: 'start-bulk', offers: state.offers },
      { type: 'send', message: { type: 'bulk-begin', generation } },
    ],
  };
}

/** The datapath has something to take: at once if the channel is idle. */
export function onPending(settings: Settings, state: State, link: OpenLink, urgent: boolean, now: Millis): Step {
  if (urgent) return takeIfDue(settings, state, { ...link, send: { ...link.send, urgent } }, now);
  if (link.send.takeAt !== null) return { state, actions: [] };
  const takeAt = Math.max(now, link.send.lastTakeAt + paceMs(settings));
  return takeIfDue(settings, state, { ...link, send: { ...link.send, takeAt } }, now);
}

export function takeIfDue(settings: Settings, state: State, link: OpenLink, now: Millis): Step {
  const { send } = link;
  const due = send.takeAt !== null && now >= send.takeAt;
  if ((!due && !send.urgent) || !mayTake(settings, send)) return { state: { ...state, link }, actions: [] };
  const oldest = send.unacked[0];
  if (oldest !== undefined && now - oldest.takenAt >= STALL_MS) {
    return { state: { ...state, link: { ...link, send: { ...send, stalled: true } } }, actions: [] };
  }
  const room = Math.min(settings.queueBytesMax - send.unackedBytes, send.windowBytes);
  const bulk = send.bulk === 'running' || link.serverBulks.sending !== null;
  const bytes = Math.min(bulk ? settings.bulkBytes : settings.batchBytes, room);
  return {
    state: { ...state, link: { ...link, send: { ...send, taking: true, urgent: false, lastTakeAt: now } } },
    actions: [{ type: 'take', bytes, generation: state.generation, sequence: send.sequence + 1, liveOnly: !due }],
  };
}

/** What the datapath gave, and, when a bulk has been walked through, its end marker. */
export function onTaken(settings: Settings, state: State, link: OpenLink, taken: Taken, now: Millis): Step {
  let send: Sending = { ...link.send, taking: false, blocked: !taken.writable };
  let counters = state.counters;
  if (taken.records > 0) {
    send = remember(send, taken, now);
    counters = count(counters, { batches_sent: 1, records_sent: taken.records, bytes_sent: taken.bytes });
  }
  send = { ...send, takeAt: nextTakeAt(settings, link.send, taken, now) };
  const actions: Action[] = send.takeAt === null ? [{ type: 'arm' }] : [];
  let next: State = { ...state, counters };
  let open: OpenLink = { ...link, send };

  if (send.bulk === 'running' && !taken.bulkRunning) {
    if (!sameGroups(send.bulkGroups, state.groups)) {
      // Connections of a group that was given up on the way were not announced: the marker would have them dropped.
      const again = beginBulk(next, open, now);
      return { state: again.state, actions: [...actions, ...again.actions] };
    }
    const { sequence } = send;
    const marker: Message = { type: 'bulk-end', generation: state.generation, sequence, count: taken.bulkAnnounced };
    actions.push({ type: 'send', message: marker });
    open = { ...open, send: { ...send, bulk: 'ended', bulkEndedAt: now } };
    if (state.offers) {
      // What the peer announced so far was without it.
      next = { ...next, offers: false };
      open = { ...open, receive: { ...open.receive, phase: 'none', dropAt: null, offeredUntil: sequence } };
      actions.push({ type: 'send', message: { type: 'bulk-request' } });
    }
  }
  // All that was pending when a flush was asked for is in a batch once a take has room left.
  if (!taken.full && !taken.bulkRunning) {
    const flushes = open.flushes.map((flush) => (flush.until === null ? { ...flush, until: send.sequence } : flush));
    open = { ...open, flushes };
  }
  next = { ...next, link: open };
  const settled = settleFlushes(next, open, actions);
  if (settled.state.link.name !== 'open' || open.send.bulk !== 'acked') return settled;
  const ended = endServerBulk(settled.state, settled.state.link, taken, now);
  if (ended.state.link.name !== 'open' || taken.full)
    return { state: ended.state, actions: [...actions, ...ended.actions] };
  const told = tellDigests(ended.state, ended.state.link, now);
  return { state: told.state, actions: [...actions, ...ended.actions, ...told.actions] };
}

export function onDrained(settings: Settings, state: State, link: OpenLink, now: Millis): Step {
  return takeIfDue(settings, state, { ...link, send: { ...link.send, blocked: false } }, now);
}

export function onAck(settings: Settings, state: State, link: OpenLink, ack: Ack, now: Millis): Step | Fault {
  const { send } = link;
  if (ack.sequence > send.sequence || ack.sequence < send.acked) {
    return { name: 'bad_sequence', detail: `ack ${ack.sequence}, sent ${send.sequence}, acked ${send.acked}` };
  }
  const done = send.unacked.filter((batch) => batch.sequence <= ack.sequence);
  const before = send.peerCounts;
  const counters = count(state.counters, {
    records_acked: sum(done, 'records'),
    peer_stale: Math.max(0, ack.counts.stale - before.stale),
    peer_refused_full: Math.max(0, ack.counts.refusedFull - before.refusedFull),
    peer_unknown: Math.max(0, ack.counts.unknown - before.unknown),
  });
  const last = done.at(-1);
  const lastAckMs = last === undefined ? send.lastAckMs : now - last.takenAt;
  const open: OpenLink = {
    ...link,
    send: {
      ...send,
      acked: ack.sequence,
      unacked: send.unacked.slice(done.length),
      unackedBytes: send.unackedBytes - sum(done, 'bytes'),
      peerCounts: ack.counts,
      lastAckMs,
      stalled: false,
      windowBytes: last === undefined ? send.windowBytes : windowBytes(send, last, now - last.takenAt),
    },
  };
  const confirmed: Action[] =
    last === undefined || link.version < VERSION_NACK ? [] : [{ type: 'confirm', lastRecord: last.lastRecord }];
  const settled = settleFlushes({ ...state, counters, link: open }, open, confirmed);
  if (settled.state.link.name !== 'open') return settled;
  const taken = takeIfDue(settings, settled.state, settled.state.link, now);
  return { state: taken.state, actions: [...settled.actions, ...taken.actions] };
}

/** What it names is of a batch that is not acked yet, so nothing of it was confirmed. */
export function onNack(state: State, link: OpenLink, nack: Nack): Step | Fault {
  const { acked, sequence } = link.send;
  if (nack.sequence > sequence || nack.sequence <= acked) {
    return { name: 'bad_sequence', detail: `nack of ${nack.sequence}, sent ${sequence}, acked ${acked}` };
  }
  const counters = count(state.counters, { peer_nacked: nack.refused.length });
  return {
    state: { ...state, counters, link },
    actions: link.version < VERSION_NACK ? [] : [{ type: 'refuse', records: nack.refused }],
  };
}

/** Asks for everything pending now to be taken and acked; `flushed` follows. */
export function onFlush(settings: Settings, state: State, link: OpenLink, token: number, now: Millis): Step {
  if (link.flushes.length >= FLUSHES_MAX) {
    return { state, actions: [{ type: 'flushed', token, failure: `${FLUSHES_MAX} flushes are waiting already` }] };
  }
  const flushes = [...link.flushes, { token, until: null }];
  return takeIfDue(settings, state, { ...link, flushes, send: { ...link.send, takeAt: now } }, now);
}

function settleFlushes(state: State, link: OpenLink, actions: Action[]): Step {
  if (link.flushes.length === 0) return { state, actions };
  const waiting = link.flushes.filter((flush) => flush.until === null || flush.until > link.send.acked);
  for (const { token } of link.flushes.filter((flush) => !waiting.includes(flush))) {
    actions.push({ type: 'flushed', token, failure: null });
  }
  return { state: { ...state, link: { ...link, flushes: waiting } }, actions };
}

function mayTake(settings: Settings, send: Sending): boolean {
  if (send.heldUntil !== null || send.taking || send.blocked || send.stalled) return false;
  if (send.unacked.length >= UNACKED_BATCHES_MAX) return false;
  // Waiting for half the queue, or one batch of room, keeps batches from shrinking to crumbs at the bound.
  const worthwhile = Math.min(settings.batchBytes, settings.queueBytesMax / 2);
  return settings.queueBytesMax - send.unackedBytes >= worthwhile;
}

/** After a batch was acked, so long after it was taken. It narrows at once and widens by doubling, as TCP's does. */
function windowBytes(send: Sending, { bytes }: Unacked, ackMs: Millis): number {
  if (ackMs > STALL_MS) return Math.max(NARROW_BYTES_MIN, Math.floor((bytes * STALL_MS) / ackMs));
  return send.windowBytes >= WINDOW_BYTES_MAX ? Number.POSITIVE_INFINITY : send.windowBytes * 2;
}

function remember(send: Sending, taken: Taken, now: Millis): Sending {
  const sequence = send.sequence + 1;
  const batch: Unacked = {
    sequence,
    bytes: taken.bytes,
    records: taken.records,
    lastRecord: taken.lastRecord,
    takenAt: now,
  };
  return {
    ...send,
    sequence,
    unacked: [...send.unacked, batch],
    unackedBytes: send.unackedBytes + taken.bytes,
  };
}

function nextTakeAt(settings: Settings, before: Sending, taken: Taken, now: Millis): Millis | null {
  // One that came out of turn leaves the turn as it was.
  if (before.takeAt !== null && before.takeAt > now) return before.takeAt;
  if (taken.bulkRunning) return now + paceMs(settings);
  if (taken.full) return now;
  return taken.records > 0 ? now + paceMs(settings) : null;
}

function paceMs(settings: Settings): Millis {
  return Math.min(PACE_MS, settings.maxDelayMs);
}

function sum(batches: readonly Unacked[], field: 'bytes' | 'records'): number {
  return batches.reduce((total, batch) => total + batch[field], 0);
}
