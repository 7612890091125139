/**
 * A pcapng stream, block by block as its octets come: any program's, of either byte order, with any number of sections.
 * What is read is in pcapng.ts; blocks of other kinds are passed over. Bounded by the longest block that is believed.
 */

import { PCAP_FRAME_BYTES_MAX } from './pcap.js';
import {
  BLOCK_FRAME_BYTES,
  BlockType,
  BYTE_ORDER_MAGIC,
  Direction,
  type FrameDirection,
  OptionCode,
  type PcapngFrame,
  padded,
  VERSION_MAJOR,
} from './pcapng.js';

/** A frame with its options; a block of names or keys may be as long. Longer ones are damage. */
export const PCAPNG_BLOCK_BYTES_MAX = 4 * 1024 * 1024;

export type PcapngBlock =
  | { readonly kind: 'section'; readonly application: string }
  | { readonly kind: 'interface'; readonly name: string }
  | { readonly kind: 'frame'; readonly linkType: number; readonly frame: PcapngFrame }
  | { readonly kind: 'statistics'; readonly interfaceIndex: number; readonly dropped: bigint }
  | { readonly kind: 'other' };

/** The rest of the stream cannot be read. The message tells what is wrong, to stand behind the file's name. */
export class PcapngFault extends Error {}

interface Interface {
  readonly linkType: number;
  /** 0: no bound. */
  readonly snaplenBytes: number;
  readonly name: string;
  /** Units of time in a second. */
  readonly perS: bigint;
  readonly offsetS: bigint;
}

export class PcapngReader {
  #rest: Uint8Array = new Uint8Array(0);
  #little = true;
  #inSection = false;
  #interfaces: Interface[] = [];
  #blocks = 0;

  /** Octets of an unfinished block. */
  get pendingBytes(): number {
    return this.#rest.length;
  }

  /** The next block, behind the name of which all before it have been read. */
  get nextBlock(): number {
    return this.#blocks + 1;
  }

  /** Whole blocks that end within `chunk`, with their octets as they stood; throws PcapngFault at the first bad one. */
  *read(chunk: Uint8Array): Generator<{ readonly block: PcapngBlock; readonly bytes: Uint8Array }> {
    this.#rest = this.#rest.length === 0 ? chunk : joined(this.#rest, chunk);
    for (;;) {
      const length = this.#blockLength();
      if (length === null || this.#rest.length < length) return;
      const bytes = this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(length);
      const block = this.#block(bytes);
      this.#blocks++;
      yield { block, bytes };
    }
  }

  /** Null: not yet to be told. */
  #blockLength(): number | null {
    if (this.#rest.length < BLOCK_FRAME_BYTES) return null;
    const view = viewOf(this.#rest);
    // The same in both byte orders.
    const isSection = view.getUint32(0, true) === BlockType.section;
    if (isSection) {
      const magic = view.getUint32(8, true);
      this.#little = magic === BYTE_ORDER_MAGIC;
      if (!this.#little && view.getUint32(8, false) !== BYTE_ORDER_MAGIC) this.#fail('has no byte-order magic');
    } else if (!this.#inSection) {
      throw new PcapngFault('does not begin with a section header');
    }
    const length = view.getUint32(4, this.#little);
    if (length < BLOCK_FRAME_BYTES || length % 4 !== 0) this.#fail(`claims ${length} bytes, which no block has`);
    if (length > PCAPNG_BLOCK_BYTES_MAX)
      this.#fail(`claims ${length} bytes, more than the ${PCAPNG_BLOCK_BYTES_MAX} that are read`);
    return length;
  }

  #block(bytes: Uint8Array): PcapngBlock {
    const body = new Body(bytes, this.#little, (what) => this.#fail(what));
    if (body.trailer !== bytes.length)
      this.#fail(`ends with a length of ${body.trailer}, and began with ${bytes.length}`);
    switch (body.type) {
      case BlockType.section:
        return this.#section(body);
      case BlockType.interface:
        return this.#interface(body);
      case BlockType.enhancedPacket:
        return this.#packet(body, body.u32(0));
      case BlockType.packet:
        return this.#packet(body, body.u16(0));
      case BlockType.simplePacket:
        return this.#simplePacket(body);
      case BlockType.statistics: {
        const dropped = body.options(12).find(({ code }) => code === OptionCode.dropped);
        return {
          kind: 'statistics',
          interfaceIndex: body.u32(0),
          dropped: dropped === undefined ? 0n : dropped.wide(),
        };
      }
      default:
        return { kind: 'other' };
    }
  }

  #section(body: Body): PcapngBlock {
    const major = body.u16(4);
    if (major !== VERSION_MAJOR) this.#fail(`is of pcapng version ${major}; only ${VERSION_MAJOR} is read`);
    this.#inSection = true;
    this.#interfaces = [];
    const application = body.options(16).find(({ code }) => code === OptionCode.userApplication);
    return { kind: 'section', application: application?.text() ?? '' };
  }

  #interface(body: Body): PcapngBlock {
    const options = body.options(8);
    const value = (wanted: number) => options.find(({ code }) => code === wanted);
    const name = value(OptionCode.interfaceName)?.text() ?? '';
    const resolution = value(OptionCode.timeResolution)?.octet() ?? 6;
    const offsetS = BigInt.asIntN(64, value(OptionCode.timeOffset)?.wide() ?? 0n);
    // The first bit says whether it is a power of two or of ten.
    const perS = (resolution & 0x80) !== 0 ? 2n ** BigInt(resolution & 0x7f) : 10n ** BigInt(resolution);
    this.#interfaces.push({ linkType: body.u16(0), snaplenBytes: body.u32(4), name, perS, offsetS });
    return { kind: 'interface', name };
  }

  #packet(body: Body, interfaceIndex: number): PcapngBlock {
    const { linkType, perS, offsetS } = this.#interfaceAt(interfaceIndex);
    const units = (BigInt(body.u32(4)) << 32n) | BigInt(body.u32(8));
    const captured = body.u32(12);
    const bytes = this.#captured(body, 20, captured, body.u32(16));
    const options = body.options(20 + padded(captured));
    const comments = options.filter(({ code }) => code === OptionCode.comment).map((each) => each.text());
    const flags = options.find(({ code }) => code === OptionCode.packetFlags)?.word() ?? 0;
    const frame = {
      interfaceIndex,
      timeNs: (units * 1_000_000_000n) / perS + offsetS * 1_000_000_000n,
      bytes,
      originalBytes: body.u32(16),
      direction: directionOf(flags),
      comment: comments.join('\n'),
    };
    return { kind: 'frame', linkType, frame };
  }

  /** Of the first interface, without a time. */
  #simplePacket(body: Body): PcapngBlock {
    const { linkType, snaplenBytes } = this.#interfaceAt(0);
    const original = body.u32(0);
    const captured = snaplenBytes === 0 ? original : Math.min(original, snaplenBytes);
    const bytes = this.#captured(body, 4, captured, original);
    const frame = {
      interfaceIndex: 0,
      timeNs: 0n,
      bytes,
      originalBytes: original,
      direction: 'unknown',
      comment: '',
    } as const;
    return { kind: 'frame', linkType, frame };
  }

  #captured(body: Body, at: number, captured: number, original: number): Uint8Array {
    if (captured > PCAP_FRAME_BYTES_MAX)
      this.#fail(`claims ${captured} captured bytes, more than the format's ${PCAP_FRAME_BYTES_MAX}`);
    if (captured > original) this.#fail(`claims ${captured} captured bytes of only ${original}`);
    return body.octets(at, captured);
  }

  #interfaceAt(index: number): Interface {
    return this.#interfaces[index] ?? this.#fail(`names interface ${index}, which is not described`);
  }

  #fail(what: string): never {
    throw new PcapngFault(`block ${this.nextBlock} ${what}`);
  }
}

interface Option {
  readonly code: number;
  text(): string;
  octet(): number;
  word(): number;
  wide(): bigint;
}

/** Offsets are from the body's first octet. */
class Body {
  readonly type: number;
  readonly trailer: number;
  readonly #view: DataView;
  readonly #little: boolean;
  readonly #fail: (what: string) => never;
  readonly #bytes: number;

  constructor(block: Uint8Array, little: boolean, fail: (what: string) => never) {
    const whole = viewOf(block);
    this.type = whole.getUint32(0, little);
    this.trailer = whole.getUint32(block.length - 4, little);
    this.#view = viewOf(block.subarray(8, block.length - 4));
    this.#bytes = block.length - BLOCK_FRAME_BYTES;
    this.#little = little;
    this.#fail = fail;
  }

  u16(at: number): number {
    this.#need(at, 2);
    return this.#view.getUint16(at, this.#little);
  }

  u32(at: number): number {
    this.#need(at, 4);
    return this.#view.getUint32(at, this.#little);
  }

  octets(at: number, count: number): Uint8Array {
    this.#need(at, count);
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + at, count);
  }

  options(at: number): Option[] {
    const found: Option[] = [];
    while (at < this.#bytes) {
      const [code, count] = [this.u16(at), this.u16(at + 2)];
      if (code === OptionCode.end) break;
      const value = this.octets(at + 4, count);
      found.push(this.#option(code, value));
      at += 4 + padded(count);
    }
    return found;
  }

  #option(code: number, value: Uint8Array): Option {
    const view = viewOf(value);
    const holding = (count: number) => {
      if (value.length < count) this.#fail(`has an option ${code} of ${value.length} bytes`);
      return view;
    };
    return {
      code,
      text: () => new TextDecoder().decode(value).replace(/\0+$/, ''),
      octet: () => holding(1).getUint8(0),
      word: () => holding(4).getUint32(0, this.#little),
      wide: () => holding(8).getBigUint64(0, this.#little),
    };
  }

  #need(at: number, count: number): void {
    if (at + count > this.#bytes) this.#fail(`is too short: ${this.#bytes} bytes, of which ${at + count} are needed`);
  }
}

function directionOf(flags: number): FrameDirection {
  const bits = flags & 3;
  if (bits === Direction.inbound) return 'inbound';
  return bits === Direction.outbound ? 'outbound' : 'unknown';
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function joined(left: Uint8Array, right: Uint8Array): Uint8Array {
  const both = new Uint8Array(left.length + right.length);
  both.set(left);
  both.set(right, left.length);
  return both;
}
