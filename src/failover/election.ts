/**
 * The election of one traffic group, and nothing else: RFC 9568 with what a mirrored pair adds to it.
 *
 * Before changing this file read RFC 9568 sections 6.1 to 6.4; branches that follow it quote its clause.
 * It is a pure function: no sockets, no timers, no clock. The caller passes the time in, carries out the
 * returned actions in order, and comes back with a `timeout` no earlier than `deadline(election)`.
 *
 * A group has one virtual router per link and family, and all of them move together: there is one election,
 * its adverts go out on every virtual router, and an advert on any of them counts.
 *
 *                               peer silent or resigned; take-over
 *   +------------+  able   +--------+ -------------------------> +--------+
 *   | initialize |-------->| backup |                            | active |
 *   +------------+         +--------+ <------------------------- +--------+
 *     ^  ^  ^  not able        |  ^   outranked; lease lost;       |    |
 *     |  |  +------------------+  |   demoted                      |    |
 *     |  |                        |                                |    |
 *     |  |    not able            |     +--------------+ hand-over |    |
 *     |  +------------------------)-----| handing over |<----------+    |
 *     |                           +-----|              |                |
 *     |                       1 s over  +--------------+                |
 *     +-----------------------------------------------------------------+
 *                          not able: shutdown, workers stopped, carrier lost
 *
 * What RFC 9568 does not have: initialize is also where a unit waits that cannot serve; a unit that is not
 * in sync never preempts, though it takes over from a silent peer; `standby` on request; terms. And there are
 * two contenders, so nobody has to be let go first: a backup that has heard the peer follows its resignation
 * without the skew, and asks it whether it lives when its mirror channel has ended.
 *
 * Terms order the two units' records. A takeover's term is one more than the highest seen. Adverts carry
 * none, so priority decides on the wire, and terms reach us through the mirror channel.
 */

import {
  able,
  answerTimeMs,
  type Condition,
  effectivePriority,
  type GroupRouter,
  initialCondition,
  leaseLengthMs,
  type Millis,
  skewTime,
} from './condition.js';
import type { Action, Input, RoleReason } from './signals.js';

/** Each state carries the deadlines that belong to it, so none outlives its state. */
export type State =
  | { readonly name: 'initialize' }
  | {
      readonly name: 'backup';
      readonly activeDownAt: Millis;
      readonly activeAdvertIntervalMs: Millis;
      /** An advert of an active peer was heard in this state. */
      readonly peerHeard: boolean;
      /** The peer sent priority 0, though none was heard before it; only the skew is left to wait. */
      readonly peerResigned: boolean;
      /** From when lesser adverts are ignored; null while none was heard that we would preempt. */
      readonly preemptAt: Millis | null;
      /** Outranked just now: known connections are forwarded from the own MAC until then. */
      readonly forwardsUntil: Millis | null;
    }
  | {
      readonly name: 'active';
      readonly advertAt: Millis;
      readonly leaseUntil: Millis;
      /** A lesser advert before this is answered by an advert alone; after it, addresses are announced too. */
      readonly announceAgainAt: Millis;
      /** The peer's last advert while we were active: it is, or was, active too. */
      readonly contestedAt: Millis | null;
    }
  | { readonly name: 'handing-over'; readonly until: Millis; readonly peerSeen: boolean };

export interface Election {
  readonly state: State;
  readonly condition: Condition;
  /** The highest term seen, our own included; that of the active state while we are active. */
  readonly term: number;
}

export interface Step {
  readonly election: Election;
  readonly actions: readonly Action[];
}

/** How long known connections are forwarded from the own MAC after a hand-over. */
export const HAND_OVER_MS: Millis = 1_000;
/** The winner of a contest announces at most this often. */
const ANNOUNCE_AGAIN_MS: Millis = 1_000;

/** `term`: the highest known from before, 0 if none. */
export function initialElection(term: number): Election {
  return { state: { name: 'initialize' }, condition: initialCondition, term };
}

/** When the caller must come back with a `timeout`, or null if only an input can change the state. */
export function deadline({ state }: Election): Millis | null {
  switch (state.name) {
    case 'initialize':
      return null;
    case 'backup':
      return Math.min(state.activeDownAt, state.forwardsUntil ?? Number.POSITIVE_INFINITY);
    case 'active':
      return state.advertAt;
    case 'handing-over':
      return state.until;
  }
}

export function step(router: GroupRouter, election: Election, input: Input, now: Millis): Step {
  const { state } = election;
  if (state.name === 'active' && now >= state.leaseUntil) return loseLease(router, election, input, now);

  switch (input.type) {
    case 'startup':
      return reassess(router, withCondition(election, { running: true }), now, 'able');
    case 'shutdown':
      return reassess(router, withCondition(election, { running: false }), now, 'shutdown');
    case 'workers':
      return reassess(router, withCondition(election, { workersAlive: input.alive }), now, 'workers_stopped');
    case 'links':
      return reassess(
        router,
        withCondition(election, { links: input.links }),
        now,
        input.links === 'none' ? 'all_links_lost' : 'link_lost',
      );
    case 'condition':
      return onCondition(router, election, input, now);
    case 'timeout':
      return onTimeout(router, election, now);
    case 'advert':
      return onAdvert(router, election, input, now);
    case 'term-seen':
      return onTermSeen(router, election, input, now);
    case 'peer-closed':
      return onPeerClosed(router, election, now);
    case 'hand-over':
      return onHandOver(withCondition(election, { forcedStandby: true }), now);
    case 'take-over':
      return onTakeOver(router, election, now);
    case 'release':
      return stay(withCondition(election, { forcedStandby: false }));
  }
}

/**
 * The process was stopped or starved past its lease. The workers have stopped already, and the peer may
 * have taken over: the lease is not extended, and what the peer did meanwhile is not in our table.
 */
function loseLease(router: GroupRouter, election: Election, input: Input, now: Millis): Step {
  const lost = withCondition(election, { inSync: false });
  const waiting = { ...lost, state: backup(router, lost, router.advertIntervalMs, now) };
  const next = step(router, waiting, input, now);
  // Priority 0 ends the peer's wait if it has not taken over, and makes it advertise at once if it has.
  return { election: next.election, actions: [...resign(election.term, 'lease_lost'), ...next.actions] };
}

/** After a change of the condition: leaves initialize when able, enters it, for `reason`, when not. */
function reassess(router: GroupRouter, election: Election, now: Millis, reason: RoleReason): Step {
  const { state, condition, term } = election;
  if (state.name === 'initialize') {
    if (!able(condition)) return stay(election);
    // "Else: set Active_Adver_Interval to Advertisement_Interval, set Active_Down_Timer, transition to {Backup}"
    return {
      election: { ...election, state: backup(router, election, router.advertIntervalMs, now) },
      actions: [standby(term, 'able')],
    };
  }
  if (able(condition)) return stay(election);
  const stopped = withCondition({ ...election, state: { name: 'initialize' } }, { inSync: false });
  return {
    election: stopped,
    actions: state.name === 'backup' ? [standby(term, reason)] : resign(term, reason),
  };
}

function onCondition(
  router: GroupRouter,
  election: Election,
  { demotion, inSync, peerCanServe }: Extract<Input, { type: 'condition' }>,
  now: Millis,
): Step {
  const before = election.condition;
  // The active unit's table is the one that counts: it does not fall out of sync because the peer is gone.
  const keeps = election.state.name === 'active' && before.inSync;
  const told = { demotion, inSync: inSync || keeps, peerCanServe };
  const next = reassess(router, withCondition(election, told), now, 'link_lost');
  if (next.election.state.name !== 'active') return next;
  // A tracked failure resigns if the peer can serve, whatever `preempt` says. Once for each failure: a unit
  // that became active in spite of it, because the peer fell silent, does not hand back at once.
  const worsened = demotion > before.demotion || (demotion > 0 && !before.peerCanServe);
  if (!worsened || !peerCanServe) return next;
  return {
    election: { ...next.election, state: backup(router, next.election, router.advertIntervalMs, now) },
    actions: resign(election.term, 'tracked_failure'),
  };
}

function onTimeout(router: GroupRouter, election: Election, now: Millis): Step {
  const { state, condition, term } = election;
  switch (state.name) {
    case 'initialize':
      return stay(election);
    case 'backup':
      if (now < state.activeDownAt) return stopForwarding(election, state, now);
      return becomeActive(router, election, now, state.peerResigned ? 'peer_resigned' : 'peer_silent');
    case 'active': {
      if (now < state.advertAt) return stay(election);
      const { advertIntervalMs } = router;
      // The next advert is due from when this one was, or timers' lateness would add up to a longer interval.
      const onTime = state.advertAt + advertIntervalMs;
      const next: State = {
        ...state,
        advertAt: onTime > now ? onTime : now + advertIntervalMs,
        leaseUntil: now + leaseLengthMs(router),
      };
      return {
        election: { ...election, state: next },
        actions: [{ type: 'extend-lease', leaseMs: leaseLengthMs(router) }, advertise(router, condition)],
      };
    }
    case 'handing-over':
      if (now < state.until) return stay(election);
      return {
        election: { ...election, state: backup(router, election, router.advertIntervalMs, now) },
        actions: [standby(term, 'handed_over')],
      };
  }
}

/** The second after it was outranked is over. */
function stopForwarding(election: Election, state: Extract<State, { name: 'backup' }>, now: Millis): Step {
  if (state.forwardsUntil === null || now < state.forwardsUntil) return stay(election);
  return {
    election: { ...election, state: { ...state, forwardsUntil: null } },
    actions: [standby(election.term, 'handed_over')],
  };
}

function onAdvert(
  router: GroupRouter,
  election: Election,
  advert: Extract<Input, { type: 'advert' }>,
  now: Millis,
): Step {
  switch (election.state.name) {
    case 'initialize':
      return stay(election);
    case 'backup':
      // The skew lets the best of several backups go first; here there is one. What resigns has been heard before:
      // a backup's question, which looks the same, is for an active unit.
      if (advert.priority === 0 && election.state.peerHeard)
        return becomeActive(router, election, now, 'peer_resigned');
      return stay({ ...election, state: backupHears(router, election, election.state, advert, now) });
    case 'active':
      return activeHears(router, election, election.state, advert, now);
    case 'handing-over':
      return handingOverHears(router, election, election.state, advert, now);
  }
}

/** RFC 9568 section 6.4.2. */
function backupHears(
  router: GroupRouter,
  election: Election,
  state: Extract<State, { name: 'backup' }>,
  advert: Extract<Input, { type: 'advert' }>,
  now: Millis,
): State {
  // "If the Priority in the ADVERTISEMENT is 0, then: Set the Active_Down_Timer to Skew_Time." Its further
  // copies do not start the skew again.
  if (advert.priority === 0) {
    const skewed = now + skewTime(router, election.condition, state.activeAdvertIntervalMs);
    return { ...state, activeDownAt: Math.min(state.activeDownAt, skewed), peerResigned: true };
  }
  const { forwardsUntil } = state;
  const followed = { ...backup(router, election, advert.advertIntervalMs, now), peerHeard: true, forwardsUntil };
  const { preempt, preemptDelayMs } = router;
  const preempts = preempt && election.condition.inSync;
  // "... if Preempt_Mode is False, or if the Priority in the ADVERTISEMENT is greater than or equal to the
  // local Priority": adopt its interval and wait on.
  if (!preempts || advert.priority >= effectivePriority(router, election.condition)) return followed;
  const preemptAt = state.preemptAt ?? now + preemptDelayMs;
  // A lesser unit is active and we preempt: "Discard the ADVERTISEMENT", so the timer runs out.
  return now >= preemptAt ? { ...state, peerHeard: true, preemptAt } : { ...followed, preemptAt };
}

/** RFC 9568 section 6.4.3. */
function activeHears(
  router: GroupRouter,
  election: Election,
  state: Extract<State, { name: 'active' }>,
  advert: Extract<Input, { type: 'advert' }>,
  now: Millis,
): Step {
  const { condition, term } = election;
  if (advert.priority > 0 && outranks(advert, router, condition)) {
    // The peer's announcements are on their way: what still comes here is forwarded, as in a hand-over.
    const waiting = { ...backup(router, election, advert.advertIntervalMs, now), forwardsUntil: now + HAND_OVER_MS };
    return {
      election: { ...election, state: waiting },
      actions: [{ type: 'set-role', role: 'handing-over', term, leaseMs: HAND_OVER_MS, reason: 'outranked' }],
    };
  }
  // "Discard ADVERTISEMENT. Send an ADVERTISEMENT immediately to assert the state {Active}". The peer has
  // taken frames meanwhile, so bridges and neighbours must be told where the addresses are.
  // "If the Priority in the ADVERTISEMENT is 0, then: Send an ADVERTISEMENT": the peer has yielded, or asks.
  const again = now >= state.announceAgainAt;
  const announceAgainAt = again ? now + ANNOUNCE_AGAIN_MS : state.announceAgainAt;
  const contestedAt = advert.priority === 0 ? state.contestedAt : now;
  return {
    election: { ...election, state: { ...state, contestedAt, announceAgainAt } },
    actions: again ? [advertise(router, condition), { type: 'announce' }] : [advertise(router, condition)],
  };
}

function handingOverHears(
  router: GroupRouter,
  election: Election,
  state: Extract<State, { name: 'handing-over' }>,
  advert: Extract<Input, { type: 'advert' }>,
  now: Millis,
): Step {
  if (advert.priority > 0) {
    if (state.peerSeen) return stay(election);
    return {
      election: { ...election, state: { ...state, peerSeen: true } },
      actions: [{ type: 'report', event: 'peer-took-over' }],
    };
  }
  // The peer resigns in the middle of it: back to waiting out the skew.
  const waiting = backup(router, election, router.advertIntervalMs, now);
  return {
    election: { ...election, state: backupHears(router, election, waiting, advert, now) },
    actions: [standby(election.term, 'handed_over')],
  };
}

/**
 * The peer's daemon has ended, or has only closed the channel: the peer is asked. If its failover process lives, it
 * answers, and the answer sets the timer anew: "If the Priority in the ADVERTISEMENT is 0, then: Send an
 * ADVERTISEMENT", RFC 9568 section 6.4.3. Silence proves here what it takes three intervals to prove otherwise. A
 * peer that was not heard may be a backup that would take the question for a resignation, and is waited for.
 */
function onPeerClosed(router: GroupRouter, election: Election, now: Millis): Step {
  const { state, condition } = election;
  if (state.name !== 'backup') return stay(election);
  const { activeAdvertIntervalMs } = state;
  const waitMs = state.peerHeard
    ? answerTimeMs(activeAdvertIntervalMs)
    : activeAdvertIntervalMs + skewTime(router, condition, activeAdvertIntervalMs);
  const waiting = { ...state, activeDownAt: Math.min(state.activeDownAt, now + waitMs) };
  return {
    election: { ...election, state: waiting },
    actions: state.peerHeard ? [{ type: 'ask-active' }] : [],
  };
}

function onTermSeen(
  router: GroupRouter,
  election: Election,
  { term, peerActive }: Extract<Input, { type: 'term-seen' }>,
  now: Millis,
): Step {
  const { state } = election;
  const highest = Math.max(election.term, term);
  if (state.name !== 'active') return stay({ ...election, term: highest });

  const contested = state.contestedAt !== null;
  if (peerActive) {
    // Both are active and hear each other, yet the wire has not decided it: the lower term yields. Without
    // adverts from the peer yielding would help nobody, for it would end after three silent intervals.
    const heard = contested && now - state.contestedAt < leaseLengthMs(router);
    if (!heard || term <= election.term) return stay(election);
    const yielded = withCondition({ ...election, term: highest }, { inSync: false });
    return {
      election: { ...yielded, state: backup(router, yielded, router.advertIntervalMs, now) },
      actions: [standby(highest, 'peer_has_higher_term')],
    };
  }
  // The peer yielded to our priority with a term as high as ours or higher: records of ours must count as
  // newer than the records it made meanwhile. An equal term is only news after a contest.
  if (term < election.term || (term === election.term && !contested)) return stay(election);
  const raised = highest + 1;
  return {
    election: { ...election, term: raised, state: { ...state, contestedAt: null } },
    actions: [
      { type: 'set-role', role: 'active', term: raised, leaseMs: state.leaseUntil - now, reason: 'term_raised' },
      // It was active, so frames went to it.
      { type: 'announce' },
    ],
  };
}

function onHandOver(election: Election, now: Millis): Step {
  const { state, term } = election;
  // A unit that is standby already is merely kept from coming back.
  if (state.name !== 'active') return stay(election);
  return {
    election: { ...election, state: { name: 'handing-over', until: now + HAND_OVER_MS, peerSeen: false } },
    actions: [
      { type: 'set-role', role: 'handing-over', term, leaseMs: HAND_OVER_MS, reason: 'hand_over_requested' },
      { type: 'send-advert', priority: 0 },
    ],
  };
}

/** The peer hands over: no skew to wait. */
function onTakeOver(router: GroupRouter, election: Election, now: Millis): Step {
  switch (election.state.name) {
    case 'initialize':
      return { election, actions: [{ type: 'report', event: 'take-over-refused' }] };
    case 'active':
      return stay(election);
    case 'backup':
    case 'handing-over':
      return becomeActive(router, election, now, 'take_over_requested');
  }
}

function becomeActive(router: GroupRouter, election: Election, now: Millis, reason: RoleReason): Step {
  const term = election.term + 1;
  // The peer is gone, or asked for it: an earlier request to stand by is over.
  const active = withCondition({ ...election, term }, { forcedStandby: false });
  const state: State = {
    name: 'active',
    advertAt: now + router.advertIntervalMs,
    leaseUntil: now + leaseLengthMs(router),
    announceAgainAt: now,
    contestedAt: null,
  };
  return {
    election: { ...active, state },
    // The datapath must accept traffic before the network is told to send it here.
    actions: [
      { type: 'set-role', role: 'active', term, leaseMs: leaseLengthMs(router), reason },
      advertise(router, active.condition),
      { type: 'announce' },
    ],
  };
}

function backup(router: GroupRouter, election: Election, activeAdvertIntervalMs: Millis, now: Millis) {
  // Active_Down_Interval = (3 * Active_Adver_Interval) + Skew_Time -- RFC 9568 section 6.1
  const activeDownIntervalMs =
    3 * activeAdvertIntervalMs + skewTime(router, election.condition, activeAdvertIntervalMs);
  return {
    name: 'backup',
    activeDownAt: now + activeDownIntervalMs,
    activeAdvertIntervalMs,
    peerHeard: false,
    peerResigned: false,
    preemptAt: null,
    forwardsUntil: null,
  } as const;
}

/** Higher priority wins; between equals the greater primary address. */
function outranks(advert: Extract<Input, { type: 'advert' }>, router: GroupRouter, condition: Condition): boolean {
  const own = effectivePriority(router, condition);
  return advert.priority === own ? !router.winsTie : advert.priority > own;
}

/** Forwarding stops before the peer is told, for it may begin as soon as it hears of it. */
function resign(term: number, reason: RoleReason): readonly Action[] {
  return [standby(term, reason), { type: 'send-advert', priority: 0 }];
}

function advertise(router: GroupRouter, condition: Condition): Action {
  return { type: 'send-advert', priority: effectivePriority(router, condition) };
}

function standby(term: number, reason: RoleReason): Action {
  return { type: 'set-role', role: 'standby', term, leaseMs: 0, reason };
}

function withCondition(election: Election, changes: Partial<Condition>): Election {
  return { ...election, condition: { ...election.condition, ...changes } };
}

function stay(election: Election): Step {
  return { election, actions: [] };
}
