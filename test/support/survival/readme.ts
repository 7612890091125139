/**
 * `scripts/survival readme`: what out/survival/ holds into README's "What a failover costs", between its markers.
 * Charts go to docs/survival/, for README shows them. What was measured in a hurry is refused.
 */

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { withChapter } from '../../bench/readme_chapter.js';
import { repositoryRoot } from '../lab/paths.js';
import { faultNames } from './faults.js';
import { modeNames } from './modes.js';
import { chapter, charts, nameOf, type WrittenCell } from './report.js';

export const results = join(repositoryRoot, 'out', 'survival');
const pictures = join(repositoryRoot, 'docs', 'survival');
const readme = join(repositoryRoot, 'README.md');
export const markers = {
  begin: '<!-- scripts/survival readme: begin -->',
  end: '<!-- scripts/survival readme: end -->',
};

export function writeChapter(): void {
  const cells = readCells();
  if (cells.length === 0) throw new Error(`${results} holds no results: run scripts/survival first`);
  const hurried = cells.filter(({ quick }) => quick).map(nameOf);
  if (hurried.length > 0) throw new Error(`${hurried.join(', ')}: measured with --quick; run it in full first`);
  rmSync(pictures, { recursive: true, force: true });
  mkdirSync(pictures, { recursive: true });
  for (const chart of charts(cells)) writeFileSync(join(pictures, `${chart.name}.svg`), chart.svg);
  writeFileSync(readme, withChapter(readFileSync(readme, 'utf8'), chapter(cells, 'docs/survival'), markers));
}

/** In the order of modes, then of faults. */
export function readCells(): WrittenCell[] {
  mkdirSync(results, { recursive: true });
  return readdirSync(results)
    .filter((file) => /^[a-z]+-[a-z-]+-\d+\.json$/.test(file))
    .map((file) => JSON.parse(readFileSync(join(results, file), 'utf8')) as WrittenCell)
    .toSorted((left, right) => place(left) - place(right));
}

function place({ mode, fault, advertIntervalMs }: WrittenCell): number {
  return (modeNames.indexOf(mode) * 100 + faultNames.indexOf(fault)) * 100_000 - advertIntervalMs;
}
