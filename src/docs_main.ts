/**
 * Writes what is written from the program itself: docs/config.md and docs/tandem.schema.json from the config's schema,
 * docs/tandem.1 from the command line. `scripts/docs` runs it; with --check it only says what is out of date.
 */

import { readFileSync, writeFileSync } from 'node:fs';

import { buildCli } from './cli/app.js';
import { manPage } from './cli/man_page.js';
import { configReference } from './config/reference.js';
import { configJsonSchema } from './config/schema.js';

const root = new URL('../', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, root), 'utf8');
const { version } = JSON.parse(read('package.json')) as { version: string };

const written: Readonly<Record<string, string>> = {
  'docs/config.md': configReference(configJsonSchema()),
  'docs/tandem.schema.json': `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
  'docs/tandem.1': manPage(buildCli(version), version),
};

const stale = Object.entries(written).filter(([file, text]) => textOf(file) !== text);
const check = process.argv.includes('--check');
for (const [file, text] of stale) {
  if (check) process.stderr.write(`${file} is out of date; run scripts/docs\n`);
  else {
    writeFileSync(new URL(file, root), text);
    process.stdout.write(`wrote ${file}\n`);
  }
}
if (check && stale.length > 0) process.exitCode = 1;

function textOf(file: string): string | null {
  try {
    return read(file);
  } catch {
    return null;
  }
}
