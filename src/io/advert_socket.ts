/**
 * Raw sockets for VRRP on one interface: IPv4 sends and receives, IPv6 only sends (the received hop limit is
 * not readable here; `Ipv6AdvertSocket` receives).
 *
 * Adverts leave from the interface's own MAC, not from the virtual one as RFC 9568 section 7.3 asks: the
 * kernel fills a raw socket's Ethernet header. Receivers do not look at it, and bridges learn the virtual MAC
 * from announcements and forwarded frames.
 *
 * Traps of `raw-socket`: it must be loaded once per process, on the main thread; all messages lie in one
 * buffer, so each is copied; it sends when the event loop next finds the socket writable.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ipAddress } from '../wire/ip_address.js';
import { VRRP_HOP_LIMIT, VRRP_IPV4_GROUP, VRRP_IPV6_GROUP, VRRP_PROTOCOL } from '../wire/vrrp.js';

/** The part of raw-socket 1.8 that is used here; the package has no types. */
interface RawSocket {
  send(buffer: Buffer, offset: number, length: number, address: string, done: (error: Error | null) => void): void;
  setOption(level: number, option: number, value: number): void;
  setOption(level: number, option: number, value: Buffer, length: number): void;
  on(event: 'message', listener: (message: Buffer, source: string) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
  on(event: 'close', listener: () => void): void;
  pauseRecv(): void;
  pauseSend(): void;
  close(): void;
}

interface RawSocketModule {
  createSocket(options: { protocol: number; addressFamily: number; bufferSize: number }): RawSocket;
}

const rawSocket = createRequire(import.meta.url)('raw-socket') as RawSocketModule;
const ADDRESS_FAMILY = { 4: 1, 6: 2 } as const;

const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const IPPROTO_IP = 0;
const IP_TOS = 1;
const IP_MULTICAST_IF = 32;
const IP_MULTICAST_TTL = 33;
const IP_MULTICAST_LOOP = 34;
const IP_ADD_MEMBERSHIP = 35;
const IP_MULTICAST_ALL = 49;
const IPPROTO_IPV6 = 41;
const IPV6_CHECKSUM = 7;
const IPV6_MULTICAST_IF = 17;
const IPV6_MULTICAST_HOPS = 18;
const IPV6_MULTICAST_LOOP = 19;
const IPV6_TCLASS = 67;

/** RFC 4594 section 3.2: network control. */
const CLASS_SELECTOR_6 = 0xc0;
const VRRP_CHECKSUM_OFFSET = 6;
const RECEIVE_BYTES_MAX = 4096;
/** Adverts waiting for a socket that is not writable; further ones are refused, they would be stale. */
const SENDING_MAX = 64;

export interface AdvertSocketEvents {
  /** An IPv4 packet, header included; good only during the call. IPv6: never called. */
  readonly onPacket: (packet: Uint8Array) => void;
  readonly onError: (error: Error) => void;
  readonly onSendError: (error: Error) => void;
}

export class AdvertSocket {
  readonly #socket: RawSocket;
  readonly #destination: string;
  readonly #events: AdvertSocketEvents;
  #sending = 0;
  #closed = false;

  /** `source`: IPv4 only, the primary address. Throws with what failed: no such interface, no CAP_NET_RAW. */
  constructor(family: 4 | 6, interfaceName: string, source: Uint8Array | null, events: AdvertSocketEvents) {
    this.#events = events;
    this.#destination = family === 4 ? VRRP_IPV4_GROUP : VRRP_IPV6_GROUP;
    this.#socket = rawSocket.createSocket({
      protocol: VRRP_PROTOCOL,
      addressFamily: ADDRESS_FAMILY[family],
      bufferSize: RECEIVE_BYTES_MAX,
    });
    this.#socket.on('error', (error) => events.onError(error));
    this.#socket.on('close', () => {
      if (this.#closed) return;
      this.#closed = true;
      events.onError(new Error('closed by the kernel'));
    });
    try {
      const ifindex = interfaceIndex(interfaceName);
      const device = Buffer.from(`${interfaceName}\0`);
      this.#socket.setOption(SOL_SOCKET, SO_BINDTODEVICE, device, device.length);
      if (family === 4) this.#openIpv4(ifindex, source ?? new Uint8Array(4));
      else this.#openIpv6(ifindex);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Adverts under way to the kernel. */
  get sending(): number {
    return this.#sending;
  }

  /** Copies nothing: `message` must not change until it is sent. */
  send(message: Uint8Array): void {
    if (this.#closed) return this.#events.onSendError(new Error('socket is closed'));
    if (this.#sending >= SENDING_MAX) return this.#events.onSendError(new Error('socket is not writable'));
    this.#sending++;
    const buffer = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
    this.#socket.send(buffer, 0, buffer.length, this.#destination, (error) => {
      this.#sending--;
      // Else the event loop turns once more, to find the socket writable and nothing to send.
      if (this.#sending === 0) this.#socket.pauseSend();
      if (error !== null) this.#events.onSendError(error);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  #openIpv4(ifindex: number, source: Uint8Array): void {
    const socket = this.#socket;
    // struct ip_mreqn: group, local address, interface index. The local address becomes the source.
    const request = Buffer.alloc(12);
    request.set(ipAddress(VRRP_IPV4_GROUP).octets, 0);
    request.set(source, 4);
    writeNativeInt32(request, ifindex, 8);
    socket.setOption(IPPROTO_IP, IP_MULTICAST_IF, request, request.length);
    socket.setOption(IPPROTO_IP, IP_MULTICAST_ALL, 0);
    socket.setOption(IPPROTO_IP, IP_MULTICAST_TTL, VRRP_HOP_LIMIT);
    socket.setOption(IPPROTO_IP, IP_MULTICAST_LOOP, 0);
    socket.setOption(IPPROTO_IP, IP_TOS, CLASS_SELECTOR_6);
    socket.setOption(IPPROTO_IP, IP_ADD_MEMBERSHIP, request, request.length);
    socket.on('message', (packet) => {
      if (!this.#closed) this.#events.onPacket(packet);
    });
  }

  #openIpv6(ifindex: number): void {
    const socket = this.#socket;
    socket.setOption(IPPROTO_IPV6, IPV6_MULTICAST_IF, ifindex);
    socket.setOption(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, VRRP_HOP_LIMIT);
    socket.setOption(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
    socket.setOption(IPPROTO_IPV6, IPV6_TCLASS, CLASS_SELECTOR_6);
    // The kernel picks the source, the interface's link-local address, so it makes the checksum.
    socket.setOption(IPPROTO_IPV6, IPV6_CHECKSUM, VRRP_CHECKSUM_OFFSET);
    socket.pauseRecv();
  }
}

/** Throws when there is no such interface. */
export function interfaceIndex(interfaceName: string): number {
  try {
    return Number(readFileSync(`/sys/class/net/${interfaceName}/ifindex`, 'utf8'));
  } catch {
    throw new Error(`no such interface: ${interfaceName}`);
  }
}

function writeNativeInt32(buffer: Buffer, value: number, offset: number): void {
  new DataView(buffer.buffer, buffer.byteOffset).setInt32(offset, value, LITTLE_ENDIAN);
}

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
