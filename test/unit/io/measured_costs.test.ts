/**
 * Goal: what mirroring costs is told as scripts/bench measured it, and nothing that it did not.
 * Method: files as it writes them, in a folder of the test's own.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { measuredCosts } from '../../../src/io/measured_costs.js';

const result = {
  quick: false,
  machine: { cpu: 'Some CPU', cores: 2, commit: 'abc1234' },
  rows: [{ name: 'async ÷ off', unit: 'ratio', samples: [0.9, 1.1, 0.8, 1, 0.7] }],
};
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-costs-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const costs = () => measuredCosts(pathToFileURL(`${folder}/`));
const write = (section: string, what: unknown) => writeFileSync(join(folder, `${section}.json`), JSON.stringify(what));

test('median and spread of both sections, and the machine of the newer one', () => {
  write('mirror', result);
  write('commit', { ...result, rows: [{ name: 'added', unit: 'ms', samples: [2, 1] }] });
  write('wire', { ...result, rows: [{ name: 'not of mirroring', unit: 'Mpps', samples: [1] }] });
  expect(costs()).toMatchObject({ machine: 'Some CPU, 2 cores', commit: 'abc1234' });
  expect(costs()?.rows).toEqual([
    { section: 'mirror', name: 'async ÷ off', unit: 'ratio', median: 0.9, least: 0.7, most: 1.1 },
    { section: 'commit', name: 'added', unit: 'ms', median: 1.5, least: 1, most: 2 },
  ]);
});

test.each([
  ['nothing', null],
  ['a hurried run', { ...result, quick: true }],
  ['no result', { quick: false }],
])('%s is no measurement', (_what, file) => {
  if (file !== null) write('mirror', file);
  expect(costs()).toBeNull();
});
