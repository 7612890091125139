/** Takes frames apart, for witness.ts: where each header stands. It owes nothing to the datapath's own parser. */

import { foldChecksum, sumPseudoHeader, sumWords } from '../../src/wire/bytes.js';

export interface Dissected {
  readonly frame: Uint8Array;
  /** Octets between the MAC addresses and the EtherType: whole tags. */
  readonly tags: Uint8Array;
  readonly type: number;
  /** Where the network header begins. */
  readonly network: number;
  readonly ip: DissectedIp | null;
}

export interface DissectedIp {
  readonly family: 4 | 6;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly ttl: number;
  readonly protocol: number;
  readonly transport: number;
  /** Where the packet ends: padding is behind it. */
  readonly end: number;
  /** Null: the packet is whole. */
  readonly fragment: { readonly id: number; readonly offset: number; readonly more: boolean } | null;
}

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;
export const ICMPV6 = 58;
const FRAGMENT_HEADER = 44;
const EXTENSION_HEADERS = [0, 43, 60];

export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function dissect(frame: Uint8Array): Dissected {
  let at = 12;
  while (word(frame, at) === 0x8100 || word(frame, at) === 0x88a8) at += 4;
  const type = word(frame, at);
  const network = at + 2;
  const ip = type === 0x0800 || type === 0x86dd ? dissectIp(frame, network) : null;
  return { frame, tags: frame.subarray(12, at), type, network, ip };
}

/** A packet that stands at `network`; one that is quoted may end early. */
export function dissectIp(bytes: Uint8Array, network: number): DissectedIp {
  return bytes[network]! >> 4 === 4 ? dissectIpv4(bytes, network) : dissectIpv6(bytes, network);
}

function dissectIpv4(bytes: Uint8Array, network: number): DissectedIp {
  const flags = word(bytes, network + 6);
  return {
    family: 4,
    source: bytes.subarray(network + 12, network + 16),
    destination: bytes.subarray(network + 16, network + 20),
    ttl: bytes[network + 8]!,
    protocol: bytes[network + 9]!,
    transport: network + (bytes[network]! & 15) * 4,
    end: Math.min(bytes.length, network + word(bytes, network + 2)),
    fragment:
      (flags & 0x3fff) === 0
        ? null
        : { id: word(bytes, network + 4), offset: (flags & 0x1fff) * 8, more: (flags & 0x2000) !== 0 },
  };
}

function dissectIpv6(bytes: Uint8Array, network: number): DissectedIp {
  let protocol = bytes[network + 6]!;
  let transport = network + 40;
  let fragment: DissectedIp['fragment'] = null;
  while (EXTENSION_HEADERS.includes(protocol) || protocol === FRAGMENT_HEADER) {
    const next = bytes[transport]!;
    if (protocol === FRAGMENT_HEADER) {
      const field = word(bytes, transport + 2);
      const id = word(bytes, transport + 4) * 0x10000 + word(bytes, transport + 6);
      fragment = { id, offset: field & 0xfff8, more: (field & 1) !== 0 };
      transport += 8;
      protocol = next;
      if (fragment.offset !== 0) break;
      continue;
    }
    transport += 8 * (bytes[transport + 1]! + 1);
    protocol = next;
  }
  return {
    family: 6,
    source: bytes.subarray(network + 8, network + 24),
    destination: bytes.subarray(network + 24, network + 40),
    ttl: bytes[network + 7]!,
    protocol,
    transport,
    end: Math.min(bytes.length, network + 40 + word(bytes, network + 4)),
    fragment,
  };
}

/** Where the checksum of a transport header stands in it. */
export function checksumAt(protocol: number): number {
  return protocol === TCP ? 16 : protocol === UDP ? 6 : 2;
}

/** RFC 1071 and RFC 8200 section 8.1, over `bytes` from `transport` to `end` with what stands in the field. */
export function sumTransport(bytes: Uint8Array, ip: DissectedIp): number {
  const message = bytes.subarray(ip.transport, ip.end);
  if (ip.protocol === ICMP) return sumWords(message);
  return sumPseudoHeader(ip.source, ip.destination, ip.protocol, message.length) + sumWords(message);
}

export function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}

export function finishIpv4(bytes: Uint8Array, network: number): void {
  setWord(bytes, network + 10, 0);
  const header = bytes.subarray(network, network + (bytes[network]! & 15) * 4);
  setWord(bytes, network + 10, foldChecksum(sumWords(header)));
}

/** Writes the checksum over what stands there now. RFC 768: of UDP, all ones instead of zero. */
export function finishTransport(bytes: Uint8Array, ip: DissectedIp): void {
  const at = ip.transport + checksumAt(ip.protocol);
  setWord(bytes, at, 0);
  const checksum = foldChecksum(sumTransport(bytes, ip));
  setWord(bytes, at, checksum === 0 && ip.protocol === UDP ? 0xffff : checksum);
}
