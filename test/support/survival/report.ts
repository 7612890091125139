/** Survival runs as Markdown and as charts. Pure. */

import type { Machine } from '../../bench/machine.js';
import { saidMachine, svg } from '../../bench/report.js';
import type { Row } from '../../bench/section.js';
import { faults } from './faults.js';
import { type Cell, type CellSummary, type Promised, promises, type Spread, summarize } from './summary.js';

/** As it stands in out/survival/MODE-FAULT-ADVERTS.json. */
export interface WrittenCell extends Cell {
  readonly machine: Machine;
  readonly quick: boolean;
  readonly newPerS: number;
}

export function nameOf({ mode, fault, advertIntervalMs }: Pick<Cell, 'mode' | 'fault' | 'advertIntervalMs'>): string {
  return `${mode}-${fault}-${advertIntervalMs}`;
}

const cellHead = [
  '| mode | fault | adverts | runs | established | survived | lost | SYN-ACKs, last 10 ms | RSTs | packets lost |',
  '|---|---|---:|---:|---:|---:|---:|---:|---:|---:|',
] as const;
const ageHead = [
  '| mode | fault | no ACK yet | ACK unanswered | < 1 ms | < 2 ms | < 10 ms | < 100 ms | older | oldest lost |',
  '|---|---|---:|---:|---:|---:|---:|---:|---:|---:|',
] as const;
const silenceHead = [
  '| mode | fault | adverts | median | p99 | worst | usual | TCP median | TCP worst |',
  '|---|---|---:|---:|---:|---:|---:|---:|---:|',
] as const;

export function tables(cells: readonly Cell[]): string[] {
  const sums = cells.map((cell) => ({ cell, sum: summarize(cell) }));
  return [
    ...cellHead,
    ...sums.map(({ cell, sum }) => row([...headCells(cell), ...countCells(sum)])),
    '',
    'Lost, of those established, by age at the instant of the fault:',
    '',
    ...ageHead,
    ...sums.map(({ cell, sum }) => row([cell.mode, titled(cell), ...ageCells(sum)])),
    '',
    'Silence of a stream that asks each millisecond; `usual` is its worst before the fault, TCP that of the kernel:',
    '',
    ...silenceHead,
    ...sums.map(({ cell, sum }) => row([...headCells(cell), ...silenceCells(sum)])),
    '',
  ];
}

export function promiseTable(cells: readonly Cell[]): string[] {
  const rows = promises(cells);
  const short = rows.filter(({ verdict }) => verdict !== 'must' && verdict !== 'aim');
  return [
    '| | must | aim | measured | |',
    '|---|---|---|---|---|',
    ...rows.map((each) => row([each.name, each.must, each.aim, each.measured, saidVerdict(each)])),
    '',
    short.length === 0
      ? 'Nothing that was promised falls short.'
      : `**Falls short, or is not shown yet:** ${short.map(({ name }) => name).join('; ')}.`,
    '',
  ];
}

/** README's chapter. `folder` holds the charts. */
export function chapter(cells: readonly WrittenCell[], folder: string): string {
  const repeated = cells.flatMap((cell) => cell.voids.map((why) => `${nameOf(cell)}: ${why}`));
  const [first] = cells;
  return [
    ...promiseTable(cells),
    `![Connections lost](${folder}/lost.svg)`,
    `![Silence](${folder}/silence.svg)`,
    '',
    `<details><summary>All ${cells.length} kinds of failover, and how</summary>`,
    '',
    ...tables(cells),
    ...[...new Set(cells.map((cell) => `* ${cell.connections} connections and ${cell.newPerS} new ones a second`))],
    repeated.length === 0
      ? '* No run was repeated.'
      : `* ${repeated.length} runs proved nothing and were repeated: ${[...new Set(repeated)].join('; ')}.`,
    ...(first === undefined ? [] : saidMachine(first.machine)),
    '',
    '</details>',
    '',
  ].join('\n');
}

/** Bars of what each run lost, and of how long it was silent. */
export function charts(cells: readonly Cell[]): { readonly name: 'lost' | 'silence'; readonly svg: string }[] {
  const rows = (unit: string, of: (run: Cell['runs'][number]) => number): Row[] =>
    cells.map((cell) => ({
      name: `${cell.mode}, ${titled(cell)}, ${cell.advertIntervalMs} ms`,
      unit,
      cores: 2,
      samples: cell.runs.map(of),
    }));
  const drawn = (name: 'lost' | 'silence', title: string, unit: string, all: readonly Row[]) => ({
    name,
    svg: svg({ name, title, unit, rows: all.map((each) => each.name) }, all),
  });
  const lost = rows('%', (run) => (100 * (run.established - run.survived)) / run.established);
  const silence = rows('ms', (run) => run.streamSilenceMs);
  return [
    drawn('lost', 'Established connections that a failover costs', '%', lost),
    drawn('silence', 'Silence of an established connection', 'ms', silence),
  ];
}

function headCells(cell: Cell): string[] {
  return [cell.mode, titled(cell), `${cell.advertIntervalMs} ms`];
}

function titled({ fault }: Pick<Cell, 'fault'>): string {
  return faults[fault].title;
}

function countCells(sum: CellSummary): (string | number)[] {
  const { runs, established, survived, lost, synAcksLast10Ms, rstsOfUnits, packetsLost } = sum;
  return [runs, established, survived, lost, synAcksLast10Ms, rstsOfUnits, packetsLost];
}

function ageCells(sum: CellSummary): string[] {
  const { notAcked, unanswered, below1Ms, below2Ms, below10Ms, below100Ms, older } = sum.ages;
  const ages = [notAcked, unanswered, below1Ms, below2Ms, below10Ms, below100Ms, older];
  return [
    ...ages.map(({ established, lost }) => `${lost} of ${established}`),
    sum.oldestLostMs === 0 ? 'none' : `${sum.oldestLostMs.toFixed(1)} ms`,
  ];
}

function silenceCells({ silence, usualSilenceMs, kernelSilence }: CellSummary): string[] {
  const felt: readonly (keyof Spread)[] = ['median', 'worst'];
  return [
    ...[silence.median, silence.p99, silence.worst, usualSilenceMs].map((ms) => `${ms.toFixed(0)} ms`),
    ...felt.map((name) => (kernelSilence === null ? 'hung' : `${kernelSilence[name].toFixed(0)} ms`)),
  ];
}

function saidVerdict({ verdict }: Promised): string {
  return { must: 'met', aim: 'aim met', 'falls short': 'falls short' }[verdict as string] ?? verdict;
}

function row(cells: readonly (string | number)[]): string {
  return `| ${cells.join(' | ')} |`;
}
