/**
 * `scripts/demo`: two balancers, a virtual server with a pool, a connection through it, then the active one fails.
 * What happens to the connection? Four runs tell it, and the command fails if one of them tells another story.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { waysToGoOn } from '../lab/go_on.js';
import { Lab, whyNoLab } from '../lab/lab.js';
import { repositoryRoot } from '../lab/paths.js';
import { type Chapter, play, type RunResult } from './story.js';
import { resultTable, silenceTable } from './table.js';
import { timeline } from './timeline.js';
import { faults } from './verdict.js';

const usage = `usage: scripts/demo [--json] [--keep] [--only MIRROR-FAULT]... [--runs N]
  --json               print one JSON object as the last line
  --keep               mend the last run's lab, leave it up, and say how to go on with it
  --only async-kill    of off-kill, off-links, async-kill, async-links: only this one (may be given more than once)
  --runs N             play each N times and print the median and the worst silence`;

const chapters: readonly Chapter[] = [
  { mirror: 'off', fault: 'kill' },
  { mirror: 'off', fault: 'links' },
  { mirror: 'async', fault: 'kill' },
  { mirror: 'async', fault: 'links' },
];

// Servers that are kept must not hold this process.
process.exit(await mainOrMessage());

async function mainOrMessage(): Promise<number> {
  try {
    return await main();
  } catch (error) {
    console.error(`scripts/demo: ${(error as Error).message}`);
    return 1;
  }
}

async function main(): Promise<number> {
  const options = readOptions();
  if (options === null) {
    console.error(usage);
    return 2;
  }
  const why = whyNoLab();
  if (why !== null) {
    console.error(`scripts/demo: ${why}`);
    return 1;
  }
  endGracefully();
  const plays = Array.from({ length: options.runs }, () => options.chapters).flat();
  const results: RunResult[] = [];
  const failures: string[] = [];
  for (const [index, chapter] of plays.entries()) {
    const name = `${chapter.mirror}-${chapter.fault}`;
    const directory = join(
      repositoryRoot,
      'out',
      'demo',
      options.runs === 1 ? name : `${name}-${Math.floor(index / options.chapters.length) + 1}`,
    );
    const faultText = chapter.fault === 'kill' ? 'unit killed' : 'links cut';
    const label = `[${index + 1}/${plays.length}] mirroring ${chapter.mirror}, ${faultText}`;
    const progress = (what: string) => console.log(`${label}: ${what}`);
    const result = await playInLab(chapter, directory, progress, options.keep && index === plays.length - 1);
    writeFileSync(join(directory, 'timeline.svg'), timeline(result));
    const found = faults(result);
    progress(`stream ${result.stream}, download ${result.download}${found.length > 0 ? ' — NOT as it must be' : ''}`);
    failures.push(...found.map((sentence) => `${name}: ${sentence}`));
    results.push(result);
  }
  report(results, failures, options);
  return failures.length > 0 ? 1 : 0;
}

async function playInLab(
  chapter: Chapter,
  directory: string,
  progress: (what: string) => void,
  keep: boolean,
): Promise<RunResult> {
  progress('making the lab');
  const lab = Lab.up('demo', directory);
  try {
    return await play(lab, { ...chapter, progress, keep });
  } finally {
    if (keep) lab.release();
    else lab.down();
  }
}

function report(results: readonly RunResult[], failures: readonly string[], options: Options): void {
  const advertIntervalMs = results[0]?.advertIntervalMs ?? 0;
  console.log(`\n${resultTable(results)}\n`);
  if (options.runs > 1) console.log(`${silenceTable(results)}\n`);
  console.log(
    `Silence: the longest gap around the fault; adverts every ${advertIntervalMs} ms, takeover after three are missed.`,
  );
  console.log(`Timelines: ${join('out', 'demo', '*', 'timeline.svg')}`);
  for (const failure of failures) console.log(`FAILED  ${failure}`);
  if (failures.length === 0)
    console.log('As it must be: without mirroring the connection hangs, with it the connection goes on.');
  if (options.keep) {
    console.log(`\nThe lab is up, unit a active again.\n${waysToGoOn(Lab.attach('demo'), 'demo')}`);
  }
  const runs = results.map(({ streams: _streams, faultAtMs: _faultAtMs, ...rest }) => rest);
  const summary = JSON.stringify({ runs, failures });
  mkdirSync(join(repositoryRoot, 'out', 'demo'), { recursive: true });
  writeFileSync(join(repositoryRoot, 'out', 'demo', 'summary.json'), `${summary}\n`);
  if (options.json) console.log(summary);
}

interface Options {
  readonly json: boolean;
  readonly keep: boolean;
  readonly runs: number;
  readonly chapters: readonly Chapter[];
}

/** Null when the command line makes no sense. */
function readOptions(): Options | null {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true, default: [] },
        runs: { type: 'string', default: '1' },
      },
    });
    const runs = Number(values.runs);
    const wanted = values.only.length === 0 ? chapters.map((each) => `${each.mirror}-${each.fault}`) : values.only;
    const chosen = chapters.filter((each) => wanted.includes(`${each.mirror}-${each.fault}`));
    if (chosen.length !== new Set(wanted).size || !Number.isInteger(runs) || runs < 1 || runs > 1_000) return null;
    return { json: values.json, keep: values.keep, runs, chapters: chosen };
  } catch {
    return null;
  }
}

/** Takes the lab along. After SIGKILL the next run, or `scripts/lab down demo`, removes what the journal lists. */
function endGracefully(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      Lab.attach('demo').down();
      process.exit(130);
    });
  }
}
