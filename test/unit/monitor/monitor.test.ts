/**
 * Goal: a member's health follows rise and fall exactly, and no probe starts early, late without need, or twice.
 * Method: one row per transition, the whole outcome compared, so that an action too many fails as one too few does.
 */
import { expect, test } from 'vitest';

import {
  type Action,
  deadline,
  type Input,
  initial,
  type MonitorState,
  type MonitorTiming,
  spreadMs,
  step,
} from '../../../src/monitor/monitor.js';

const now = 10_000;
const timing: MonitorTiming = { intervalMs: 1_000, timeoutMs: 300, rise: 2, fall: 3 };

const waiting = (fields: Partial<MonitorState> = {}): MonitorState => ({
  ...initial(now, 0),
  ...fields,
});
const running = (fields: Partial<MonitorState> = {}): MonitorState => ({
  ...waiting(fields),
  probe: { name: 'running', startedAt: now - 100, giveUpAt: now + 200 },
});
/** After an answer: the next start is an interval after this one's. */
const next = { name: 'waiting', startAt: now + 900 } as const;
const yes: Input = { type: 'answer', ok: true, reason: 'HTTP 200' };
const no: Input = { type: 'answer', ok: false, reason: 'HTTP 503, wanted 200-399' };

interface Row {
  readonly name: string;
  readonly state: MonitorState;
  readonly input: Input;
  readonly at?: number;
  readonly next: Partial<MonitorState>;
  readonly actions?: readonly Action[];
}

const rows: readonly Row[] = [
  {
    name: 'unknown: the first success brings it up, whatever rise is',
    state: running(),
    input: yes,
    next: { health: 'up', contrary: 0, reason: 'HTTP 200', probe: next },
    actions: [{ type: 'up', reason: 'HTTP 200' }],
  },
  {
    name: 'unknown: a success after failures short of fall brings it up',
    state: running({ contrary: 2 }),
    input: yes,
    next: { health: 'up', contrary: 0, reason: 'HTTP 200', probe: next },
    actions: [{ type: 'up', reason: 'HTTP 200' }],
  },
  {
    name: 'unknown: a failure short of fall decides nothing',
    state: running({ contrary: 1 }),
    input: no,
    next: { contrary: 2, reason: 'HTTP 503, wanted 200-399', probe: next },
  },
  {
    name: 'unknown: `fall` failures bring it down',
    state: running({ contrary: 2 }),
    input: no,
    next: { health: 'down', contrary: 0, reason: 'HTTP 503, wanted 200-399', probe: next },
    actions: [{ type: 'down', reason: 'HTTP 503, wanted 200-399' }],
  },
  {
    name: 'up: a success forgets failures',
    state: running({ health: 'up', contrary: 2 }),
    input: yes,
    next: { contrary: 0, reason: 'HTTP 200', probe: next },
  },
  {
    name: 'up: a failure short of fall is borne',
    state: running({ health: 'up', contrary: 1 }),
    input: no,
    next: { contrary: 2, reason: 'HTTP 503, wanted 200-399', probe: next },
  },
  {
    name: 'up: `fall` failures in a row bring it down',
    state: running({ health: 'up', contrary: 2 }),
    input: no,
    next: { health: 'down', contrary: 0, reason: 'HTTP 503, wanted 200-399', probe: next },
    actions: [{ type: 'down', reason: 'HTTP 503, wanted 200-399' }],
  },
  {
    name: 'down: a success short of rise is not trusted',
    state: running({ health: 'down' }),
    input: yes,
    next: { contrary: 1, reason: 'HTTP 200', probe: next },
  },
  {
    name: 'down: a failure forgets successes',
    state: running({ health: 'down', contrary: 1 }),
    input: no,
    next: { contrary: 0, reason: 'HTTP 503, wanted 200-399', probe: next },
  },
  {
    name: 'down: `rise` successes in a row bring it up',
    state: running({ health: 'down', contrary: 1 }),
    input: yes,
    next: { health: 'up', contrary: 0, reason: 'HTTP 200', probe: next },
    actions: [{ type: 'up', reason: 'HTTP 200' }],
  },
  {
    name: 'a probe starts when its time has come',
    state: waiting(),
    input: { type: 'start' },
    next: { probe: { name: 'running', startedAt: now, giveUpAt: now + 300 } },
    actions: [{ type: 'probe' }],
  },
  { name: 'a probe does not start early', state: waiting(), input: { type: 'start' }, at: now - 1, next: {} },
  { name: 'a second probe does not start', state: running(), input: { type: 'start' }, next: {} },
  { name: 'an early timeout is ignored', state: running(), input: { type: 'timeout' }, at: now + 199, next: {} },
  {
    name: 'a probe without an answer is cancelled and counts as a failure',
    state: running({ health: 'up', contrary: 2 }),
    input: { type: 'timeout' },
    at: now + 200,
    next: { health: 'down', contrary: 0, reason: 'no answer within 300 ms', probe: next },
    actions: [{ type: 'cancel' }, { type: 'down', reason: 'no answer within 300 ms' }],
  },
  { name: 'an answer after the timeout says nothing', state: waiting({ health: 'up' }), input: no, next: {} },
  {
    name: 'a probe slower than the interval is followed at once by the next, not by two',
    state: running(),
    input: yes,
    at: now + 5_000,
    next: { health: 'up', reason: 'HTTP 200', probe: { name: 'waiting', startAt: now + 5_000 } },
    actions: [{ type: 'up', reason: 'HTTP 200' }],
  },
];

for (const row of rows) {
  test(row.name, () => {
    const outcome = step(timing, row.state, row.input, row.at ?? now);
    expect(outcome).toEqual({ state: { ...row.state, ...row.next }, actions: row.actions ?? [] });
  });
}

test('the deadline belongs to what the probe is doing', () => {
  expect(deadline(waiting())).toBe(now);
  expect(deadline(running())).toBe(now + 200);
});

test('a reloaded monitor begins from the health its member had', () => {
  expect(initial(now, 50, 'up', 'as before')).toEqual({
    health: 'up',
    contrary: 0,
    reason: 'as before',
    probe: { name: 'waiting', startAt: now + 50 },
  });
});

test('first probes are spread by the number of members, at most over the interval', () => {
  expect(spreadMs(3, 1_000)).toBe(60);
  expect(spreadMs(1_000, 1_000)).toBe(1_000);
});
