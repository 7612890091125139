/** What several runs of one fault in one mode add up to, and which promises that keeps. Pure. */

import { type AgeName, ageNames } from './far_ends.js';
import type { FaultName } from './faults.js';
import type { ModeName } from './modes.js';
import type { RunResult } from './run.js';

/** Fewer SYN-ACKs in the last 10 ms before a fault prove nothing. */
export const synAcksMin = 20;

/** Why a run says nothing and is played again; null: it counts. */
export function whyVoid(
  run: RunResult,
  takeover: 'after a silence' | 'announced' | 'none',
  synAcksAtLeast = synAcksMin,
): string | null {
  if (run.falseFailover) return 'the pair changed roles before the fault';
  if (run.synAcksLast10Ms < synAcksAtLeast) return `only ${run.synAcksLast10Ms} SYN-ACKs in the last 10 ms`;
  if (takeover === 'after a silence' && run.instantBy === 'command') return 'the instant of the fault was not seen';
  return null;
}

export interface Cell {
  readonly mode: ModeName;
  readonly fault: FaultName;
  readonly advertIntervalMs: number;
  /** Opened before the fault, the new ones not counted. */
  readonly connections: number;
  readonly runs: readonly RunResult[];
  /** Why others were played again. */
  readonly voids: readonly string[];
}

export interface Spread {
  readonly median: number;
  readonly p99: number;
  readonly worst: number;
}

export interface CellSummary {
  readonly runs: number;
  readonly established: number;
  readonly survived: number;
  readonly lost: number;
  readonly ages: Readonly<Record<AgeName, { readonly established: number; readonly lost: number }>>;
  readonly oldestLostMs: number;
  /** Of the run with the fewest. */
  readonly synAcksLast10Ms: number;
  readonly rstsOfUnits: number;
  readonly rstsOfMembers: number;
  readonly silence: Spread;
  readonly usualSilenceMs: number;
  /** Of TCP, in runs where it spoke again. */
  readonly kernelSilence: Spread | null;
  readonly kernelLost: number;
  /** Messages that were sent once and not answered. */
  readonly packetsLost: number;
  readonly packets: number;
  readonly tookS: number;
}

/** Nearest rank. Of at least one value. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((left, right) => left - right);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
  return { median: at(0.5), p99: at(0.99), worst: at(1) };
}

export function summarize({ runs }: Cell): CellSummary {
  const sum = (of: (run: RunResult) => number) => runs.reduce((total, run) => total + of(run), 0);
  const felt = runs.map(({ kernel }) => kernel.silenceMs).filter((ms) => ms !== null);
  const age = (name: AgeName) => ({
    established: sum((run) => run.ages[name].established),
    lost: sum((run) => run.ages[name].lost),
  });
  return {
    runs: runs.length,
    established: sum((run) => run.established),
    survived: sum((run) => run.survived),
    lost: sum((run) => run.established - run.survived),
    ages: Object.fromEntries(ageNames.map((name) => [name, age(name)])) as CellSummary['ages'],
    oldestLostMs: Math.max(...runs.map((run) => run.oldestLostMs)),
    synAcksLast10Ms: Math.min(...runs.map((run) => run.synAcksLast10Ms)),
    rstsOfUnits: sum((run) => run.rstsOfUnits + run.rstsToMembers),
    rstsOfMembers: sum((run) => run.rstsOfMembers),
    silence: spread(runs.map((run) => run.streamSilenceMs)),
    usualSilenceMs: Math.max(...runs.map((run) => run.usualSilenceMs)),
    kernelSilence: felt.length === 0 ? null : spread(felt),
    kernelLost: sum(({ kernel }) => kernel.of - kernel.survived),
    packetsLost: sum((run) => run.probesLost + run.streamLost),
    packets: sum((run) => run.probes),
    tookS: sum((run) => run.tookS) / runs.length,
  };
}

export interface Promised {
  readonly name: string;
  readonly must: string;
  readonly aim: string;
  readonly measured: string;
  readonly verdict: 'falls short' | 'must' | 'aim' | 'too few runs' | 'not measured';
}

const runsMust = 20;
const runsAim = 100;
const connectionsAim = 1_000_000;

/** Every figure that was asked for, beside what these cells say of it. */
export function promises(cells: readonly Cell[]): Promised[] {
  const of = (mode: ModeName, fault?: FaultName, advertIntervalMs?: number) =>
    cells
      .filter((cell) => cell.mode === mode && (fault === undefined || cell.fault === fault))
      .filter((cell) => advertIntervalMs === undefined || cell.advertIntervalMs === advertIntervalMs)
      .filter((cell) => cell.runs.length > 0);
  return [
    committed(of('commit')),
    older(of('async', 'links')),
    resets([...of('async'), ...of('commit')]),
    silent('silence, daemon killed', [...of('async', 'kill'), ...of('commit', 'kill')], 100, 300, 30),
    silent(
      'silence, links cut, 10 ms adverts',
      [...of('async', 'links', 10), ...of('commit', 'links', 10)],
      150,
      null,
      50,
    ),
    handedOver([...of('async', 'handover'), ...of('commit', 'handover')]),
    controlled(of('hasty')),
  ];
}

const unmeasured = { measured: '', verdict: 'not measured' } as const;

function committed(cells: readonly Cell[]): Promised {
  const asked = {
    name: 'commit: connections lost of those whose SYN-ACK arrived',
    must: `0 in ${runsMust} runs`,
    aim: `0 in ${runsAim} runs, ${connectionsAim} connections`,
  };
  if (cells.length === 0) return { ...asked, ...unmeasured };
  const sums = cells.map(summarize);
  const lost = sums.reduce((total, { lost: of }) => total + of, 0);
  const runs = sums.reduce((total, { runs: of }) => total + of, 0);
  const most = Math.max(...cells.map(({ connections }) => connections));
  const all = sums.reduce((total, { established }) => total + established, 0);
  const reached = runs >= runsAim && most >= connectionsAim ? 'aim' : runs >= runsMust ? 'must' : 'too few runs';
  return {
    ...asked,
    measured: `${lost} of ${all} in ${runs} runs, ${most} connections`,
    verdict: lost > 0 ? 'falls short' : reached,
  };
}

function older(cells: readonly Cell[]): Promised {
  const asked = {
    name: 'async, links cut: lost among connections older than 10 ms',
    must: '0',
    aim: '0 older than 2 ms',
  };
  if (cells.length === 0) return { ...asked, ...unmeasured };
  const ages = cells.map((cell) => summarize(cell).ages);
  const lost = (...names: AgeName[]) =>
    ages.reduce((total, age) => total + names.reduce((sum, name) => sum + age[name].lost, 0), 0);
  const older10 = lost('below100Ms', 'older');
  const older2 = lost('below10Ms') + older10;
  return {
    ...asked,
    measured: `${older10} older than 10 ms, ${older2} older than 2 ms`,
    verdict: older10 > 0 ? 'falls short' : older2 > 0 ? 'must' : 'aim',
  };
}

function resets(cells: readonly Cell[]): Promised {
  const asked = { name: 'RSTs sent by the units (mirrored virtual servers)', must: '0', aim: '0' };
  if (cells.length === 0) return { ...asked, ...unmeasured };
  const sent = cells.map(summarize).reduce((total, { rstsOfUnits }) => total + rstsOfUnits, 0);
  return { ...asked, measured: String(sent), verdict: sent > 0 ? 'falls short' : 'aim' };
}

function silent(
  name: string,
  cells: readonly Cell[],
  medianMs: number,
  worstMs: number | null,
  aimMs: number,
): Promised {
  const asked = {
    name,
    must: `≤ ${medianMs} ms median${worstMs === null ? '' : `, ≤ ${worstMs} ms worst`}`,
    aim: `≤ ${aimMs} ms median`,
  };
  if (cells.length === 0) return { ...asked, ...unmeasured };
  const { median, worst } = spread(cells.flatMap(({ runs }) => runs.map((run) => run.streamSilenceMs)));
  const met = median <= medianMs && worst <= (worstMs ?? Number.POSITIVE_INFINITY);
  return {
    ...asked,
    measured: `${median.toFixed(0)} ms median, ${worst.toFixed(0)} ms worst`,
    verdict: met ? (median <= aimMs ? 'aim' : 'must') : 'falls short',
  };
}

function handedOver(cells: readonly Cell[]): Promised {
  const asked = {
    name: 'planned hand-over: packets of established connections lost',
    must: '0',
    aim: 'the same at full load',
  };
  if (cells.length === 0) return { ...asked, ...unmeasured };
  const sums = cells.map(summarize);
  const packets = sums.reduce((total, { packetsLost }) => total + packetsLost, 0);
  const connections = sums.reduce((total, { lost }) => total + lost, 0);
  return {
    ...asked,
    measured: `${packets} packets, ${connections} connections`,
    verdict: packets + connections > 0 ? 'falls short' : 'must',
  };
}

function controlled(cells: readonly Cell[]): Promised {
  const asked = { name: 'control: commit that does not wait for the ack', must: 'loses some', aim: '' };
  if (cells.length === 0) return { ...asked, ...unmeasured };
  const lost = cells.map(summarize).reduce((total, { lost: of }) => total + of, 0);
  return { ...asked, measured: `${lost} lost`, verdict: lost > 0 ? 'must' : 'falls short' };
}
