/**
 * Goal: a MAC that works is kept through everything the kernel does to make sure of it, a new one is followed at
 * once, and one that answers no more is given up in time.
 * Method: rows, whole outcomes.
 */
import { expect, test } from 'vitest';

import {
  type Action,
  deadline,
  entryInput,
  type Input,
  initial,
  type NeighbourState,
  type NeighbourTiming,
  step,
} from '../../../src/monitor/neighbour.js';
import type { NeighbourMessage } from '../../../src/wire/rtnetlink.js';

const now = 100_000;
const timing: NeighbourTiming = { confirmEveryMs: 5_000, retryEveryMs: 1_000, goneAfterMs: 4_000 };
const macA = '02:00:00:00:00:0a';
const macB = '02:00:00:00:00:0b';

const known: NeighbourState = { mac: macA, failingSince: null, askAt: now + 3_000, fixed: false };
const failing: NeighbourState = { mac: macA, failingSince: now - 1_000, askAt: now + 500, fixed: false };
const lost: NeighbourState = { mac: null, failingSince: now - 60_000, askAt: now + 500, fixed: false };

const entry = (state: Extract<Input, { type: 'entry' }>['entry'], mac: string | null): Input => ({
  type: 'entry',
  entry: state,
  mac,
});

interface Row {
  readonly name: string;
  readonly state: NeighbourState;
  readonly input: Input;
  readonly next: Partial<NeighbourState>;
  readonly actions?: readonly Action[];
}

const rows: readonly Row[] = [
  { name: 'known: still reachable changes nothing', state: known, input: entry('reachable', macA), next: {} },
  { name: 'known: growing stale changes nothing', state: known, input: entry('stale', macA), next: {} },
  {
    name: 'known: an announced new MAC is followed at once, and confirmed at once',
    state: known,
    input: entry('stale', macB),
    next: { mac: macB, askAt: now },
    actions: [{ type: 'mac', mac: macB }],
  },
  {
    name: 'known: a resolved new MAC is followed at once',
    state: known,
    input: entry('reachable', macB),
    next: { mac: macB },
    actions: [{ type: 'mac', mac: macB }],
  },
  {
    name: 'known: failing keeps the MAC and asks soon',
    state: known,
    input: entry('failed', null),
    next: { failingSince: now, askAt: now + 1_000 },
  },
  {
    name: 'failing: failing again does not start the wait anew',
    state: failing,
    input: entry('failed', null),
    next: {},
  },
  {
    name: 'failing: an answer ends it',
    state: failing,
    input: entry('reachable', macA),
    next: { failingSince: null, askAt: now + 5_000 },
  },
  {
    name: 'lost: an answer brings the MAC back',
    state: lost,
    input: entry('reachable', macA),
    next: { mac: macA, failingSince: null, askAt: now + 5_000 },
    actions: [{ type: 'mac', mac: macA }],
  },
  {
    name: 'an entry that claims an answer but has no MAC is no answer',
    state: known,
    input: entry('stale', null),
    next: { failingSince: now, askAt: now + 1_000 },
  },
  {
    name: 'the operator has fixed the entry: it is believed',
    state: lost,
    input: entry('fixed', macB),
    next: { mac: macB, failingSince: null, fixed: true },
    actions: [{ type: 'mac', mac: macB }],
  },
  {
    name: 'a fixed entry is never asked for, for asking would make it an ordinary one',
    state: { ...known, fixed: true, askAt: now - 1 },
    input: { type: 'timeout' },
    next: {},
  },
  {
    name: 'a fixed entry that is removed is resolved like any other',
    state: { ...known, fixed: true },
    input: entry('failed', null),
    next: { fixed: false, failingSince: now, askAt: now + 1_000 },
  },
  { name: 'an early timeout does nothing', state: known, input: { type: 'timeout' }, next: {} },
  {
    name: 'known: is confirmed in its turn',
    state: { ...known, askAt: now },
    input: { type: 'timeout' },
    next: { askAt: now + 5_000 },
    actions: [{ type: 'ask' }],
  },
  {
    name: 'failing: is asked for more often',
    state: { ...failing, askAt: now },
    input: { type: 'timeout' },
    next: { askAt: now + 1_000 },
    actions: [{ type: 'ask' }],
  },
  {
    name: 'failing: is given up when the time is over',
    state: { ...failing, failingSince: now - 4_000 },
    input: { type: 'timeout' },
    next: { mac: null },
    actions: [{ type: 'mac', mac: null }],
  },
  {
    name: 'doubt: is asked for now',
    state: known,
    input: { type: 'doubt' },
    next: { askAt: now },
  },
];

for (const row of rows) {
  test(row.name, () => {
    const outcome = step(timing, row.state, row.input, now);
    expect(outcome).toEqual({ state: { ...row.state, ...row.next }, actions: row.actions ?? [] });
  });
}

test('a new neighbour is asked for at once', () => {
  expect(deadline(timing, initial(now))).toBe(now);
});

test('the deadline is the earlier of asking and giving up', () => {
  expect(deadline(timing, known)).toBe(now + 3_000);
  expect(deadline(timing, { ...failing, askAt: now + 3_500 })).toBe(now + 3_000);
  expect(deadline(timing, { ...lost, askAt: now + 500 })).toBe(now + 500);
  expect(deadline(timing, { ...known, fixed: true })).toBeNull();
});

test('what the kernel is doing to make sure of an entry counts for as much as the entry', () => {
  const input = (state: NeighbourMessage['state']) =>
    entryInput({ interfaceIndex: 2, address: '10.2.0.11', mac: macA, state });
  for (const state of ['stale', 'delay', 'probe'] as const) expect(input(state)).toEqual(entry('stale', macA));
  expect(input('reachable')).toEqual(entry('reachable', macA));
  expect(input('permanent')).toEqual(entry('fixed', macA));
  // A failed entry may still show its last MAC: nobody answers there.
  for (const state of ['failed', 'incomplete', 'none'] as const) expect(input(state)).toEqual(entry('failed', null));
  expect(entryInput(null)).toEqual(entry('failed', null));
});
