/**
 * What a stream's client saw, in a form that stays small: octets per 10 ms, and every silence worth naming.
 * Times are milliseconds on CLOCK_MONOTONIC. Pure.
 */

export const bucketMs = 10;
/** Shorter pauses are the scheduler's. */
export const silenceFloorMs = 20;
/** Five minutes; later octets are counted in the totals only. */
const bucketsMax = 30_000;
const silencesMax = 1_000;

export interface Silence {
  readonly fromMs: number;
  readonly ms: number;
}

export interface StreamReport {
  readonly openedAtMs: number | null;
  /** Octets received, per 10 ms from `originMs` on. */
  readonly originMs: number;
  readonly buckets: readonly number[];
  readonly silences: readonly Silence[];
  readonly lastReceivedAtMs: number | null;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Offset of the first octet that was not what it should be; null: none. */
  readonly corruptAt: number | null;
  /** Everything that was expected has come, and nothing else. */
  readonly complete: boolean;
  /** `ECONNRESET`, `ended early`; null: none. */
  readonly error: string | null;
  readonly errorAtMs: number | null;
}

/** Keeps the receiving side of a StreamReport. */
export class ReceiveRecord {
  readonly #buckets: number[] = [];
  readonly #silences: Silence[] = [];
  lastReceivedAtMs: number | null = null;
  receivedBytes = 0;

  constructor(readonly originMs: number) {}

  received(bytes: number, nowMs: number): void {
    this.receivedBytes += bytes;
    if (this.lastReceivedAtMs !== null) {
      const ms = nowMs - this.lastReceivedAtMs;
      if (ms >= silenceFloorMs && this.#silences.length < silencesMax) {
        this.#silences.push({ fromMs: this.lastReceivedAtMs, ms });
      }
    }
    this.lastReceivedAtMs = nowMs;
    const bucket = Math.max(0, Math.floor((nowMs - this.originMs) / bucketMs));
    if (bucket >= bucketsMax) return;
    while (this.#buckets.length <= bucket) this.#buckets.push(0);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + bytes;
  }

  report(): Pick<StreamReport, 'originMs' | 'buckets' | 'silences' | 'lastReceivedAtMs' | 'receivedBytes'> {
    return {
      originMs: this.originMs,
      buckets: this.#buckets,
      silences: this.#silences,
      lastReceivedAtMs: this.lastReceivedAtMs,
      receivedBytes: this.receivedBytes,
    };
  }
}
