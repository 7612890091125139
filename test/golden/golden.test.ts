/**
 * Goal: what the datapath makes of a packet stays what it was when a person last looked at it.
 * Method: each case of cases.ts through `tandem replay`: the verdicts are the table's, the frames sent are those of
 * frames/NAME.out.pcap byte for byte (scripts/record-golden writes them). Apart from any recording, the checksums of
 * every frame sent are recomputed, and witness.ts works out from the frame that came what each must be.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from 'vitest';

import { loadConfig } from '../../src/config/load.js';
import { native } from '../../src/io/native.js';
import { topologyOf } from '../../src/replay/topology.js';
import { checksumFaults, framesOf } from '../support/checksums.js';
import { cases } from './cases.js';
import type { Case } from './network.js';
import { inputOf, runCase } from './run.js';
import { Witness } from './witness.js';

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const loadedConfig = loadConfig(readFileSync(here('tandem.yaml'), 'utf8'), 'tandem.yaml');
if (!loadedConfig.ok) throw new Error(JSON.stringify(loadedConfig.errors, null, 2));
const { config } = loadedConfig;

const casesMin = 200;

describe.each(cases)('$name: $sentence', (golden) => {
  test('verdicts and frames', async () => {
    const { verdicts, output, summary } = await runCase(native, config, golden);
    expect(verdicts).toEqual(golden.steps.map(({ verdict }) => verdict));
    expect(summary).toMatchObject({ accounted: true, damage: null, read: golden.steps.length });
    expect(checksumFaults(output)).toHaveLength(golden.wrongChecksums ?? 0);
    expect(hex(inputOf(golden))).toEqual(hex(readFileSync(here(`frames/${golden.name}.in.pcap`))));
    expect(hex(output)).toEqual(hex(readFileSync(here(`frames/${golden.name}.out.pcap`))));
  });
});

/** What the witness has against frames of the recording. */
function witnessed({ name, mtus = {}, steps }: Case): string[] {
  const witness = new Witness(topologyOf(config, 'a'), mtus);
  const sent = framesOf(readFileSync(here(`frames/${name}.out.pcap`)));
  return steps.flatMap(({ frame, verdict, reopens }, index) => {
    if (reopens === true) witness.forget(frame);
    const verdicts = verdict.split(', ');
    const forwarded = verdicts.filter((each) => each.startsWith('forward'));
    const faults = witness.explain(frame, verdicts, sent.splice(0, forwarded.length));
    return faults.map((fault) => `step ${index + 1}: ${fault}`);
  });
}

test.each(cases.filter(({ unwitnessed }) => unwitnessed === undefined))('$name as the witness has it', (golden) => {
  expect(witnessed(golden)).toEqual([]);
});

test(`there are at least ${casesMin} cases`, () => {
  expect(cases.length).toBeGreaterThanOrEqual(casesMin);
});

test('names of cases are distinct', () => {
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
});

/** Lines of 16 octets, so that a difference shows its place. */
function hex(bytes: Uint8Array): string[] {
  return (
    Buffer.from(bytes)
      .toString('hex')
      .match(/.{1,32}/g) ?? []
  );
}
