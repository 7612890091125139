/**
 * The memory that batches are taken into, sent from, and kept in until the peer has them: one ring, reserved at the
 * start, as large as the queue may grow. Regions are given in order and come back in any order; the ring moves on
 * when the oldest is back. When it is full nothing is taken, and changes stay pending in the datapath.
 */

/** A part of the ring. It is free when whoever holds it has let go as often as it was held. */
export class Region {
  bytes: Uint8Array;
  readonly #freed: () => void;
  #holders = 1;

  constructor(bytes: Uint8Array, freed: () => void) {
    this.bytes = bytes;
    this.#freed = freed;
  }

  get free(): boolean {
    return this.#holders === 0;
  }

  hold(): void {
    this.#holders += 1;
  }

  release(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.#freed();
  }
}

interface Placed {
  readonly region: Region;
  readonly start: number;
  end: number;
}

export class BatchMemory {
  readonly #ring: Uint8Array;
  readonly #placed: Placed[] = [];

  constructor(bytes: number) {
    // Its own mapping: pages that are never written cost nothing.
    this.#ring = Buffer.allocUnsafeSlow(bytes);
  }

  get bytes(): number {
    return this.#ring.length;
  }

  /** A region of so many octets in one piece, or null when there is none. */
  take(bytes: number): Region | null {
    const start = this.#room(bytes);
    if (start === null) return null;
    const region = new Region(this.#ring.subarray(start, start + bytes), () => this.#reclaim());
    this.#placed.push({ region, start, end: start + bytes });
    return region;
  }

  /** Gives back the end of the region taken last. */
  shorten(region: Region, bytes: number): void {
    const last = this.#placed.at(-1);
    if (last?.region !== region) return;
    region.bytes = region.bytes.subarray(0, bytes);
    last.end = last.start + bytes;
  }

  hasRoom(bytes: number): boolean {
    return this.#room(bytes) !== null;
  }

  #room(bytes: number): number | null {
    const oldest = this.#placed[0];
    const newest = this.#placed.at(-1);
    if (oldest === undefined || newest === undefined) return bytes <= this.#ring.length ? 0 : null;
    if (newest.start >= oldest.start) {
      if (this.#ring.length - newest.end >= bytes) return newest.end;
      return oldest.start >= bytes ? 0 : null;
    }
    return oldest.start - newest.end >= bytes ? newest.end : null;
  }

  #reclaim(): void {
    while (this.#placed[0]?.region.free === true) this.#placed.shift();
  }
}
