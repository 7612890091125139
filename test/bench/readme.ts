/**
 * `scripts/bench readme`: the tables and charts of out/bench/ into README's "How fast", between its markers. Charts go
 * to docs/bench/, for README shows them. What was measured in a hurry is refused: README says what a full run found.
 */

import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { repositoryRoot } from '../support/lab/paths.js';
import type { Machine } from './machine.js';
import { chapter, type Written, withChapter } from './readme_chapter.js';

const results = join(repositoryRoot, 'out', 'bench');
const charts = join(repositoryRoot, 'docs', 'bench');
const readme = join(repositoryRoot, 'README.md');

export function writeChapter(sections: readonly string[]): void {
  const written = sections.map(readSection);
  const hurried = written.filter(({ quick }) => quick).map(({ section }) => section);
  if (hurried.length > 0) throw new Error(`${hurried.join(', ')}: measured with --quick; run it in full first`);
  rmSync(charts, { recursive: true, force: true });
  mkdirSync(charts, { recursive: true });
  for (const file of readdirSync(results).filter((each) => each.endsWith('.svg'))) {
    copyFileSync(join(results, file), join(charts, file));
  }
  writeFileSync(readme, withChapter(readFileSync(readme, 'utf8'), chapter(written, 'docs/bench')));
}

function readSection(name: string): Written {
  const file = join(results, `${name}.json`);
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Written & { readonly machine: Machine };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new Error(`${file} is missing: run scripts/bench ${name} first`);
    }
    throw error;
  }
}
