/** The follower's part of a transaction: to look, to promise, and to do what the peer decides. */

import type { ConfigRefusal } from '../config/model.js';
import { type ConfigMessage, REFUSAL_ERRORS_MAX, REFUSAL_TEXT_MAX } from '../mirror/messages.js';
import { giveWay } from './leading.js';
import {
  type Action,
  type Following,
  type Input,
  isEdited,
  type Millis,
  nameOf,
  numberOf,
  PREPARED_MS,
  refusalOf,
  type State,
  type Step,
  stay,
  type Work,
} from './state.js';

type Preparing = Extract<Work, { name: 'preparing' }>;
type Prepared = Extract<Work, { name: 'prepared' }>;
type Obeying = Extract<Work, { name: 'obeying' }>;
type Message<Type extends ConfigMessage['type']> = Extract<ConfigMessage, { type: Type }>;

export function onPrepare(state: State, asked: Message<'config-prepare'>): Step {
  const cleared = makeRoom(state);
  if (cleared === null) {
    const message = `unit ${state.unit} is applying another config`;
    const refusal = refusalOf('apply_in_progress', message, 'try again in a moment');
    return answer(changePeer(state, { turnedAway: true }), asked.id, refusal);
  }
  const refusal = whyNot(cleared.state, asked);
  if (refusal !== null) {
    const refused = asked.automatic ? served(noticed(cleared.state, asked, refusal)) : cleared.state;
    return { state: refused, actions: [...cleared.actions, preparedMessage(asked.id, refusal)] };
  }
  const op = state.lastOp + 1;
  const { id, revision, text, file, automatic, dryRun } = asked;
  return {
    state: {
      ...cleared.state,
      lastOp: op,
      work: { name: 'preparing', op, id, revision, text, automatic, dryRun },
    },
    actions: [...cleared.actions, { type: 'prepare', op, text, file, revision, stage: !dryRun }],
  };
}

/** What this unit is at gives way, or null: it does not. */
function makeRoom(state: State): Step | null {
  const { work } = state;
  switch (work.name) {
    case 'idle':
      return stay(state);
    // A peer that asks anew has given up what it asked before.
    case 'preparing':
    case 'prepared':
      return { state: { ...state, work: { name: 'idle' } }, actions: [{ type: 'abandon', inDoubt: false }] };
    case 'checking':
    case 'asking':
      return state.unit === 'b' && !work.local ? giveWay(state, work) : null;
    default:
      return null;
  }
}

function whyNot({ unit, standing }: State, asked: Message<'config-prepare'>): ConfigRefusal | null {
  if (asked.revision.number <= numberOf(standing) && !asked.dryRun) {
    return refusalOf('stale_revision', `unit ${unit} has revision ${numberOf(standing)} already`, 'apply again');
  }
  if (!asked.automatic || !isEdited(standing)) return null;
  const message = `unit ${unit}'s config was changed by hand since revision ${numberOf(standing)}`;
  return refusalOf('edited', message, 'tandem apply on either unit makes both run the same');
}

export function onFollowingPrepared(
  state: State,
  work: Preparing,
  { refusal }: Extract<Input, { type: 'prepared' }>,
  now: Millis,
): Step {
  const { id, automatic, dryRun } = work;
  const idle: State = { ...state, work: { name: 'idle' } };
  if (refusal !== null) return answer(automatic ? served(noticed(idle, work, refusal)) : idle, id, refusal);
  if (dryRun) return answer(idle, id, null);
  return answer({ ...state, work: { ...work, name: 'prepared', giveUpAt: now + PREPARED_MS } }, id, null);
}

export function onCommit(state: State, id: number): Step {
  const { work } = state;
  if (work.name !== 'prepared' || work.id !== id) {
    return act(state, committed(id, refusalOf('not_prepared', `unit ${state.unit} has given it up meanwhile`)));
  }
  const { op, revision, text, automatic, dryRun } = work;
  return act(
    { ...state, work: { name: 'obeying', op, id, revision, text, automatic, dryRun } },
    { type: 'commit', op },
  );
}

export function onFollowingCommitted(
  state: State,
  work: Obeying,
  { refusal }: Extract<Input, { type: 'committed' }>,
): Step {
  const { id, revision, text } = work;
  const idle = served({ ...state, work: { name: 'idle' } });
  const told = (next: State): Step => (next.peer.name === 'present' ? act(next, committed(id, refusal)) : stay(next));
  if (refusal !== null) return told(noticed(idle, work, refusal));
  return told({ ...idle, text, standing: { revision, digest: revision.digest }, doubt: null, notice: null });
}

export function onAbort(state: State, { id, reason }: Message<'config-abort'>): Step {
  const { work } = state;
  if ((work.name !== 'preparing' && work.name !== 'prepared') || work.id !== id) return stay(state);
  const idle: State = { ...state, work: { name: 'idle' } };
  const notice = `the peer gave up ${nameOf(work.revision)}: ${reason}`;
  return act(work.automatic ? served({ ...idle, notice }) : idle, { type: 'abandon', inDoubt: false });
}

/** No decision came: this unit keeps what it has, and knows that the peer may have more. */
export function toDoubt(state: State, { revision }: Prepared): Step {
  const doubt = served({ ...state, work: { name: 'idle' }, doubt: revision });
  return act(doubt, { type: 'abandon', inDoubt: true });
}

/** The peer's offer on this connection is over, whatever came of it. */
function served(state: State): State {
  return changePeer(state, { served: true });
}

function changePeer(state: State, change: { served: true } | { turnedAway: true }): State {
  return state.peer.name === 'present' ? { ...state, peer: { ...state.peer, ...change } } : state;
}

function noticed(state: State, { revision }: Pick<Following, 'revision'>, { message }: ConfigRefusal): State {
  return { ...state, notice: `${nameOf(revision)} of the peer was not applied here: ${message}` };
}

function answer(state: State, id: number, refusal: ConfigRefusal | null): Step {
  return act(state, preparedMessage(id, refusal));
}

function act(state: State, action: Action): Step {
  return { state, actions: [action] };
}

function preparedMessage(id: number, refusal: ConfigRefusal | null): Action {
  return { type: 'send', message: { type: 'config-prepared', id, refusal: bounded(refusal) } };
}

function committed(id: number, refusal: ConfigRefusal | null): Action {
  return { type: 'send', message: { type: 'config-committed', id, refusal: bounded(refusal) } };
}

/** What a message of the channel has room for. */
function bounded(refusal: ConfigRefusal | null): ConfigRefusal | null {
  if (refusal === null) return null;
  const { errors } = refusal;
  const more = errors.length - REFUSAL_ERRORS_MAX;
  const total = more > 0 ? ` (the first ${REFUSAL_ERRORS_MAX} of ${errors.length} errors are told)` : '';
  return {
    code: refusal.code,
    message: cut(refusal.message + total),
    mend: refusal.mend === null ? null : cut(refusal.mend),
    errors: errors.slice(0, REFUSAL_ERRORS_MAX).map((error) => ({
      ...error,
      message: cut(error.message),
      hint: error.hint === null ? null : cut(error.hint),
      file: cut(error.file),
      path: cut(error.path),
    })),
  };
}

function cut(text: string): string {
  return text.length <= REFUSAL_TEXT_MAX ? text : `${text.slice(0, REFUSAL_TEXT_MAX - 3)}...`;
}
