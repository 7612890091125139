/** What an answer must be, octet by octet: ARP, neighbour advertisement, echo, reset, and errors of our own. */

import type { Topology } from '../../src/replay/topology.js';
import { ipAddress } from '../../src/wire/ip_address.js';
import { join } from '../support/packets.js';
import {
  type Dissected,
  type DissectedIp,
  dissect,
  dissectIp,
  finishIpv4,
  finishTransport,
  ICMP,
  ICMPV6,
  setWord,
  TCP,
  word,
} from './dissect.js';

const FIN = 1;
const SYN = 2;
const ACK = 16;

export interface Place {
  readonly topology: Topology;
  /** By link; not named: packets of any length. */
  readonly mtus: Readonly<Record<string, number>>;
  /** Index of the device that the question came on. */
  readonly device: number;
}

/** The frame that answers `came`; null: what was sent, `out`, is no answer. A sentence: why there is none. */
export function answerTo(place: Place, came: Dissected, out: Uint8Array): Uint8Array | string | null {
  if (came.type === 0x0806) return arpReply(place, came);
  const sent = dissect(out);
  const { ip } = came;
  if (ip === null || sent.ip === null) return 'neither a packet nor ARP was answered';
  const type = came.frame[ip.transport]!;
  if (ip.protocol === ICMPV6 && type === 135) return advertisement(place, came, ip);
  if ((ip.protocol === ICMP && type === 8) || (ip.protocol === ICMPV6 && type === 128)) return echo(place, came, ip);
  if (!isError(came.frame, ip) && isError(out, sent.ip)) return refusal(place, came, ip);
  const same = (left: Uint8Array, right: Uint8Array) => Buffer.from(left).equals(right);
  const turned = same(sent.ip.source, ip.destination) && same(sent.ip.destination, ip.source);
  return turned && ip.protocol === TCP ? reset(place, came, ip) : null;
}

export function isError(frame: Uint8Array, ip: DissectedIp): boolean {
  const type = frame[ip.transport]!;
  if (ip.protocol === ICMP) return [3, 11, 12].includes(type);
  return ip.protocol === ICMPV6 && type >= 1 && type <= 4;
}

/** RFC 9568 section 7.3. */
export function virtualMac({ topology }: Pick<Place, 'topology'>, device: number, family: 4 | 6): Uint8Array {
  return Uint8Array.of(0, 0, 0x5e, 0, family === 4 ? 1 : 2, topology.policy.groups[0]!.vrids[device]!);
}

/** Back to where it came from, tags and all, from the virtual MAC. */
function head(place: Place, came: Dissected, family: 4 | 6): Uint8Array {
  const asker = came.frame.subarray(6, 12);
  return join(
    asker,
    virtualMac(place, place.device, family),
    came.tags,
    Uint8Array.of(came.type >> 8, came.type & 255),
  );
}

/** RFC 826: sender and target change places, and the asked address has the virtual MAC. */
function arpReply(place: Place, came: Dissected): Uint8Array {
  const question = came.frame.subarray(came.network);
  const sender = question.subarray(8, 18);
  const asked = question.subarray(24, 28);
  const operation = Uint8Array.of(0, 2);
  const mac = virtualMac(place, place.device, 4);
  return join(head(place, came, 4), question.subarray(0, 6), operation, mac, asked, sender, question.subarray(28));
}

/** RFC 4861 section 7.2.4. */
function advertisement(place: Place, came: Dissected, ip: DissectedIp): Uint8Array {
  const target = came.frame.subarray(ip.transport + 8, ip.transport + 24);
  const probe = ip.source.every((octet) => octet === 0);
  const to = probe ? ipAddress('ff02::1').octets : ip.source;
  const link = head(place, came, 6);
  if (probe) link.set([0x33, 0x33, 0, 0, 0, 1]);
  const flags = probe ? 0xa0 : 0xe0;
  const option = join(Uint8Array.of(2, 1), virtualMac(place, place.device, 6));
  const message = join(Uint8Array.of(136, 0, 0, 0, flags, 0, 0, 0), target, option);
  return finished(link, ipv6Header(message.length, ICMPV6, 255, target, to), message);
}

function ipv6Header(bytes: number, protocol: number, hops: number, source: Uint8Array, to: Uint8Array): Uint8Array {
  return join(Uint8Array.of(0x60, 0, 0, 0, bytes >> 8, bytes & 255, protocol, hops), source, to);
}

function ipv4Header(bytes: number, fields: { tos: number; flags: number; protocol: number }): Uint8Array {
  const header = new Uint8Array(20);
  header.set([0x45, fields.tos]);
  setWord(header, 2, 20 + bytes);
  setWord(header, 6, fields.flags);
  header.set([64, fields.protocol], 8);
  return header;
}

function finished(link: Uint8Array, header: Uint8Array, message: Uint8Array): Uint8Array {
  const frame = join(link, header, message);
  finishTransport(frame, dissectIp(frame, link.length));
  if (header[0]! >> 4 === 4) finishIpv4(frame, link.length);
  return frame;
}

/** RFC 792, RFC 4443 section 4.2: the data comes back; what stands behind the packet does, too. */
function echo(place: Place, came: Dissected, ip: DissectedIp): Uint8Array {
  const frame = join(head(place, came, ip.family), came.frame.subarray(came.network));
  const moved = dissectIp(frame, came.network);
  const [source, destination] = [ip.source.slice(), ip.destination.slice()];
  moved.source.set(destination);
  moved.destination.set(source);
  frame[came.network + (ip.family === 4 ? 8 : 7)] = 64;
  frame[ip.transport] = ip.family === 4 ? 0 : 129;
  finishTransport(frame, moved);
  if (ip.family === 4) finishIpv4(frame, came.network);
  return frame;
}

/** RFC 9293 section 3.10.7.1. */
function reset(place: Place, came: Dissected, ip: DissectedIp): Uint8Array {
  const asked = came.frame.subarray(ip.transport, ip.end);
  const view = new DataView(asked.buffer, asked.byteOffset, asked.byteLength);
  const flags = asked[13]!;
  const acked = (flags & ACK) !== 0;
  const length = asked.length - (asked[12]! >> 4) * 4 + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);
  const segment = new Uint8Array(20);
  const write = new DataView(segment.buffer);
  write.setUint16(0, word(asked, 2));
  write.setUint16(2, word(asked, 0));
  write.setUint32(4, acked ? view.getUint32(8) : 0);
  write.setUint32(8, acked ? 0 : (view.getUint32(4) + length) >>> 0);
  segment[12] = 5 << 4;
  segment[13] = acked ? 4 : 4 | ACK;
  const link = head(place, came, ip.family);
  if (ip.family === 6) return finished(link, ipv6Header(20, TCP, 64, ip.destination, ip.source), segment);
  const header = ipv4Header(20, { tos: 0, flags: 0x4000, protocol: TCP });
  return finished(link, join(header.subarray(0, 12), ip.destination, ip.source), segment);
}

/** RFC 1812 section 4.3.2, RFC 4443 sections 3.2 and 3.3: from the floating address of the link where it came in. */
function refusal(place: Place, came: Dissected, ip: DissectedIp): Uint8Array | string {
  const { topology, mtus, device } = place;
  const floating = topology.policy.groups[0]!.floating[device]!.map(ipAddress);
  const source = floating.find(({ family }) => family === ip.family);
  if (source === undefined) return 'there is no floating address to tell it from';
  const next = topology.devices.find((_, index) => index !== device)!.name;
  const bytes = ip.end - came.network;
  const expired = ip.ttl <= 1;
  const mtu = mtus[next] ?? Number.POSITIVE_INFINITY;
  if (!expired && bytes <= mtu) return `${bytes} octets fit ${next}`;
  const v4 = ip.family === 4;
  const quote = came.frame.subarray(came.network, Math.min(ip.end, came.network + (v4 ? 576 - 28 : 1280 - 48)));
  const kind = v4 ? (expired ? [11, 0] : [3, 4]) : [expired ? 3 : 2, 0];
  const rest = new Uint8Array(4);
  if (!expired) setWord(rest, 2, mtu);
  const message = join(Uint8Array.from(kind), new Uint8Array(2), rest, quote);
  const link = head(place, came, ip.family);
  if (!v4) return finished(link, ipv6Header(message.length, ICMPV6, 64, source.octets, ip.source), message);
  const header = ipv4Header(message.length, { tos: 0xc0, flags: 0, protocol: ICMP });
  return finished(link, join(header.subarray(0, 12), source.octets, ip.source), message);
}
