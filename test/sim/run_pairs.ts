/**
 * Runs simulated pairs, see pair.ts for what is checked. A failure prints its seed and what happened to the pair:
 * `TANDEM_SIM_SEED=n npx vitest run test/sim` repeats it; TANDEM_SIM_RUNS=n draws n seeds altogether.
 */

import { expect } from 'vitest';

import { Pair } from './pair.js';

/** Seeds to draw, shared by the files that run at the same time. */
const RUNS = 1_000;
const FILES = 2;
const FAILURES_MAX = 3;

export const TIMEOUT_MS = 600_000;

/** The asked-for seed alone, or those given and a share of drawn ones. */
export function seeds(kept: readonly number[]): readonly number[] {
  const asked = process.env['TANDEM_SIM_SEED'];
  if (asked !== undefined) return [Number(asked)];
  const runs = Math.ceil(Number(process.env['TANDEM_SIM_RUNS'] ?? RUNS) / FILES);
  return [...kept, ...Array.from({ length: runs }, () => Math.floor(Math.random() * 2 ** 32))];
}

export async function expectRest(drawn: readonly number[]): Promise<void> {
  const failures: string[] = [];
  for (const seed of drawn) {
    const failure = await failureOf(seed);
    if (failure !== null) failures.push(failure);
    if (failures.length >= FAILURES_MAX) break;
  }
  expect(failures.join('\n\n')).toBe('');
}

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
