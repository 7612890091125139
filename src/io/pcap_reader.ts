/**
 * Frames of a pcap file, through pcap-parser, with what that package does not do itself:
 *
 *   - nanosecond files: the parser is shown the microsecond magic, and the fraction is read as nanoseconds;
 *   - pcapng, gzip, other versions and link types other than Ethernet are refused with how to convert them;
 *   - a record whose length cannot be true, or a file that ends within a record, is told as damage, after
 *     the frames before it.
 *
 * The file is read as it is consumed: at most one chunk's frames are held.
 */

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';

import pcapParser from 'pcap-parser';

import {
  LINK_TYPE_ETHERNET,
  PCAP_FILE_HEADER_BYTES,
  PCAP_FRAME_BYTES_MAX,
  PCAP_FRAME_HEADER_BYTES,
  PcapMagic,
} from '../wire/pcap.js';

export interface CapturedFrame {
  /** Since the epoch. */
  readonly timeNs: bigint;
  readonly bytes: Uint8Array;
}

/** The file as a whole cannot be read; the message says why and how to mend it. */
export class PcapError extends Error {}

export interface PcapReader extends AsyncIterable<CapturedFrame> {
  /** After the last frame: what is wrong with the rest of the file; null if nothing. */
  readonly damage: string | null;
}

/** Throws PcapError from the iteration, before the first frame. */
export function readPcap(path: string): PcapReader {
  return new Reader(path);
}

class Reader implements PcapReader {
  damage: string | null = null;
  readonly #path: string;
  #nanoseconds = false;
  #bytesRead = 0;
  #bytesParsed = PCAP_FILE_HEADER_BYTES;
  #frames = 0;

  constructor(path: string) {
    this.#path = path;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<CapturedFrame> {
    const stream = Readable.from(this.#checkedChunks(), { objectMode: true, highWaterMark: 1 });
    const parser = pcapParser.parse(stream);
    const queue: CapturedFrame[] = [];
    let ended = false;
    let failure: unknown = null;
    let wake: () => void = () => {};

    parser.on('packetHeader', (header) => {
      this.damage ??= this.#damageOf(header.capturedLength, header.originalLength);
      // The parser would wait for, or hand out, bytes that are no frame: stop feeding it.
      if (this.damage !== null) stream.destroy();
      else this.#bytesParsed += PCAP_FRAME_HEADER_BYTES + header.capturedLength;
    });
    parser.on('packet', ({ header, data }) => {
      if (this.damage !== null) return;
      this.#frames++;
      const fraction = BigInt(header.timestampMicroseconds) * (this.#nanoseconds ? 1n : 1_000n);
      queue.push({ timeNs: BigInt(header.timestampSeconds) * 1_000_000_000n + fraction, bytes: data });
    });
    parser.on('error', (error) => {
      failure = error;
      ended = true;
      wake();
    });
    stream.on('data', () => {
      stream.pause();
      wake();
    });
    stream.on('close', () => {
      ended = true;
      wake();
    });

    try {
      for (;;) {
        yield* queue.splice(0);
        if (ended && queue.length === 0) break;
        await new Promise<void>((resolve) => {
          wake = resolve;
          stream.resume();
        });
      }
    } finally {
      stream.destroy();
    }
    if (failure !== null)
      throw failure instanceof PcapError ? failure : this.#fault(`cannot be read: ${messageOf(failure)}`);
    const rest = this.#bytesRead - Math.min(this.#bytesParsed, this.#bytesRead);
    const incomplete = this.#bytesParsed > this.#bytesRead || rest > 0;
    if (incomplete) this.damage ??= `${this.#path} ends within frame ${this.#frames + 1}`;
  }

  /** The file's bytes, once its header is one that the parser understands. */
  async *#checkedChunks(): AsyncGenerator<Buffer> {
    let head: Buffer | null = Buffer.alloc(0);
    for await (const chunk of createReadStream(this.#path) as AsyncIterable<Buffer>) {
      this.#bytesRead += chunk.length;
      if (head === null) {
        yield chunk;
        continue;
      }
      head = Buffer.concat([head, chunk]);
      if (head.length < PCAP_FILE_HEADER_BYTES) continue;
      yield this.#checkHeader(head);
      head = null;
    }
    if (head !== null) {
      throw this.#fault(
        head.length === 0 ? 'is empty' : `is no capture: it ends after ${head.length} bytes, within the file header`,
      );
    }
  }

  #checkHeader(head: Buffer): Buffer {
    const magic = head.toString('hex', 0, 4);
    const checked = Buffer.from(head);
    switch (magic) {
      case PcapMagic.microsecondsLittle:
      case PcapMagic.microsecondsBig:
        break;
      case PcapMagic.nanosecondsLittle:
      case PcapMagic.nanosecondsBig:
        this.#nanoseconds = true;
        checked.write(
          magic === PcapMagic.nanosecondsLittle ? PcapMagic.microsecondsLittle : PcapMagic.microsecondsBig,
          'hex',
        );
        break;
      case PcapMagic.pcapng:
        throw this.#fault(`is a pcapng file; convert it with: editcap -F pcap ${this.#path} OUT.pcap`);
      default:
        if (magic.startsWith('1f8b')) throw this.#fault(`is compressed; unpack it with: gunzip ${this.#path}`);
        throw this.#fault(`is no pcap file (it begins with ${magic})`);
    }
    const little = magic === PcapMagic.microsecondsLittle || magic === PcapMagic.nanosecondsLittle;
    const word = (offset: number) => (little ? head.readUInt16LE(offset) : head.readUInt16BE(offset));
    const [major, minor] = [word(4), word(6)];
    if (major !== 2 || minor !== 4) throw this.#fault(`is pcap version ${major}.${minor}; only 2.4 is read`);
    // The upper half of the field holds flags (draft-ietf-opsawg-pcap section 4).
    const linkType = word(little ? 20 : 22);
    if (linkType !== LINK_TYPE_ETHERNET) {
      throw this.#fault(
        `has link type ${linkType}; only Ethernet (${LINK_TYPE_ETHERNET}) is read: capture on an Ethernet interface`,
      );
    }
    return checked;
  }

  #damageOf(captured: number, original: number): string | null {
    const frame = `${this.#path}: frame ${this.#frames + 1} claims`;
    if (captured > PCAP_FRAME_BYTES_MAX)
      return `${frame} ${captured} captured bytes, more than the format's ${PCAP_FRAME_BYTES_MAX}`;
    if (captured > original) return `${frame} ${captured} captured bytes of only ${original}`;
    return null;
  }

  #fault(what: string): PcapError {
    return new PcapError(`${this.#path} ${what}`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
