/**
 * Whether the workers live, from their heartbeats in the shared state. Pure: heartbeats and time come in.
 *
 * A worker moves its heartbeat at least every 20 ms. All that have ever moved must go on: connections are
 * spread over the workers, so a unit that lost one of them would black-hole a share of them.
 */

import type { Millis } from './condition.js';

/** native/limits.h: kWorkersMax. */
export const WORKERS_MAX = 16;

export interface Heartbeats {
  /** Last value seen of each worker, 0 where there is none, and when it was first seen. */
  readonly workers: readonly { readonly value: bigint; readonly movedAt: Millis }[];
  /** When heartbeats were last read. */
  readonly readAt: Millis;
}

export const noHeartbeats: Heartbeats = { workers: [], readAt: 0 };

/** Heartbeats are read at each advert, but no more often than this. */
export const HEARTBEAT_POLL_MS_MIN: Millis = 50;
/** Share of the interval after which they may be read, where the process is awake for something else. */
export const NEARLY_DUE = 0.75;

/** Twenty heartbeats missed at the default interval: more than a starved machine misses. */
export function heartbeatTimeoutMs(advertIntervalMs: Millis): Millis {
  return Math.max(200, 3 * advertIntervalMs);
}

export function observe(before: Heartbeats, values: ArrayLike<bigint>, now: Millis, timeoutMs: Millis): Heartbeats {
  // We did not run for a while ourselves, so we cannot tell how long a heartbeat has stood still: all get a
  // full timeout again. Our own lease is what makes that harmless.
  const slept = now - before.readAt >= timeoutMs;
  const workers = Array.from(values, (value, index) => {
    const last = before.workers[index];
    const moved = last === undefined || last.value !== value || slept;
    return moved ? { value, movedAt: now } : last;
  });
  return { workers, readAt: now };
}

/** At least one worker has started, and none has stood still for the timeout. */
export function workersAlive({ workers }: Heartbeats, now: Millis, timeoutMs: Millis): boolean {
  const started = workers.filter(({ value }) => value !== 0n);
  return started.length > 0 && started.every(({ movedAt }) => now - movedAt < timeoutMs);
}
