/**
 * The mirror link as a transport: reliable ordered byte streams with delay, little room, and chunk boundaries
 * of their own, which can be cut (nothing passes until it is mended) or reset (both ends are told).
 */

import { EventEmitter } from 'node:events';

import type { ByteStream, Listener, MirrorTransport } from '../../src/io/mirror_transport.js';
import type { Simulator } from './simulator.js';

interface StreamEvents {
  data: [chunk: Uint8Array];
  error: [error: Error];
  close: [];
  finish: [];
}

/**
 * One end of a connection. Each arrival takes the oldest of the queue with it, so the order holds whatever the
 * link does to their times.
 */
class SimStream extends EventEmitter<StreamEvents> implements ByteStream {
  connecting = false;
  remoteAddress: string | undefined;
  writableLength = 0;
  other: SimStream | null = null;
  destroyed = false;
  readonly #link: MirrorLink;
  readonly defer: (run: () => void) => void;
  readonly #queue: (() => void)[] = [];
  #sentAt = 0;
  #arrivesAt = 0;
  #ending = false;

  constructor(link: MirrorLink, defer: (run: () => void) => void, remoteAddress: string) {
    super();
    this.#link = link;
    this.defer = defer;
    this.remoteAddress = remoteAddress;
  }

  write(bytes: Uint8Array, done?: () => void): boolean {
    if (this.destroyed || this.#ending) return false;
    const copy = bytes.slice();
    this.writableLength += copy.length;
    this.#enqueue(copy.length, () => {
      this.writableLength -= copy.length;
      if (!this.destroyed) this.other?.deliver(copy);
      this.defer(() => done?.());
    });
    return true;
  }

  /** Arrives after what is on its way already, and not while the link is cut. */
  #enqueue(bytes: number, arrive: () => void): void {
    const { simulator, bytesPerMs } = this.#link;
    this.#sentAt = Math.max(this.#sentAt, simulator.now) + bytes / bytesPerMs;
    this.#queue.push(arrive);
    const at = Math.max(this.#arrivesAt, this.#sentAt + this.#link.delayMs());
    this.#arrivesAt = at;
    this.#link.whenUp(at, () => this.#queue.shift()?.());
  }

  deliver(bytes: Uint8Array): void {
    if (this.destroyed) return;
    this.defer(() => {
      const cut = this.#link.simulator.below(bytes.length + 1);
      for (const chunk of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
        if (chunk.length > 0 && !this.destroyed) this.emit('data', chunk);
      }
    });
  }

  cork(): void {}

  uncork(): void {}

  end(): void {
    if (this.#ending || this.destroyed) return;
    this.#ending = true;
    this.#enqueue(0, () => {
      this.defer(() => this.emit('finish'));
      this.other?.destroy();
    });
  }

  destroy(): void {
    this.fail(null);
  }

  fail(error: Error | null): void {
    if (this.destroyed) return;
    this.destroyed = true;
    const { simulator } = this.#link;
    simulator.after(0.01, () =>
      this.defer(() => {
        if (error !== null) this.emit('error', error);
        this.emit('close');
      }),
    );
    this.#link.whenUp(simulator.now + this.#link.delayMs(), () => this.other?.destroy());
  }
}

/** The transport of a unit with a link for each path; unit b's address there says which. */
export function linksTransport(
  links: ReadonlyMap<string, MirrorLink>,
  defer: (run: () => void) => void,
): MirrorTransport {
  const linkTo = (address: string): MirrorLink => links.get(address) as MirrorLink;
  return {
    connect: (from, to, onReady) => linkTo(to.address).connect(defer, from, to.address, onReady),
    listen: (at, _peer, { onStream }) => linkTo(at.address).listen(defer, onStream),
    security: () => 'plaintext',
  };
}

interface Accepting {
  readonly onStream: (stream: ByteStream) => void;
  readonly defer: (run: () => void) => void;
}

export class MirrorLink {
  readonly simulator: Simulator;
  /** Room of the path. */
  bytesPerMs = 10_000;
  #up = true;
  #waiting: (() => void)[] = [];
  #accepting: Accepting | null = null;
  #streams: SimStream[] = [];

  constructor(simulator: Simulator) {
    this.simulator = simulator;
  }

  delayMs(): number {
    return this.simulator.between(0.05, 0.6);
  }

  get up(): boolean {
    return this.#up;
  }

  set up(up: boolean) {
    this.#up = up;
    if (!up) return;
    // Retransmissions find the way again, in order.
    const waiting = this.#waiting;
    this.#waiting = [];
    const at = this.simulator.now + this.simulator.between(1, 200);
    for (const run of waiting) this.whenUp(at, run);
  }

  /** Both ends of every connection are told that it is over. */
  reset(): void {
    for (const stream of this.#streams.splice(0)) stream.fail(new Error('connection reset'));
  }

  whenUp(at: number, run: () => void): void {
    this.simulator.at(at, () => {
      if (this.#up) run();
      else this.#waiting.push(run);
    });
  }

  connect(defer: (run: () => void) => void, from: string, to: string, onReady: () => void): ByteStream {
    const near = new SimStream(this, defer, to);
    near.connecting = true;
    this.whenUp(this.simulator.now + this.delayMs(), () => this.#accept(near, from, onReady));
    return near;
  }

  listen(defer: (run: () => void) => void, onStream: (stream: ByteStream) => void): Listener {
    const accepting = { onStream, defer };
    this.#accepting = accepting;
    return {
      close: (done) => {
        if (this.#accepting === accepting) this.#accepting = null;
        done();
      },
    };
  }

  /** A unit died: its kernel refuses what comes. */
  forget(): void {
    this.#accepting = null;
  }

  #accept(near: SimStream, from: string, onReady: () => void): void {
    if (near.destroyed) return;
    const accepting = this.#accepting;
    if (accepting === null) {
      near.fail(new Error('connection refused'));
      return;
    }
    const far = new SimStream(this, accepting.defer, from);
    far.other = near;
    near.other = far;
    this.#streams = [...this.#streams.filter(({ destroyed }) => !destroyed), near, far];
    accepting.defer(() => accepting.onStream(far));
    this.whenUp(this.simulator.now + this.delayMs(), () => {
      if (near.destroyed) return;
      near.connecting = false;
      near.defer(onReady);
    });
  }
}
