/**
 * ICMP monitor: one echo request, one reply. All probes of a family share one raw socket (CAP_NET_RAW), opened with
 * the first and closed with the last user.
 *
 * The kernel gives a raw socket every ICMP message of the host, so a filter in the kernel leaves echo replies only,
 * and a reply must match in source, identifier, sequence and a random token that nobody else can guess.
 *
 * Traps of `raw-socket`: it must be loaded once per process, on the main thread; every message lies in the same
 * buffer, so what is kept of one is copied out before the next (decoding does).
 */

import { randomBytes, randomInt } from 'node:crypto';
import { createRequire } from 'node:module';

import { decodeEchoReply, encodeEchoRequest } from '../monitor/icmp_echo.js';
import type { Probe, ProbeAnswer, ProbeTarget } from './probe.js';

/** The part of raw-socket 1.8 that is used here; the package has no types. */
interface RawSocket {
  send(buffer: Buffer, offset: number, length: number, address: string, done: (error: Error | null) => void): void;
  setOption(level: number, option: number, value: Buffer, length: number): void;
  on(event: 'message', listener: (message: Buffer, source: string) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
  close(): void;
}

interface RawSocketModule {
  createSocket(options: { protocol: number; addressFamily: number; bufferSize: number }): RawSocket;
}

const rawSocket = createRequire(import.meta.url)('raw-socket') as RawSocketModule;

const RECEIVE_BYTES_MAX = 2048;
const IN_FLIGHT_MAX = 4096;

const SOL_RAW = 255;
const ICMP_FILTER = 1;
const SOL_ICMPV6 = 58;
const ICMPV6_FILTER = 1;

/** A set bit blocks its type: only echo reply (0 of RFC 792, 129 of RFC 4443) passes. */
function setFilter(socket: RawSocket, family: 4 | 6): void {
  const filter = Buffer.alloc(family === 4 ? 4 : 32, 0xff);
  const words = new Uint32Array(filter.buffer, filter.byteOffset, filter.length / 4);
  const type = family === 4 ? 0 : 129;
  const word = type >>> 5;
  words[word] = (words[word]! & ~(1 << (type & 31))) >>> 0;
  if (family === 4) socket.setOption(SOL_RAW, ICMP_FILTER, filter, filter.length);
  else socket.setOption(SOL_ICMPV6, ICMPV6_FILTER, filter, filter.length);
}

interface InFlight {
  readonly address: string;
  readonly token: bigint;
  readonly finish: (answer: ProbeAnswer) => void;
}

/** Owns the raw sockets; one for the whole process. */
export class IcmpProber {
  readonly #identifier = randomInt(0x10000);
  readonly #sockets = new Map<4 | 6, RawSocket>();
  /** By sequence number. */
  readonly #inFlight = new Map<number, InFlight>();
  #sequence = randomInt(0x10000);

  readonly probe: Probe = (target, signal) => this.#probe(target, signal);

  close(): void {
    for (const { finish } of [...this.#inFlight.values()]) finish({ ok: false, reason: 'cancelled' });
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
  }

  #probe({ address }: ProbeTarget, signal: AbortSignal): Promise<ProbeAnswer> {
    const family = address.includes(':') ? 6 : 4;
    if (this.#inFlight.size >= IN_FLIGHT_MAX) {
      return Promise.resolve({ ok: false, reason: `more than ${IN_FLIGHT_MAX} echo requests under way` });
    }
    let socket: RawSocket;
    try {
      socket = this.#socket(family);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return Promise.resolve({ ok: false, reason: `no raw socket (CAP_NET_RAW): ${reason}` });
    }
    do this.#sequence = (this.#sequence + 1) & 0xffff;
    while (this.#inFlight.has(this.#sequence));
    const sequence = this.#sequence;
    const token = randomBytes(8).readBigUInt64BE();

    return new Promise((resolve) => {
      const cancel = () => finish({ ok: false, reason: 'cancelled' });
      const finish = (answer: ProbeAnswer) => {
        signal.removeEventListener('abort', cancel);
        this.#inFlight.delete(sequence);
        resolve(answer);
      };
      signal.addEventListener('abort', cancel);
      this.#inFlight.set(sequence, { address, token, finish });
      const request = Buffer.from(encodeEchoRequest(family, { identifier: this.#identifier, sequence, token }));
      socket.send(request, 0, request.length, address, (error) => {
        if (error !== null) finish({ ok: false, reason: `cannot send an echo request: ${error.message}` });
      });
    });
  }

  #socket(family: 4 | 6): RawSocket {
    const open = this.#sockets.get(family);
    if (open !== undefined) return open;
    const socket = rawSocket.createSocket({
      protocol: family === 4 ? 1 : 58,
      addressFamily: family === 4 ? 1 : 2,
      bufferSize: RECEIVE_BYTES_MAX,
    });
    setFilter(socket, family);
    socket.on('message', (message, source) => this.#onMessage(family, message, source));
    // What was under way runs into its timeout; the next probe opens another socket.
    socket.on('error', () => {
      if (this.#sockets.get(family) === socket) this.#sockets.delete(family);
      socket.close();
    });
    this.#sockets.set(family, socket);
    return socket;
  }

  #onMessage(family: 4 | 6, message: Uint8Array, source: string): void {
    const reply = decodeEchoReply(family, message);
    if (reply === null || reply.identifier !== this.#identifier) return;
    const inFlight = this.#inFlight.get(reply.sequence);
    if (inFlight === undefined || inFlight.token !== reply.token || inFlight.address !== source) return;
    inFlight.finish({ ok: true, reason: 'echo reply' });
  }
}
