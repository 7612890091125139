/**
 * `scripts/soak --agreement`: two datapaths and the real mirror channel under churn for minutes, in which no digest may
 * differ; then entries of the standby are deleted, altered and added, and each must be found and put right in time.
 */

import { parseArgs } from 'node:util';

import { ChurningPair, names } from '../churning_pair.js';
import { pause } from '../traffic/time.js';

const CHANGES_PER_S = 20_000;
/** A machine that others keep busy must not pass for one that was under load. */
const CHANGES_PER_S_MIN = 0.9 * CHANGES_PER_S;
const FOUND_MS_MAX = 10_000;

const { values } = parseArgs({
  options: { agreement: { type: 'boolean' }, minutes: { type: 'string', default: '10' } },
});
const failures = await run(Number(values.minutes));
for (const failure of failures) console.log(`FAILED  ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;

async function run(minutes: number): Promise<string[]> {
  const pair = new ChurningPair();
  try {
    await pair.start();
    pair.churn(CHANGES_PER_S);
    await until(() => names.every((name) => pair.agreement(name)?.is === 'agrees'), 60_000);
    const found: string[] = [];
    const end = performance.now() + minutes * 60_000;
    while (performance.now() < end) {
      await pause(Math.min(10_000, Math.max(0, end - performance.now())));
      console.log(
        `${Math.round((end - performance.now()) / 1_000)} s to go, ${Math.round(pair.changesPerS)} changes/s`,
      );
    }
    const alarms = names.filter((name) => pair.agreement(name)?.differences !== 0);
    console.log(`${minutes} minutes, ${Math.round(pair.changesPerS)} changes/s: ${alarms.length} false alarms`);
    if (alarms.length > 0) found.push(`false alarms: ${alarms.join(', ')}`);
    if (pair.changesPerS < CHANGES_PER_S_MIN) found.push(`${Math.round(pair.changesPerS)} changes/s are too few`);
    return [...found, ...(await alter(pair))];
  } finally {
    await pair.stop();
  }
}

async function alter(pair: ChurningPair): Promise<string[]> {
  const start = performance.now();
  pair.alter();
  const waits = (['deleted', 'altered', 'added'] as const).map(async (name) => {
    const seen = await until(() => pair.agreement(name)?.is === 'differs', 3 * FOUND_MS_MAX);
    const foundMs = performance.now() - start;
    const mended = seen && (await until(() => pair.agreement(name)?.is === 'agrees', 3 * FOUND_MS_MAX));
    const mendedMs = performance.now() - start;
    console.log(`${name}: found after ${Math.round(foundMs)} ms, agrees again after ${Math.round(mendedMs)} ms`);
    if (!seen || foundMs > FOUND_MS_MAX) return [`${name}: not found within ${FOUND_MS_MAX} ms`];
    return mended ? [] : [`${name}: not put right`];
  });
  const failures = (await Promise.all(waits)).flat();
  const { a, b } = pair.quietTables();
  if (a.join() !== b.join()) failures.push('the tables differ in the end');
  if (failures.length > 0) console.log(JSON.stringify({ a: pair.a.channel.status(), b: pair.b.channel.status() }));
  return failures;
}

async function until(condition: () => boolean, withinMs: number): Promise<boolean> {
  const end = performance.now() + withinMs;
  while (!condition() && performance.now() < end) await pause(10);
  return condition();
}
