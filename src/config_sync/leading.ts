/** The leader's part of a transaction: from an operator's `apply`, or a peer that is behind, to the outcome. */

import type { ConfigRefusal, ConfigRevision } from '../config/model.js';
import type { ConfigMessage } from '../mirror/messages.js';
import { CONFIG_VERSION } from '../mirror/state.js';
import {
  type Action,
  APPLY_BYTES_MAX,
  ASK_AGAIN_MS,
  COMMIT_MS,
  type Input,
  type Leading,
  type Millis,
  nameOf,
  numberOf,
  type Outcome,
  type Peer,
  PREPARE_MS,
  type Proposal,
  refusalOf,
  type State,
  type Step,
  stay,
  type Work,
} from './state.js';

type Present = Extract<Peer, { name: 'present' }>;
type Checking = Extract<Work, { name: 'checking' }>;
type Asking = Extract<Work, { name: 'asking' }>;
type Committing = Extract<Work, { name: 'committing' }>;
type Telling = Extract<Work, { name: 'telling' }>;
type Message<Type extends ConfigMessage['type']> = Extract<ConfigMessage, { type: Type }>;

const AGAIN = 'nothing was changed; try again in a moment';

export function apply(state: State, input: Extract<Input, { type: 'apply' }>): Step {
  const { token, proposal, local, dryRun } = input;
  const answer = (outcome: Outcome): Step => ({ state, actions: [{ type: 'answer', token, outcome }] });
  const refusal = whyNot(state, input);
  if (refusal !== null) return answer({ ok: false, refusal });
  if (isInForce(state, proposal) && !dryRun) {
    const { revision } = state.standing;
    const peer = state.peer.name === 'present' ? 'applied' : state.peer.name;
    return answer({ ok: true, what: 'unchanged', revision, changes: [], peer, reason: null });
  }
  const op = state.lastOp + 1;
  const { text, file } = proposal;
  const revision = nextRevision(state, proposal);
  const work: Checking = { name: 'checking', op, revision, text, file, token, local, dryRun, changes: [] };
  return {
    state: { ...state, work, lastOp: op },
    actions: [{ type: 'prepare', op, text, file, revision, stage: !dryRun }],
  };
}

function whyNot({ work, peer }: State, input: Extract<Input, { type: 'apply' }>): ConfigRefusal | null {
  if (work.name !== 'idle') return refusalOf('apply_in_progress', 'another config is being applied', AGAIN);
  const bytes = new TextEncoder().encode(JSON.stringify(input.proposal.text)).length;
  if (bytes > APPLY_BYTES_MAX) {
    const message = `the config has ${bytes} bytes as JSON, and at most ${APPLY_BYTES_MAX} cross the mirror channel`;
    return refusalOf('too_large', message, 'copy the file to both hosts and use tandem reload on each');
  }
  if (input.dryRun) return null;
  switch (peer.name) {
    case 'absent':
      if (input.local) return null;
      return refusalOf(
        'peer_absent',
        'the peer is not connected, so it could not be asked; nothing was changed',
        'apply again when it is back, or with --local on this unit now: the peer is offered it when it is back',
      );
    case 'too-old':
      if (input.local) return null;
      return refusalOf(
        'peer_too_old',
        `the peer's version is too old for this (mirror channel ${peer.version}, needed: ${CONFIG_VERSION})`,
        'upgrade the peer first, or use --local on each unit',
      );
    case 'present':
      if (input.local) {
        const mend = 'leave --local out; to change this unit alone, edit its file and use tandem reload';
        return refusalOf('peer_present', 'the peer is connected: a config is applied on both', mend);
      }
      if (peer.standing === null) return refusalOf('peer_greeting', 'the peer has connected just now', AGAIN);
      return null;
  }
}

/** Both units (this one, with the peer away) run this text already, by a revision. */
function isInForce({ standing, peer }: State, { digest }: Proposal): boolean {
  const here = standing.revision?.digest === digest && standing.digest === digest;
  if (peer.name !== 'present') return here;
  return here && peer.standing?.digest === digest && numberOf(peer.standing) === numberOf(standing);
}

/** Higher than any that either unit is known to have, or may have. */
function nextRevision({ unit, standing, peer, doubt }: State, { digest, at }: Proposal): ConfigRevision {
  const peers = peer.name === 'present' ? numberOf(peer.standing) : 0;
  const number = Math.max(numberOf(standing), peers, doubt?.number ?? 0) + 1;
  return { number, digest, unit, appliedAt: at };
}

/** The peer is behind: what is in force here is prepared and committed there. */
export function bringUp(state: State, peer: Present, now: Millis): Step {
  const { revision } = state.standing;
  if (revision === null) return stay(state);
  const op = state.lastOp + 1;
  const { text } = state;
  const leading: Leading = {
    op,
    revision,
    text,
    file: 'config',
    token: null,
    local: false,
    dryRun: false,
    changes: [],
  };
  const asked: State = { ...state, lastOp: op, peer: { ...peer, askAt: now + ASK_AGAIN_MS } };
  return ask(asked, leading, now);
}

function ask(state: State, leading: Leading, now: Millis): Step {
  const { op: id, revision, text, file, token, dryRun } = leading;
  return {
    state: { ...state, work: { ...leading, name: 'asking', giveUpAt: now + PREPARE_MS } },
    actions: [
      {
        type: 'send',
        message: { type: 'config-prepare', id, revision, text, file, automatic: token === null, dryRun },
      },
    ],
  };
}

export function onLeadPrepared(
  state: State,
  work: Checking,
  { refusal, changes }: Extract<Input, { type: 'prepared' }>,
  now: Millis,
): Step {
  if (refusal !== null) return end(state, work, { ok: false, refusal });
  const checked: Checking = { ...work, changes };
  if (!work.local && state.peer.name === 'present') return ask(state, checked, now);
  if (work.dryRun) return end(state, work, valid(checked, state.peer.name === 'too-old' ? 'too-old' : 'absent'));
  return commit(state, checked);
}

export function onPeerPrepared(state: State, { id, refusal }: Message<'config-prepared'>, now: Millis): Step {
  const { work, unit } = state;
  if (work.name !== 'asking' || work.op !== id) return stay(state);
  if (refusal !== null) {
    const peerUnit = unit === 'a' ? 'b' : 'a';
    const message = `unit ${peerUnit} refuses it: ${refusal.message}`;
    const ended = end(state, work, { ok: false, refusal: { ...refusal, message } });
    return isStaged(work) ? also(ended, { type: 'abandon', inDoubt: false }) : ended;
  }
  if (work.dryRun) return end(state, work, valid(work, 'valid'));
  // What is offered to a peer that is behind is in force here already.
  return work.token === null ? tell(state, work, now) : commit(state, work);
}

function commit(state: State, { op, ...leading }: Leading): Step {
  const { revision, text, file, token, local, dryRun, changes } = leading;
  const work: Committing = { name: 'committing', op, revision, text, file, token, local, dryRun, changes };
  return { state: { ...state, work }, actions: [{ type: 'commit', op }] };
}

export function onLeadCommitted(
  state: State,
  work: Committing,
  { refusal }: Extract<Input, { type: 'committed' }>,
  now: Millis,
): Step {
  if (refusal !== null) {
    const ended = end(state, work, { ok: false, refusal });
    return state.peer.name === 'present' ? also(ended, abort(work.op, refusal.message)) : ended;
  }
  const { revision, text, local } = work;
  const standing = { revision, digest: revision.digest };
  const decided: State = { ...state, text, standing, doubt: null, notice: null };
  if (local) return end(decided, work, applied(work, state.peer.name === 'too-old' ? 'too-old' : 'absent'));
  const { peer } = decided;
  if (peer.name !== 'present') return end(decided, work, inDoubt(work, 'the mirror channel was lost'));
  return tell({ ...decided, peer: { ...peer, askAt: now + ASK_AGAIN_MS } }, work, now);
}

function tell(state: State, work: Leading, now: Millis): Step {
  const { op, revision, text, file, token, local, dryRun, changes } = work;
  const leading: Leading = { op, revision, text, file, token, local, dryRun, changes };
  return {
    state: { ...state, work: { ...leading, name: 'telling', giveUpAt: now + COMMIT_MS } },
    actions: [{ type: 'send', message: { type: 'config-commit', id: op } }],
  };
}

export function onPeerCommitted(state: State, { id, refusal }: Message<'config-committed'>): Step {
  const { work, peer } = state;
  if (work.name !== 'telling' || work.op !== id || peer.name !== 'present') return stay(state);
  if (refusal !== null) {
    const reason = `the peer could not apply ${nameOf(work.revision)}: ${refusal.message}`;
    return end({ ...state, notice: reason }, work, { ...applied(work, 'failed'), reason });
  }
  const standing = { revision: work.revision, digest: work.revision.digest };
  return end({ ...state, notice: null, peer: { ...peer, standing } }, work, applied(work, 'applied'));
}

/** The peer is gone or silent. Before our commit that is the end of it; behind it, the peer is in doubt. */
export function withoutPeer(state: State, work: Checking | Asking | Telling, why: string): Step {
  switch (work.name) {
    case 'checking': {
      // With --local nobody is missed.
      if (work.local) return stay(state);
      const ended = end(state, work, { ok: false, refusal: lost(why) });
      return isStaged(work) ? also(ended, { type: 'abandon', inDoubt: false }) : ended;
    }
    case 'asking': {
      const actions: Action[] = [
        ...(isStaged(work) ? [{ type: 'abandon', inDoubt: false } as const] : []),
        ...(state.peer.name === 'present' ? [abort(work.op, why)] : []),
      ];
      return also(end(state, work, { ok: false, refusal: lost(why) }), ...actions);
    }
    case 'telling':
      return end(state, work, inDoubt(work, why));
  }
}

/** Unit b gives way to what unit a leads at the same time. */
export function giveWay(state: State, work: Checking | Asking): Step {
  const message = 'the peer applies a config at the same time, and goes first';
  const refusal = refusalOf('apply_conflict', message, 'see with tandem status what is in force now, then apply again');
  const ended = end(state, work, { ok: false, refusal });
  return isStaged(work) ? also(ended, { type: 'abandon', inDoubt: false }) : ended;
}

/** An outcome that nobody waits for is a notice, if it is a bad one. */
function end(state: State, work: Leading, outcome: Outcome): Step {
  const idle: State = { ...state, work: { name: 'idle' } };
  if (work.token !== null) return { state: idle, actions: [{ type: 'answer', token: work.token, outcome }] };
  if (outcome.ok) return stay(idle);
  return stay({ ...idle, notice: `the peer did not take over ${nameOf(work.revision)}: ${outcome.refusal.message}` });
}

function also({ state, actions }: Step, ...more: readonly Action[]): Step {
  return { state, actions: [...actions, ...more] };
}

function abort(id: number, reason: string): Action {
  return { type: 'send', message: { type: 'config-abort', id, reason } };
}

function isStaged({ token, dryRun }: Leading): boolean {
  return token !== null && !dryRun;
}

function lost(why: string): ConfigRefusal {
  return refusalOf('peer_lost', `${why}; nothing was changed`, 'see tandem show mirror, and apply again');
}

type Done = Extract<Outcome, { ok: true }>;

function valid({ changes }: Leading, peer: Done['peer']): Done {
  return { ok: true, what: 'valid', revision: null, changes, peer, reason: null };
}

function applied({ revision, changes }: Leading, peer: Done['peer']): Done {
  return { ok: true, what: 'applied', revision, changes, peer, reason: null };
}

function inDoubt(work: Leading, why: string): Done {
  return { ...applied(work, 'in-doubt'), reason: `${why} before the peer said that it has committed` };
}
