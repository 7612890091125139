/**
 * The few buffers that batches are taken into and written from. A buffer belongs to the socket from
 * write() until its callback; when all are with the socket, nothing is taken and changes stay pending.
 */

import { BATCH_BYTES_MAX, HEADER_BYTES } from '../mirror/codec.js';

const BUFFERS = 4;

export class BatchBuffers {
  readonly #free: Uint8Array[] = Array.from({ length: BUFFERS }, () => new Uint8Array(HEADER_BYTES + BATCH_BYTES_MAX));

  get available(): number {
    return this.#free.length;
  }

  /** One buffer, header room first, or undefined when the socket has them all. */
  acquire(): Uint8Array | undefined {
    return this.#free.pop();
  }

  release(buffer: Uint8Array): void {
    this.#free.push(buffer);
  }
}
