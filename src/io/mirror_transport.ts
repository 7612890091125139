/**
 * How the mirror channel gets its byte streams: one `connect`, one `listen`. This one is plain TCP; a
 * transport over node:tls has the same shape and hands out a stream once the peer's certificate is accepted.
 */

import { createConnection, createServer, type Socket } from 'node:net';

import type { AddressText } from '../datapath.js';

export interface Endpoint {
  readonly address: AddressText;
  readonly port: number;
}

/** What of a socket is used. `close` comes once and last; `finish` when all written bytes are handed over. */
export interface ByteStream {
  readonly connecting: boolean;
  readonly remoteAddress?: string | undefined;
  /** Bytes written and not handed over. */
  readonly writableLength: number;
  /** The bytes are the stream's until `done`. */
  write(bytes: Uint8Array, done?: () => void): boolean;
  cork(): void;
  uncork(): void;
  end(): unknown;
  destroy(): unknown;
  on(event: 'data', listener: (chunk: Uint8Array) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'close' | 'finish', listener: () => void): unknown;
}

export interface Listener {
  /** `done` is called when nothing more is accepted. */
  close(done: () => void): void;
}

export interface MirrorTransport {
  /**
   * Connects from one of our addresses, so that the traffic takes the mirror link. `onReady` is called when
   * bytes may be sent; a failure shows as the stream's `error` and `close`.
   */
  connect(from: AddressText, to: Endpoint, onReady: () => void): ByteStream;
  /** Accepts until closed. Streams given to `onStream` are ready. After `onError` nothing is accepted. */
  listen(at: Endpoint, onStream: (stream: ByteStream) => void, onError: (error: Error) => void): Listener;
}

export const plainTransport: MirrorTransport = {
  connect(from, to, onReady) {
    const socket = createConnection({ host: to.address, port: to.port, localAddress: from });
    socket.once('connect', () => {
      prepare(socket);
      onReady();
    });
    return socket;
  },

  listen(at, onStream, onError) {
    const server = createServer((socket) => {
      prepare(socket);
      onStream(socket);
    });
    server.once('error', (error) => {
      server.close();
      onError(error);
    });
    server.listen({ host: at.address, port: at.port });
    return { close: (done) => server.close(() => done()) };
  },
};

/** Small batches must not wait for more; a host that vanished is found even where nothing is sent. */
function prepare(socket: Socket): void {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 1_000);
}

/** Whether a stream comes from an address; IPv4 shows as `::ffff:` on a dual-stack socket. */
export function isFrom(stream: ByteStream, address: AddressText): boolean {
  const remote = stream.remoteAddress ?? '';
  return (remote.startsWith('::ffff:') ? remote.slice('::ffff:'.length) : remote) === address;
}
