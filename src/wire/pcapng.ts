/**
 * The pcapng file format, as far as Tandem writes it: little endian, one section, Ethernet, nanoseconds.
 * Read first: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/
 *
 *   section header         SHB, the program that wrote it
 *   interface description  IDB, one per device, in the order that frames name them by
 *   enhanced packet        EPB, a frame: interface, time, what was captured of it, direction, comment
 *   interface statistics   ISB, what was missed on an interface; the last one of an interface counts
 *
 * Every block: type u32, length u32 of the whole block, body, length again; bodies and options are padded to 4 octets.
 * pcapng_reader.ts reads it.
 */

import { LINK_TYPE_ETHERNET } from './pcap.js';

export const BlockType = {
  section: 0x0a0d0d0a,
  interface: 1,
  /** Obsolete: what came before the enhanced one. */
  packet: 2,
  simplePacket: 3,
  statistics: 5,
  enhancedPacket: 6,
} as const;

export const OptionCode = {
  end: 0,
  comment: 1,
  userApplication: 4,
  interfaceName: 2,
  timeResolution: 9,
  timeOffset: 14,
  packetFlags: 2,
  received: 4,
  dropped: 5,
} as const;

export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
export const VERSION_MAJOR = 1;
/** Type, and the length twice. */
export const BLOCK_FRAME_BYTES = 12;
/** The first two bits of a packet's flags. */
export const Direction = { unknown: 0, inbound: 1, outbound: 2 } as const;
export type FrameDirection = keyof typeof Direction;

const OPTION_HEAD_BYTES = 4;
/** The field has 16 bits. */
const OPTION_BYTES_MAX = 0xffff;
const LENGTH_NOT_KNOWN = 0xffffffff;
const NANOSECONDS = 9;

/** What precedes all frames. `application`: the program that writes it, with its version. */
export function pcapngHeader(application: string, interfaces: readonly string[], snaplenBytes: number): Uint8Array {
  const section = block(BlockType.section, 16, [textOption(OptionCode.userApplication, application)], (view, at) => {
    view.setUint32(at, BYTE_ORDER_MAGIC, true);
    view.setUint16(at + 4, VERSION_MAJOR, true);
    view.setUint32(at + 8, LENGTH_NOT_KNOWN, true);
    view.setUint32(at + 12, LENGTH_NOT_KNOWN, true);
  });
  const descriptions = interfaces.map((name) => {
    const options = [
      textOption(OptionCode.interfaceName, name),
      option(OptionCode.timeResolution, Uint8Array.of(NANOSECONDS)),
    ];
    return block(BlockType.interface, 8, options, (view, at) => {
      view.setUint16(at, LINK_TYPE_ETHERNET, true);
      view.setUint32(at + 4, snaplenBytes, true);
    });
  });
  return concatenated([section, ...descriptions]);
}

export interface PcapngFrame {
  /** By the order of the header. */
  readonly interfaceIndex: number;
  /** Since the epoch. */
  readonly timeNs: bigint;
  readonly bytes: Uint8Array;
  /** On the wire; more than `bytes` has if it was cut. */
  readonly originalBytes: number;
  readonly direction: FrameDirection;
  /** Empty: none. */
  readonly comment: string;
}

export function pcapngFrame(frame: PcapngFrame): Uint8Array {
  const { interfaceIndex, timeNs, bytes, originalBytes, direction, comment } = frame;
  const flags = new Uint8Array(4);
  new DataView(flags.buffer).setUint32(0, Direction[direction], true);
  const options = [option(OptionCode.packetFlags, flags)];
  if (comment !== '') options.unshift(textOption(OptionCode.comment, comment));
  return block(BlockType.enhancedPacket, 20 + padded(bytes.length), options, (view, at) => {
    view.setUint32(at, interfaceIndex, true);
    writeTime(view, at + 4, timeNs);
    view.setUint32(at + 12, bytes.length, true);
    view.setUint32(at + 16, originalBytes, true);
    new Uint8Array(view.buffer).set(bytes, at + 20);
  });
}

/** `received`: frames that were to be captured on the interface. `dropped`: of these, the missed ones. */
export function pcapngStatistics(
  interfaceIndex: number,
  timeNs: bigint,
  { received, dropped }: { readonly received: bigint; readonly dropped: bigint },
): Uint8Array {
  const options = [wideOption(OptionCode.received, received), wideOption(OptionCode.dropped, dropped)];
  return block(BlockType.statistics, 12, options, (view, at) => {
    view.setUint32(at, interfaceIndex, true);
    writeTime(view, at + 4, timeNs);
  });
}

/** Units of the interface's resolution, the upper half first. */
function writeTime(view: DataView, at: number, timeNs: bigint): void {
  view.setUint32(at, Number((timeNs >> 32n) & 0xffffffffn), true);
  view.setUint32(at + 4, Number(timeNs & 0xffffffffn), true);
}

export function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}

function block(
  type: number,
  bodyBytes: number,
  options: readonly Uint8Array[],
  write: (view: DataView, at: number) => void,
): Uint8Array {
  const optionBytes = options.reduce((sum, { length }) => sum + length, OPTION_HEAD_BYTES);
  const length = BLOCK_FRAME_BYTES + bodyBytes + optionBytes;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  write(view, 8);
  let at = 8 + bodyBytes;
  for (const each of options) {
    bytes.set(each, at);
    at += each.length;
  }
  view.setUint32(length - 4, length, true);
  return bytes;
}

function option(code: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(OPTION_HEAD_BYTES + padded(value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  bytes.set(value, OPTION_HEAD_BYTES);
  return bytes;
}

function textOption(code: number, text: string): Uint8Array {
  const octets = new TextEncoder().encode(text);
  if (octets.length > OPTION_BYTES_MAX) throw new RangeError(`an option of ${octets.length} octets`);
  return option(code, octets);
}

function wideOption(code: number, value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return option(code, bytes);
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
