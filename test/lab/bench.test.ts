/**
 * Goal: `scripts/bench --quick` goes through every section, and what it prints is whole and sane.
 * Method: run it once as it is run by hand; look at its last line. No figure has to reach anything here: the machine
 * may be busy. A generator that makes nothing, a contender that forwards nothing or a standby that keeps nothing fails.
 */

import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { expect, test } from 'vitest';

import type { Row, SectionResult } from '../bench/section.js';
import { labId, whyNoLab } from '../support/lab/lab.js';
import { listNamespaces } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';

const why = whyNoLab();
const limitMs = 1_200_000;
const conntrackMax = '/proc/sys/net/netfilter/nf_conntrack_max';

interface Printed {
  readonly machine: { readonly kernel: string; readonly commit: string; readonly cores: number };
  readonly sections: readonly (SectionResult & { readonly rows: readonly (Row & { readonly median: number })[] })[];
}

/** Rows of each section, as many as its contenders, loads and ratios make. */
const rows: Readonly<Record<string, number>> = {
  engine: 12,
  flood: 13,
  wire: 78,
  latency: 59,
  mirror: 49,
  channel: 3,
  commit: 10,
  tcp: 21,
};

test(
  'every section of the benchmark gives every row, finite and positive, and leaves nothing behind',
  async (context) => {
    if (why !== null) return context.skip(why);
    const limitBefore = readFileSync(conntrackMax, 'utf8');
    const command = join(repositoryRoot, 'scripts', 'bench');
    const { stdout } = await promisify(execFile)(command, ['--quick', '--json'], {
      timeout: limitMs,
      maxBuffer: 1 << 26,
    });
    const printed = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Printed;

    expect(printed.machine.kernel).not.toBe('');
    expect(printed.machine.commit).not.toBe('');
    expect(Object.fromEntries(printed.sections.map((each) => [each.section, each.rows.length]))).toEqual(rows);
    for (const { section, rows: found, charts } of printed.sections) {
      const names = found.map(({ name }) => name);
      expect(new Set(names).size, `${section}: a row stands twice`).toBe(names.length);
      for (const { name, cores, samples, median } of found) {
        const insane = samples.filter((sample) => !mayStand(name, sample));
        expect(insane, `${section}: ${name}`).toEqual([]);
        expect(samples.length, `${section}: ${name}`).toBeGreaterThan(0);
        expect(Number.isFinite(median)).toBe(true);
        expect([1, 2]).toContain(cores);
      }
      for (const chart of charts) {
        expect(chart.rows.filter((row) => !names.includes(row))).toEqual([]);
        expect(existsSync(join(repositoryRoot, 'out', 'bench', `${section}-${chart.name}.svg`))).toBe(true);
      }
    }
    expect(listNamespaces().filter((name) => name.startsWith(labId('bench')))).toEqual([]);
    expect(readFileSync(conntrackMax, 'utf8')).toBe(limitBefore);
  },
  limitMs,
);

/** An idle conntrackd may well take no time at all, and what async adds to a handshake may drown in noise. */
function mayStand(name: string, sample: number): boolean {
  if (name.startsWith('added by async')) return Number.isFinite(sample);
  return Number.isFinite(sample) && (sample > 0 || (sample === 0 && /idle .* unit/.test(name)));
}
