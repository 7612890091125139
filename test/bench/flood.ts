/** Section `flood`: what a flood of spoofed SYNs leaves of the goodput. The work is native/flood.cc's. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { repositoryRoot } from '../support/lab/paths.js';
import type { Effort, Row, Section, SectionResult } from './section.js';

const program = join(repositoryRoot, 'out', 'bench-native', 'flood');

interface Flood {
  /** Spoofed SYNs for each SYN that is meant. */
  readonly factor: number;
  readonly data: readonly number[];
  readonly handshakes: readonly number[];
  readonly ns: readonly number[];
  readonly flood_ns: readonly number[];
}

interface Report {
  readonly handshakes_per_s: number;
  readonly data_per_s: number;
  readonly connections: number;
  readonly established: number;
  readonly half_open: number;
  readonly floods: readonly Flood[];
}

export const flood: Section = { name: 'flood', needsRoot: false, run };

async function run(effort: Effort): Promise<SectionResult> {
  const args = ['--rounds', String(effort.rounds), '--ticks', effort.quick ? '250' : '1000'];
  const { stdout } = await promisify(execFile)(program, args);
  return resultOf(JSON.parse(stdout) as Report);
}

function resultOf(report: Report): SectionResult {
  const [without, ...floods] = report.floods;
  if (without === undefined || without.factor !== 0) throw new Error(`${program} measured nothing without a flood`);
  return {
    section: 'flood',
    title: 'SYN flood: what is left of the goodput',
    rows: [
      ...floods.flatMap((measured) => rowsOf(report, without, measured)),
      { name: 'a packet that is meant, without a flood', unit: 'ns', cores: 1, samples: without.ns },
    ],
    charts: [
      {
        name: 'handshakes',
        title: 'Handshakes completed under a SYN flood',
        unit: 'of those completed without it, more is better',
        rows: floods.map((measured) => `handshakes, ${rate(report, measured)}`),
      },
    ],
    notes: [
      `offered: ${report.handshakes_per_s} handshakes and ${report.data_per_s} data packets of ` +
        `${report.established} established connections each second of simulated time; clients' round trip 100 ms`,
      'the spoofed SYNs come each from another client, and the members answer them',
      `a table of ${report.connections} connections, of which ${report.half_open} may be half-open`,
      'ratios are of one round; with and without a flood take turns',
    ],
  };
}

function rowsOf(report: Report, without: Flood, measured: Flood): Row[] {
  const ratio = (figure: 'data' | 'handshakes' | 'ns') =>
    measured[figure].map((value, round) => value / (without[figure][round] ?? Number.NaN));
  const under = rate(report, measured);
  const bound = { better: 'higher', must: 0.99, aim: 1 } as const;
  return [
    { name: `handshakes, ${under}`, unit: '÷ without', cores: 1, samples: ratio('handshakes'), bound },
    { name: `data packets, ${under}`, unit: '÷ without', cores: 1, samples: ratio('data'), bound },
    { name: `time of a packet that is meant, ${under}`, unit: '÷ without', cores: 1, samples: ratio('ns') },
    { name: `a packet of the flood, ${under}`, unit: 'ns', cores: 1, samples: measured.flood_ns },
  ];
}

function rate(report: Report, { factor }: Flood): string {
  return `${(factor * report.handshakes_per_s).toLocaleString('en')} spoofed SYNs/s`;
}
