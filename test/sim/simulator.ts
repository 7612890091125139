/**
 * A clock, a dice and an event queue: what happens in a simulation happens here, in the order of its time,
 * and again in the same way for the same seed.
 */

import type { Timers } from '../../src/io/timers.js';

interface Happening {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

export class Simulator {
  now = 0;
  #order = 0;
  #state: number;
  /** A binary heap by time, then by order of asking. */
  readonly #heap: Happening[] = [];

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** mulberry32: in [0, 1). */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }

  /** A whole number in [0, count). */
  below(count: number): number {
    return Math.floor(this.random() * count);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  at(time: number, run: () => void): () => void {
    const happening: Happening = { at: Math.max(time, this.now), order: ++this.#order, run, cancelled: false };
    this.#push(happening);
    return () => {
      happening.cancelled = true;
    };
  }

  after(ms: number, run: () => void): () => void {
    return this.at(this.now + ms, run);
  }

  /** Runs everything up to `until`; `check` after each happening. Promises get their turn in between. */
  async run(until: number, check: () => void): Promise<void> {
    for (let next = this.#heap[0]; next !== undefined && next.at <= until; next = this.#heap[0]) {
      this.#pop();
      if (next.cancelled) continue;
      this.now = next.at;
      next.run();
      check();
      await Promise.resolve();
    }
    this.now = until;
  }

  /** Timers of one unit. They fire late, as real ones do, and never early. */
  timers(defer: (run: () => void) => void): Timers {
    return {
      now: () => this.now,
      after: (ms, callback) => this.after(Math.ceil(ms) + this.between(0, 0.2), () => defer(callback)),
      soon: (callback) => this.after(0.01, () => defer(callback)),
      chance: () => this.random(),
    };
  }

  #push(happening: Happening): void {
    const heap = this.#heap;
    let index = heap.push(happening) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(happening, heap[parent] as Happening)) break;
      heap[index] = heap[parent] as Happening;
      index = parent;
    }
    heap[index] = happening;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Happening;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Happening, heap[child] as Happening)) child += 1;
      if (!before(heap[child] as Happening, last)) break;
      heap[index] = heap[child] as Happening;
      index = child;
    }
    heap[index] = last;
  }
}

function before(left: Happening, right: Happening): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order);
}
