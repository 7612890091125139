/**
 * Goal: what scripts/survival says of its runs follows from what was counted in them.
 * Method: runs made by hand, with sums, ages and verdicts worked out by hand.
 */

import { expect, test } from 'vitest';

import type { Machine } from '../bench/machine.js';
import { withChapter } from '../bench/readme_chapter.js';
import { ageNames } from '../support/survival/far_ends.js';
import { markers } from '../support/survival/readme.js';
import { chapter, charts, type WrittenCell } from '../support/survival/report.js';
import type { RunResult } from '../support/survival/run.js';
import { type Cell, promises, spread, summarize, whyVoid } from '../support/survival/summary.js';

/** 1,000 connections, of which those of `lost` are lost. */
function run(lost: Partial<Record<(typeof ageNames)[number], number>> = {}, more: Partial<RunResult> = {}): RunResult {
  const ages = Object.fromEntries(
    ageNames.map((name) => [name, { established: name === 'older' ? 880 : 20, lost: lost[name] ?? 0 }]),
  ) as RunResult['ages'];
  const all = Object.values(lost).reduce((sum, count) => sum + count, 0);
  return {
    established: 1_000,
    established6: 250,
    survived: 1_000 - all,
    hung: all,
    reset: 0,
    lost6: 0,
    corrupt: 0,
    synAcksLast10Ms: 60,
    oldestLostMs: 0,
    ages,
    newOpened: 10,
    newEstablished: 10,
    firstNewAtNs: 1,
    rstsOfUnits: 0,
    rstsOfMembers: 0,
    unexpected: 0,
    badChecksums: 0,
    probes: 100,
    probesLost: 0,
    lostFrames: 0,
    silenceMs: 20,
    silentFromNs: 1,
    streams: [],
    fault: 'links',
    instantBy: 'silence',
    firstNewMs: 30,
    streamSilenceMs: 25,
    streamLost: 0,
    usualSilenceMs: 3,
    rstsToMembers: 0,
    rstsByServers: 0,
    badChecksumsAtServers: 0,
    openedPerS: 10_000,
    kernel: { survived: 100, of: 100, stream: 'survived', silenceMs: 40 },
    falseFailover: false,
    drops: { active: null, standby: {} },
    linkDrops: { untilAsked: 0, whileAsked: 0 },
    tookS: 10,
    ...more,
  };
}

function cell(mode: Cell['mode'], runs: readonly RunResult[], more: Partial<Cell> = {}): Cell {
  return { mode, fault: 'links', advertIntervalMs: 100, connections: 100_000, runs, voids: [], ...more };
}

const verdictOf = (cells: readonly Cell[], name: string) =>
  promises(cells).find((each) => each.name.includes(name))?.verdict;

test('a spread is by nearest rank', () => {
  expect(spread([5])).toEqual({ median: 5, p99: 5, worst: 5 });
  expect(spread([4, 1, 3, 2])).toEqual({ median: 2, p99: 4, worst: 4 });
  const hundred = Array.from({ length: 200 }, (_, index) => index + 1);
  expect(spread(hundred)).toEqual({ median: 100, p99: 198, worst: 200 });
});

test('a run says nothing with few SYN-ACKs, an instant that was not seen, or roles that had changed', () => {
  expect(whyVoid(run(), 'after a silence')).toBeNull();
  expect(whyVoid(run({}, { synAcksLast10Ms: 20 }), 'none')).toBeNull();
  expect(whyVoid(run({}, { synAcksLast10Ms: 19 }), 'none')).toContain('19 SYN-ACKs');
  expect(whyVoid(run({}, { instantBy: 'command' }), 'after a silence')).toContain('not seen');
  expect(whyVoid(run({}, { instantBy: 'command' }), 'announced')).toBeNull();
  expect(whyVoid(run({}, { falseFailover: true }), 'none')).toContain('changed roles');
});

test('runs add up, and silences are of all of them', () => {
  const sum = summarize(
    cell('async', [
      run({ below1Ms: 3 }, { streamSilenceMs: 10, oldestLostMs: 0.4 }),
      run({ notAcked: 1 }, { streamSilenceMs: 30, rstsOfUnits: 2, rstsToMembers: 1, probesLost: 4, streamLost: 5 }),
    ]),
  );
  expect(sum).toMatchObject({ runs: 2, established: 2_000, survived: 1_996, lost: 4, oldestLostMs: 0.4 });
  expect(sum.ages.below1Ms).toEqual({ established: 40, lost: 3 });
  expect(sum.ages.notAcked).toEqual({ established: 40, lost: 1 });
  expect(sum).toMatchObject({ rstsOfUnits: 3, packetsLost: 9, silence: { median: 10, worst: 30 } });
});

test('commit keeps its promise with nothing lost in twenty runs, whatever the age', () => {
  const name = 'commit: connections lost';
  expect(verdictOf([], name)).toBe('not measured');
  expect(verdictOf([cell('commit', Array(19).fill(run()))], name)).toBe('too few runs');
  expect(verdictOf([cell('commit', Array(20).fill(run()))], name)).toBe('must');
  const many = { connections: 1_000_000 };
  expect(verdictOf([cell('commit', Array(100).fill(run()), many)], name)).toBe('aim');
  expect(verdictOf([cell('commit', [...Array(99).fill(run()), run({ notAcked: 1 })])], name)).toBe('falls short');
});

test('async may lose what is younger than 10 ms, in links faults only', () => {
  const name = 'older than 10 ms';
  expect(verdictOf([cell('async', [run({ notAcked: 9, unanswered: 9, below1Ms: 9, below2Ms: 9 })])], name)).toBe('aim');
  expect(verdictOf([cell('async', [run({ below10Ms: 1 })])], name)).toBe('must');
  expect(verdictOf([cell('async', [run({ below100Ms: 1 })])], name)).toBe('falls short');
  expect(verdictOf([cell('async', [run({ older: 1 })], { fault: 'kill' })], name)).toBe('not measured');
});

test('a silence is judged by median and worst, a hand-over by packets, the control by what it loses', () => {
  const killed = (...silences: number[]) =>
    cell(
      'async',
      silences.map((streamSilenceMs) => run({}, { streamSilenceMs })),
      { fault: 'kill' },
    );
  expect(verdictOf([killed(20, 30, 300)], 'daemon killed')).toBe('aim');
  expect(verdictOf([killed(20, 90, 300)], 'daemon killed')).toBe('must');
  expect(verdictOf([killed(20, 30, 301)], 'daemon killed')).toBe('falls short');
  const links = cell('async', [run({}, { streamSilenceMs: 151 })]);
  expect(verdictOf([links], '10 ms adverts')).toBe('not measured');
  expect(verdictOf([{ ...links, advertIntervalMs: 10 }], '10 ms adverts')).toBe('falls short');
  const handover = (lost: number) => cell('async', [run({}, { probesLost: lost })], { fault: 'handover' });
  expect(verdictOf([handover(0)], 'hand-over')).toBe('must');
  expect(verdictOf([handover(1)], 'hand-over')).toBe('falls short');
  expect(verdictOf([cell('hasty', [run()])], 'control')).toBe('falls short');
  expect(verdictOf([cell('hasty', [run({ below1Ms: 1 })])], 'control')).toBe('must');
});

test('README gets the promises, what falls short, every kind and what was repeated', () => {
  const machine: Machine = {
    cpu: 'a processor',
    cores: 2,
    memoryGib: 8,
    kernel: '6.18',
    commit: 'abc',
    load: 0,
    stolen: 0,
  };
  const written: WrittenCell[] = [
    {
      ...cell('async', [run({ below1Ms: 2 })], { voids: ['only 3 SYN-ACKs in the last 10 ms'] }),
      machine,
      quick: false,
      newPerS: 5_000,
    },
  ];
  const text = chapter(written, 'docs/survival');
  const row = '| async | all links cut | 100 ms | 1 | 1000 | 998 | 2 | 60 | 0 | 0 |';
  expect(text.split('\n')).toContain(row);
  expect(text).toContain('**Falls short, or is not shown yet:** commit: connections lost');
  expect(text).toContain('1 runs proved nothing and were repeated: async-links-100: only 3 SYN-ACKs');
  expect(charts(written)[0]?.svg).toContain('async, all links cut');
  const readme = `before\n${markers.begin}\nold\n${markers.end}\nafter`;
  expect(withChapter(readme, text, markers)).toBe(`before\n${markers.begin}\n${text}${markers.end}\nafter`);
});
