/**
 * Frames as the datapath's captures hand them over (`Datapath.takeCapture()`), and as they stand in a pcapng file.
 * Layout: `CaptureRecord` of native/capture.h, little endian; the frame follows, padded to 8 octets.
 *
 *   length u32 | captured u32 | original u32 | slot u32 | time u64 ns | incarnation u16 | virtual server u16 |
 *   device u8 | what u8 | drop u8 | reserved u8
 */

import type { FrameDirection, PcapngFrame } from './pcapng.js';

export const CAPTURE_HEAD_BYTES = 32;
const NO_CONNECTION = 0xffffffff;
const NO_SERVER = 0xffff;

/** In the order of `Captured`; `drop`: it went no further, and the record says why. */
const OUTCOMES: readonly { readonly word: string; readonly direction: FrameDirection; readonly drop: boolean }[] = [
  { word: 'received', direction: 'inbound', drop: false },
  { word: 'held', direction: 'inbound', drop: false },
  { word: 'dropped', direction: 'inbound', drop: true },
  { word: 'sent', direction: 'outbound', drop: false },
  { word: 'unsent', direction: 'outbound', drop: true },
];

export interface CaptureNames {
  /** In the datapath's order. */
  readonly drops: readonly (readonly [name: string, sentence: string])[];
  /** By id. */
  readonly virtualServers: ReadonlyMap<number, string>;
}

/** Whole records. The frames' octets are those of `records`, not copies. */
export function* capturedFrames(records: Uint8Array, names: CaptureNames): Generator<PcapngFrame> {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  for (let at = 0; at < records.length; at += view.getUint32(at, true)) {
    const start = at + CAPTURE_HEAD_BYTES;
    const outcome = OUTCOMES[view.getUint8(at + 29)] ?? { word: 'unknown', direction: 'unknown', drop: false };
    yield {
      interfaceIndex: view.getUint8(at + 28),
      timeNs: view.getBigUint64(at + 16, true),
      bytes: records.subarray(start, start + view.getUint32(at + 4, true)),
      originalBytes: view.getUint32(at + 8, true),
      direction: outcome.direction,
      comment: commentOf(view, at, outcome, names),
    };
  }
}

/** Of one connection, both directions, as received. */
export interface ConnectionTraffic {
  readonly slot: number;
  /** SLOT.INCARNATION */
  readonly id: string;
  readonly packets: number;
  readonly bytes: number;
}

export interface TrafficSample {
  readonly forMs: number;
  /** Share of the frames of that time, 0..1. */
  readonly seen: number;
  /** Busiest first, by octets. */
  readonly connections: readonly ConnectionTraffic[];
}

/** By slot and incarnation: slot * 2^16 + incarnation. */
export type Tally = Map<number, { packets: number; bytes: number }>;

/** Adds what these records say was received of connections; gives the number of records. */
export function tallyTraffic(records: Uint8Array, into: Tally): number {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  let count = 0;
  for (let at = 0; at < records.length; at += view.getUint32(at, true)) {
    count++;
    const slot = view.getUint32(at + 12, true);
    const outcome = OUTCOMES[view.getUint8(at + 29)];
    if (slot === NO_CONNECTION || outcome?.direction !== 'inbound' || outcome.drop) continue;
    const key = slot * 0x1_0000 + view.getUint16(at + 24, true);
    const sum = into.get(key) ?? { packets: 0, bytes: 0 };
    sum.packets++;
    sum.bytes += view.getUint32(at + 8, true);
    into.set(key, sum);
  }
  return count;
}

export function trafficOf(tally: Tally): ConnectionTraffic[] {
  return [...tally]
    .map(([key, sum]) => {
      const slot = Math.floor(key / 0x1_0000);
      return { slot, id: idOf(slot, key % 0x1_0000), ...sum };
    })
    .toSorted((one, other) => other.bytes - one.bytes);
}

const idOf = (slot: number, incarnation: number): string => `${slot}.${incarnation}`;

/** `dropped reason=no_member connection=none virtual=www (no member of the pool is available)` */
function commentOf(view: DataView, at: number, { word, drop }: (typeof OUTCOMES)[number], names: CaptureNames): string {
  const slot = view.getUint32(at + 12, true);
  const server = view.getUint16(at + 26, true);
  const connection = slot === NO_CONNECTION ? 'none' : idOf(slot, view.getUint16(at + 24, true));
  const virtual = server === NO_SERVER ? 'none' : (names.virtualServers.get(server) ?? 'gone');
  const [reason, sentence] = names.drops[view.getUint8(at + 30)] ?? ['unknown', 'a reason without a name'];
  const belongs = `connection=${connection} virtual=${virtual}`;
  return drop ? `${word} reason=${reason} ${belongs} (${sentence})` : `${word} ${belongs}`;
}
