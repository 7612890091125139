/**
 * Goal: as golden.test.ts, for cases in which members change between two packets.
 * Method: each through the datapath with a new policy where the table says so; verdicts, checksums and every frame.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { loadConfig } from '../../src/config/load.js';
import { native } from '../../src/io/native.js';
import { checksumFaults } from '../support/checksums.js';
import { cases } from './cases.js';
import { changingCases } from './cases_members_change.js';
import { runChangingCase } from './changes.js';
import { inputOf } from './run.js';

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const loadedConfig = loadConfig(readFileSync(here('tandem.yaml'), 'utf8'), 'tandem.yaml');
if (!loadedConfig.ok) throw new Error(JSON.stringify(loadedConfig.errors, null, 2));
const { config } = loadedConfig;
const hex = (bytes: Uint8Array) =>
  Buffer.from(bytes)
    .toString('hex')
    .match(/.{1,32}/g) ?? [];

test.each(changingCases)('$name: $sentence', (golden) => {
  const { verdicts, output } = runChangingCase(native, config, golden);
  expect(verdicts).toEqual(golden.steps.map(({ verdict }) => verdict));
  expect(checksumFaults(output)).toEqual([]);
  expect(hex(inputOf(golden))).toEqual(hex(readFileSync(here(`frames/${golden.name}.in.pcap`))));
  expect(hex(output)).toEqual(hex(readFileSync(here(`frames/${golden.name}.out.pcap`))));
});

test('names are distinct from those of the cases in which nothing changes', () => {
  const names = [...cases, ...changingCases].map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});
