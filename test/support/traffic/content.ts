/**
 * What streams carry: octets that are a function of their offset, so that either end can say what must come next
 * and a lost, doubled or changed octet is seen. Pure.
 */

export const contentChunkBytes = 65_536;
/** A prime, so that no power of two of lost octets falls back into step. */
const periodBytes = 65_521;
const contentTable = makeTable();

/** The octets at [offset, offset + bytes); a view, to be read only. At most 64 KiB at a time. */
export function contentAt(offset: number, bytes: number): Buffer {
  const start = offset % periodBytes;
  return contentTable.subarray(start, start + bytes);
}

/** Whether `received` is what stands at `offset`. */
export function isContent(received: Buffer, offset: number): boolean {
  for (let at = 0; at < received.length; at += contentChunkBytes) {
    const part = received.subarray(at, at + contentChunkBytes);
    if (part.compare(contentAt(offset + at, part.length)) !== 0) return false;
  }
  return true;
}

/** One period and another chunk behind it, so that any view is contiguous. xorshift32, Marsaglia 2003. */
function makeTable(): Buffer {
  const bytes = Buffer.alloc(periodBytes + contentChunkBytes);
  let word = 0x2545f491;
  for (let index = 0; index < periodBytes; index++) {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    bytes[index] = word & 0xff;
  }
  bytes.copy(bytes, periodBytes, 0, periodBytes);
  bytes.copy(bytes, 2 * periodBytes, 0, contentChunkBytes - periodBytes);
  return bytes;
}
