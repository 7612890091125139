/**
 * Pairs two units: each gets the other's certificate, and knows that it is the other's.
 *
 *   init                                        join
 *     prints CODE (secret, address, port)  ──►    the operator types it in
 *     ◄──────  { certificate, HMAC(secret, "join" ‖ its certificate) }
 *     { certificate, HMAC(secret, "init" ‖ its own ‖ the other's) }  ──────►   writes what it has learnt
 *     ◄──────  { HMAC(secret, "done" ‖ both) }
 *     writes what it has learnt
 *
 * Certificates are no secret; that they come from who knows the code is what the HMACs (SHA-256, RFC 2104) prove,
 * under 128 random bits, so nothing can be guessed from what is seen on the wire. A code is good for one pairing,
 * ten minutes and a few attempts. Lines of JSON over TCP.
 */

import { createHmac, randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';

import * as z from 'zod';
import { formatPairCode, PAIR_SECRET_BYTES, parsePairCode } from '../wire/pair_code.js';
import {
  fingerprint,
  type Identity,
  makeIdentity,
  type PairCredentials,
  readCredentials,
  writeCredentials,
} from './pair_credentials.js';

export const CODE_LIFE_MS = 10 * 60_000;
/** Ends that did not prove to know the code; after so many it is void. */
const ATTEMPTS_MAX = 5;
const CONNECTIONS_MAX = 4;
const ANSWER_MS = 10_000;
const LINE_BYTES_MAX = 8 * 1024;

export interface PairInitOptions {
  readonly directory: string;
  readonly address: string;
  readonly port: number;
  readonly lifeMs?: number;
}

/** SHA-256 of certificates, in hex. */
export interface Paired {
  readonly fingerprint: string;
  readonly peerFingerprint: string;
}

/** Null when the unit is not paired. */
export function pairedUnits(directory: string): Paired | null {
  const credentials = readCredentials(directory);
  return credentials === null ? null : fingerprints(credentials);
}

function fingerprints({ certificate, peerCertificate }: PairCredentials): Paired {
  return { fingerprint: fingerprint(certificate), peerFingerprint: fingerprint(peerCertificate) };
}

export interface Invitation {
  readonly code: string;
  /** Rejects when the code has become void. */
  readonly paired: Promise<Paired>;
  /** Makes the code void. */
  cancel(): void;
}

const offer = z.object({ certificate: z.string().max(4096), proof: z.string().max(128) });
const done = z.object({ proof: z.string().max(128) });

/** Listens for the other unit until it has joined, or the code is void. Rejects when it cannot listen. */
export async function invite(options: PairInitOptions): Promise<Invitation> {
  const { directory, address, lifeMs = CODE_LIFE_MS } = options;
  const identity = await makeIdentity();
  const secret = randomBytes(PAIR_SECRET_BYTES);
  const server = createServer();
  server.maxConnections = CONNECTIONS_MAX;
  server.listen({ host: address, port: options.port });
  await once(server, 'listening');
  const { port } = server.address() as { port: number };

  let cancel = (): void => {};
  const paired = new Promise<Paired>((resolve, reject) => {
    let attempts = 0;
    const end = (finish: () => void): void => {
      clearTimeout(timer);
      server.close();
      finish();
    };
    const timer = setTimeout(() => end(() => reject(new Error('nobody joined in time; the code is void'))), lifeMs);
    cancel = () => end(() => reject(new Error('cancelled; the code is void')));
    server.on('connection', (socket) => {
      host(socket, identity, secret).then(
        (peerCertificate) => {
          if (!server.listening) return;
          end(() => {
            try {
              writeCredentials(directory, { ...identity, peerCertificate });
              resolve(fingerprints({ ...identity, peerCertificate }));
            } catch (error) {
              reject(error);
            }
          });
        },
        () => {
          attempts += 1;
          if (attempts < ATTEMPTS_MAX || !server.listening) return;
          end(() => reject(new Error(`${attempts} attempts to join failed; the code is void`)));
        },
      );
    });
  });
  return { code: formatPairCode({ secret, address, port }), paired, cancel };
}

/** Resolves with the other's certificate once it has proved itself, and has heard that this end believes it. */
async function host(socket: Socket, identity: Identity, secret: Uint8Array): Promise<string> {
  const lines = new Lines(socket);
  try {
    const theirs = offer.parse(await lines.read());
    believe(proofOf(secret, 'join', theirs.certificate), theirs.proof);
    const proof = proofOf(secret, 'init', identity.certificate, theirs.certificate);
    lines.write({ certificate: identity.certificate, proof });
    const last = done.parse(await lines.read());
    believe(proofOf(secret, 'done', identity.certificate, theirs.certificate), last.proof);
    return theirs.certificate;
  } finally {
    lines.close();
  }
}

/** Joins the unit that printed the code. Rejects with what the operator can mend. */
export async function join(code: string, directory: string): Promise<Paired> {
  const parsed = parsePairCode(code);
  if (parsed === null)
    throw new Error('that is not a code as `tandem pair init` prints it: was it typed as it stands?');
  const { secret, address, port } = parsed;
  const identity = await makeIdentity();
  const lines = new Lines(await connect(address, port));
  try {
    lines.write({ certificate: identity.certificate, proof: proofOf(secret, 'join', identity.certificate) });
    const theirs = offer.parse(await lines.read());
    believe(proofOf(secret, 'init', theirs.certificate, identity.certificate), theirs.proof);
    const credentials = { ...identity, peerCertificate: theirs.certificate };
    writeCredentials(directory, credentials);
    lines.write({ proof: proofOf(secret, 'done', theirs.certificate, identity.certificate) });
    return fingerprints(credentials);
  } finally {
    lines.close();
  }
}

async function connect(address: string, port: number): Promise<Socket> {
  const socket = createConnection({ host: address, port, timeout: ANSWER_MS });
  socket.on('timeout', () => socket.destroy(new Error('no answer')));
  try {
    await once(socket, 'connect');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`cannot reach the other unit at ${address} port ${port} (${why}): does its pair init still wait?`);
  }
  return socket;
}

/** Over DER, so that the writing of a PEM text does not matter; lengths keep two certificates apart. */
function proofOf(secret: Uint8Array, step: string, ...certificates: readonly string[]): string {
  const hmac = createHmac('sha256', secret).update(`tandem pair ${step}\0`);
  for (const certificate of certificates) {
    const { raw } = new X509Certificate(certificate);
    hmac.update(`${raw.length}\0`).update(raw);
  }
  return hmac.digest('hex');
}

function believe(expected: string, proof: string): void {
  const [left, right] = [Buffer.from(expected), Buffer.from(proof)];
  if (left.length !== right.length || !timingSafeEqual(left, right)) {
    throw new Error('the other end does not know the code');
  }
}

/** Values as lines of JSON, one at a time, bounded in length and time. */
class Lines {
  readonly #socket: Socket;
  #held = '';
  #wake: () => void = () => {};
  #failure: Error | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setTimeout(ANSWER_MS);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.#held += text;
      if (this.#held.length > LINE_BYTES_MAX) this.#fail(new Error('the other end says too much'));
      this.#wake();
    });
    socket.on('timeout', () => this.#fail(new Error('the other end does not answer')));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the other end hung up: is the code still good?')));
  }

  async read(): Promise<unknown> {
    for (;;) {
      const end = this.#held.indexOf('\n');
      if (end >= 0) {
        const line = this.#held.slice(0, end);
        this.#held = this.#held.slice(end + 1);
        return JSON.parse(line) as unknown;
      }
      if (this.#failure !== null) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  write(value: unknown): void {
    this.#socket.write(`${JSON.stringify(value)}\n`);
  }

  close(): void {
    this.#socket.end();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
    this.#wake();
  }
}
