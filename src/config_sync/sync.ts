/**
 * One config on both units: what is said about it when, and nothing else.
 *
 * A pure function: no sockets, no files, no clock. The caller passes the time in, carries out the returned
 * actions in order, and comes back with a `timeout` no earlier than `deadline()`.
 *
 *      led from here                              followed by the peer
 *   idle ─► checking ──── config-prepare ───► preparing
 *           asking   ◄─── config-prepared ─── prepared
 *           committing (ours is in force)
 *           telling  ──── config-commit ────► obeying (the peer's is in force)
 *   idle ◄──────────── config-committed ───── idle
 *
 * The leader's own commit is the decision: before it nothing has changed anywhere, behind it the revision is in
 * force and written down here. A follower that has prepared and hears no decision keeps what it has and is *in
 * doubt*; when the units meet again each says what it runs (`config-offer`), and the one with the higher revision
 * leads a transaction that brings the other up to it, before connections are announced. So a doubt ends either way.
 *
 * When both lead at once unit a goes on and unit b gives way. A config that somebody changed by hand is neither
 * offered nor overwritten unless an operator says so.
 */

import type { ConfigRevision, ConfigStanding, UnitName } from '../config/model.js';
import type { ConfigMessage } from '../mirror/messages.js';
import { CONFIG_VERSION } from '../mirror/state.js';
import { onAbort, onCommit, onFollowingCommitted, onFollowingPrepared, onPrepare, toDoubt } from './following.js';
import {
  apply,
  bringUp,
  onLeadCommitted,
  onLeadPrepared,
  onPeerCommitted,
  onPeerPrepared,
  withoutPeer,
} from './leading.js';
import { type Action, type Input, isEdited, type Millis, numberOf, type State, type Step, stay } from './state.js';

export function initial(
  unit: UnitName,
  text: string,
  standing: ConfigStanding,
  doubt: ConfigRevision | null = null,
): State {
  return { unit, text, standing, peer: { name: 'absent' }, doubt, work: { name: 'idle' }, notice: null, lastOp: 0 };
}

/** When the caller must come back with a `timeout`; null: only an input can change the state. */
export function deadline(state: State): Millis | null {
  const { work, peer } = state;
  if ('giveUpAt' in work) return work.giveUpAt;
  return work.name === 'idle' && peer.name === 'present' && isBehind(state) ? peer.askAt : null;
}

export function step(state: State, input: Input, now: Millis): Step {
  return settle(state, dispatch(state, input, now), now);
}

function dispatch(state: State, input: Input, now: Millis): Step {
  const { work } = state;
  switch (input.type) {
    case 'link-open':
      return linkOpen(state, input.version);
    case 'link-lost':
      return linkLost(state);
    case 'message':
      return state.peer.name === 'present' ? onMessage(state, input.message, now) : stay(state);
    case 'apply':
      return apply(state, input);
    case 'prepared':
      if (work.name === 'checking' && work.op === input.op) return onLeadPrepared(state, work, input, now);
      if (work.name === 'preparing' && work.op === input.op) return onFollowingPrepared(state, work, input, now);
      return stay(state);
    case 'committed':
      if (work.name === 'committing' && work.op === input.op) return onLeadCommitted(state, work, input, now);
      if (work.name === 'obeying' && work.op === input.op) return onFollowingCommitted(state, work, input);
      return stay(state);
    case 'reloaded':
      return stay({ ...state, text: input.text, standing: { ...state.standing, digest: input.digest } });
    case 'timeout':
      return onTimeout(state, now);
  }
}

/** What follows from any step: the peer hears of what changed here, is brought up, and gets our connections. */
function settle(before: State, { state, actions }: Step, now: Millis): Step {
  const { peer, standing, work } = state;
  if (peer.name !== 'present') return { state, actions };
  const isNews = before.peer.name !== 'present' || before.standing !== standing;
  const isFree = peer.turnedAway && work.name === 'idle';
  const offer: Action[] = isNews || isFree ? [{ type: 'send', message: { type: 'config-offer', standing } }] : [];
  const told: Step = {
    state: isFree ? { ...state, peer: { ...peer, turnedAway: false } } : state,
    actions: [...offer, ...actions],
  };
  if (work.name !== 'idle' || peer.standing === null) return told;
  const next = whenIdle(told.state, now);
  return { state: next.state, actions: [...told.actions, ...next.actions] };
}

function whenIdle(state: State, now: Millis): Step {
  const { peer, standing, doubt } = state;
  if (peer.name !== 'present' || peer.standing === null) return stay(state);
  const actions: Action[] = [];
  let next = state;
  if (doubt !== null && numberOf(peer.standing) < doubt.number) {
    // The peer runs less than what is in doubt: it has not committed it, and never will.
    next = { ...next, doubt: null };
    actions.push({ type: 'abandon', inDoubt: false });
  }
  if (isBehind(state) && now >= peer.askAt) {
    const begun = bringUp(next, peer, now);
    return { state: begun.state, actions: [...actions, ...begun.actions] };
  }
  const isOwed = numberOf(peer.standing) > numberOf(standing) && !isEdited(peer.standing) && !peer.served;
  if (isOwed || peer.bulkReleased) return { state: next, actions };
  return {
    state: { ...next, peer: { ...peer, bulkReleased: true } },
    actions: [...actions, { type: 'release-bulk' }],
  };
}

/** Whether the peer runs less than this unit, and neither was changed by hand. */
function isBehind({ peer, standing }: State): boolean {
  if (peer.name !== 'present' || peer.standing === null || isEdited(peer.standing) || isEdited(standing)) return false;
  return numberOf(peer.standing) < numberOf(standing);
}

// ---- the link

function linkOpen(state: State, version: number): Step {
  if (state.peer.name !== 'absent') return stay(state);
  if (version < CONFIG_VERSION) {
    return { state: { ...state, peer: { name: 'too-old', version } }, actions: [{ type: 'release-bulk' }] };
  }
  return stay({
    ...state,
    peer: { name: 'present', standing: null, askAt: 0, served: false, turnedAway: false, bulkReleased: false },
  });
}

function linkLost(state: State): Step {
  const alone: State = { ...state, peer: { name: 'absent' } };
  const { work } = state;
  switch (work.name) {
    case 'checking':
    case 'asking':
    case 'telling':
      return withoutPeer(alone, work, 'the mirror channel was lost');
    case 'preparing':
      return { state: { ...alone, work: { name: 'idle' } }, actions: [{ type: 'abandon', inDoubt: false }] };
    case 'prepared':
      return toDoubt(alone, work);
    // Our own commit goes on, whoever is there to hear of it.
    default:
      return stay(alone);
  }
}

function onTimeout(state: State, now: Millis): Step {
  const { work } = state;
  if (!('giveUpAt' in work) || now < work.giveUpAt) return stay(state);
  switch (work.name) {
    case 'asking':
    case 'telling':
      return withoutPeer(state, work, 'the peer did not answer in time');
    case 'prepared':
      return toDoubt(state, work);
  }
}

// ---- what the peer says

function onMessage(state: State, message: ConfigMessage, now: Millis): Step {
  switch (message.type) {
    case 'config-offer':
      return onOffer(state, message.standing);
    case 'config-prepare':
      return onPrepare(state, message);
    case 'config-prepared':
      return onPeerPrepared(state, message, now);
    case 'config-commit':
      return onCommit(state, message.id);
    case 'config-committed':
      return onPeerCommitted(state, message);
    case 'config-abort':
      return onAbort(state, message);
  }
}

/** Whatever it refused before, it may be willing now. */
function onOffer(state: State, standing: ConfigStanding): Step {
  const { peer } = state;
  return stay(peer.name === 'present' ? { ...state, peer: { ...peer, standing, askAt: 0 } } : state);
}
