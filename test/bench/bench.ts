/**
 * Measures this machine: scripts/bench [SECTION...] [--quick] [--rounds N] [--json]
 *
 * Prints a Markdown table per section; writes out/bench/SECTION.json and a chart out/bench/SECTION-CHART.svg. With
 * --json the tables go to standard error and the last line of standard output is one object.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { repositoryRoot } from '../support/lab/paths.js';
import { engine } from './engine.js';
import { flood } from './flood.js';
import { describeMachine } from './machine.js';
import { markdown, svg } from './report.js';
import type { Effort, Section, SectionResult } from './section.js';
import { summarize } from './summary.js';
import { wire } from './wire.js';

const sections: readonly Section[] = [engine, flood, wire];
const roundsMin = 5;
const directory = join(repositoryRoot, 'out', 'bench');

interface Command {
  readonly sections: readonly Section[];
  readonly effort: Effort;
  readonly json: boolean;
}

async function main(args: readonly string[]): Promise<void> {
  const command = parse(args);
  const machine = describeMachine();
  mkdirSync(directory, { recursive: true });
  const written: unknown[] = [];
  for (const section of command.sections) {
    const result = await section.run(command.effort);
    const record = recordOf(result);
    written.push(record);
    writeFileSync(join(directory, `${section.name}.json`), `${JSON.stringify({ machine, ...record }, null, 2)}\n`);
    for (const chart of result.charts) {
      writeFileSync(join(directory, `${section.name}-${chart.name}.svg`), svg(chart, result.rows));
    }
    const table = markdown(result, machine);
    writeFileSync(join(directory, `${section.name}.md`), table);
    (command.json ? process.stderr : process.stdout).write(`${table}\n`);
  }
  if (command.json) process.stdout.write(`${JSON.stringify({ machine, sections: written })}\n`);
}

function recordOf(result: SectionResult): object {
  return { ...result, rows: result.rows.map((row) => ({ ...row, ...summarize(row.samples) })) };
}

function parse(args: readonly string[]): Command {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { quick: { type: 'boolean' }, json: { type: 'boolean' }, rounds: { type: 'string' } },
  });
  const known = sections.map((section) => section.name);
  const unknown = positionals.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`no section is called ${unknown}; there are: ${known.join(', ')}`);
  const chosen = sections.filter((section) => positionals.length === 0 || positionals.includes(section.name));
  if (process.geteuid?.() !== 0 && chosen.some((section) => section.needsRoot)) {
    throw new Error('this section needs root, for network namespaces and raw sockets');
  }
  const quick = values.quick === true;
  const rounds = values.rounds === undefined ? (quick ? roundsMin : 9) : Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < roundsMin) throw new Error(`--rounds takes a number from ${roundsMin} on`);
  return { sections: chosen, effort: { quick, rounds }, json: values.json === true };
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`scripts/bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
