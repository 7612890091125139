/**
 * The mirror channel's transport as an operator has set the units up: TLS 1.3 between paired units, plain TCP only
 * where the config asks for it, and nothing at all otherwise.
 *
 * Each end shows its certificate and accepts exactly one, that of the unit it was paired with; names, expiry and
 * authorities play no part. Credentials are looked at for each connection: pairing needs no restart, and pairing
 * anew ends no connection.
 */

import { X509Certificate } from 'node:crypto';
import { Socket } from 'node:net';
import {
  createServer as createTlsServer,
  type PeerCertificate,
  connect as secureConnect,
  type TLSSocket,
  type Server as TlsServer,
} from 'node:tls';

import { GREETING_MS } from '../mirror/state.js';
import type { MirrorSecurity } from '../mirror/status.js';
import {
  type Endpoint,
  type ListenEvents,
  listenFor,
  type MirrorTransport,
  plainTransport,
  prepare,
} from './mirror_transport.js';
import type { PairCredentials } from './pair_credentials.js';

export interface SecurityOptions {
  /** Those of this moment, null when not paired; throws what the operator has to mend. */
  readonly credentials: () => PairCredentials | null;
  /** Mirror in plain while not paired. A paired unit never does. */
  readonly plaintext: boolean;
}

export const UNPAIRED =
  'this unit is not paired, so nothing is mirrored: run `tandem pair init FILE --unit a` on unit a and ' +
  '`tandem pair join CODE` on unit b, or write mirror: { plaintext: true }';

export function securedTransport(options: SecurityOptions): MirrorTransport {
  return {
    connect(from, to, onReady) {
      try {
        const credentials = options.credentials();
        if (credentials !== null) return connectSecurely(credentials, from, to, onReady);
        return options.plaintext ? plainTransport.connect(from, to, onReady) : failing(new Error(UNPAIRED));
      } catch (error) {
        return failing(error as Error);
      }
    },

    listen(at, peer, events) {
      const handshakes = new Handshakes(events);
      return listenFor(peer, at, events, (socket) => {
        try {
          const credentials = options.credentials();
          if (credentials !== null) return handshakes.begin(socket, credentials);
          if (options.plaintext) return events.onStream(socket);
          throw new Error(UNPAIRED);
        } catch (error) {
          socket.destroy();
          events.onRefused({ name: 'unauthenticated', detail: (error as Error).message });
        }
      });
    },

    security(): MirrorSecurity {
      try {
        if (options.credentials() !== null) return 'tls';
      } catch {
        return 'unpaired';
      }
      return options.plaintext ? 'plaintext' : 'unpaired';
    },
  };
}

function connectSecurely(credentials: PairCredentials, from: string, to: Endpoint, onReady: () => void): TLSSocket {
  const options = {
    host: to.address,
    port: to.port,
    localAddress: from,
    ...tlsOptions(credentials),
    checkServerIdentity: (_name: string, { raw }: PeerCertificate) =>
      isPinned(credentials, raw) ? undefined : new Error(WRONG_CERTIFICATE),
  };
  const socket = secureConnect(options);
  socket.once('connect', () => prepare(socket));
  socket.once('secureConnect', () => {
    socket.setMaxSendFragment(TLS_RECORD_BYTES);
    onReady();
  });
  return socket;
}

/** A record is heard when it is whole: on a narrow channel the largest (16 KiB) would look like silence. */
const TLS_RECORD_BYTES = 4_096;

const WRONG_CERTIFICATE = 'the certificate is not that of the unit that this one was paired with';

function tlsOptions({ key, certificate, peerCertificate }: PairCredentials) {
  return { key, cert: certificate, ca: peerCertificate, minVersion: 'TLSv1.3' as const, rejectUnauthorized: true };
}

function isPinned({ peerCertificate }: PairCredentials, raw: Buffer): boolean {
  return new X509Certificate(peerCertificate).raw.equals(raw);
}

/** Accepted connections on their way to a stream. */
class Handshakes {
  readonly #events: ListenEvents;
  #credentials: PairCredentials | null = null;
  #server: TlsServer | null = null;

  constructor(events: ListenEvents) {
    this.#events = events;
  }

  begin(socket: Socket, credentials: PairCredentials): void {
    if (this.#server === null || credentials !== this.#credentials) {
      this.#server = this.#serverOf(credentials);
      this.#credentials = credentials;
    }
    this.#server.emit('connection', socket);
  }

  /** Never listens: it is given connections. */
  #serverOf(credentials: PairCredentials): TlsServer {
    const server = createTlsServer({ ...tlsOptions(credentials), requestCert: true, handshakeTimeout: GREETING_MS });
    server.on('secureConnection', (socket) => {
      if (isPinned(credentials, socket.getPeerCertificate().raw)) {
        socket.setMaxSendFragment(TLS_RECORD_BYTES);
        this.#events.onStream(socket);
      } else {
        socket.destroy();
        this.#events.onRefused({ name: 'unauthenticated', detail: WRONG_CERTIFICATE });
      }
    });
    server.on('tlsClientError', (error, socket) => {
      socket.destroy();
      this.#events.onRefused({ name: 'unauthenticated', detail: error.message });
    });
    return server;
  }
}

/** A stream that is over before it began, for a reason. */
function failing(error: Error): Socket {
  const socket = new Socket();
  process.nextTick(() => socket.destroy(error));
  return socket;
}
