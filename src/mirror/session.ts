/**
 * One unit's end of the mirror channel: what is said when, and nothing else.
 *
 * A pure function: no sockets, no timers, no clock, no datapath. The caller passes the time in, carries
 * out the returned actions in order, and comes back with a `timeout` no earlier than `deadline()`.
 *
 *              start            connected            hello
 *   +---------+    +---------+            +----------+       +------+
 *   | stopped |--->| waiting |----------->| greeting |------>| open |
 *   +---------+    +---------+            +----------+       +------+
 *        ^          |  ^   ^ dialAt            |                |
 *        | stop     v  |   +-------------------+----------------+
 *      (any)     dialling              closed, fault, silence
 *
 * When a link opens, each side says what its ids are called and begins a bulk: it announces every
 * connection of the groups it is active for, with live changes in between, then an end marker; the other
 * drops what was not announced and acks. That is "in sync". A bulk begins anew when a group becomes
 * active here, when the peer yields one to us, and when the peer asks. A lost link keeps nothing: without
 * a peer no change is marked, and the next bulk covers them all.
 */

import type { MirrorDictionary } from '../datapath.js';
import {
  askHandOver,
  inSync,
  onDictionary,
  onGroups,
  onPeerGroups,
  reportedGroups,
  seeTerms,
  withGroups,
} from './agreement.js';
import type { Fault } from './codec.js';
import {
  digestDeadline,
  digestsIfDue,
  followDigests,
  onCompared,
  onDigest,
  onDigestAnswer,
  onSwept,
} from './digests.js';
import type { GroupRole, Hello, Message } from './messages.js';
import { dropIfDue, onApplied, onBatch, onBulkBegin, onBulkEnd, onDropped } from './receiving.js';
import {
  beginBulk,
  onAck,
  onDrained,
  onFlush,
  onNack,
  onPending,
  onTaken,
  takeDeadline,
  takeIfDue,
} from './sending.js';
import {
  noServerBulks,
  onServerBulkBegin,
  onServerBulkEnd,
  onServerDropped,
  onServersWanted,
  serverDropIfDue,
} from './server_bulk.js';
import {
  type Action,
  act,
  BACKOFF_MAX_MS,
  BACKOFF_MIN_MS,
  CONFIG_VERSION,
  COUNTERS,
  type Counters,
  count,
  DIGEST_VERSION,
  GREETING_MS,
  type Input,
  MISSED_MAX,
  type Millis,
  type OpenLink,
  type Receiving,
  type Sending,
  type Settings,
  type State,
  type Step,
  stay,
  VERSION_MAX,
  VERSION_MIN,
  VERSION_NACK,
} from './state.js';

export function initial(dictionary: MirrorDictionary, config: Hello['config'], groups: readonly GroupRole[]): State {
  return withGroups(
    {
      link: { name: 'stopped' },
      groups: [],
      dictionary,
      config,
      termFloors: {},
      offers: false,
      peerBootId: null,
      generation: 0,
      stamp: 0,
      serverBulk: 0,
      agreements: { told: {}, heard: {} },
      counters: Object.fromEntries(Object.keys(COUNTERS).map((name) => [name, 0])) as Counters,
      faults: {},
    },
    groups,
  );
}

/** When the caller must come back with a `timeout`; null: only an input can change the state. */
export function deadline(settings: Settings, state: State): Millis | null {
  const { link } = state;
  switch (link.name) {
    case 'stopped':
      return null;
    case 'waiting':
      return link.dialAt;
    case 'dialling':
    case 'greeting':
      return link.giveUpAt;
    case 'open': {
      const due = [
        link.keepaliveAt,
        link.deadAt,
        takeDeadline(settings, link.send),
        link.send.heldUntil,
        link.receive.dropAt,
        link.serverBulks.receiving?.dropAt ?? null,
        digestDeadline(link),
      ];
      const times = [...due, ...link.handOvers.map((handOver) => handOver.giveUpAt)];
      return Math.min(...times.map((time) => time ?? Number.POSITIVE_INFINITY));
    }
  }
}

export function step(settings: Settings, state: State, input: Input, now: Millis): Step {
  const next = followDigests(state, dispatch(settings, state, input, now), now);
  const before = inSync(state);
  const after = inSync(next.state);
  if (before.self === after.self && before.peer === after.peer) return next;
  return { state: next.state, actions: [...next.actions, { type: 'in-sync', inSync: after }] };
}

function dispatch(settings: Settings, state: State, input: Input, now: Millis): Step {
  const { link } = state;
  switch (input.type) {
    case 'start':
      return link.name === 'stopped' ? wait(settings, state, now, 0) : stay(state);
    case 'stop':
      return stop(state);
    case 'connected':
      return greet(settings, state, now);
    case 'closed':
      return closed(settings, state, input.reason, input.chance, now);
    case 'fault':
      return distrust(state, input.fault);
    case 'groups':
      return onGroups(state, input.groups, now);
    case 'dictionary':
      return onDictionary(state, input.dictionary, input.config);
    case 'timeout':
      return onTimeout(settings, state, now);
    case 'message':
      return onMessage(settings, state, input.message, now);
    case 'flush':
      if (link.name === 'open') return onFlush(settings, state, link, input.token, now);
      return act(state, { type: 'flushed', token: input.token, failure: 'the peer is not connected' });
    case 'hand-over':
      return askHandOver(state, input, now);
    default:
      return link.name === 'open' ? whileOpen(settings, state, link, input, now) : stay(state);
  }
}

/** Inputs that mean nothing without a peer. */
function whileOpen(settings: Settings, state: State, link: OpenLink, input: Input, now: Millis): Step {
  switch (input.type) {
    case 'heard':
      return stay({ ...state, link: { ...link, deadAt: now + silenceMs(settings) } });
    case 'pending':
      return onPending(settings, state, link, input.urgent ?? false, now);
    case 'taken': {
      const roles = input.groups === null ? stay(state) : onGroups(state, input.groups, now);
      if (roles.state.link.name !== 'open') return roles;
      // A bulk that began a moment ago has not been walked: this take was of the one before.
      const anew = roles.state.generation !== state.generation;
      const taken = onTaken(
        settings,
        roles.state,
        roles.state.link,
        anew ? { ...input, bulkRunning: true } : input,
        now,
      );
      return { state: taken.state, actions: [...roles.actions, ...taken.actions] };
    }
    case 'drained':
      return onDrained(settings, state, link, now);
    case 'applied':
      return believe(state, onApplied(state, link, input));
    case 'dropped': {
      if (link.receive.phase === 'dropping') return onDropped(state, link, input, now);
      const counters = count(state.counters, { connections_dropped: input.closed });
      return onServerDropped({ ...state, counters }, link, input, now);
    }
    case 'resync':
      return beginBulk(state, link, now);
    case 'release-bulk':
      return releaseBulk(state, link, now);
    case 'config':
      return link.version < CONFIG_VERSION ? stay(state) : act(state, { type: 'send', message: input.message });
    case 'closes-lost': {
      if (link.version < DIGEST_VERSION) return beginBulk(state, link, now);
      // The sums have them still.
      const wanted = onServersWanted(state, link, input.virtualServers, now);
      return { state: wanted.state, actions: [{ ...input, type: 'restart-digests' }, ...wanted.actions] };
    }
    case 'swept':
      return onSwept(state, link, input.share, now);
    case 'compared':
      return onCompared(state, link, input, now);
    case 'take-over':
      return act(state, { type: 'send', message: input });
    default:
      return stay(state);
  }
}

// ---- the life of a link

function wait(settings: Settings, state: State, dialAt: Millis, attempt: number): Step {
  return stay({ ...state, link: { name: 'waiting', dialAt: settings.dials ? dialAt : null, attempt } });
}

/** Both sides speak first. */
function greet(settings: Settings, state: State, now: Millis): Step {
  const { link } = state;
  if (link.name !== 'waiting' && link.name !== 'dialling') return stay(state);
  const hello: Hello = {
    versionMin: VERSION_MIN,
    versionMax: VERSION_MAX,
    unit: settings.unit,
    bootId: settings.bootId,
    groups: reportedGroups(state),
    config: state.config,
  };
  return {
    state: { ...state, link: { name: 'greeting', giveUpAt: now + GREETING_MS, attempt: link.attempt } },
    actions: [{ type: 'send', message: { type: 'hello', hello } }],
  };
}

function open(settings: Settings, state: State, hello: Hello, now: Millis): Step {
  if (hello.unit === settings.unit) {
    return refuse(state, { name: 'wrong_unit', detail: `it says it is unit ${hello.unit}, as this one is` });
  }
  const version = Math.min(VERSION_MAX, hello.versionMax);
  if (version < Math.max(VERSION_MIN, hello.versionMin)) {
    const detail = `it speaks ${hello.versionMin} to ${hello.versionMax}, this unit ${VERSION_MIN} to ${VERSION_MAX}`;
    return refuse(state, { name: 'no_common_version', detail });
  }
  const holds = settings.bulkHoldMs > 0 && version >= CONFIG_VERSION;
  const link: OpenLink = {
    name: 'open',
    peer: hello,
    version,
    dictionary: null,
    keepaliveAt: now + settings.keepaliveMs,
    deadAt: now + silenceMs(settings),
    send: { ...nothingSent(now), heldUntil: holds ? now + settings.bulkHoldMs : null },
    receive: nothingReceived(),
    digesting: { sweepAt: null, tellAt: null, suspected: [] },
    serverBulks: noServerBulks,
    flushes: [],
    handOvers: [],
  };
  // Yielding without a channel: what the peer lacks is offered, not announced.
  const yields = state.groups.some(({ role }) => role === 'handing-over');
  const seen = seeTerms(state, hello);
  const known: State = { ...seen, offers: seen.offers || yields };
  const bulk = beginBulk({ ...known, link, counters: count(state.counters, { connects: 1 }) }, link, now);
  return {
    state: bulk.state,
    actions: [
      { type: 'peer', peer: hello },
      { type: 'send', message: { type: 'dictionary', dictionary: state.dictionary } },
      // The hello was sent before roles changed, perhaps, and before the peer's terms were known.
      { type: 'send', message: { type: 'terms', groups: reportedGroups(known) } },
      { type: 'set-wanted', on: true, confirms: version >= VERSION_NACK },
      ...bulk.actions,
    ],
  };
}

function releaseBulk(state: State, link: OpenLink, now: Millis): Step {
  if (link.send.heldUntil === null) return stay(state);
  return beginBulk(state, { ...link, send: { ...link.send, heldUntil: null } }, now);
}

function closed(settings: Settings, state: State, reason: string, chance: number, now: Millis): Step {
  const { link } = state;
  if (link.name === 'stopped' || link.name === 'waiting') return stay(state);
  const attempt = link.name === 'open' ? 0 : link.attempt + 1;
  const waiting = wait(settings, state, now + backoffMs(attempt, chance), attempt).state;
  return link.name === 'open' ? lose(waiting, link, reason) : stay(waiting);
}

/** What ends with an open link, whatever comes next. */
function lose(next: State, link: OpenLink, reason: string): Step {
  // No bulk of the peer has said what becomes of what we offered: it is offered again.
  const unjudged = link.receive.offeredUntil > 0 && link.receive.phase !== 'complete';
  const failures: Action[] = [
    ...link.flushes.map(({ token }): Action => ({ type: 'flushed', token, failure: reason })),
    ...link.handOvers.map(({ group }): Action => ({ type: 'hand-over-answered', group, refusal: reason })),
  ];
  return {
    state: { ...next, offers: next.offers || unjudged, counters: count(next.counters, { losses: 1 }) },
    actions: [{ type: 'set-wanted', on: false, confirms: false }, ...failures, { type: 'peer-gone', reason }],
  };
}

function stop(state: State): Step {
  const { link } = state;
  const stopped: State = { ...state, link: { name: 'stopped' } };
  if (link.name === 'stopped' || link.name === 'waiting') return stay(stopped);
  const close: Action = { type: 'close', reason: 'this unit stops' };
  if (link.name !== 'open') return act(stopped, close);
  const goodbye: Action = { type: 'send', message: { type: 'goodbye', reason: close.reason } };
  const lost = lose(stopped, link, close.reason);
  return { state: lost.state, actions: [goodbye, close, ...lost.actions] };
}

/** The peer is told why, where it can still be told. */
function refuse(state: State, fault: Fault): Step {
  const goodbye: Action = { type: 'send', message: { type: 'goodbye', reason: fault.name } };
  const refused = distrust(state, fault);
  return { state: refused.state, actions: [goodbye, ...refused.actions] };
}

function distrust(state: State, fault: Fault): Step {
  const faults = { ...state.faults, [fault.name]: (state.faults[fault.name] ?? 0) + 1 };
  return {
    state: { ...state, faults },
    actions: [
      { type: 'fault', fault },
      { type: 'close', reason: fault.name },
    ],
  };
}

function believe(state: State, outcome: Step | Fault): Step {
  return 'name' in outcome ? refuse(state, outcome) : outcome;
}

function onTimeout(settings: Settings, state: State, now: Millis): Step {
  const { link } = state;
  switch (link.name) {
    case 'stopped':
      return stay(state);
    case 'waiting': {
      if (link.dialAt === null || now < link.dialAt) return stay(state);
      const dialling = { name: 'dialling', giveUpAt: now + GREETING_MS, attempt: link.attempt } as const;
      return act({ ...state, link: dialling }, { type: 'dial' });
    }
    case 'dialling':
      return now < link.giveUpAt ? stay(state) : act(state, { type: 'close', reason: 'no answer' });
    case 'greeting':
      if (now < link.giveUpAt) return stay(state);
      return distrust(state, { name: 'no_hello', detail: `none within ${GREETING_MS} ms` });
    case 'open':
      return onOpenTimeout(settings, state, link, now);
  }
}

function onOpenTimeout(settings: Settings, state: State, link: OpenLink, now: Millis): Step {
  const actions: Action[] = [];
  let open = link;
  if (now >= link.deadAt) {
    // Late by more than a keepalive: this process stood still, which says nothing about the peer.
    if (now - link.deadAt <= settings.keepaliveMs) return act(state, { type: 'close', reason: 'the peer fell silent' });
    open = { ...open, deadAt: now + settings.keepaliveMs };
  }
  if (now >= link.keepaliveAt) {
    actions.push({ type: 'send', message: { type: 'keepalive' } });
    open = { ...open, keepaliveAt: now + settings.keepaliveMs };
  }
  for (const { group } of link.handOvers.filter(({ giveUpAt }) => now >= giveUpAt)) {
    actions.push({ type: 'hand-over-answered', group, refusal: 'the peer did not answer' });
  }
  open = { ...open, handOvers: open.handOvers.filter(({ giveUpAt }) => now < giveUpAt) };

  const isDue = now >= (open.send.heldUntil ?? Number.POSITIVE_INFINITY);
  const released = isDue ? releaseBulk(state, open, now) : stay({ ...state, link: open });
  if (released.state.link.name !== 'open') return released;
  const dropped = dropIfDue(released.state, released.state.link, now);
  if (dropped.state.link.name !== 'open') return dropped;
  const more = [...dropped.actions];
  const servers = serverDropIfDue(dropped.state, dropped.state.link, now);
  if (servers.state.link.name !== 'open') return servers;
  const digests = digestsIfDue(servers.state, servers.state.link, now);
  if (digests.state.link.name !== 'open') return digests;
  more.push(...servers.actions, ...digests.actions);
  const taken = takeIfDue(settings, digests.state, digests.state.link, now);
  return { state: taken.state, actions: [...actions, ...released.actions, ...more, ...taken.actions] };
}

// ---- what the peer says

function onMessage(settings: Settings, state: State, message: Message, now: Millis): Step {
  const { link } = state;
  if (link.name === 'greeting') {
    if (message.type === 'hello') return open(settings, state, message.hello, now);
    if (message.type === 'goodbye') return act(state, { type: 'close', reason: `goodbye: ${message.reason}` });
    return refuse(state, { name: 'no_hello', detail: `${message.type} came first` });
  }
  if (link.name !== 'open') return stay(state);
  const alive: OpenLink = { ...link, deadAt: now + silenceMs(settings) };
  return believe(state, onOpenMessage(settings, { ...state, link: alive }, alive, message, now));
}

function onOpenMessage(settings: Settings, state: State, link: OpenLink, message: Message, now: Millis): Step | Fault {
  switch (message.type) {
    case 'digest':
      return onDigest(state, link, message);
    case 'digest-answer':
      return onDigestAnswer(state, link, message, now);
    case 'server-bulk-begin':
      return onServerBulkBegin(state, link, message);
    case 'server-bulk-end':
      return onServerBulkEnd(state, link, message);
    case 'server-bulk-request':
      return onServersWanted(state, link, message.virtualServers, now);
    case 'hello':
      return { name: 'out_of_order', detail: 'a second hello' };
    case 'dictionary': {
      const { dictionary } = message;
      return act({ ...state, link: { ...link, dictionary } }, { type: 'set-dictionary', dictionary });
    }
    case 'terms':
      return onPeerGroups(state, link, message.groups, now);
    case 'batch':
      if (link.dictionary === null) return { name: 'out_of_order', detail: 'a batch before the dictionary' };
      return onBatch(state, link, message);
    case 'ack':
      return onAck(settings, state, link, message, now);
    case 'nack':
      return onNack(state, link, message);
    case 'bulk-begin':
      return onBulkBegin(state, link, message.generation);
    case 'bulk-end':
      return onBulkEnd(state, link, message);
    case 'bulk-ack': {
      // An ack of a bulk that has begun anew meanwhile says nothing.
      if (message.generation !== state.generation || link.send.bulk !== 'ended') return stay(state);
      const counters = count(state.counters, { bulks_acked: 1 });
      return stay({ ...state, counters, link: { ...link, send: { ...link.send, bulk: 'acked' } } });
    }
    case 'bulk-request':
      return beginBulk(state, link, now);
    case 'keepalive':
      return stay(state);
    case 'hand-over': {
      const { group, term, forced } = message;
      if (forced || inSync(state).self) return act(state, { type: 'hand-over-asked', group, term, forced });
      return act(state, { type: 'send', message: { type: 'take-over', group, term, refusal: 'not in sync' } });
    }
    case 'take-over': {
      const { group, refusal } = message;
      const handOvers = link.handOvers.filter((handOver) => handOver.group !== group);
      if (handOvers.length === link.handOvers.length) return stay(state);
      return act({ ...state, link: { ...link, handOvers } }, { type: 'hand-over-answered', group, refusal });
    }
    case 'goodbye':
      return act(state, { type: 'close', reason: `goodbye: ${message.reason}` });
    case 'config-offer':
    case 'config-prepare':
    case 'config-prepared':
    case 'config-commit':
    case 'config-committed':
    case 'config-abort':
      if (link.version >= CONFIG_VERSION) return act(state, { type: 'config-heard', message });
      return { name: 'out_of_order', detail: `${message.type} under version ${link.version}` };
    case 'join':
    case 'switch':
    case 'receipt':
      return { name: 'out_of_order', detail: `${message.type} without another path` };
  }
}

// ---- small things

function nothingSent(now: Millis): Sending {
  return {
    bulk: 'running',
    heldUntil: null,
    bulkBeganAt: now,
    bulkEndedAt: null,
    bulkGroups: [],
    sequence: 0,
    acked: 0,
    unacked: [],
    unackedBytes: 0,
    takeAt: null,
    lastTakeAt: now,
    taking: false,
    urgent: false,
    blocked: false,
    stalled: false,
    windowBytes: Number.POSITIVE_INFINITY,
    peerCounts: { applied: 0, stale: 0, refusedFull: 0, unknown: 0 },
    lastAckMs: null,
  };
}

function nothingReceived(): Receiving {
  return {
    phase: 'none',
    generation: null,
    dropAt: null,
    dropped: 0,
    sequence: 0,
    offeredUntil: 0,
    counts: { applied: 0, stale: 0, refusedFull: 0, unknown: 0 },
    unknownBefore: 0,
  };
}

function silenceMs(settings: Settings): Millis {
  return settings.keepaliveMs * MISSED_MAX;
}

/** 100 ms, doubling to 2 s, less up to half of it by chance. */
function backoffMs(attempt: number, chance: number): Millis {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** attempt) * (1 - chance / 2);
}
