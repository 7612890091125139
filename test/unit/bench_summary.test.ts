/**
 * Goal: the benchmark's figures are what its rounds measured.
 * Method: rows of samples with medians and ratios worked out by hand; a table and a chart from a small result.
 */

import { expect, test } from 'vitest';

import { stolenShare } from '../bench/machine.js';
import { chapter, markers, withChapter } from '../bench/readme_chapter.js';
import { figure, markdown, svg } from '../bench/report.js';
import type { SectionResult } from '../bench/section.js';
import { judge, ratios, summarize } from '../bench/summary.js';

test('a median is the middle sample, or the mean of the two in the middle', () => {
  expect(summarize([3, 1, 2])).toEqual({ median: 2, least: 1, most: 3 });
  expect(summarize([4, 1, 2, 30])).toEqual({ median: 3, least: 1, most: 30 });
  expect(() => summarize([])).toThrow('without samples');
});

test('a ratio is made round by round', () => {
  // The medians' ratio would be 20 / 2 = 10.
  expect(ratios([10, 20, 90], [2, 1, 3])).toEqual([5, 20, 30]);
  expect(() => ratios([1], [1, 2])).toThrow('as many rounds');
});

test('a bound is reached from its own side, equality included', () => {
  const lower = { better: 'lower', must: 45, aim: 32 } as const;
  expect([32, 32.1, 45, 45.1].map((ns) => judge(ns, lower))).toEqual(['aim', 'must', 'must', 'short']);
  const higher = { better: 'higher', must: 1.4, aim: 1.8 } as const;
  expect([1.3, 1.4, 1.8].map((ratio) => judge(ratio, higher))).toEqual(['short', 'must', 'aim']);
});

test('figures have three digits that count', () => {
  expect([0.123, 9.876, 45.67, 456.7, 1234567].map(figure)).toEqual(['0.12', '9.88', '45.7', '457', '1 234 567']);
});

test('what the hypervisor took is the eighth time of the first line', () => {
  expect(stolenShare('cpu  10 0 10 70 0 0 0 10 0 0\ncpu0 1 2 3\n')).toBeCloseTo(0.1);
});

test('a table says machine and commit, and what falls short; a chart has a bar per row', () => {
  const result: SectionResult = {
    section: 'some',
    title: 'Some',
    rows: [
      { name: 'a < b', unit: 'ns', cores: 1, samples: [50, 60], bound: { better: 'lower', must: 45, aim: 32 } },
      { name: 'c', unit: 'ns', cores: 2, samples: [1] },
    ],
    charts: [],
    notes: ['how'],
  };
  const machine = { cpu: 'X', cores: 2, memoryGib: 4, kernel: '6.1', commit: 'abc', load: 0.5, stolen: 0.02 };
  const table = markdown(result, machine);
  expect(table).toContain('| a < b | 55.0 | 50.0 – 60.0 | ns | 1 | ≤ 45 | ≤ 32 | falls short |');
  expect(table).toContain('  stolen by the hypervisor since boot 2.0 %');
  const drawn = svg({ name: 'x', title: 'X', unit: 'ns', rows: ['a < b', 'c'] }, result.rows);
  expect(drawn.match(/<rect x=/g)).toHaveLength(2);
  expect(drawn).toContain('a &lt; b');
});

test("README's chapter says machine and commit, what falls short, and replaces the one before", () => {
  const machine = { cpu: 'X', cores: 2, memoryGib: 4, kernel: '6.1', commit: 'abc', load: 0.5, stolen: 0 };
  const bound = { better: 'higher', must: 2, aim: 3 } as const;
  const row = (name: string, ...samples: number[]) => ({ name, unit: 'ratio', cores: 2, samples, bound });
  const text = chapter(
    [
      {
        section: 'some',
        title: 'Some',
        rows: [row('quick', 4, 5), row('slow', 1), { name: 'free', unit: 'ns', cores: 1, samples: [7] }],
        charts: [{ name: 'x', title: 'X', unit: 'ns', rows: ['free'] }],
        notes: ['how'],
        machine,
        quick: false,
        rounds: 5,
      },
    ],
    'doc',
  );
  expect(text).toContain('on X, 2 cores;\ncommit abc, Linux 6.1.');
  expect(text).toContain('**Falls short:** slow.');
  expect(text).toContain('![X](doc/some-x.svg)');
  expect(text.match(/\| free \|/g)).toHaveLength(1);
  expect(text.match(/\| slow \|/g)).toHaveLength(2);
  const readme = `before\n${markers.begin}\nold\n${markers.end}\nafter\n`;
  expect(withChapter(readme, text)).toBe(`before\n${markers.begin}\n${text}${markers.end}\nafter\n`);
  expect(() => withChapter('nothing', text)).toThrow('README lacks');
});
