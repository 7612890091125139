/**
 * `scripts/soak`: one pair lives through fault after fault; connections opened at the very start must outlive them
 * all, a stream opened in each round must survive that round, and the daemons' memory must not grow without end.
 * `scripts/soak --saturation`: no fault at all, but more work than the machine can do; no role may change.
 */

import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { latenessLine } from '../../../src/cli/show.js';
import { Lab, whyNoLab } from '../lab/lab.js';
import { startEcho, startHttp, startIdle, startServers } from '../lab/traffic.js';
import { hasRole, isReady, type Pair, startPair } from '../lab/unit.js';
import { longestSilence, requestOutcomes, streamOutcome } from '../traffic/outcome.js';
import { monotonicMs, pause } from '../traffic/time.js';
import { overload, residentMiB } from './overload.js';
import { saturate } from './saturation.js';

const idleConnections = 500;
/** Growth of a daemon's resident memory between round 5 and the end that is not yet called a leak. */
const growthMaxMiB = 64;
const settledRound = 5;
/** Connections each second while the mirror link is throttled, and how soon afterwards the tables must agree. */
const overloadPerS = 300;
const agreeMaxMs = 10_000;

/** Each ends with a active again and the pair in sync. */
const faults: Readonly<Record<string, (lab: Lab, pair: Pair) => Promise<void>>> = {
  'kill a': async (_lab, pair) => {
    pair.a.kill();
    await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
    await pause(1_000);
    pair.a.start();
  },
  'kill b': async (_lab, pair) => {
    pair.b.kill();
    await pause(1_000);
    pair.b.start();
  },
  'cut the links of a': async (lab, pair) => {
    lab.cutLinks('a');
    await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
    await pause(1_000);
    lab.restoreLinks('a');
  },
  'hand over and back': async (_lab, pair) => {
    await pair.a.tandem('standby');
    await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
    await pause(1_000);
    await pair.a.tandem('standby', '--release');
  },
  'reload both': async (_lab, pair) => {
    for (const unit of [pair.a, pair.b]) await unit.tandem('reload');
  },
};

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string' },
      saturation: { type: 'boolean', default: false },
      overload: { type: 'boolean', default: false },
    },
  });
  const minutes = Number(values.minutes ?? (values.overload ? 5 : 30));
  const why = whyNoLab();
  if (why !== null || !(minutes > 0)) {
    console.error(`scripts/soak: ${why ?? 'usage: scripts/soak [--saturation | --overload] [--minutes N]'}`);
    return 1;
  }
  const lab = Lab.up('soak');
  try {
    const failures = values.saturation
      ? await bear(lab, minutes)
      : values.overload
        ? await throttle(lab, minutes * 60_000)
        : await live(lab, monotonicMs() + minutes * 60_000);
    for (const failure of failures) console.log(`FAILED  ${failure}`);
    return failures.length > 0 ? 1 : 0;
  } finally {
    lab.down();
  }
}

async function bear(lab: Lab, minutes: number): Promise<string[]> {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const { roleChanges, answers, lateness } = await saturate(lab, pair, 60 * minutes);
  const what = `${roleChanges} changes of role, ${answers} answers, ${latenessLine(lateness)}`;
  console.log(`${minutes} minutes saturated: ${what}`);
  return roleChanges === 0 ? [] : [`${roleChanges} changes of role`];
}

/** The mirror link carries a tenth of the need for so long. */
async function throttle(lab: Lab, throttledMs: number): Promise<string[]> {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const seen = await overload(lab, pair, { connectionsPerS: overloadPerS, throttledMs });
  console.log(JSON.stringify(seen, null, 2));
  return [
    ...(seen.failedShare < 0.01 ? [] : [`${(100 * seen.failedShare).toFixed(1)} % of the connections failed`]),
    ...(seen.stream === 'survived' ? [] : [`the stream ${seen.stream}`]),
    ...(seen.grownMiB <= growthMaxMiB ? [] : [`the active unit's daemon grew by ${seen.grownMiB} MiB`]),
    ...(seen.agreedAfterMs !== null && seen.agreedAfterMs <= agreeMaxMs ? [] : ['the tables did not agree in time']),
  ];
}

async function live(lab: Lab, untilMs: number): Promise<string[]> {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const idle = await startIdle(lab, idleConnections);
  const failures: string[] = [];
  const settled = { a: 0, b: 0 };
  for (let round = 1; monotonicMs() < untilMs; round++) {
    const names = Object.keys(faults);
    const name = names[(round - 1) % names.length]!;
    failures.push(...(await playRound(lab, pair, name)).map((failure) => `round ${round}, ${name}: ${failure}`));
    const memory = { a: await residentMiB(pair.a), b: await residentMiB(pair.b) };
    // A restarted daemon starts small again: what counts is that none is ever much bigger than once settled.
    if (round <= settledRound) {
      settled.a = Math.max(settled.a, memory.a);
      settled.b = Math.max(settled.b, memory.b);
    }
    for (const unit of ['a', 'b'] as const) {
      const grown = memory[unit] - settled[unit];
      if (round > settledRound && grown > growthMaxMiB)
        failures.push(`round ${round}: unit ${unit} grew by ${grown} MiB`);
    }
    appendFileSync(join(lab.directory, 'rounds.csv'), `${round},${name},${memory.a},${memory.b}\n`);
    console.log(`round ${round}, ${name}: a ${memory.a} MiB, b ${memory.b} MiB, ${failures.length} failures so far`);
  }
  const report = await idle.stop();
  if (report.survived !== idleConnections) failures.push(`connections of the start: ${JSON.stringify(report)}`);
  return failures;
}

/** Returns what went wrong. */
async function playRound(lab: Lab, pair: Pair, name: string): Promise<string[]> {
  const [echo, http] = await Promise.all([startEcho(lab), startHttp(lab, 10)]);
  await pause(1_000);
  const faultAtMs = monotonicMs();
  await faults[name]!(lab, pair);
  await Promise.all([
    pair.a.waitUntil('active and in sync', (status) => isReady(status, 'active'), 60_000),
    pair.b.waitUntil('standby and in sync', (status) => isReady(status, 'standby'), 60_000),
  ]);
  await pause(2_000);
  const [echoReport, httpReport] = await Promise.all([echo.stop(), http.stop()]);
  const outcome = streamOutcome(echoReport, faultAtMs);
  const { before, after } = requestOutcomes(httpReport, faultAtMs);
  const silence = Math.round(longestSilence(echoReport, faultAtMs, monotonicMs())?.ms ?? 0);
  return [
    ...(outcome === 'survived' ? [] : [`the stream ${outcome} (silence ${silence} ms)`]),
    ...(before.hung + before.reset === 0 ? [] : ['requests failed before the fault']),
    ...(after.ok > 0 ? [] : ['no request succeeded after the fault']),
  ];
}
