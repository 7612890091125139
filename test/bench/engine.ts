/** Section `engine`: what a packet costs in the datapath's engine, devices aside. Native programs do the work. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { repositoryRoot } from '../support/lab/paths.js';
import type { Bound, Effort, Row, Section, SectionResult } from './section.js';

const program = join(repositoryRoot, 'out', 'bench-native', 'engine');
const swapProgram = join(repositoryRoot, 'out', 'bench-native', 'policy_swap');
const sizesOf = ({ quick }: Effort): readonly number[] => (quick ? [1000, 1_000_000] : [1000, 1_000_000, 10_000_000]);
const sizeNames: Readonly<Record<number, string>> = { 1000: '1 k', 1000000: '1 M', 10000000: '10 M' };
const packetBounds: Readonly<Record<number, Bound>> = {
  1000000: { better: 'lower', must: 45, aim: 32 },
  10000000: { better: 'lower', must: 60, aim: 45 },
};

/** One line that the program prints. */
type Line =
  | { readonly what: 'memory'; readonly connections: number; readonly bytes: number }
  | { readonly what: 'ready'; readonly clock_ns: number }
  | {
      readonly what: 'packet' | 'sweep' | 'takeover' | 'open' | 'expire';
      readonly round: number;
      readonly connections: number;
      readonly ns: number;
    };

/** One line of the other program: the policy of 1,000 virtual servers, each with a Maglev pool of 10 members. */
interface SwapLine {
  readonly round: number;
  readonly what: 'seal_first' | 'seal_one_changed' | 'swap' | 'worker_quiet' | 'worker_swapping';
  readonly us: number;
}

export const engine: Section = { name: 'engine', needsRoot: false, run };

async function run(effort: Effort): Promise<SectionResult> {
  const work = effort.quick
    ? ['--packets', '500000', '--opened', '100000']
    : ['--packets', '4000000', '--opened', '1000000'];
  const args = ['--sizes', sizesOf(effort).join(','), '--rounds', String(effort.rounds), ...work];
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 1 << 24 });
  const swaps = await promisify(execFile)(swapProgram, ['--rounds', String(effort.rounds)]);
  return resultOf(sizesOf(effort), parseLines<Line>(stdout), parseLines<SwapLine>(swaps.stdout));
}

function parseLines<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

function resultOf(sizes: readonly number[], lines: readonly Line[], swaps: readonly SwapLine[]): SectionResult {
  const rows = [
    ...sizes.map((size) => timed(lines, 'packet', size, `packet, ${sizeNames[size]} connections`, packetBounds[size])),
    memoryRow(lines),
    ...openingRows(lines),
    ...sizes.map((size) => takeoverRow(lines, size)),
    timed(lines, 'sweep', Math.max(...sizes), 'sweep, per slot, nothing to expire', undefined),
    swapped(swaps, 'swap', 'policy of 1,000 virtual servers: swap', { better: 'lower', must: 1000, aim: 1000 }),
    swapped(swaps, 'worker_swapping', 'the same: what a worker waits, 99.9 % of bursts less', undefined),
    swapped(swaps, 'seal_one_changed', 'the same: its tables made when one member changed', undefined),
    swapped(swaps, 'seal_first', 'the same: its tables made from nothing', undefined),
  ];
  const clock = lines.find((line) => line.what === 'ready')?.clock_ns ?? 0;
  return {
    section: 'engine',
    title: 'Engine: one thread, no device',
    rows,
    charts: [
      {
        name: 'packet',
        title: 'Cost of a 64-byte packet, NAT and SNAT',
        unit: 'ns, less is better',
        rows: sizes.map((size) => `packet, ${sizeNames[size]} connections`),
      },
    ],
    notes: [
      'TCP data packets of 64 bytes, NAT and SNAT, connection and direction random for each packet; bursts of 64',
      'the clock runs in forward_burst() only, not while the generator writes frames',
      `reading it costs ${clock.toFixed(1)} ns of each figure`,
      'a round gives the median over chunks of 128 bursts; table sizes take turns within a round',
      'policy: Maglev pools of 10 members; tables are made off the workers, and one store swaps them',
      'takeover: a role is one store; 64 packets of random connections, which nothing has touched since',
      'open: a SYN, with scheduling, a SNAT port and both index entries',
    ],
  };
}

/** Nothing is loaded or committed at a takeover, so it takes as long with few connections as with many. */
function takeoverRow(lines: readonly Line[], size: number): Row {
  const name = `takeover, ${sizeNames[size]} connections: from the role to a burst forwarded`;
  const { samples, ...row } = timed(lines, 'takeover', size, name, { better: 'lower', must: 10_000, aim: 10_000 });
  return { ...row, unit: 'µs', samples: samples.map((ns) => ns / 1000) };
}

function openingRows(lines: readonly Line[]): Row[] {
  const opened = lines.find((line) => line.what === 'open');
  const connections = opened?.what === 'open' ? opened.connections : 0;
  return [
    timed(lines, 'open', connections, 'open a connection', undefined),
    timed(lines, 'expire', connections, 'expire a connection', undefined),
  ];
}

function timed(
  lines: readonly Line[],
  what: Exclude<Line['what'], 'memory' | 'ready'>,
  connections: number,
  name: string,
  bound: Bound | undefined,
): Row {
  const samples = lines.flatMap((line) => (line.what === what && line.connections === connections ? [line.ns] : []));
  if (samples.length === 0) throw new Error(`${program} measured no "${what}" at ${connections} connections`);
  return { name, unit: 'ns', cores: 1, samples, ...(bound === undefined ? {} : { bound }) };
}

function swapped(lines: readonly SwapLine[], what: SwapLine['what'], name: string, bound: Bound | undefined): Row {
  const samples = lines.flatMap((line) => (line.what === what ? [line.us] : []));
  if (samples.length === 0) throw new Error(`${swapProgram} measured no "${what}"`);
  return {
    name,
    unit: 'µs',
    cores: what === 'worker_swapping' ? 2 : 1,
    samples,
    ...(bound === undefined ? {} : { bound }),
  };
}

function memoryRow(lines: readonly Line[]): Row {
  const largest = lines.findLast((line) => line.what === 'memory');
  if (largest === undefined) throw new Error(`${program} said nothing of its memory`);
  return {
    name: 'memory per IPv4 connection, index included',
    unit: 'bytes',
    cores: 1,
    samples: [largest.bytes],
    bound: { better: 'lower', must: 112, aim: 96 },
  };
}
