/** A golden case through the real datapath: what record.ts writes and golden.test.ts compares. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';

import type { Config } from '../../src/config/model.js';
import type { NativeModule } from '../../src/datapath.js';
import type { ReplayVerdict } from '../../src/replay/batch.js';
import { type ReplaySummary, replayCapture } from '../../src/replay.js';
import { pcapFileHeader, pcapFrame } from '../../src/wire/pcap.js';
import { join } from '../support/packets.js';
import type { Case } from './network.js';

export interface GoldenRun {
  readonly output: Uint8Array;
  readonly verdicts: readonly string[];
  readonly summary: ReplaySummary;
}

/** A day in 2024: any would do, the same every time. */
const START_NS = 1_709_251_200_000_000_000n;

export function inputOf({ steps }: Case): Uint8Array {
  let now = START_NS;
  const frames = steps.map(({ frame, afterMs = 1 }) => {
    now += BigInt(afterMs) * 1_000_000n;
    return pcapFrame(now, frame);
  });
  return join(pcapFileHeader(), ...frames);
}

export async function runCase(native: NativeModule, config: Config, golden: Case): Promise<GoldenRun> {
  const folder = mkdtempSync(joinPath(tmpdir(), 'tandem-golden-'));
  try {
    const input = joinPath(folder, 'in.pcap');
    const output = joinPath(folder, 'out.pcap');
    writeFileSync(input, inputOf(golden));
    const verdicts: string[] = [];
    const role = golden.role ?? 'active';
    const onVerdict = (verdict: ReplayVerdict, released: boolean) => {
      if (released) verdicts[verdicts.length - 1] += `, ${verdictText(verdict)}`;
      else verdicts.push(verdictText(verdict));
    };
    const mtus = golden.mtus ?? {};
    const how = { config, unit: 'a', input, output, role, mtus, keepMac: true, onVerdict } as const;
    const summary = await replayCapture(native, how);
    return { output: readFileSync(output), verdicts, summary };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function verdictText(verdict: ReplayVerdict): string {
  switch (verdict.kind) {
    case 'forward':
      return `forward ${verdict.device}`;
    case 'punt':
    case 'hold':
      return verdict.kind;
    case 'drop':
      return `drop ${verdict.drop}`;
  }
}
