/** The network of the golden cases, the other half of tandem.yaml: who is where, and short ways to build packets. */

import { ipAddress } from '../../src/wire/ip_address.js';
import {
  arp,
  type EthernetFields,
  type IpFields,
  icmpMessage,
  ipFrame,
  ipPacket,
  join,
  neighbourSolicitation,
  other,
  type TcpFields,
  type Transport,
  tcp,
  type UdpFields,
  udp,
  word,
} from '../support/packets.js';

export interface Step {
  readonly frame: Uint8Array;
  readonly verdict: string;
  /** Milliseconds after the step before; default 1. */
  readonly afterMs?: number;
  /** It opens a new connection on a tuple that has had one. */
  readonly reopens?: true;
  /** Members that change before it, `POOL ADDRESS`, as a monitor or a reload would have it; in changing cases only. */
  readonly states?: Readonly<Record<string, 'up' | 'down' | 'draining' | 'gone'>>;
}

export interface Case {
  /** Names the files. */
  readonly name: string;
  readonly sentence: string;
  readonly role?: 'standby';
  /** By link; not named: packets of any length. */
  readonly mtus?: Readonly<Record<string, number>>;
  /** Frames that are sent with a checksum as wrong as they came; default 0. */
  readonly wrongChecksums?: number;
  /** Why the witness (witness.ts) cannot work out what is sent; then only checksums are checked apart from it. */
  readonly unwitnessed?: string;
  /** Real devices that cannot show it, each with why. */
  readonly notOn?: Readonly<Partial<Record<'packet' | 'xdp', string>>>;
  readonly steps: readonly Step[];
}

export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
export const VIRTUAL4 = '00:00:5e:00:01:33';
export const VIRTUAL6 = '00:00:5e:00:02:33';
/** The router that clients are behind; a device of our unit; another host. */
export const GATEWAY = '02:00:00:00:0c:01';
export const OWN = '02:00:00:01:00:00';
export const STRANGER = '02:00:00:00:ff:01';
/** A router between our unit and the members. */
export const ROUTER = '02:00:00:00:0f:01';
export const MEMBER1 = '02:00:00:00:00:01';
export const MEMBER2 = '02:00:00:00:00:02';
export const MEMBER6 = '02:00:00:00:00:03';
export const MEMBER6_2 = '02:00:00:00:00:04';

export const CLIENT = '198.51.100.7';
export const CLIENT6 = '2001:db8::7';
export const CLIENT_PORT = 40_000;
/** The first port that unit a gives of its half, and the next. */
export const SNAT = 1024;
export const SNAT_NEXT = 25_602;

export interface Link extends Partial<EthernetFields>, Partial<IpFields> {}

/** A TCP segment of the client to port 80 of a virtual address, if not said otherwise. */
export function client(to: string, fields: Partial<TcpFields> & Pick<TcpFields, 'flags'>, how: Link = {}): Uint8Array {
  const segment = tcp({ sourcePort: CLIENT_PORT, destinationPort: 80, ...fields });
  return packet({ from: GATEWAY, source: to.includes(':') ? CLIENT6 : CLIENT, destination: to, ...how }, segment);
}

/** A segment of a member, from port 8080 if not said otherwise. */
export function member(
  from: string,
  to: string,
  fields: Partial<TcpFields> & Pick<TcpFields, 'flags'>,
  how: Link = {},
): Uint8Array {
  const segment = tcp({ sourcePort: 8080, destinationPort: SNAT, sequence: 5000, acknowledgment: 1001, ...fields });
  return packet({ from: macOf(from), source: from, destination: to, ...how }, segment);
}

export function query(to: string, fields: Partial<UdpFields> = {}, how: Link = {}): Uint8Array {
  const datagram = udp({ sourcePort: CLIENT_PORT, destinationPort: 53, payload: 'who is it?', ...fields });
  return packet({ from: GATEWAY, source: to.includes(':') ? CLIENT6 : CLIENT, destination: to, ...how }, datagram);
}

export function reply(from: string, to: string, fields: Partial<UdpFields> = {}, how: Link = {}): Uint8Array {
  const datagram = udp({ sourcePort: 53, destinationPort: SNAT, payload: 'it is me', ...fields });
  return packet({ from: macOf(from), source: from, destination: to, ...how }, datagram);
}

export function packet(fields: Link & Pick<IpFields, 'source' | 'destination'>, transport: Transport): Uint8Array {
  const to = fields.destination.includes(':') ? VIRTUAL6 : VIRTUAL4;
  return ipFrame({ from: GATEWAY, to, ...fields }, fields, transport);
}

/** The fragments of a packet whose payload is cut at `cuts`, which are multiples of 8. */
export function fragments(
  fields: Link & Pick<IpFields, 'source' | 'destination'>,
  transport: Transport,
  cuts: readonly number[],
): Uint8Array[] {
  const [source, destination] = [ipAddress(fields.source), ipAddress(fields.destination)];
  const payload = transport.bytes(source.octets, destination.octets);
  const begins = [0, ...cuts];
  return begins.map((begin, index) => {
    const end = begins[index + 1] ?? payload.length;
    const more = end < payload.length;
    const part = payload.subarray(begin, end);
    if (source.family === 4) {
      return packet({ ...fields, fragment: (more ? 0x2000 : 0) | (begin / 8) }, other(transport.protocol, part));
    }
    // RFC 8200 section 4.5.
    const header = join(Uint8Array.of(transport.protocol, 0), word(begin | (more ? 1 : 0)), word(0), word(7));
    return packet(fields, other(44, join(header, part)));
  });
}

/** The TCP segment that errors quote. */
export function segment(sourcePort: number, destinationPort: number): Transport {
  return tcp({
    sourcePort,
    destinationPort,
    flags: 'PA',
    sequence: 1001,
    acknowledgment: 5001,
    payload: 'GET / HTTP/1.0',
  });
}

/** A packet as an error quotes it: on its way, its TTL counted down. */
export function quoted(
  source: string,
  destination: string,
  transport: Transport,
  how: Partial<IpFields> = {},
): Uint8Array {
  return ipPacket({ source, destination, ttl: 60, ...how }, transport);
}

/** An ICMP or ICMPv6 error: `rest` is what stands behind the checksum, the MTU for one. */
export function icmpError(
  family: 4 | 6,
  type: number,
  code: number,
  rest: number,
  quote: Uint8Array,
  checksum?: number,
): Transport {
  return icmpMessage(family, type, code, join(word(rest >>> 16), word(rest & 0xffff), quote), checksum);
}

export function macOf(address: string): string {
  return (
    new Map([
      ['10.2.0.11', MEMBER1],
      ['10.2.0.12', MEMBER2],
      ['fd02::11', MEMBER6],
      ['fd02::12', MEMBER6_2],
      ['10.2.0.21', '02:00:00:00:00:05'],
      ['fd02::21', '02:00:00:00:00:06'],
      ['10.2.0.31', '02:00:00:00:00:07'],
      ['fd02::31', '02:00:00:00:00:08'],
      ['10.2.0.41', '02:00:00:00:00:09'],
      ['fd02::41', '02:00:00:00:00:0a'],
    ]).get(address) ?? STRANGER
  );
}

export function question(link: Partial<EthernetFields>, sender: string, target: string): Uint8Array {
  return arp({ from: GATEWAY, to: BROADCAST, ...link }, { operation: 1, sender, target });
}

export function solicitation(target: string, how: Link & { readonly mac?: string | null } = {}): Uint8Array {
  const last = target.slice(-3).replace(/^.*:/, '').padStart(4, '0');
  const to = `33:33:ff:00:${last.slice(0, 2)}:${last.slice(2)}`;
  const fields = { from: GATEWAY, to, source: 'fd01::9', destination: `ff02::1:ff00:${last}`, ttl: 255, ...how };
  return ipFrame(fields, fields, neighbourSolicitation(target, how.mac === undefined ? GATEWAY : how.mac));
}

export function cut(frame: Uint8Array, bytes: number): Uint8Array {
  return frame.subarray(0, bytes);
}

export const toServer = 'forward server';
export const toClient = 'forward client';
export const syn = { flags: 'S', options: Uint8Array.of(2, 4, 5, 180) } as const;

/** The opening of www by the client, up to and with its first data. */
export const handshake: readonly Step[] = [
  { frame: client('10.1.0.100', syn), verdict: toServer },
  { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
  { frame: client('10.1.0.100', { flags: 'A', sequence: 1001, acknowledgment: 5001 }), verdict: toServer },
  {
    frame: client('10.1.0.100', {
      flags: 'PA',
      sequence: 1001,
      acknowledgment: 5001,
      payload: 'GET / HTTP/1.0\r\n\r\n',
    }),
    verdict: toServer,
  },
];

/** The same for www6. */
export const handshake6: readonly Step[] = [
  { frame: client('fd01::100', syn), verdict: toServer },
  { frame: member('fd02::11', 'fd02::1', { flags: 'SA' }), verdict: toClient },
  { frame: client('fd01::100', { flags: 'A', sequence: 1001, acknowledgment: 5001 }), verdict: toServer },
];

export function withByte(frame: Uint8Array, at: number, value: number): Uint8Array {
  const changed = frame.slice();
  changed[at] = value;
  return changed;
}
