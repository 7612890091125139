/** What became of a connection, from what its client saw. Pure. */

import type { HttpReport, RequestReport } from './http_client.js';
import type { Silence, StreamReport } from './record.js';

export type Outcome = 'survived' | 'hung' | 'reset';

/** Frames that were past the unit when it failed may still arrive. */
const inFlightMs = 30;

/**
 * `reset` if the client was told so, or was sent an end before its time; `hung` if nothing came after the fault;
 * `survived` if octets went on and everything is there, whole and in order.
 */
export function streamOutcome(report: StreamReport, faultAtMs: number): Outcome {
  if (report.error !== null) return 'reset';
  if (report.corruptAt !== null) return 'reset';
  const heardAfter = report.lastReceivedAtMs !== null && report.lastReceivedAtMs > faultAtMs + inFlightMs;
  return heardAfter && report.complete ? 'survived' : 'hung';
}

/** The longest silence that touches [from, until); null if the stream never spoke again. */
export function longestSilence(report: StreamReport, fromMs: number, untilMs: number): Silence | null {
  const touching = report.silences.filter((each) => each.fromMs + each.ms > fromMs && each.fromMs < untilMs);
  if (touching.length === 0) return null;
  return touching.reduce((longest, each) => (each.ms > longest.ms ? each : longest));
}

export interface RequestCounts {
  readonly ok: number;
  readonly hung: number;
  readonly reset: number;
}

export interface RequestOutcomes {
  /** Asked for and answered before the fault. */
  readonly before: RequestCounts;
  /** Asked for before the fault, to be answered after it. */
  readonly across: RequestCounts;
  /** Asked for once the new unit had answered its first. */
  readonly after: RequestCounts;
  /** From the fault to the end of the first request that the new unit answered; null: none succeeded. */
  readonly firstAfterMs: number | null;
}

/**
 * `takenOverAtMs`: when the new unit announced itself, if that is known. A fault takes some milliseconds to strike, and
 * a request begun in them may still be answered by the old unit.
 */
export function requestOutcomes(report: HttpReport, faultAtMs: number, takenOverAtMs = faultAtMs): RequestOutcomes {
  const before = report.row.filter((each) => each.endedAtMs < faultAtMs);
  const later = report.row.filter((each) => each.startedAtMs > takenOverAtMs);
  const firstOk = later.reduce<RequestReport | null>(
    (first, each) => (each.outcome === 'ok' && (first === null || each.endedAtMs < first.endedAtMs) ? each : first),
    null,
  );
  return {
    before: count(before),
    across: count(report.held),
    after: count(firstOk === null ? later : later.filter((each) => each.startedAtMs >= firstOk.endedAtMs)),
    firstAfterMs: firstOk === null ? null : firstOk.endedAtMs - faultAtMs,
  };
}

function count(requests: readonly RequestReport[]): RequestCounts {
  const ok = requests.filter((each) => each.outcome === 'ok').length;
  const hung = requests.filter((each) => each.outcome === 'hung').length;
  return { ok, hung, reset: requests.length - ok - hung };
}
