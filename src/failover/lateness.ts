/**
 * How late adverts are: from when one was due to when the process came to send it. A histogram of fixed size, with four
 * classes to each doubling from an eighth of a millisecond to four minutes.
 */

import type { Millis } from './condition.js';
import type { AdvertLateness } from './messages.js';

const FIRST_MS: Millis = 0.125;
const CLASSES_PER_DOUBLING = 4;
const CLASSES = 21 * CLASSES_PER_DOUBLING;

export class Lateness {
  readonly #counts = new Uint32Array(CLASSES);
  #adverts = 0;
  #maxMs: Millis = 0;

  record(ms: Millis): void {
    const index = Math.ceil(CLASSES_PER_DOUBLING * Math.log2(Math.max(ms, FIRST_MS) / FIRST_MS));
    const place = Math.min(CLASSES - 1, index);
    this.#counts[place] = this.#counts[place]! + 1;
    this.#adverts++;
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  report(): AdvertLateness | null {
    if (this.#adverts === 0) return null;
    return { adverts: this.#adverts, p50Ms: this.#quantile(0.5), p99Ms: this.#quantile(0.99), maxMs: this.#maxMs };
  }

  /** The upper end of the class that the share falls in, and no more than the latest. */
  #quantile(share: number): Millis {
    let left = Math.ceil(share * this.#adverts);
    const place = this.#counts.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return Math.min(this.#maxMs, FIRST_MS * 2 ** (place / CLASSES_PER_DOUBLING));
  }
}
