/**
 * Goal: what an operator is told of an apply that cannot be, and what the units say to each other when it can.
 * Method: put a unit in a state by the inputs that lead there, give it one more, and compare the whole list of actions.
 * test/sim/config_sync.test.ts covers what two of them do together.
 */

import { describe, expect, test } from 'vitest';

import type { ConfigStanding } from '../../../src/config/model.js';
import {
  type Action,
  APPLY_BYTES_MAX,
  type Input,
  type Outcome,
  PREPARE_MS,
  refusalOf,
  type State,
} from '../../../src/config_sync/state.js';
import { statusOf } from '../../../src/config_sync/status.js';
import { deadline, initial, step } from '../../../src/config_sync/sync.js';
import { encode } from '../../../src/mirror/codec.js';
import { type ConfigMessage, REFUSAL_ERRORS_MAX } from '../../../src/mirror/messages.js';

const old: ConfigStanding = {
  revision: { number: 5, digest: 'old', unit: 'b', appliedAt: 'then' },
  digest: 'old',
};

class Unit {
  state: State;
  now = 1_000;

  constructor(
    readonly name: 'a' | 'b',
    standing: ConfigStanding = old,
  ) {
    this.state = initial(name, standing.digest, standing);
  }

  give(input: Input): readonly Action[] {
    const { state, actions } = step(this.state, input, this.now);
    this.state = state;
    return actions;
  }

  hear(message: ConfigMessage): readonly Action[] {
    return this.give({ type: 'message', message });
  }

  apply(text: string, how: { local?: boolean; dryRun?: boolean } = {}): readonly Action[] {
    const proposal = { text, file: 'f', digest: text.slice(0, 64), at: 'now' };
    return this.give({ type: 'apply', token: 1, proposal, local: how.local ?? false, dryRun: how.dryRun ?? false });
  }

  prepared(refusal = null as ReturnType<typeof refusalOf> | null): readonly Action[] {
    return this.give({ type: 'prepared', op: this.state.lastOp, refusal, changes: ['a change'] });
  }
}

/** Connected to a peer that runs `peers`. */
function met(name: 'a' | 'b', peers: ConfigStanding = old, own: ConfigStanding = old): Unit {
  const unit = new Unit(name, own);
  unit.give({ type: 'link-open', version: 3 });
  unit.hear({ type: 'config-offer', standing: peers });
  return unit;
}

function outcomeOf(actions: readonly Action[]): Outcome {
  const answer = actions.find(({ type }) => type === 'answer');
  if (answer?.type !== 'answer') throw new Error(`no answer in ${JSON.stringify(actions)}`);
  return answer.outcome;
}

function codeOf(actions: readonly Action[]): string {
  const outcome = outcomeOf(actions);
  return outcome.ok ? 'ok' : outcome.refusal.code;
}

describe('an apply that cannot be', () => {
  const busy = met('a');
  busy.apply('B');
  const greeting = new Unit('a');
  greeting.give({ type: 'link-open', version: 3 });
  const tooOld = new Unit('a');
  tooOld.give({ type: 'link-open', version: 2 });
  const large = '#'.repeat(APPLY_BYTES_MAX);

  test.each<readonly [code: string, actions: readonly Action[]]>([
    ['peer_absent', new Unit('a').apply('A')],
    ['peer_too_old', tooOld.apply('A')],
    ['peer_present', met('a').apply('A', { local: true })],
    ['peer_greeting', greeting.apply('A')],
    ['apply_in_progress', busy.apply('A')],
    ['too_large', met('a').apply(large)],
    ['too_large', new Unit('a').apply(large, { local: true })],
  ])('%s', (code, actions) => {
    expect(actions).toHaveLength(1);
    expect(codeOf(actions)).toBe(code);
  });

  test('the largest text fits in a message of the channel, whatever it is made of', () => {
    const text = '\n'.repeat(Math.floor(APPLY_BYTES_MAX / 2) - 1);
    const unit = met('a');
    unit.apply(text);
    const message = unit.prepared().find(({ type }) => type === 'send');
    if (message?.type !== 'send') throw new Error('nothing was sent');
    expect(encode(message.message).length).toBeLessThanOrEqual(2 ** 20 + 32);
  });
});

describe('an apply that can', () => {
  test('is looked at here, prepared there, committed here, then there', () => {
    const unit = met('a');
    const revision = { number: 6, digest: 'A', unit: 'a', appliedAt: 'now' } as const;
    const asked = { text: 'A', file: 'f', revision };
    expect(unit.apply('A')).toEqual([{ type: 'prepare', op: 1, ...asked, stage: true }]);
    const prepare = { type: 'config-prepare', id: 1, ...asked, automatic: false, dryRun: false };
    expect(unit.prepared()).toEqual([{ type: 'send', message: prepare }]);
    expect(unit.hear({ type: 'config-prepared', id: 1, refusal: null })).toEqual([{ type: 'commit', op: 1 }]);
    expect(unit.give({ type: 'committed', op: 1, refusal: null, changes: [] })).toEqual([
      { type: 'send', message: { type: 'config-offer', standing: { revision, digest: 'A' } } },
      { type: 'send', message: { type: 'config-commit', id: 1 } },
    ]);
    const outcome = { ok: true, what: 'applied', revision, changes: ['a change'], peer: 'applied', reason: null };
    expect(unit.hear({ type: 'config-committed', id: 1, refusal: null })).toEqual([
      { type: 'answer', token: 1, outcome },
    ]);
    expect(statusOf(unit.state)).toMatchObject({ same: true, edited: false, warnings: [] });
  });

  test('is what both run already: nothing happens', () => {
    expect(outcomeOf(met('a').apply('old'))).toMatchObject({ ok: true, what: 'unchanged', peer: 'applied' });
    expect(outcomeOf(new Unit('a').apply('old', { local: true }))).toMatchObject({ what: 'unchanged', peer: 'absent' });
  });

  test("the peer's refusal comes with its places, and what was staged goes", () => {
    const unit = met('a');
    unit.apply('A');
    unit.prepared();
    const errors = [{ code: 'c', message: 'm', hint: null, file: 'f', path: 'p', line: 3, column: 4 }];
    const actions = unit.hear({
      type: 'config-prepared',
      id: 1,
      refusal: { ...refusalOf('links_unfit', 'no'), errors },
    });
    expect(actions.at(-1)).toEqual({ type: 'abandon', inDoubt: false });
    const refusal = { code: 'links_unfit', message: 'unit b refuses it: no', mend: null, errors };
    expect(outcomeOf(actions)).toEqual({ ok: false, refusal });
  });

  test('a peer that does not answer is told that it is over, and so is the operator', () => {
    const unit = met('a');
    unit.apply('A');
    unit.prepared();
    expect(deadline(unit.state)).toBe(unit.now + PREPARE_MS);
    unit.now += PREPARE_MS;
    const actions = unit.give({ type: 'timeout' });
    expect(codeOf(actions)).toBe('peer_lost');
    const reason = 'the peer did not answer in time';
    expect(actions).toContainEqual({ type: 'send', message: { type: 'config-abort', id: 1, reason } });
    expect(unit.state.standing).toBe(old);
  });

  test('a dry run asks both and writes nothing', () => {
    const unit = met('a');
    expect(unit.apply('A', { dryRun: true })).toMatchObject([{ type: 'prepare', stage: false }]);
    expect(unit.prepared()).toMatchObject([{ message: { type: 'config-prepare', dryRun: true } }]);
    const outcome = outcomeOf(unit.hear({ type: 'config-prepared', id: 1, refusal: null }));
    expect(outcome).toMatchObject({ ok: true, what: 'valid', peer: 'valid' });
    const follower = met('b');
    const revision = { number: 6, digest: 'A', unit: 'a', appliedAt: 'now' } as const;
    const asked = { id: 9, text: 'A', file: 'f', revision, automatic: false, dryRun: true };
    expect(follower.hear({ type: 'config-prepare', ...asked })).toMatchObject([{ type: 'prepare', stage: false }]);
    follower.prepared();
    expect(follower.state.work.name).toBe('idle');
  });
});

describe('a unit in doubt', () => {
  const revision = { number: 6, digest: 'A', unit: 'a', appliedAt: 'now' } as const;

  function inDoubt(): Unit {
    const unit = met('b');
    unit.hear({ type: 'config-prepare', id: 9, text: 'A', file: 'f', revision, automatic: false, dryRun: false });
    unit.prepared();
    expect(unit.give({ type: 'link-lost' })).toEqual([{ type: 'abandon', inDoubt: true }]);
    return unit;
  }

  test('keeps what it had and says so', () => {
    const status = statusOf(inDoubt().state);
    expect(status).toMatchObject({ revision: old.revision, inDoubt: revision, peer: null, same: null });
    expect(status.warnings.join()).toMatch(/revision 6 .* not known: this unit keeps what it had/);
  });

  test('is out of it when the peer is back with less', () => {
    const unit = inDoubt();
    unit.give({ type: 'link-open', version: 3 });
    const actions = unit.hear({ type: 'config-offer', standing: old });
    expect(actions).toEqual([{ type: 'abandon', inDoubt: false }, { type: 'release-bulk' }]);
    expect(statusOf(unit.state)).toMatchObject({ inDoubt: null, same: true, warnings: [] });
  });

  test('holds its bulk back until the peer that is back with more has served it', () => {
    const unit = inDoubt();
    unit.give({ type: 'link-open', version: 3 });
    expect(unit.hear({ type: 'config-offer', standing: { revision, digest: 'A' } })).toEqual([]);
    unit.hear({ type: 'config-prepare', id: 2, text: 'A', file: 'f', revision, automatic: true, dryRun: false });
    unit.prepared();
    expect(unit.hear({ type: 'config-commit', id: 2 })).toMatchObject([{ type: 'commit' }]);
    const actions = unit.give({ type: 'committed', op: unit.state.lastOp, refusal: null, changes: [] });
    expect(actions.map((each) => (each.type === 'send' ? each.message.type : each.type))).toEqual([
      'config-offer',
      'config-committed',
      'release-bulk',
    ]);
    expect(unit.state).toMatchObject({ text: 'A', doubt: null });
  });
});

test('a config that was changed by hand is said to be, on both units', () => {
  const unit = met('a');
  const offers = unit.give({ type: 'reloaded', text: 'by hand', digest: 'hand' });
  expect(offers).toEqual([{ type: 'send', message: { type: 'config-offer', standing: { ...old, digest: 'hand' } } }]);
  const differ = 'the units run different configs; changed by hand on';
  expect(statusOf(unit.state)).toMatchObject({ edited: true, same: false });
  expect(statusOf(unit.state).warnings[0]).toContain(`${differ} this unit`);
  const peer = met('b', { ...old, digest: 'hand' });
  expect(statusOf(peer.state).warnings[0]).toContain(`${differ} the peer`);
});

test('a refusal with more errors than fit is cut, and says so', () => {
  const unit = met('b');
  const revision = { number: 6, digest: 'A', unit: 'a', appliedAt: 'now' } as const;
  unit.hear({ type: 'config-prepare', id: 9, text: 'A', file: 'f', revision, automatic: false, dryRun: false });
  const long = '\u0001'.repeat(2_000);
  const error = { code: 'c', message: long, hint: long, file: long, path: long, line: 1, column: 1 };
  const [answer] = unit.prepared({ ...refusalOf('config_invalid', 'no', long), errors: Array(1_000).fill(error) });
  if (answer?.type !== 'send' || answer.message.type !== 'config-prepared') throw new Error('no answer');
  expect(answer.message.refusal?.errors).toHaveLength(REFUSAL_ERRORS_MAX);
  expect(answer.message.refusal?.message).toContain(`first ${REFUSAL_ERRORS_MAX} of 1000 errors`);
  expect(encode(answer.message).length).toBeLessThan(2 ** 20);
});
