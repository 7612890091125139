/**
 * How the mirror channel gets its byte streams: one `connect`, one `listen`. This one is plain TCP; the one of
 * mirror_security.ts hands out a stream once the peer's certificate is accepted.
 */

import { createConnection, createServer, type Server, type Socket } from 'node:net';

import type { AddressText } from '../datapath.js';
import type { Fault } from '../mirror/codec.js';
import type { MirrorSecurity } from '../mirror/status.js';

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
  /** Accepts connections of the peer's address until closed. */
  listen(at: Endpoint, peer: AddressText, events: ListenEvents): Listener;
  /** Of the next connection. */
  security(): MirrorSecurity;
}

export interface ListenEvents {
  /** Bytes may be sent. */
  readonly onStream: (stream: ByteStream) => void;
  /** A connection was turned away before it could say anything. */
  readonly onRefused: (fault: Fault) => void;
  /** Nothing is accepted any more. */
  readonly onError: (error: Error) => void;
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

  listen(at, peer, events) {
    return listenFor(peer, at, events, (socket) => events.onStream(socket));
  },

  security: () => 'plaintext',
};

/** Connections at one time, whatever state they are in; more are refused. */
const CONNECTIONS_MAX = 16;

/** A TCP server of one end of a path; `begin` gets what comes from the peer's address. */
export function listenFor(
  peer: AddressText,
  at: Endpoint,
  { onRefused, onError }: ListenEvents,
  begin: (socket: Socket) => void,
): Listener {
  const refused = (detail: string): void => onRefused({ name: 'unauthenticated', detail });
  const server: Server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    if (isFrom(socket, peer)) {
      prepare(socket);
      begin(socket);
    } else {
      refused(`a connection from ${socket.remoteAddress ?? 'nowhere'}`);
      socket.destroy();
    }
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.on('drop', () => refused(`${CONNECTIONS_MAX} connections are open`));
  server.once('error', (error) => {
    server.close();
    onError(error);
  });
  server.listen({ host: at.address, port: at.port });
  return { close: (done) => server.close(() => done()) };
}

/** Small batches must not wait for more; a host that vanished is found even where nothing is sent. */
export function prepare(socket: Socket): void {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 1_000);
}

/** Whether a stream comes from an address; IPv4 shows as `::ffff:` on a dual-stack socket. */
function isFrom(stream: Socket, address: AddressText): boolean {
  const remote = stream.remoteAddress ?? '';
  return (remote.startsWith('::ffff:') ? remote.slice('::ffff:'.length) : remote) === address;
}
