/**
 * Takes an Ethernet frame apart far enough to say what it is: who sends what to whom. Pure, and never throws: what is
 * cut short or unknown comes out as null. It decides nothing; the datapath has a parser of its own (native/wire/).
 *
 * Read first: RFC 791 section 3.1, RFC 8200 sections 3 and 4, RFC 9293 section 3.1, RFC 792, RFC 4443, RFC 826.
 */

import { formatMacAddress } from './bytes.js';
import { formatIpAddress } from './ip_address.js';

export const ETHERNET_BYTES = 14;
export const EtherType = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, serviceVlan: 0x88a8 } as const;
/** IANA's protocol numbers. */
export const Protocol = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;
/** RFC 4861 section 4.3. */
export const NEIGHBOUR_SOLICITATION = 135;

export interface FrameFacts {
  /** Octets, as captured. */
  readonly bytes: number;
  /** `02:00:00:00:00:01`; null, as all that follows: shorter than an Ethernet header. */
  readonly sourceMac: string | null;
  readonly destinationMac: string | null;
  /** 802.1Q ids, outermost first, at most two. */
  readonly vlans: readonly number[];
  /** Behind the tags. */
  readonly etherType: number | null;
  readonly arp: ArpFacts | null;
  readonly packet: PacketFacts | null;
}

export interface ArpFacts {
  /** 1: request, 2: reply. */
  readonly operation: number;
  readonly senderMac: string;
  readonly sender: string;
  readonly target: string;
}

export interface PacketFacts {
  readonly family: 4 | 6;
  readonly source: string;
  readonly destination: string;
  /** TTL or hop limit. */
  readonly ttl: number;
  /** Of the transport, behind extension headers. */
  readonly protocol: number;
  /** Octet offset in the packet; null: the packet is whole. */
  readonly fragment: { readonly id: number; readonly offset: number; readonly more: boolean } | null;
  /** TCP's and UDP's; null for others, and for later fragments. */
  readonly sourcePort: number | null;
  readonly destinationPort: number | null;
  readonly tcp: { readonly flags: string; readonly sequence: number; readonly acknowledgment: number } | null;
  /** As stated: behind the header of TCP, UDP or ICMP, of any other protocol behind IP's. */
  readonly payloadBytes: number;
  readonly icmp: IcmpFacts | null;
}

export interface IcmpFacts {
  readonly type: number;
  readonly code: number;
  /** Of a neighbour solicitation or advertisement: the address it is about. */
  readonly target: string | null;
  /** Of an error: the packet that it is about, as far as it is quoted. */
  readonly quoted: PacketFacts | null;
}

const TAG_BYTES = 4;
const TAGS_MAX = 2;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const ICMP_BYTES = 8;
const EXTENSION_HEADERS_MAX = 8;
/** Hop-by-hop, routing and destination options; fragment: RFC 8200 sections 4.3 to 4.6. */
const EXTENSION_HEADERS = [0, 43, 60];
const FRAGMENT_HEADER = 44;
/** RFC 9293 and RFC 3168, from the lowest bit, in the letters of tcpdump and of the rest of the world. */
const TCP_FLAGS = 'FSRPAUEC';
const ND_TARGET_BYTES = 24;

export function frameFacts(frame: Uint8Array): FrameFacts {
  const nothing = { sourceMac: null, destinationMac: null, vlans: [], etherType: null, arp: null, packet: null };
  if (frame.length < ETHERNET_BYTES) return { bytes: frame.length, ...nothing };
  const { vlans, etherType, start } = link(frame);
  const payload = frame.subarray(start);
  return {
    bytes: frame.length,
    sourceMac: formatMacAddress(frame.subarray(6, 12)),
    destinationMac: formatMacAddress(frame.subarray(0, 6)),
    vlans,
    etherType,
    arp: etherType === EtherType.arp ? arpFacts(payload) : null,
    packet: etherType === EtherType.ipv4 || etherType === EtherType.ipv6 ? packetFacts(payload) : null,
  };
}

/** `start`: where what the EtherType names begins. */
export function link(frame: Uint8Array): {
  readonly vlans: readonly number[];
  readonly etherType: number | null;
  readonly start: number;
} {
  const vlans: number[] = [];
  let start = ETHERNET_BYTES;
  for (;;) {
    if (frame.length < start) return { vlans, etherType: null, start };
    const etherType = word(frame, start - 2);
    const tagged = etherType === EtherType.vlan || etherType === EtherType.serviceVlan;
    if (!tagged || vlans.length === TAGS_MAX || frame.length < start + TAG_BYTES) return { vlans, etherType, start };
    vlans.push(word(frame, start) & 0xfff);
    start += TAG_BYTES;
  }
}

/** RFC 826, for Ethernet and IPv4. */
function arpFacts(message: Uint8Array): ArpFacts | null {
  if (message.length < 28) return null;
  return {
    operation: word(message, 6),
    senderMac: formatMacAddress(message.subarray(8, 14)),
    sender: formatIpAddress(message.subarray(14, 18)),
    target: formatIpAddress(message.subarray(24, 28)),
  };
}

// ------------------------------------------------------------------------------------------------- IP

/** Null: no whole IP header. An error's quote is looked into once and no deeper. */
function packetFacts(bytes: Uint8Array, isQuoted = false): PacketFacts | null {
  if (bytes.length < IPV4_BYTES) return null;
  const head = bytes[0]! >> 4 === 4 ? ipv4(bytes) : ipv6(bytes);
  if (head === null) return null;
  const { transport, transportBytes, ...ip } = head;
  if (ip.fragment !== null && ip.fragment.offset > 0) return { ...ip, ...portless, payloadBytes: transportBytes };
  return { ...ip, ...transportFacts(ip.protocol, transport, transportBytes, isQuoted) };
}

type IpFacts = Pick<PacketFacts, 'family' | 'source' | 'destination' | 'ttl' | 'protocol' | 'fragment'>;
interface Ip extends IpFacts {
  readonly transport: Uint8Array;
  /** As stated; the capture may have fewer. */
  readonly transportBytes: number;
}

function ipv4(bytes: Uint8Array): Ip {
  const headerBytes = (bytes[0]! & 15) * 4;
  const field = word(bytes, 6);
  const whole = (field & 0x3fff) === 0;
  return {
    family: 4,
    source: formatIpAddress(bytes.subarray(12, 16)),
    destination: formatIpAddress(bytes.subarray(16, 20)),
    ttl: bytes[8]!,
    protocol: bytes[9]!,
    fragment: whole ? null : { id: word(bytes, 4), offset: (field & 0x1fff) * 8, more: (field & 0x2000) !== 0 },
    // What is behind is padding (RFC 894).
    transport: bytes.subarray(headerBytes, Math.max(headerBytes, word(bytes, 2))),
    transportBytes: Math.max(0, word(bytes, 2) - headerBytes),
  };
}

function ipv6(bytes: Uint8Array): Ip | null {
  if (bytes.length < IPV6_BYTES || bytes[0]! >> 4 !== 6) return null;
  const end = IPV6_BYTES + word(bytes, 4);
  let protocol = bytes[6]!;
  let at = IPV6_BYTES;
  let fragment: PacketFacts['fragment'] = null;
  for (let headers = 0; headers < EXTENSION_HEADERS_MAX && at + 8 <= bytes.length; headers++) {
    const isFragment = protocol === FRAGMENT_HEADER;
    if (!isFragment && !EXTENSION_HEADERS.includes(protocol)) break;
    protocol = bytes[at]!;
    if (isFragment) {
      const field = word(bytes, at + 2);
      fragment = { id: longWord(bytes, at + 4), offset: field & 0xfff8, more: (field & 1) !== 0 };
    }
    at += isFragment ? 8 : 8 * (bytes[at + 1]! + 1);
    if (fragment !== null && fragment.offset > 0) break;
  }
  return {
    family: 6,
    source: formatIpAddress(bytes.subarray(8, 24)),
    destination: formatIpAddress(bytes.subarray(24, 40)),
    ttl: bytes[7]!,
    protocol,
    fragment,
    transport: bytes.subarray(at, Math.max(at, end)),
    transportBytes: Math.max(0, end - at),
  };
}

// ------------------------------------------------------------------------------------------ transport

type TransportFacts = Omit<PacketFacts, keyof IpFacts>;

const portless = { sourcePort: null, destinationPort: null, tcp: null, icmp: null } as const;

function transportFacts(protocol: number, bytes: Uint8Array, length: number, isQuoted: boolean): TransportFacts {
  const behind = (headerBytes: number) => Math.max(0, length - headerBytes);
  const hasPorts = (protocol === Protocol.tcp || protocol === Protocol.udp) && bytes.length >= 4;
  if (hasPorts) {
    const isTcp = protocol === Protocol.tcp;
    const whole = isTcp && bytes.length >= TCP_BYTES;
    return {
      sourcePort: word(bytes, 0),
      destinationPort: word(bytes, 2),
      tcp: whole
        ? { flags: flags(bytes[13]!), sequence: longWord(bytes, 4), acknowledgment: longWord(bytes, 8) }
        : null,
      icmp: null,
      payloadBytes: behind(isTcp ? (whole ? (bytes[12]! >> 4) * 4 : TCP_BYTES) : UDP_BYTES),
    };
  }
  const isIcmp = protocol === Protocol.icmp || protocol === Protocol.icmpv6;
  if (!isIcmp || isQuoted || bytes.length < ICMP_BYTES) return { ...portless, payloadBytes: length };
  return { ...portless, icmp: icmpFacts(protocol, bytes), payloadBytes: behind(ICMP_BYTES) };
}

function flags(bits: number): string {
  return [...TCP_FLAGS].filter((_, bit) => (bits & (1 << bit)) !== 0).join('');
}

function icmpFacts(protocol: number, message: Uint8Array): IcmpFacts {
  const [type, code] = [message[0]!, message[1]!];
  const neighbours = protocol === Protocol.icmpv6 && (type === NEIGHBOUR_SOLICITATION || type === 136);
  return {
    type,
    code,
    target: neighbours && message.length >= ND_TARGET_BYTES ? formatIpAddress(message.subarray(8, 24)) : null,
    quoted: isError(protocol, type) ? packetFacts(message.subarray(ICMP_BYTES), true) : null,
  };
}

/** RFC 1122 section 3.2.2; RFC 4443 section 2.1. */
function isError(protocol: number, type: number): boolean {
  return protocol === Protocol.icmp ? [3, 4, 5, 11, 12].includes(type) : type < 128;
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function longWord(bytes: Uint8Array, at: number): number {
  return word(bytes, at) * 0x10000 + word(bytes, at + 2);
}
