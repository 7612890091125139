/**
 * Goal: no order of faults brings two units to a state that they do not leave, or to one that they must not enter.
 * Method: run simulated pairs, see pair.ts for what is checked. Seeds that once failed are kept below; the
 * others are drawn anew in each run. A failure prints its seed and what happened to the pair:
 * `TANDEM_SIM_SEED=n npx vitest run test/sim` repeats it; TANDEM_SIM_RUNS=n draws n seeds.
 */

import { expect, test } from 'vitest';

import { Pair } from './pair.js';

const kept: readonly number[] = [
  4, 6, 7, 8, 234717473, 803178752, 1489797870, 1698018599, 1721189851, 2778890466, 3440071065, 3456256497,
];
const runs = Number(process.env['TANDEM_SIM_RUNS'] ?? 60);
const asked = process.env['TANDEM_SIM_SEED'];
const drawn = Array.from({ length: runs }, () => Math.floor(Math.random() * 2 ** 32));
const seeds = asked === undefined ? [...kept, ...drawn] : [Number(asked)];

async function failureOf(seed: number): Promise<string | null> {
  const pair = new Pair(seed);
  try {
    await pair.run();
    return null;
  } catch (error) {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return `seed ${seed} at ${pair.simulator.now.toFixed(1)} ms: ${what}\n${pair.journal.join('\n')}`;
  }
}

test(`${seeds.length} simulated pairs keep their promises and come to rest`, { timeout: 600_000 }, async () => {
  const failures: string[] = [];
  for (const seed of seeds) {
    const failure = await failureOf(seed);
    if (failure !== null) failures.push(failure);
    if (failures.length >= 3) break;
  }
  expect(failures.join('\n\n')).toBe('');
});
