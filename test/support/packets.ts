/**
 * Builds frames for tests, header by header. What is not said is as a well-behaved sender would have it:
 * lengths and checksums are right, TTL is 64. What a test wants wrong it says.
 */

import { foldChecksum, macAddress, sumPseudoHeader, sumWords } from '../../src/wire/bytes.js';
import { ipAddress } from '../../src/wire/ip_address.js';

export interface EthernetFields {
  /** Source MAC address. */
  readonly from: string;
  readonly to: string;
  /** 802.1Q control fields (an id, or priority and id), outermost first. */
  readonly vlan?: readonly number[];
  /** EtherType of the outermost tag; default: 802.1Q's. */
  readonly tagType?: number;
}

export interface IpFields {
  readonly source: string;
  readonly destination: string;
  /** TTL or hop limit. */
  readonly ttl?: number;
  /** IPv4: type of service; IPv6: traffic class. */
  readonly tos?: number;
  /** IPv6 only, 20 bits. */
  readonly flowLabel?: number;
  /** IPv4 only: a multiple of 4 octets. */
  readonly options?: Uint8Array;
  /** IPv4 only: flags and fragment offset, 16 bits. */
  readonly fragment?: number;
  /** IPv4 only; default: right. */
  readonly checksum?: number;
  /** Default: that of the payload. */
  readonly protocol?: number;
  /** Total length (IPv4) or payload length (IPv6) as stated; default: right. */
  readonly length?: number;
}

export interface TcpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Letters of FSRPAUEC. */
  readonly flags: string;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  /** A multiple of 4 octets. */
  readonly options?: Uint8Array;
  readonly payload?: string | Uint8Array;
  /** Default: right. */
  readonly checksum?: number;
}

export interface UdpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload?: string | Uint8Array;
  /** 0: none (RFC 768). Default: right. */
  readonly checksum?: number;
}

/** What an IP packet carries, before the addresses of its pseudo-header are known. */
export interface Transport {
  readonly protocol: number;
  readonly bytes: (source: Uint8Array, destination: Uint8Array) => Uint8Array;
}

const TYPE_VLAN = 0x8100;
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;
const FLAG_LETTERS = 'FSRPAUEC';
const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;

// ------------------------------------------------------------------------------------------------ link

/** `type` is the EtherType behind the tags. */
export function ethernet(
  { from, to, vlan = [], tagType = TYPE_VLAN }: EthernetFields,
  type: number,
  payload: Uint8Array,
): Uint8Array {
  const tags = vlan.flatMap((id, index) => [...word(index === 0 ? tagType : TYPE_VLAN), ...word(id)]);
  return join(macAddress(to), macAddress(from), Uint8Array.from(tags), word(type), payload);
}

/** An IPv4 or IPv6 packet in a frame. */
export function ipFrame(link: EthernetFields, ip: IpFields, transport: Transport): Uint8Array {
  const packet = ipPacket(ip, transport);
  return ethernet(link, packet[0]! >> 4 === 4 ? 0x0800 : 0x86dd, packet);
}

/** RFC 826. `to` of the link may be a broadcast while the target's MAC is not known. */
export function arp(
  link: EthernetFields,
  { operation, sender, target }: { readonly operation: 1 | 2; readonly sender: string; readonly target: string },
): Uint8Array {
  const head = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, operation);
  const targetMac = operation === 1 ? new Uint8Array(6) : macAddress(link.to);
  return ethernet(
    link,
    0x0806,
    join(head, macAddress(link.from), ipAddress(sender).octets, targetMac, ipAddress(target).octets),
  );
}

// ------------------------------------------------------------------------------------------- network

export function ipPacket(fields: IpFields, transport: Transport): Uint8Array {
  const source = ipAddress(fields.source);
  const destination = ipAddress(fields.destination);
  const payload = transport.bytes(source.octets, destination.octets);
  const protocol = fields.protocol ?? transport.protocol;
  if (source.family === 4) return ipv4(fields, source.octets, destination.octets, protocol, payload);
  // RFC 8200 section 3.
  const label = fields.flowLabel ?? 0;
  const classLow = ((fields.tos ?? 0) << 4) & 0xf0;
  const head = Uint8Array.of(0x60 | ((fields.tos ?? 0) >> 4), classLow | (label >> 16), label >> 8, label);
  const counted = word(fields.length ?? payload.length);
  return join(head, counted, Uint8Array.of(protocol, fields.ttl ?? 64), source.octets, destination.octets, payload);
}

/** RFC 791 section 3.1. */
function ipv4(fields: IpFields, source: Uint8Array, destination: Uint8Array, protocol: number, payload: Uint8Array) {
  const options = fields.options ?? new Uint8Array(0);
  const headerBytes = 20 + options.length;
  const header = join(
    Uint8Array.of(0x40 | (headerBytes / 4), fields.tos ?? 0),
    word(fields.length ?? headerBytes + payload.length),
    word(0x1234),
    word(fields.fragment ?? 0x4000),
    Uint8Array.of(fields.ttl ?? 64, protocol),
    word(0),
    source,
    destination,
    options,
  );
  header.set(word(fields.checksum ?? foldChecksum(sumWords(header))), 10);
  return join(header, payload);
}

// ----------------------------------------------------------------------------------------- transport

/** RFC 9293 section 3.1. */
export function tcp(fields: TcpFields): Transport {
  const payload = octets(fields.payload);
  const options = fields.options ?? new Uint8Array(0);
  const flags = [...fields.flags].reduce((bits, letter) => bits | (1 << FLAG_LETTERS.indexOf(letter)), 0);
  const segment = join(
    word(fields.sourcePort),
    word(fields.destinationPort),
    longWord(fields.sequence ?? 1000),
    longWord(fields.acknowledgment ?? 0),
    Uint8Array.of(((TCP_HEADER_BYTES + options.length) / 4) << 4, flags),
    word(65_535),
    word(0),
    word(0),
    options,
    payload,
  );
  return withChecksum(TCP, segment, 16, fields.checksum);
}

/** RFC 768. */
export function udp(fields: UdpFields): Transport {
  const payload = octets(fields.payload);
  const length = word(UDP_HEADER_BYTES + payload.length);
  const datagram = join(word(fields.sourcePort), word(fields.destinationPort), length, word(0), payload);
  return withChecksum(UDP, datagram, 6, fields.checksum);
}

/** ICMP or ICMPv6 with code 0. `body` begins behind type, code and checksum. */
export function icmp(family: 4 | 6, type: number, body: Uint8Array): Transport {
  return icmpMessage(family, type, 0, body);
}

/** ICMP or ICMPv6, by the addresses it is sent between. */
export function icmpMessage(family: 4 | 6, type: number, code: number, body: Uint8Array, checksum?: number): Transport {
  const message = join(Uint8Array.of(type, code), word(0), body);
  if (family === 6) return withChecksum(ICMPV6, message, 2, checksum);
  return { protocol: ICMP, bytes: () => with16(message, 2, checksum ?? foldChecksum(sumWords(message))) };
}

/** RFC 792 and RFC 4443 section 4.1. */
export function echoRequest(family: 4 | 6, payload = 'hello'): Transport {
  return icmp(family, family === 4 ? 8 : 128, join(word(7), word(1), octets(payload)));
}

/** RFC 4861 section 4.3, with the source link-layer address option unless `mac` is null. */
export function neighbourSolicitation(target: string, mac: string | null): Transport {
  const option = mac === null ? new Uint8Array(0) : join(Uint8Array.of(1, 1), macAddress(mac));
  return icmp(6, 135, join(new Uint8Array(4), ipAddress(target).octets, option));
}

/** RFC 8200 section 4: `transport` behind extension headers, each a next header value and its octets. */
export function behind(
  headers: readonly { readonly protocol: number; readonly bytes: Uint8Array }[],
  transport: Transport,
): Transport {
  const protocols = [...headers.map(({ protocol }) => protocol), transport.protocol];
  return {
    protocol: protocols[0]!,
    bytes: (source, destination) => {
      const chain = headers.map(({ bytes }, index) => {
        const header = bytes.slice();
        header[0] = protocols[index + 1]!;
        return header;
      });
      return join(...chain, transport.bytes(source, destination));
    },
  };
}

/** Octets of a transport that nothing else here knows. */
export function other(protocol: number, bytes: Uint8Array): Transport {
  return { protocol, bytes: () => bytes };
}

function withChecksum(protocol: number, message: Uint8Array, at: number, checksum: number | undefined): Transport {
  const bytes = (source: Uint8Array, destination: Uint8Array) => {
    const sum = sumPseudoHeader(source, destination, protocol, message.length) + sumWords(message);
    return with16(message, at, checksum ?? foldChecksum(sum));
  };
  return { protocol, bytes };
}

// -------------------------------------------------------------------------------------------- octets

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** 16 bits in network byte order. */
export function word(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

function longWord(value: number): Uint8Array {
  return Uint8Array.of((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

function with16(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const changed = bytes.slice();
  changed.set(word(value), at);
  return changed;
}

function octets(payload: string | Uint8Array = ''): Uint8Array {
  return typeof payload === 'string' ? new TextEncoder().encode(payload) : payload;
}
