/**
 * What becomes of a pair whose mirror channel carries a tenth of what there is to tell: first the need is measured,
 * then the mirror link is throttled to a tenth of it (tbf), then it is whole again and the tables are compared.
 */

import { readFileSync } from 'node:fs';

import type { Lab } from '../lab/lab.js';
import { startChurn, startEcho, startIdle } from '../lab/traffic.js';
import type { Pair, Unit } from '../lab/unit.js';
import { streamOutcome } from '../traffic/outcome.js';
import { monotonicMs, pause } from '../traffic/time.js';

export interface OverloadOptions {
  readonly connectionsPerS: number;
  readonly throttledMs: number;
}

export interface Overload {
  /** Octets per second on the mirror link before, and while it was throttled. */
  readonly needBytesPerS: number;
  readonly throttledBytesPerS: number;
  /** Connections asked for while it was throttled, and what part of them was not answered. */
  readonly opened: number;
  readonly failedShare: number;
  readonly stream: string;
  /** The longest that a batch waited for its ack, and the most that waited, as seen once a second. */
  readonly staleMs: number;
  readonly unackedBytes: number;
  /** Resident memory of the active unit's daemon: the most it grew by, MiB. */
  readonly grownMiB: number;
  readonly bulks: number;
  /** From the end of the throttle to equal tables, while nothing new is opened; null: not within AGREE_MS. */
  readonly agreedAfterMs: number | null;
  readonly heldConnections: number;
}

const NEED_MS = 4_000;
const AGREE_MS = 30_000;
const HELD = 200;
const BURST_BYTES = 16_384;

export async function overload(lab: Lab, pair: Pair, options: OverloadOptions): Promise<Overload> {
  const held = await startIdle(lab, HELD);
  const echo = await startEcho(lab);
  const warm = await startChurn(lab, options.connectionsPerS);
  await pause(1_000);
  const needBytesPerS = await rateOf(lab, NEED_MS);
  await warm.stop();

  const { completed: bulksBefore } = (await pair.a.show('mirror')).sending.bulk;
  const memoryBefore = await residentMiB(pair.a);
  const kbit = Math.max(8, Math.round((needBytesPerS * 8) / 10_000));
  const startedAtMs = monotonicMs();
  const tbf = ['root', 'tbf', 'rate', `${kbit}kbit`, 'burst', String(BURST_BYTES), 'latency', '500ms'];
  lab.run('a', 'tc', ['qdisc', 'add', 'dev', 'mirror', ...tbf]);
  const churn = await startChurn(lab, options.connectionsPerS);
  const throttled = rateOf(lab, options.throttledMs);
  let [staleMs, unackedBytes, grownMiB] = [0, 0, 0];
  while (monotonicMs() - startedAtMs < options.throttledMs) {
    const { lag } = await pair.a.show('mirror');
    staleMs = Math.max(staleMs, lag.oldestUnackedMs);
    unackedBytes = Math.max(unackedBytes, lag.unackedBytes);
    grownMiB = Math.max(grownMiB, (await residentMiB(pair.a)) - memoryBefore);
    await pause(1_000);
  }
  const throttledBytesPerS = await throttled;
  const report = await churn.stop();
  lab.run('a', 'tc', ['qdisc', 'del', 'dev', 'mirror', 'root']);
  const agreedAfterMs = await untilTablesAgree(pair, monotonicMs());
  const { sending } = await pair.a.show('mirror');
  const stream = streamOutcome(await echo.stop(), startedAtMs);
  const { survived } = await held.stop();
  return {
    needBytesPerS: Math.round(needBytesPerS),
    throttledBytesPerS: Math.round(throttledBytesPerS),
    opened: report.opened,
    failedShare: report.failed / report.opened,
    stream,
    staleMs: Math.round(staleMs),
    unackedBytes,
    grownMiB,
    bulks: sending.bulk.completed - bulksBefore,
    agreedAfterMs,
    heldConnections: survived,
  };
}

/** Octets per second that unit a sends on the mirror link. */
async function rateOf(lab: Lab, ms: number): Promise<number> {
  const sent = (): number => Number(lab.run('a', 'cat', ['/sys/class/net/mirror/statistics/tx_bytes']));
  const [before, startMs] = [sent(), monotonicMs()];
  await pause(ms);
  return ((sent() - before) * 1000) / (monotonicMs() - startMs);
}

/** Connections close on their own meanwhile; what counts is that both units come to say the same. */
async function untilTablesAgree(pair: Pair, sinceMs: number): Promise<number | null> {
  while (monotonicMs() - sinceMs < AGREE_MS) {
    const [here, there] = await Promise.all([tableOf(pair.a), tableOf(pair.b)]);
    if (here === there) return Math.round(monotonicMs() - sinceMs);
    await pause(100);
  }
  return null;
}

async function tableOf(unit: Unit): Promise<string> {
  const { rows } = JSON.parse(await unit.tandem('show', 'connections', '--limit', '100000', '--json')) as Awaited<
    ReturnType<typeof unit.show<'connections'>>
  >;
  const lines = rows.map((row) => [row.client, row.virtual, row.member, row.snat, row.state].join(' '));
  return lines.toSorted().join('\n');
}

export async function residentMiB(unit: Unit): Promise<number> {
  const { pid } = await unit.status();
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Math.round(Number(line?.[1] ?? 0) / 1024);
}
