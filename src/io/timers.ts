/** Time and chance for what runs on timers, so that a test can take the place of both. */

/** Milliseconds on a monotonic clock, fractional. */
export type Millis = number;

export interface Timers {
  now(): Millis;
  /** Calls back once, no earlier than in `ms`; returns what cancels it. */
  after(ms: Millis, callback: () => void): () => void;
  /** In the next turn of the event loop, after what sockets hold has been read. */
  soon(callback: () => void): () => void;
  /** In [0, 1). */
  chance(): number;
}

export const systemTimers: Timers = {
  now: () => performance.now(),
  after(ms, callback) {
    const timeout = setTimeout(callback, Math.ceil(ms));
    return () => clearTimeout(timeout);
  },
  soon(callback) {
    const immediate = setImmediate(callback);
    return () => clearImmediate(immediate);
  },
  chance: () => Math.random(),
};
