/**
 * Measures this machine: scripts/bench [SECTION...] [--quick] [--rounds N] [--json]
 *
 * Prints a Markdown table per section; writes out/bench/SECTION.json, .md and charts out/bench/SECTION-CHART.svg. With
 * --json the tables go to standard error and the last line of standard output is one object. `scripts/bench readme`
 * writes what out/bench/ holds into README.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { repositoryRoot } from '../support/lab/paths.js';
import { bulk } from './bulk.js';
import { channel } from './channel.js';
import { commit } from './commit.js';
import { crowdOf, type Standing, standAll } from './contenders.js';
import { engine } from './engine.js';
import { flood } from './flood.js';
import { Ground } from './ground.js';
import { latency } from './latency.js';
import { describeMachine } from './machine.js';
import { mirror } from './mirror.js';
import { writeChapter } from './readme.js';
import { markdown, svg } from './report.js';
import type { Effort, Place, Section, SectionResult } from './section.js';
import { summarize } from './summary.js';
import { tcp } from './tcp.js';
import { wire } from './wire.js';

const sections: readonly Section[] = [engine, flood, wire, latency, mirror, channel, commit, tcp, bulk];
/** A full run of all sections takes about a quarter of an hour. */
const rounds = { quick: 1, full: 5, fullMin: 5 } as const;
const directory = join(repositoryRoot, 'out', 'bench');

interface Command {
  readonly sections: readonly Section[];
  readonly effort: Effort;
  readonly json: boolean;
}

async function main(args: readonly string[]): Promise<void> {
  if (args[0] === 'readme') {
    return writeChapter(sections.map(({ name }) => name));
  }
  const command = parse(args);
  const machine = describeMachine();
  mkdirSync(directory, { recursive: true });
  const written: unknown[] = [];
  const ground = command.sections.some((section) => section.needsRoot) ? Ground.take() : null;
  try {
    const shared = new Shared(ground, command.effort);
    for (const section of command.sections) {
      const start = performance.now();
      if (section.forwards !== true) await shared.end();
      const result = section.needsRoot
        ? await section.run(command.effort, shared.place())
        : await section.run(command.effort);
      const record = recordOf(result);
      written.push(record);
      const head = { machine, quick: command.effort.quick, rounds: command.effort.rounds };
      writeFileSync(join(directory, `${section.name}.json`), `${JSON.stringify({ ...head, ...record }, null, 2)}\n`);
      for (const chart of result.charts) {
        writeFileSync(join(directory, `${section.name}-${chart.name}.svg`), svg(chart, result.rows));
      }
      const table = markdown(result, machine);
      writeFileSync(join(directory, `${section.name}.md`), table);
      (command.json ? process.stderr : process.stdout).write(`${table}\n`);
      process.stderr.write(`${section.name} took ${((performance.now() - start) / 1000).toFixed(0)} s\n`);
    }
    await shared.end();
  } finally {
    ground?.leave();
  }
  if (command.json) process.stdout.write(`${JSON.stringify({ machine, sections: written })}\n`);
}

/** What sections that forward frames have in common stands from the first of them to the last. */
class Shared {
  #standing: readonly Standing[] | null = null;
  readonly #ground: Ground | null;
  readonly #effort: Effort;

  constructor(ground: Ground | null, effort: Effort) {
    this.#ground = ground;
    this.#effort = effort;
  }

  place(): Place {
    const ground = this.#ground;
    if (ground === null) throw new Error('this section has no ground to stand on');
    return {
      ground,
      standing: async () => {
        this.#standing ??= await standAll(ground, crowdOf(this.#effort).count);
        return this.#standing;
      },
    };
  }

  async end(): Promise<void> {
    await Promise.all((this.#standing ?? []).map((each) => each.stop()));
    this.#standing = null;
  }
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
  const chosen = sections.filter((section) =>
    positionals.length === 0 ? section.onRequest !== true : positionals.includes(section.name),
  );
  if (process.geteuid?.() !== 0 && chosen.some((section) => section.needsRoot)) {
    throw new Error('this section needs root, for network namespaces and raw sockets');
  }
  const quick = values.quick === true;
  const count = values.rounds === undefined ? (quick ? rounds.quick : rounds.full) : Number(values.rounds);
  const least = quick ? 1 : rounds.fullMin;
  if (!Number.isInteger(count) || count < least) throw new Error(`--rounds takes a number from ${least} on`);
  return { sections: chosen, effort: { quick, rounds: count }, json: values.json === true };
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`scripts/bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
