/** The demo's results for people to read. Pure. */

import type { RunResult } from './story.js';

export function resultTable(runs: readonly RunResult[]): string {
  const header = ['mirror', 'fault', 'takeover', 'stream', 'silence', 'download', 'silence'];
  header.push('open requests', 'new requests', 'mirrored', 'active');
  const rows = runs.map((run) => [
    run.mirror,
    run.fault === 'kill' ? 'unit killed' : 'links cut',
    run.takeoverMs === null ? '-' : milliseconds(run.takeoverMs),
    run.stream,
    milliseconds(run.gapMs),
    run.download,
    milliseconds(run.downloadGapMs),
    openRequests(run),
    newRequests(run),
    `${run.mirroredConnections} of ${run.activeConnections}`,
    run.newUnit ?? 'none',
  ]);
  return alignColumns([header, ...rows]);
}

/** Median and worst silence of repeated runs, one line for each kind. */
export function silenceTable(runs: readonly RunResult[]): string {
  const kinds = [...new Set(runs.map((run) => `${run.mirror} ${run.fault}`))];
  const rows = kinds.map((kind) => {
    const own = runs.filter((run) => `${run.mirror} ${run.fault}` === kind);
    const of = (pick: (run: RunResult) => number | null) =>
      medianAndWorst(own.map(pick).filter((each) => each !== null));
    return [
      kind,
      String(own.length),
      ...of((run) => run.takeoverMs),
      ...of((run) => run.gapMs),
      ...of((run) => run.downloadGapMs),
    ];
  });
  const header = ['kind', 'runs', 'takeover median', 'worst', 'stream median', 'worst', 'download median', 'worst'];
  return alignColumns([header, ...rows]);
}

function medianAndWorst(values: readonly number[]): [string, string] {
  if (values.length === 0) return ['-', '-'];
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return [milliseconds(median), milliseconds(sorted.at(-1)!)];
}

function openRequests(run: RunResult): string {
  const { ok, hung, reset } = run.requests.across;
  return parts([ok, 'answered'], [hung, 'hung'], [reset, 'reset']);
}

function newRequests(run: RunResult): string {
  const { ok, hung, reset } = run.requests.after;
  return parts([ok, 'answered'], [hung, 'hung'], [reset, 'reset']);
}

function parts(...counts: readonly (readonly [number, string])[]): string {
  const some = counts.filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`);
  return some.length === 0 ? 'none' : some.join(', ');
}

function milliseconds(value: number | null): string {
  return value === null ? 'for good' : `${Math.round(value)} ms`;
}

function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd();
  const [header, ...body] = rows;
  return [line(header!), widths.map((width) => '─'.repeat(width)).join('  '), ...body.map(line)].join('\n');
}
