/**
 * `scripts/survival`: opens many connections through a pair, hits the active unit, sends data on every connection and
 * counts what comes back, fault by fault and mode by mode. Prints tables; writes out/survival/*.json and charts.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { describeMachine } from '../../bench/machine.js';
import { Lab, whyNoLab } from '../lab/lab.js';
import { defaultAdvertIntervalMs } from '../lab/pair_config.js';
import { type FaultName, faultNames, faults } from './faults.js';
import { type ModeName, modeNames, modes } from './modes.js';
import { readCells, results, writeChapter } from './readme.js';
import { charts, nameOf, promiseTable, tables, type WrittenCell } from './report.js';
import { playRun, type RunResult } from './run.js';
import { type Stage, setStage } from './stage.js';
import { type Cell, whyVoid } from './summary.js';

const usage = `usage: scripts/survival [readme] [--mode MODE]... [--fault FAULT]... [--runs N] [--connections N]
                        [--adverts MS] [--quick] [--json]
  readme             write what out/survival/ holds into README, and nothing else
  --mode MODE        of ${modeNames.join(', ')}; default: all
  --fault FAULT      of ${faultNames.join(', ')}; default: all
  --runs N           that count, of each mode and fault; default 3
  --connections N    open at the fault, beside the new ones; default 100000, at most 1000000
  --adverts MS       interval of the adverts; default ${defaultAdvertIntervalMs}, and 10 for the links fault as well
  --quick            one run of kill and links with 10000 connections: whether it works, not what it costs
  --json             the tables go to standard error, one JSON object is the last line of standard output`;

/** In each run, beside those that are opened before the fault. */
const newPerS = 5_000;
/** Until the last answer of a run: so many new ones at most. */
const runS = 60;
const fast = { openPerS: 15_000, newPerS, probesPerS: 2_000, verifyPerS: 25_000, kernelConnections: 200 } as const;
/** Runs that prove nothing are played again, this many for one mode and fault. */
const voidsMax = 10;

process.exit(await mainOrMessage());

async function mainOrMessage(): Promise<number> {
  try {
    return await main();
  } catch (error) {
    console.error(`scripts/survival: ${(error as Error).message}`);
    return 1;
  }
}

async function main(): Promise<number> {
  const options = readOptions();
  if (options === null) {
    console.error(usage);
    return 2;
  }
  if (options.readme) {
    writeChapter();
    return 0;
  }
  const why = whyNoLab();
  if (why !== null) throw new Error(why);
  endGracefully();
  mkdirSync(results, { recursive: true });
  const cells: WrittenCell[] = [];
  for (const scene of scenes(options)) cells.push(...(await playScene(scene, options)));
  for (const chart of charts(readCells())) writeFileSync(join(results, `${chart.name}.svg`), chart.svg);
  const text = [...promiseTable(cells), ...tables(cells)].join('\n');
  (options.json ? process.stderr : process.stdout).write(`${text}\n`);
  if (options.json) console.log(JSON.stringify({ machine: describeMachine(), cells }));
  return 0;
}

/** What one pair plays, from its start to its end. */
interface Scene {
  readonly mode: ModeName;
  readonly advertIntervalMs: number;
  readonly faults: readonly FaultName[];
}

function scenes({ modes: chosen, faults: wanted, advertIntervalMs }: Options): Scene[] {
  return chosen.flatMap((mode) => {
    const usual = { mode, advertIntervalMs: advertIntervalMs ?? defaultAdvertIntervalMs, faults: wanted };
    if (advertIntervalMs !== null || !wanted.includes('links') || mode === 'off') return [usual];
    return [usual, { mode, advertIntervalMs: 10, faults: ['links'] as const }];
  });
}

async function playScene(scene: Scene, options: Options): Promise<WrittenCell[]> {
  const lab = Lab.up('survival');
  try {
    const stage = await setStage(lab, {
      ...modes[scene.mode],
      advertIntervalMs: scene.advertIntervalMs,
      connections: options.connections,
      more: newPerS * runS,
    });
    const machine = describeMachine();
    const cells: WrittenCell[] = [];
    const numbers = { next: 1 };
    for (const fault of scene.faults) {
      const played = await playFault(stage, fault, options.runs, numbers, progressOf(scene, fault));
      const cell: Cell = { ...scene, fault, connections: options.connections, ...played };
      const { mode, advertIntervalMs, connections, runs, voids } = cell;
      const written = {
        mode,
        fault,
        advertIntervalMs,
        connections,
        newPerS,
        machine,
        quick: options.quick,
        runs,
        voids,
      };
      writeFileSync(join(results, `${nameOf(written)}.json`), `${JSON.stringify(written, null, 1)}\n`);
      cells.push(written);
    }
    return cells;
  } finally {
    lab.down();
  }
}

async function playFault(
  stage: Stage,
  fault: FaultName,
  wanted: number,
  numbers: { next: number },
  progress: (what: string) => void,
): Promise<Pick<Cell, 'runs' | 'voids'>> {
  const runs: RunResult[] = [];
  const voids: string[] = [];
  while (runs.length < wanted) {
    const run = await playRun(stage, { ...fast, fault, number: numbers.next++ });
    const why = whyVoid(run, faults[fault].takeover);
    progress(saidRun(run, why));
    if (why === null) runs.push(run);
    else voids.push(why);
    if (voids.length > voidsMax) throw new Error(`${fault}: ${voids.length} runs proved nothing: ${why}`);
  }
  return { runs, voids };
}

function progressOf(scene: Scene, fault: FaultName): (what: string) => void {
  return (what) => console.error(`${nameOf({ ...scene, fault })}: ${what}`);
}

function saidRun(run: RunResult, why: string | null): string {
  const { established, survived, oldestLostMs, streamSilenceMs, rstsOfUnits, tookS } = run;
  return [
    ...(why === null ? [] : [`REPEATED (${why})`]),
    `${established - survived} lost of ${established}`,
    ...(oldestLostMs > 0 ? [`the oldest ${oldestLostMs.toFixed(1)} ms old`] : []),
    `silent for ${streamSilenceMs.toFixed(0)} ms`,
    `${rstsOfUnits} RSTs`,
    `took ${tookS.toFixed(0)} s`,
  ].join(', ');
}

interface Options {
  readonly readme: boolean;
  readonly modes: readonly ModeName[];
  readonly faults: readonly FaultName[];
  readonly runs: number;
  readonly connections: number;
  readonly advertIntervalMs: number | null;
  readonly quick: boolean;
  readonly json: boolean;
}

/** Null when the command line makes no sense. */
function readOptions(): Options | null {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        mode: { type: 'string', multiple: true, default: [] },
        fault: { type: 'string', multiple: true, default: [] },
        runs: { type: 'string' },
        connections: { type: 'string' },
        adverts: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    });
    const usualFaults: readonly FaultName[] = values.quick ? ['kill', 'links'] : faultNames;
    const options: Options = {
      readme: positionals[0] === 'readme',
      modes: modeNames.filter((name) => values.mode.length === 0 || values.mode.includes(name)),
      faults: values.fault.length === 0 ? usualFaults : faultNames.filter((name) => values.fault.includes(name)),
      runs: Number(values.runs ?? (values.quick ? 1 : 3)),
      connections: Number(values.connections ?? (values.quick ? 10_000 : 100_000)),
      advertIntervalMs: values.adverts === undefined ? null : Number(values.adverts),
      quick: values.quick,
      json: values.json,
    };
    const within = (value: number, least: number, most: number) =>
      Number.isInteger(value) && value >= least && value <= most;
    const makesSense =
      positionals.length <= (options.readme ? 1 : 0) &&
      values.mode.every((name) => name in modes) &&
      values.fault.every((name) => name in faults) &&
      within(options.runs, 1, 1_000) &&
      within(options.connections, 100, 1_000_000) &&
      within(options.advertIntervalMs ?? 10, 10, 40_000);
    return makesSense ? options : null;
  } catch {
    return null;
  }
}

/** Takes the lab along. After SIGKILL the next run, or `scripts/lab down survival`, removes what the journal lists. */
function endGracefully(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      Lab.attach('survival').down();
      process.exit(130);
    });
  }
}
