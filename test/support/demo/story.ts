/**
 * One run of the demo: a pair, traffic through it, a fault, and what became of the traffic.
 *
 *   0 s            2 s                                 7 s
 *   |--- traffic --|-- fault, nothing else is touched --|-- reports, verdicts --
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Lab } from '../lab/lab.js';
import { defaultAdvertIntervalMs } from '../lab/pair_config.js';
import { tandemAddresses } from '../lab/topology.js';
import { startCapture, startDownload, startEcho, startHttp, startServers } from '../lab/traffic.js';
import { hasRole, isReady, type Pair, startPair } from '../lab/unit.js';
import type { CaptureReport } from '../traffic/capture.js';
import { isAnnouncement, type Suspicion, suspicion } from '../traffic/frames.js';
import {
  longestSilence,
  type Outcome,
  type RequestOutcomes,
  requestOutcomes,
  streamOutcome,
} from '../traffic/outcome.js';
import type { StreamReport } from '../traffic/record.js';
import { monotonicMs, pause } from '../traffic/time.js';

export type Fault = 'kill' | 'links';
export type Mirror = 'off' | 'async';

export interface Chapter {
  readonly mirror: Mirror;
  readonly fault: Fault;
}

export interface RunResult extends Chapter {
  readonly advertIntervalMs: number;
  readonly stream: Outcome;
  readonly download: Outcome;
  /** Longest silence around the fault; null: it never spoke again. */
  readonly gapMs: number | null;
  readonly downloadGapMs: number | null;
  readonly requests: RequestOutcomes;
  /** From the fault to the first announcement by the new unit; null: none was seen. */
  readonly takeoverMs: number | null;
  /** A second before the fault: connections of the active unit, and how many of these its peer held. */
  readonly activeConnections: number;
  readonly mirroredConnections: number;
  /** Who is active at the end. */
  readonly newUnit: 'a' | 'b' | null;
  /** What a unit's kernel said that it must not say. */
  readonly suspicions: readonly Suspicion[];
  readonly streams: { readonly echo: StreamReport; readonly download: StreamReport };
  readonly faultAtMs: number;
}

const beforeFaultMs = 2_000;
const afterFaultMs = 5_000;
const downloadBytesPerSecond = 8_000_000;
/** Ends a second and a half before the reports, a silence included. */
const downloadBytes = (downloadBytesPerSecond * (beforeFaultMs + afterFaultMs - 1_500)) / 1_000;
const requestsPerSecond = 25;
const heldRequests = 10;
/** From the start of the traffic: well past the fault and the takeover. */
const heldForMs = beforeFaultMs + 2_500;

export interface PlayOptions extends Chapter {
  readonly progress: (what: string) => void;
  /** The fault is mended, and all goes on when this process ends. */
  readonly keep: boolean;
}

/** Leaves everything running. Writes `result.json` among the lab's logs. */
export async function play(lab: Lab, options: PlayOptions): Promise<RunResult> {
  options.progress('starting servers and both units');
  await startServers(lab, options.keep ? 'stay' : 'we end');
  const pair = await startPair(lab, { mirror: options.mirror });

  options.progress('opening connections through unit a');
  const capture = await startCapture(lab);
  const origin = monotonicMs();
  const [echo, download, http] = await Promise.all([
    startEcho(lab),
    startDownload(lab, downloadBytes, downloadBytesPerSecond),
    startHttp(lab, requestsPerSecond, heldRequests, heldForMs),
  ]);
  await waitUntil(origin + beforeFaultMs - 1_000);
  const held = await heldConnections(pair);

  await waitUntil(origin + beforeFaultMs);
  const faultAtMs = strike(lab, pair, options.fault);
  options.progress(options.fault === 'kill' ? 'unit a was killed' : 'the links of unit a were cut');
  await waitUntil(faultAtMs + afterFaultMs);

  const newUnit = await activeUnit(pair, options.fault);
  const [echoReport, downloadReport, httpReport] = await Promise.all([echo.stop(), download.stop(), http.stop()]);
  const captureReport = await capture.stop();
  await keepCounters(lab, pair, options.fault);
  const tookOverMs = takeoverMs(captureReport, faultAtMs);
  const result: RunResult = {
    mirror: options.mirror,
    fault: options.fault,
    advertIntervalMs: defaultAdvertIntervalMs,
    stream: streamOutcome(echoReport, faultAtMs),
    download: streamOutcome(downloadReport, faultAtMs),
    gapMs: gapAround(echoReport, faultAtMs),
    downloadGapMs: gapAround(downloadReport, faultAtMs),
    takeoverMs: tookOverMs,
    requests: requestOutcomes(httpReport, faultAtMs, faultAtMs + (tookOverMs ?? 0)),
    ...held,
    newUnit,
    suspicions: suspicions(lab, captureReport),
    streams: { echo: echoReport, download: downloadReport },
    faultAtMs,
  };
  if (options.keep) await mend(lab, pair, options);
  writeFileSync(join(lab.directory, 'result.json'), `${JSON.stringify({ ...result, http: httpReport }, null, 1)}\n`);
  return result;
}

/** Returns when, on CLOCK_MONOTONIC. */
function strike(lab: Lab, pair: Pair, fault: Fault): number {
  if (fault === 'kill') return pair.a.kill();
  const at = monotonicMs();
  lab.cutLinks('a');
  return at;
}

/** Whoever goes on with this lab finds a pair as it is without a fault. */
async function mend(lab: Lab, pair: Pair, { fault, progress }: PlayOptions): Promise<void> {
  progress('mending unit a');
  if (fault === 'kill') pair.a.start();
  else lab.restoreLinks('a');
  await Promise.all([
    pair.a.waitUntil('active again', (status) => isReady(status, 'active')),
    pair.b.waitUntil('standby again', (status) => isReady(status, 'standby')),
  ]);
}

/** How many connections a holds now, and how many of these b holds a moment later. */
async function heldConnections(pair: Pair): Promise<Pick<RunResult, 'mirroredConnections' | 'activeConnections'>> {
  const active = await pair.a.show('connections');
  const standby = await pair.b.show('connections');
  const held = new Set(standby.rows.map((row) => `${row.client} ${row.virtual}`));
  const mirrored = active.rows.filter((row) => held.has(`${row.client} ${row.virtual}`));
  return { activeConnections: active.rows.length, mirroredConnections: mirrored.length };
}

/** Beside the logs, for whoever wonders where a packet went. */
async function keepCounters(lab: Lab, pair: Pair, fault: Fault): Promise<void> {
  for (const unit of fault === 'kill' ? [pair.b] : [pair.a, pair.b]) {
    writeFileSync(join(lab.directory, `${unit.name}-counters.txt`), await unit.tandem('show', 'counters'));
  }
}

/** A unit that was killed has no say; one whose links were cut must say that it is not active. */
async function activeUnit(pair: Pair, fault: Fault): Promise<RunResult['newUnit']> {
  const asked = fault === 'kill' ? [pair.b] : [pair.a, pair.b];
  const statuses = await Promise.all(asked.map((unit) => unit.status()));
  const active = statuses.filter((status) => hasRole(status, 'active'));
  if (active.length > 1) throw new Error('both units are active');
  return (active[0]?.unit as 'a' | 'b' | undefined) ?? null;
}

function gapAround(report: StreamReport, faultAtMs: number): number | null {
  if (streamOutcome(report, faultAtMs) !== 'survived') return null;
  return longestSilence(report, faultAtMs, faultAtMs + afterFaultMs)?.ms ?? 0;
}

function takeoverMs(report: CaptureReport, faultAtMs: number): number | null {
  const later = report.frames.filter((each) => each.atMs > faultAtMs);
  const first = later.find((each) => isAnnouncement(Buffer.from(each.frame, 'base64'), tandemAddresses));
  return first === undefined ? null : first.atMs - faultAtMs;
}

/** The capture runs on the client, so only what comes from others counts. */
function suspicions(lab: Lab, report: CaptureReport): Suspicion[] {
  const link = JSON.parse(lab.run('client', 'ip', ['-json', 'link', 'show', 'client'])) as {
    readonly address: string;
  }[];
  const own = link.map((each) => each.address);
  const found = report.frames.map((each) => suspicion(Buffer.from(each.frame, 'base64'), own, tandemAddresses));
  if (report.omitted > 0) throw new Error(`the capture omitted ${report.omitted} frames: it proves nothing`);
  return found.filter((each) => each !== null);
}

async function waitUntil(atMs: number): Promise<void> {
  await pause(atMs - monotonicMs());
}
