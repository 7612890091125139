/** Median and spread of what several rounds measured. Pure. */

import type { Bound } from './section.js';

export interface Summary {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Of at least one sample. */
export function summarize(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((a, b) => a - b);
  const [least, most] = [sorted[0], sorted.at(-1)];
  if (least === undefined || most === undefined) throw new Error('a row without samples cannot be summed up');
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? most;
  const median = sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? least)) / 2;
  return { median, least, most };
}

/** Round by round, so that what slowed both of a round down is in neither. */
export function ratios(above: readonly number[], below: readonly number[]): number[] {
  if (above.length !== below.length) throw new Error('a ratio needs as many rounds above as below');
  return above.map((value, round) => value / (below[round] ?? Number.NaN));
}

export type Verdict = 'short' | 'must' | 'aim';

export function judge(median: number, bound: Bound): Verdict {
  const reaches = (wanted: number) => (bound.better === 'lower' ? median <= wanted : median >= wanted);
  if (reaches(bound.aim)) return 'aim';
  return reaches(bound.must) ? 'must' : 'short';
}
