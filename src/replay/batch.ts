/** Captured frames on their way through `Datapath.replay()`, in the layout that src/datapath.ts gives. */

import type { Datapath, NativeModule } from '../datapath.js';
import { arrivalOf } from './arrival.js';
import type { Topology } from './topology.js';

export type ReplayVerdict =
  | { readonly kind: 'forward'; readonly arrivedOn: string; readonly device: string }
  | { readonly kind: 'punt'; readonly arrivedOn: string }
  /** A fragment before its first one; when that comes, what becomes of it is told as `released`. */
  | { readonly kind: 'hold'; readonly arrivedOn: string }
  | { readonly kind: 'drop'; readonly arrivedOn: string; readonly drop: string };

/** Frames in it are good until the call returns. */
export interface ReplayedFrame {
  readonly verdict: ReplayVerdict;
  /** As captured, since the epoch; of one that is released, of the frame that released it. */
  readonly timeNs: bigint;
  /** As the datapath got it; null if it was held before. */
  readonly arrived: Uint8Array | null;
  /** As it was forwarded; null for all else. */
  readonly sent: Uint8Array | null;
  /** It was held before. */
  readonly released: boolean;
}

export type OnVerdict = (replayed: ReplayedFrame) => void;

const BATCH_BYTES = 1 << 20;
const BATCH_FRAMES = 4096;
/** Longer frames than a device can hand over (native/limits.h) are not shown to the datapath. */
const FRAME_BYTES_MAX = 65536 + 18;
const INPUT_HEAD_BYTES = 16;
const OUTPUT_HEAD_BYTES = 8;
const OUTPUT_EXTRA_BYTES = 128;
/** What fragments held from earlier batches take at most (native/fragments.h): 512 of 9,234 octets and as much more. */
const OUTPUT_HELD_BYTES = 512 * (9234 + OUTPUT_EXTRA_BYTES);
const FORWARD = 0;
const PUNT = 1;
const HOLD = 3;
const RELEASED = 0x80;

interface Waiting {
  /** As captured, since the epoch. */
  readonly timeNs: bigint;
  readonly device: number;
  /** In the input. */
  readonly frame: Uint8Array;
}

export class Batch {
  readonly #datapath: Datapath;
  readonly #topology: Topology;
  readonly #dropNames: readonly string[];
  readonly #onVerdict: OnVerdict;
  readonly #input = new Uint8Array(BATCH_BYTES + FRAME_BYTES_MAX + INPUT_HEAD_BYTES);
  readonly #view = new DataView(this.#input.buffer);
  readonly #output = new Uint8Array(this.#input.length + BATCH_FRAMES * OUTPUT_EXTRA_BYTES + OUTPUT_HELD_BYTES);
  readonly #waiting: Waiting[] = [];
  #bytes = 0;

  constructor(native: NativeModule, datapath: Datapath, topology: Topology, onVerdict: OnVerdict) {
    this.#datapath = datapath;
    this.#topology = topology;
    this.#dropNames = native.dropNames.map(([name]) => name);
    this.#onVerdict = onVerdict;
  }

  /** `now` is the datapath's time for the frame, `timeNs` the capture's. */
  add(frame: Uint8Array, timeNs: bigint, now: bigint, keepMac: boolean): void {
    const { device, destinationMac } = arrivalOf(this.#topology, frame);
    if (frame.length > FRAME_BYTES_MAX) {
      this.flush();
      const verdict = { kind: 'drop', arrivedOn: this.#deviceName(device), drop: 'oversized' } as const;
      this.#onVerdict({ verdict, timeNs, arrived: frame, sent: null, released: false });
      return;
    }
    const start = this.#bytes;
    this.#view.setBigUint64(start, now, true);
    this.#view.setUint16(start + 8, device, true);
    this.#view.setUint16(start + 10, 0, true);
    this.#view.setUint32(start + 12, frame.length, true);
    this.#bytes += INPUT_HEAD_BYTES + frame.length;
    const arrived = this.#input.subarray(start + INPUT_HEAD_BYTES, this.#bytes);
    arrived.set(frame);
    if (destinationMac !== null && !keepMac) arrived.set(destinationMac);
    this.#waiting.push({ timeNs, device, frame: arrived });
    if (this.#bytes >= BATCH_BYTES || this.#waiting.length >= BATCH_FRAMES) this.flush();
  }

  flush(): void {
    if (this.#waiting.length === 0) return;
    const written = this.#datapath.replay(this.#input.subarray(0, this.#bytes), this.#output);
    this.#readVerdicts(this.#output.subarray(0, written));
    this.#bytes = 0;
    this.#waiting.length = 0;
  }

  /** A verdict for each frame, in their order; behind a frame those of fragments that it released. */
  #readVerdicts(output: Uint8Array): void {
    const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
    let next = 0;
    let timeNs = 0n;
    for (let at = 0; at + OUTPUT_HEAD_BYTES <= output.length; ) {
      const kind = view.getUint8(at);
      const drop = view.getUint8(at + 1);
      const sentOn = view.getUint8(at + 2);
      const bytes = view.getUint32(at + 4, true);
      const released = kind >= RELEASED;
      const waiting = released ? undefined : this.#waiting[next++];
      if (waiting !== undefined) timeNs = waiting.timeNs;
      const arrivedOn = this.#deviceName(waiting?.device ?? view.getUint8(at + 3));
      const sent = output.subarray(at + OUTPUT_HEAD_BYTES, at + OUTPUT_HEAD_BYTES + bytes);
      at += OUTPUT_HEAD_BYTES + bytes;
      const verdict = this.#verdict(kind % RELEASED, arrivedOn, sentOn, drop);
      const arrived = waiting?.frame ?? null;
      this.#onVerdict({ verdict, timeNs, arrived, sent: verdict.kind === 'forward' ? sent : null, released });
    }
  }

  #verdict(kind: number, arrivedOn: string, sentOn: number, drop: number): ReplayVerdict {
    switch (kind) {
      case FORWARD:
        return { kind: 'forward', arrivedOn, device: this.#deviceName(sentOn) };
      case PUNT:
        return { kind: 'punt', arrivedOn };
      case HOLD:
        return { kind: 'hold', arrivedOn };
      default:
        return { kind: 'drop', arrivedOn, drop: this.#dropNames[drop] ?? `drop ${drop}` };
    }
  }

  #deviceName(device: number): string {
    return this.#topology.devices[device]?.name ?? `device ${device}`;
  }
}
