/** What scripts/bench measured on this machine: the package's out/bench/SECTION.json, as `Costs`. */

import { readFileSync, statSync } from 'node:fs';

import { z } from 'zod';

import type { Costs } from '../api.js';

/** Sections that say what mirroring costs. */
const SECTIONS = ['mirror', 'commit'] as const;

const results = z.object({
  // One hurried round says nothing that an operator could go by.
  quick: z.literal(false),
  machine: z.object({ cpu: z.string(), cores: z.number(), commit: z.string() }),
  rows: z.array(z.object({ name: z.string(), unit: z.string(), samples: z.array(z.number()).min(1) })),
});

/** Null: never measured here, or only with --quick. What is no result is passed over: it is the benchmark's own. */
export function measuredCosts(folder = new URL('../../out/bench/', import.meta.url)): Costs | null {
  const found = SECTIONS.flatMap((section) => {
    const file = new URL(`${section}.json`, folder);
    try {
      const { data } = results.safeParse(JSON.parse(readFileSync(file, 'utf8')));
      return data === undefined ? [] : [{ section, ...data, at: statSync(file).mtime }];
    } catch {
      return [];
    }
  });
  const newest = found.toSorted((left, right) => right.at.getTime() - left.at.getTime())[0];
  if (newest === undefined) return null;
  const { cpu, cores, commit } = newest.machine;
  return {
    measuredAt: newest.at.toISOString(),
    machine: `${cpu}, ${cores} ${cores === 1 ? 'core' : 'cores'}`,
    commit,
    rows: found.flatMap(({ section, rows }) =>
      rows.map(({ name, unit, samples }) => {
        const sorted = samples.toSorted((left, right) => left - right);
        return { section, name, unit, median: median(sorted), least: sorted[0]!, most: sorted.at(-1)! };
      }),
    ),
  };
}

function median(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
