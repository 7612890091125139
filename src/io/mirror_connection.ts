/**
 * The connection to the peer on one path: dialled by unit a, accepted by unit b, its bytes cut into messages.
 *
 * A connection that is accepted is a candidate until it has said the peer's hello, or that it belongs to the
 * channel there is; only then does it replace the one before. So a stranger on the mirror link ends nothing.
 */

import type { Logger } from 'pino';

import type { UnitName } from '../config/model.js';
import { type Fault, MessageReader } from '../mirror/codec.js';
import type { Message } from '../mirror/messages.js';
import { GREETING_MS } from '../mirror/state.js';
import type { ByteStream, Endpoint, Listener, MirrorTransport } from './mirror_transport.js';
import type { Timers } from './timers.js';

export interface ConnectionOptions {
  readonly peerUnit: UnitName;
  readonly local: Endpoint;
  readonly peer: Endpoint;
  readonly transport: MirrorTransport;
  readonly timers: Timers;
  readonly log: Logger;
}

/** What the owner is told, in the order of events; nothing of a connection comes after its `closed`. */
export interface ConnectionEvents {
  /** Whether an accepted connection that says this first is the peer's; the unit of a hello was looked at. */
  admits(message: Message): boolean;
  connected(): void;
  /** Bytes came, a whole message or not. */
  heard(): void;
  /** Views in the message hold until this returns. */
  message(message: Message): void;
  fault(fault: Fault): void;
  /** `byPeer`: its kernel said so (FIN, RST). Not told of an end of ours. */
  closed(reason: string, byPeer: boolean): void;
  /** A connection that never became the peer's was turned away. */
  turnedAway(fault: Fault): void;
}

/** Accepted connections whose hello has not come; more are refused. */
const CANDIDATES_MAX = 4;
const LISTEN_AGAIN_MS = 1_000;
/** How long an ended connection may take to send what it still holds. */
const LINGER_MS = 500;

export class MirrorConnection {
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  readonly #candidates = new Set<ByteStream>();
  #stream: ByteStream | null = null;
  #listener: Listener | null = null;
  #cancelListen: (() => void) | null = null;
  #strangers = 0;

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** The present one; null between connections. */
  get stream(): ByteStream | null {
    return this.#stream;
  }

  /** Connections turned away: not from the peer's address, not with its certificate, too many, or not its hello. */
  get strangers(): number {
    return this.#strangers;
  }

  dial(): void {
    const { local, peer, transport } = this.#options;
    const stream = transport.connect(local.address, peer, () => {
      if (stream === this.#stream) this.#events.connected();
    });
    this.#adopt(stream);
    const reader = new MessageReader();
    stream.on('data', (chunk) => this.#read(stream, reader, chunk));
  }

  /** Accepts the peer from now on. An address that is not there yet is tried again. */
  listen(): void {
    const { local, log, peer, timers, transport } = this.#options;
    this.#cancelListen = null;
    this.#listener = transport.listen(local, peer.address, {
      onStream: (stream) => this.#accept(stream),
      onRefused: (fault) => {
        this.#strangers += 1;
        this.#events.turnedAway(fault);
      },
      onError: (error) => {
        const { address, port } = local;
        log.warn({ address, port, error: error.message }, 'cannot listen for the peer: is the mirror address up?');
        this.#listener = null;
        this.#cancelListen = timers.after(LISTEN_AGAIN_MS, () => this.listen());
      },
    });
  }

  /** Ends the connection; what was written before, a goodbye perhaps, still goes out. */
  end(): void {
    const stream = this.#stream;
    if (stream === null) return;
    if (stream.connecting) {
      stream.destroy();
    } else {
      const cancel = this.#options.timers.after(LINGER_MS, () => stream.destroy());
      stream.on('finish', () => stream.destroy());
      stream.on('close', cancel);
      stream.end();
    }
    this.#stream = null;
  }

  /** Accepts nothing more. Resolves when the listening socket is closed. */
  async stopListening(): Promise<void> {
    this.#cancelListen?.();
    for (const candidate of this.#candidates) candidate.destroy();
    const listener = this.#listener;
    this.#listener = null;
    if (listener !== null) await new Promise<void>((resolve) => listener.close(resolve));
  }

  #accept(stream: ByteStream): void {
    stream.on('error', () => stream.destroy());
    if (this.#candidates.size >= CANDIDATES_MAX) {
      this.#strangers += 1;
      stream.destroy();
      return;
    }
    this.#candidates.add(stream);
    const stopWaiting = this.#options.timers.after(GREETING_MS, () => stream.destroy());
    stream.on('close', () => {
      stopWaiting();
      this.#candidates.delete(stream);
    });
    const reader = new MessageReader();
    stream.on('data', (chunk) => {
      if (stream === this.#stream) {
        this.#read(stream, reader, chunk);
      } else if (this.#candidates.has(stream)) {
        const fault = reader.read(chunk, (message) => {
          if (stream === this.#stream) return this.#hear(stream, message);
          stopWaiting();
          return this.#consider(stream, message);
        });
        if (fault !== null) this.#distrust(stream, fault);
      }
    });
  }

  #consider(candidate: ByteStream, message: Message): boolean {
    if (!this.#events.admits(message)) {
      this.#distrust(candidate, { name: 'no_hello', detail: `${message.type} came first` });
      return false;
    }
    const { peerUnit } = this.#options;
    if (message.type === 'hello' && message.hello.unit !== peerUnit) {
      this.#distrust(candidate, { name: 'wrong_unit', detail: `it says it is unit ${message.hello.unit}` });
      return false;
    }
    this.#candidates.delete(candidate);
    if (this.#stream !== null) {
      this.end();
      this.#events.closed('replaced by a new connection of the peer', false);
    }
    this.#adopt(candidate);
    this.#events.connected();
    return this.#hear(candidate, message);
  }

  #adopt(stream: ByteStream): void {
    let reason = 'the peer closed the connection';
    let byPeer = true;
    this.#stream = stream;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      reason = error.message;
      byPeer = error.code === 'ECONNRESET' || error.code === 'EPIPE';
    });
    stream.on('close', () => {
      if (stream === this.#stream) this.#gone(reason, byPeer);
    });
  }

  #read(stream: ByteStream, reader: MessageReader, chunk: Uint8Array): void {
    if (stream !== this.#stream) return;
    this.#events.heard();
    // Acks and whatever else a chunk causes leave in one write.
    stream.cork();
    const fault = reader.read(chunk, (message) => this.#hear(stream, message));
    if (fault !== null) this.#distrust(stream, fault);
    stream.uncork();
  }

  #hear(stream: ByteStream, message: Message): boolean {
    this.#events.message(message);
    return stream === this.#stream;
  }

  #distrust(stream: ByteStream, fault: Fault): void {
    if (stream === this.#stream) {
      this.#events.fault(fault);
      return;
    }
    this.#strangers += 1;
    this.#events.turnedAway(fault);
    stream.destroy();
  }

  #gone(reason: string, byPeer: boolean): void {
    this.#stream = null;
    this.#events.closed(reason, byPeer);
  }
}
