/**
 * Frames of a capture: of a pcapng file through src/wire/pcapng_reader.ts, of a pcap file through pcap-parser, with
 * what that package does not do itself:
 *
 *   - nanosecond files: the parser is shown the microsecond magic, and the fraction is read as nanoseconds;
 *   - gzip, other versions and link types other than Ethernet are refused with how to convert them;
 *   - a record whose length cannot be true, or a file that ends within a record, is told as damage, after
 *     the frames before it.
 *
 * Of what `tandem capture` wrote, the frames that the unit received: what it sent is what replaying them tells.
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
import { PcapngFault, PcapngReader } from '../wire/pcapng_reader.js';

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
    const chunks = this.#chunks();
    try {
      const head = await this.#head(chunks);
      if (head.toString('hex', 0, 4) === PcapMagic.pcapng) yield* this.#pcapng(head, chunks);
      else yield* this.#pcap(head, chunks);
    } finally {
      await chunks.return(undefined);
    }
  }

  async *#chunks(): AsyncGenerator<Buffer, undefined> {
    try {
      for await (const chunk of createReadStream(this.#path) as AsyncIterable<Buffer>) {
        this.#bytesRead += chunk.length;
        yield chunk;
      }
    } catch (error) {
      throw this.#fault(`cannot be read: ${messageOf(error)}`);
    }
    return undefined;
  }

  /** As much as tells what the file is. */
  async #head(chunks: AsyncIterator<Buffer, undefined>): Promise<Buffer> {
    let head = Buffer.alloc(0);
    while (head.length < PCAP_FILE_HEADER_BYTES) {
      const next = await chunks.next();
      if (next.done === true) {
        throw this.#fault(
          head.length === 0 ? 'is empty' : `is no capture: it ends after ${head.length} bytes, within the file header`,
        );
      }
      head = Buffer.concat([head, next.value]);
    }
    return head;
  }

  async *#pcapng(head: Buffer, chunks: AsyncIterable<Buffer>): AsyncGenerator<CapturedFrame> {
    const reader = new PcapngReader();
    let receivedOnly = false;
    try {
      for await (const chunk of preceded(head, chunks)) {
        for (const { block } of reader.read(chunk)) {
          if (block.kind === 'section') receivedOnly = block.application.startsWith('tandem ');
          if (block.kind !== 'frame') continue;
          const { linkType, frame } = block;
          if (linkType !== LINK_TYPE_ETHERNET) throw this.#wrongLinkType(linkType);
          if (receivedOnly && frame.direction !== 'inbound') continue;
          this.#frames++;
          yield { timeNs: frame.timeNs, bytes: frame.bytes };
        }
      }
    } catch (error) {
      const wrong = error instanceof PcapngFault ? this.#fault(error.message) : error;
      if (this.#frames === 0 || !(wrong instanceof PcapError)) throw wrong;
      this.damage = wrong.message;
      return;
    }
    if (reader.pendingBytes > 0) this.damage = `${this.#path} ends within block ${reader.nextBlock}`;
  }

  async *#pcap(head: Buffer, chunks: AsyncIterable<Buffer>): AsyncGenerator<CapturedFrame> {
    const checked = preceded(this.#checkHeader(head), chunks);
    const stream = Readable.from(checked, { objectMode: true, highWaterMark: 1 });
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
      default:
        if (magic.startsWith('1f8b')) throw this.#fault(`is compressed; unpack it with: gunzip ${this.#path}`);
        throw this.#fault(`is neither a pcap nor a pcapng file (it begins with ${magic})`);
    }
    const little = magic === PcapMagic.microsecondsLittle || magic === PcapMagic.nanosecondsLittle;
    const word = (offset: number) => (little ? head.readUInt16LE(offset) : head.readUInt16BE(offset));
    const [major, minor] = [word(4), word(6)];
    if (major !== 2 || minor !== 4) throw this.#fault(`is pcap version ${major}.${minor}; only 2.4 is read`);
    // The upper half of the field holds flags (draft-ietf-opsawg-pcap section 4).
    const linkType = word(little ? 20 : 22);
    if (linkType !== LINK_TYPE_ETHERNET) throw this.#wrongLinkType(linkType);
    return checked;
  }

  #wrongLinkType(linkType: number): PcapError {
    return this.#fault(
      `has link type ${linkType}; only Ethernet (${LINK_TYPE_ETHERNET}) is read: capture on an Ethernet interface`,
    );
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

async function* preceded(head: Buffer, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield head;
  yield* chunks;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
