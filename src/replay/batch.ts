/** Captured frames on their way through `Datapath.replay()`, in the layout that src/datapath.ts gives. */

import type { Datapath, NativeModule } from '../datapath.js';
import { arrivalOf } from './arrival.js';
import type { Topology } from './topology.js';

export type ReplayVerdict =
  | { readonly kind: 'forward'; readonly arrivedOn: string; readonly device: string }
  | { readonly kind: 'punt'; readonly arrivedOn: string }
  | { readonly kind: 'drop'; readonly arrivedOn: string; readonly drop: string };

/** `frame` is what was forwarded, good until the call returns; null for punts and drops. */
export type OnVerdict = (verdict: ReplayVerdict, timeNs: bigint, frame: Uint8Array | null) => void;

const BATCH_BYTES = 1 << 20;
const BATCH_FRAMES = 4096;
/** Longer frames than a device can hand over (native/limits.h) are not shown to the datapath. */
const FRAME_BYTES_MAX = 65536 + 18;
const INPUT_HEAD_BYTES = 16;
const OUTPUT_HEAD_BYTES = 8;
const OUTPUT_EXTRA_BYTES = 128;
const FORWARD = 0;
const PUNT = 1;

interface Waiting {
  /** As captured, since the epoch. */
  readonly timeNs: bigint;
  readonly device: number;
}

export class Batch {
  readonly #datapath: Datapath;
  readonly #topology: Topology;
  readonly #dropNames: readonly string[];
  readonly #onVerdict: OnVerdict;
  readonly #input = new Uint8Array(BATCH_BYTES + FRAME_BYTES_MAX + INPUT_HEAD_BYTES);
  readonly #view = new DataView(this.#input.buffer);
  readonly #output = new Uint8Array(this.#input.length + BATCH_FRAMES * OUTPUT_EXTRA_BYTES);
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
      this.#onVerdict({ kind: 'drop', arrivedOn: this.#deviceName(device), drop: 'oversized' }, timeNs, null);
      return;
    }
    const start = this.#bytes;
    this.#view.setBigUint64(start, now, true);
    this.#view.setUint16(start + 8, device, true);
    this.#view.setUint16(start + 10, 0, true);
    this.#view.setUint32(start + 12, frame.length, true);
    this.#input.set(frame, start + INPUT_HEAD_BYTES);
    if (destinationMac !== null && !keepMac) this.#input.set(destinationMac, start + INPUT_HEAD_BYTES);
    this.#bytes += INPUT_HEAD_BYTES + frame.length;
    this.#waiting.push({ timeNs, device });
    if (this.#bytes >= BATCH_BYTES || this.#waiting.length >= BATCH_FRAMES) this.flush();
  }

  flush(): void {
    if (this.#waiting.length === 0) return;
    const written = this.#datapath.replay(this.#input.subarray(0, this.#bytes), this.#output);
    this.#readVerdicts(this.#output.subarray(0, written));
    this.#bytes = 0;
    this.#waiting.length = 0;
  }

  #readVerdicts(output: Uint8Array): void {
    const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
    let at = 0;
    for (const { timeNs, device } of this.#waiting) {
      // A frame without a verdict is one that the datapath lost: the summary will not add up.
      if (at + OUTPUT_HEAD_BYTES > output.length) return;
      const kind = view.getUint8(at);
      const drop = view.getUint8(at + 1);
      const sentOn = view.getUint16(at + 2, true);
      const bytes = view.getUint32(at + 4, true);
      at += OUTPUT_HEAD_BYTES;
      const arrivedOn = this.#deviceName(device);
      if (kind === FORWARD) {
        const frame = output.subarray(at, at + bytes);
        at += bytes;
        this.#onVerdict({ kind: 'forward', arrivedOn, device: this.#deviceName(sentOn) }, timeNs, frame);
      } else if (kind === PUNT) this.#onVerdict({ kind: 'punt', arrivedOn }, timeNs, null);
      else this.#onVerdict({ kind: 'drop', arrivedOn, drop: this.#dropNames[drop] ?? `drop ${drop}` }, timeNs, null);
    }
  }

  #deviceName(device: number): string {
    return this.#topology.devices[device]?.name ?? `device ${device}`;
  }
}
