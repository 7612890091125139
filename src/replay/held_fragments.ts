/** Which frame of the capture a fragment was that comes out of the datapath's memory behind its first one. Pure. */

import type { FrameFacts, PacketFacts } from '../wire/frame.js';

export interface HeldFragment {
  readonly number: number;
  readonly frame: FrameFacts;
}

/** More than the datapath holds (native/fragments.h): of those beyond, the oldest have been let go there, too. */
const HELD_MAX = 512;

export class HeldFragments {
  readonly #held: HeldFragment[] = [];

  add(fragment: HeldFragment): void {
    this.#held.push(fragment);
    if (this.#held.length > HELD_MAX) this.#held.shift();
  }

  /** The next that `first` releases; if it was `sent`, the one that has its offset. Null: none that is known here. */
  take(first: FrameFacts, sent: FrameFacts | null): HeldFragment | null {
    const offset = sent?.packet?.fragment?.offset;
    const at = this.#held.findIndex(({ frame: { packet } }) => {
      return isOfSamePacket(packet, first.packet) && (offset === undefined || packet?.fragment?.offset === offset);
    });
    return at < 0 ? null : this.#held.splice(at, 1)[0]!;
  }
}

/** RFC 791 section 3.2; RFC 8200 section 4.5. */
function isOfSamePacket(left: PacketFacts | null, right: PacketFacts | null): boolean {
  if (left === null || right === null || left.fragment?.id !== right.fragment?.id) return false;
  return left.source === right.source && left.destination === right.destination && left.protocol === right.protocol;
}
