/**
 * A bulk of some virtual servers alone: what puts one right whose tables differ, or whose closes were lost.
 *
 *   receiver                                        sender
 *      | server-bulk-request: www ──────────────────► |   (or it has lost closes of www)
 *      | ◄────────────── server-bulk-begin 7: www     |   behind batch 41
 *      | ◄────────────── batches: every connection of www, live changes of all
 *      | ◄────────────── server-bulk-end 7            |   behind batch 58
 *      drops what of www was not announced
 *
 * Both are in sync all the while: nothing is said of the other virtual servers, and the bulk of all that made them so
 * stands. A marker that is not where it says (lost with a path, or a bulk of all began) ends nothing; whoever asked
 * asks again, later each time, since a peer whose table is full cannot be put right.
 */

import type { Message } from './messages.js';
import { clear, sameGroups } from './roles.js';
import {
  type Action,
  type Agreement,
  count,
  DIGEST_VERSION,
  type Input,
  type Millis,
  type OpenLink,
  REPAIR_MAX_MS,
  REPAIR_MIN_MS,
  type ServerBulks,
  type State,
  type Step,
  stay,
} from './state.js';

type Begin = Extract<Message, { type: 'server-bulk-begin' }>;
type End = Extract<Message, { type: 'server-bulk-end' }>;
type Taken = Extract<Input, { type: 'taken' }>;
type Dropped = Extract<Input, { type: 'dropped' }>;

export const noServerBulks: ServerBulks = { sending: null, wanted: [], receiving: null, asked: {} };

function withBulks(state: State, link: OpenLink, change: Partial<ServerBulks>): { state: State; link: OpenLink } {
  const next: OpenLink = { ...link, serverBulks: { ...link.serverBulks, ...change } };
  return { state: { ...state, link: next }, link: next };
}

// ---- the sender

/** The peer asks, or closes were lost here. Begins when nothing else is announced. */
export function onServersWanted(state: State, link: OpenLink, names: readonly string[], now: Millis): Step {
  const ours = new Set(state.dictionary.virtualServers.map(({ name }) => name));
  const wanted = [...new Set([...link.serverBulks.wanted, ...names.filter((name) => ours.has(name))])];
  const next = withBulks(state, link, { wanted });
  return beginServerBulk(next.state, next.link, now);
}

export function beginServerBulk(state: State, link: OpenLink, now: Millis): Step {
  const { wanted, sending } = link.serverBulks;
  const free = sending === null && link.send.bulk === 'acked' && !link.send.taking;
  if (wanted.length === 0 || !free || link.version < DIGEST_VERSION) return stay({ ...state, link });
  const number = (state.serverBulk % 0xffff_ffff) + 1;
  const begun = withBulks(state, link, { wanted: [], sending: { number, servers: wanted, groups: state.groups } });
  const { sequence } = link.send;
  return {
    state: {
      ...begun.state,
      serverBulk: number,
      counters: count(state.counters, { server_bulks_sent: 1 }),
      link: { ...begun.link, send: { ...link.send, takeAt: now } },
    },
    actions: [
      { type: 'start-bulk', virtualServers: wanted },
      { type: 'send', message: { type: 'server-bulk-begin', number, sequence, virtualServers: wanted } },
    ],
  };
}

/** Its end marker, once the datapath has walked through. */
export function endServerBulk(state: State, link: OpenLink, taken: Taken, now: Millis): Step {
  const { sending } = link.serverBulks;
  if (sending === null || taken.bulkRunning) return beginServerBulk(state, link, now);
  const ended = withBulks(state, link, { sending: null });
  // Where roles have moved, a bulk of all is about to follow.
  if (!sameGroups(sending.groups, state.groups)) return stay(ended.state);
  const { number } = sending;
  const { sequence } = link.send;
  const next = beginServerBulk(ended.state, ended.link, now);
  return {
    state: next.state,
    actions: [{ type: 'send', message: { type: 'server-bulk-end', number, sequence } }, ...next.actions],
  };
}

// ---- the receiver

/** Asks for those that differ and were not asked for a while; `compared` and not among them: put right. */
export function wantServerBulk(
  state: State,
  link: OpenLink,
  compared: readonly string[],
  differing: readonly string[],
  now: Millis,
): Step {
  const asked = { ...link.serverBulks.asked };
  for (const name of compared) if (!differing.includes(name)) delete asked[name];
  const due = differing.filter((name) => now >= (asked[name]?.againAt ?? 0));
  for (const name of due) {
    const tries = (asked[name]?.tries ?? 0) + 1;
    const againAt = now + Math.min(REPAIR_MAX_MS, REPAIR_MIN_MS * 2 ** (tries - 1));
    asked[name] = { tries, againAt, answered: false };
  }
  const next = withBulks(state, link, { asked });
  if (due.length === 0) return stay(next.state);
  return {
    state: next.state,
    actions: [{ type: 'send', message: { type: 'server-bulk-request', virtualServers: due } }],
  };
}

export function onServerBulkBegin(state: State, link: OpenLink, begin: Begin): Step {
  const { receive } = link;
  if (receive.phase !== 'complete' || begin.sequence !== receive.sequence) return stay(state);
  const stamp = (state.stamp % 255) + 1;
  const { number, virtualServers: servers } = begin;
  const next = withBulks(state, link, { receiving: { number, servers, phase: 'announcing', dropAt: null } });
  return stay({ ...next.state, stamp });
}

export function onServerBulkEnd(state: State, link: OpenLink, end: End): Step {
  const { receiving } = link.serverBulks;
  const mine = receiving?.number === end.number && receiving.phase === 'announcing';
  if (!mine || end.sequence !== link.receive.sequence) return stay(state);
  if (link.receive.phase !== 'complete' || !clear(state.groups, link.peer.groups)) {
    return stay(withBulks(state, link, { receiving: null }).state);
  }
  return dropUnannounced(state, link, receiving, true);
}

export function serverDropIfDue(state: State, link: OpenLink, now: Millis): Step {
  const { receiving } = link.serverBulks;
  if (receiving === null || receiving.dropAt === null || now < receiving.dropAt) return stay({ ...state, link });
  return dropUnannounced(state, link, receiving, false);
}

function dropUnannounced(
  state: State,
  link: OpenLink,
  receiving: NonNullable<ServerBulks['receiving']>,
  restart: boolean,
): Step {
  const { servers } = receiving;
  const dropping = withBulks(state, link, { receiving: { ...receiving, phase: 'dropping', dropAt: null } });
  return {
    state: dropping.state,
    actions: [{ type: 'drop-unannounced', stamp: state.stamp, restart, virtualServers: servers }],
  };
}

export function onServerDropped(state: State, link: OpenLink, dropped: Dropped, now: Millis): Step {
  const { receiving } = link.serverBulks;
  if (receiving?.phase !== 'dropping') return stay(state);
  if (!dropped.done) return stay(withBulks(state, link, { receiving: { ...receiving, dropAt: now } }).state);
  const heard: Record<string, Agreement> = { ...state.agreements.heard };
  const asked = { ...link.serverBulks.asked };
  const actions: Action[] = [];
  for (const name of receiving.servers) {
    const known = heard[name];
    if (known?.is === 'differs') {
      heard[name] = { ...known, repairs: known.repairs + 1 };
      actions.push({ type: 'repaired', virtualServer: name });
    }
    // Compared again from here on; asked for again, if that is of no avail, not before its time.
    if (asked[name] !== undefined) asked[name] = { ...asked[name], answered: true };
  }
  const done = withBulks(state, link, { receiving: null, asked });
  return {
    state: {
      ...done.state,
      agreements: { ...state.agreements, heard },
      counters: count(state.counters, { server_bulks_received: 1 }),
    },
    actions,
  };
}
