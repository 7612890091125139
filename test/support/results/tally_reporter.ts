/**
 * A vitest reporter that writes what `scripts/test` sums up: `N passed, N failed, N skipped`, and one line for each
 * skipped test with its reason. A file that could not be loaded counts as a failed test.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

const directory = 'out/test';

export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandledErrors.length;
    const skipped: string[] = [];
    for (const module of modules) {
      const project = module.project.name;
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'passed') passed++;
        else if (result.state === 'failed') failed++;
        else skipped.push(`skipped ${project}: ${test.fullName}: ${reason(result)}`);
      }
      for (const suite of module.children.allSuites()) failed += suite.errors().length;
    }
    mkdirSync(directory, { recursive: true });
    writeFileSync(`${directory}/skipped.txt`, skipped.map((line) => `${line}\n`).join(''));
    writeFileSync(`${directory}/tally.txt`, `${passed} passed, ${failed} failed, ${skipped.length} skipped\n`);
  }
}

function reason(result: { readonly state: string }): string {
  const note = 'note' in result && typeof result.note === 'string' ? result.note : '';
  return note === '' ? 'no reason given' : note;
}
