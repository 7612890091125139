/** scripts/record-golden: writes frames/NAME.in.pcap and frames/NAME.out.pcap of every case, or of those named. */

import { readFileSync, writeFileSync } from 'node:fs';

import { loadConfig } from '../../src/config/load.js';
import { native } from '../../src/io/native.js';
import { cases as fixedCases } from './cases.js';
import { changingCases } from './cases_members_change.js';
import { runChangingCase } from './changes.js';
import { inputOf, runCase } from './run.js';

const cases = [...fixedCases, ...changingCases];
const [folder, ...names] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: record FOLDER [NAME...]');
const unknown = names.filter((name) => !cases.some((golden) => golden.name === name));
if (unknown.length > 0) throw new Error(`no such case: ${unknown.join(', ')}`);
const result = loadConfig(readFileSync(`${folder}/tandem.yaml`, 'utf8'), 'tandem.yaml');
if (!result.ok) throw new Error(JSON.stringify(result.errors, null, 2));

let wrong = 0;
for (const golden of cases.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const changes = changingCases.includes(golden);
  const { output, verdicts } = changes
    ? runChangingCase(native, result.config, golden)
    : await runCase(native, result.config, golden);
  const differing = golden.steps.flatMap(({ verdict }, index) =>
    verdicts[index] === verdict ? [] : [`  step ${index + 1}: ${verdicts[index]}, the table says ${verdict}`],
  );
  // What the table does not say is not recorded: the table is what a person has looked at.
  if (differing.length > 0) {
    wrong++;
    console.error([`${golden.name}: NOT RECORDED`, ...differing].join('\n'));
    continue;
  }
  writeFileSync(`${folder}/frames/${golden.name}.in.pcap`, inputOf(golden));
  writeFileSync(`${folder}/frames/${golden.name}.out.pcap`, output);
}
console.log(wrong === 0 ? 'recorded; look at the difference with git diff and tshark' : `${wrong} cases not recorded`);
process.exitCode = wrong === 0 ? 0 : 1;
