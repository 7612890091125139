/** Golden cases: what IP headers may hold: TTL and hop limit, options, extension headers, lengths, sources; and UDP. */

import { behind, echoRequest, other, tcp, udp } from '../support/packets.js';
import {
  type Case,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  client,
  cut,
  handshake,
  MEMBER6,
  member,
  packet,
  query,
  reply,
  SNAT,
  SNAT_NEXT,
  syn,
  toClient,
  toServer,
  withByte,
} from './network.js';

const HOP_BY_HOP = { protocol: 0, bytes: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0) };
const DESTINATION = { protocol: 60, bytes: Uint8Array.of(0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) };
/** RFC 8200 section 4.4, an unknown type with no segments left: to be passed over. */
const ROUTING_DONE = { protocol: 43, bytes: Uint8Array.of(0, 0, 253, 0, 0, 0, 0, 0) };
const ROUTING = { protocol: 43, bytes: Uint8Array.of(0, 0, 253, 1, 0, 0, 0, 0) };
const AUTHENTICATION = { protocol: 51, bytes: new Uint8Array(16) };

const opening = tcp({ sourcePort: CLIENT_PORT, destinationPort: 80, flags: 'S' });
const answer = tcp({ sourcePort: 8080, destinationPort: SNAT, flags: 'SA', sequence: 5000, acknowledgment: 1001 });
const toWww6 = { source: CLIENT6, destination: 'fd01::100' } as const;
const fromMember6 = { from: MEMBER6, source: 'fd02::11', destination: 'fd02::1' } as const;
type Header = Parameters<typeof behind>[0][number];
const syn6 = (...headers: readonly Header[]) => packet(toWww6, behind(headers, opening));

/** A payload of two octets with which the datagram that the member gets has the checksum zero. */
function payloadForZero(source: string, destination: string): Uint8Array {
  const addresses = [source, destination].map((text) => Uint8Array.from(text.split('.'), Number)) as [
    Uint8Array,
    Uint8Array,
  ];
  for (let word = 0; word <= 0xffff; word++) {
    const payload = Uint8Array.of(word >> 8, word & 255);
    const bytes = udp({ sourcePort: SNAT, destinationPort: 53, payload }).bytes(...addresses);
    if (bytes[6] === 0 && bytes[7] === 0) return payload;
  }
  throw new Error('no payload gives the checksum zero');
}

const limitCases: readonly Case[] = [
  {
    name: 'ttl_two',
    sentence: 'TTL and hop limit 2 go on as 1, both ways and both families',
    steps: [
      { frame: client('10.1.0.100', syn, { ttl: 2 }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }, { ttl: 2 }), verdict: toClient },
      { frame: client('fd01::100', syn, { ttl: 2 }), verdict: toServer },
      { frame: member('fd02::11', 'fd02::1', { flags: 'SA' }, { ttl: 2 }), verdict: toClient },
    ],
  },
  {
    name: 'ttl_known',
    sentence: 'within a connection, too, the sender is told that its hop limit has run out',
    steps: [
      { frame: client('fd01::100', syn), verdict: toServer },
      { frame: client('fd01::100', { flags: 'A' }, { ttl: 1 }), verdict: toClient },
      { frame: member('fd02::11', 'fd02::1', { flags: 'SA' }, { ttl: 1 }), verdict: toServer },
      { frame: member('fd02::11', 'fd02::1', { flags: 'SA' }, { ttl: 0 }), verdict: toServer },
    ],
  },
  {
    name: 'ttl_max',
    sentence: 'TTL 255 goes on as 254',
    steps: [
      { frame: client('10.1.0.100', syn, { ttl: 255 }), verdict: toServer },
      { frame: client('fd01::100', syn, { ttl: 255 }), verdict: toServer },
    ],
  },
  {
    name: 'ttl_to_us',
    sentence: 'what ends here needs no hop: an echo request and a refused SYN with TTL 1 are answered',
    steps: [
      { frame: packet({ source: CLIENT6, destination: 'fd01::100', ttl: 1 }, echoRequest(6)), verdict: toClient },
      { frame: client('10.1.0.101', { flags: 'S', destinationPort: 81 }, { ttl: 1 }), verdict: toClient },
      { frame: client('fd01::101', { flags: 'S', destinationPort: 81 }, { ttl: 1 }), verdict: toClient },
    ],
  },
];

const headerCases: readonly Case[] = [
  {
    name: 'ip_options_kinds',
    sentence: 'record route, timestamp and source route options are kept as they are: Tandem is no hop of theirs',
    steps: [
      { frame: client('10.1.0.100', syn, { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0) }), verdict: toServer },
      { frame: client('10.1.0.100', { flags: 'A' }, { options: new Uint8Array(40).fill(1) }), verdict: toServer },
      { frame: query('10.1.0.100', {}, { options: Uint8Array.of(0x44, 4, 5, 0) }), verdict: toServer },
    ],
  },
  {
    name: 'ip_reset_of_options',
    sentence: 'a RST does not repeat the options or extension headers of what it answers',
    steps: [
      {
        frame: client('10.1.0.101', { flags: 'A', acknowledgment: 77 }, { options: Uint8Array.of(1, 1, 1, 0) }),
        verdict: toClient,
      },
      {
        frame: packet(
          { source: CLIENT6, destination: 'fd01::101' },
          behind([DESTINATION], tcp({ sourcePort: 5, destinationPort: 80, flags: 'A', acknowledgment: 77 })),
        ),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'extension_headers',
    sentence: 'IPv6 extension headers before the transport are passed over and kept, both ways',
    steps: [
      { frame: syn6(HOP_BY_HOP), verdict: toServer },
      { frame: packet(fromMember6, behind([DESTINATION], answer)), verdict: toClient },
      { frame: syn6(DESTINATION), verdict: toServer },
      { frame: syn6(ROUTING_DONE), verdict: toServer },
      { frame: syn6(HOP_BY_HOP, DESTINATION, ROUTING_DONE, DESTINATION), verdict: toServer },
    ],
  },
  {
    name: 'extension_headers_hidden',
    sentence: 'a packet that is source routed, authenticated, or behind nine headers is dropped',
    steps: [
      { frame: syn6(ROUTING), verdict: 'drop extension_headers' },
      { frame: syn6(AUTHENTICATION), verdict: 'drop extension_headers' },
      { frame: syn6(...Array<Header>(8).fill(DESTINATION)), verdict: toServer },
      { frame: syn6(...Array<Header>(9).fill(DESTINATION)), verdict: 'drop extension_headers' },
    ],
  },
  {
    name: 'extension_headers_cut',
    sentence: 'an extension header that says that it is longer than the packet is dropped',
    steps: [
      { frame: withByte(syn6(HOP_BY_HOP), 55, 9), verdict: 'drop truncated' },
      { frame: packet(toWww6, other(60, Uint8Array.of(6))), verdict: 'drop truncated' },
    ],
  },
  {
    name: 'no_next_header',
    sentence: 'IPv6: encrypted packets, no next header and tunnels are no virtual server’s',
    steps: [50, 59, 41, 47].map((protocol) => ({
      frame: packet(toWww6, other(protocol, new Uint8Array(24))),
      verdict: 'drop protocol',
    })),
  },
  {
    name: 'protocols_ipv4',
    sentence: 'IPv4: tunnels, encrypted packets, SCTP and ICMPv6 are no virtual server’s',
    steps: [4, 41, 50, 132, 58].map((protocol) => ({
      frame: packet({ source: CLIENT, destination: '10.1.0.100' }, other(protocol, new Uint8Array(24))),
      verdict: 'drop protocol',
    })),
  },
  {
    name: 'lengths_ipv6',
    sentence: 'IPv6: a stated length beyond the frame is dropped; what is behind it is padding and goes along',
    steps: [
      { frame: client('fd01::100', syn, { length: 1400 }), verdict: 'drop truncated' },
      { frame: cut(client('fd01::100', syn), 70), verdict: 'drop truncated' },
      { frame: client('fd01::100', syn, { length: 0 }), verdict: 'drop truncated' },
      { frame: Uint8Array.of(...client('fd01::100', { flags: 'S' }), 1, 2, 3), verdict: toServer },
    ],
  },
  {
    name: 'tcp_bad_offset',
    sentence: 'a TCP header shorter than 20 octets, or longer than its packet, is dropped',
    steps: [
      { frame: withByte(client('fd01::100', { flags: 'S' }), 66, 0x40), verdict: 'drop bad_header' },
      { frame: withByte(client('10.1.0.100', { flags: 'S' }), 46, 0xf0), verdict: 'drop truncated' },
      { frame: withByte(client('fd01::100', { flags: 'S' }), 66, 0xf0), verdict: 'drop truncated' },
    ],
  },
  {
    name: 'tcp_wrong_checksum_ipv6',
    sentence: 'IPv6: a wrong TCP checksum stays exactly as wrong',
    wrongChecksums: 1,
    steps: [{ frame: client('fd01::100', { ...syn, checksum: 0x1234 }), verdict: toServer }],
  },
];

const udpCases: readonly Case[] = [
  {
    name: 'udp_no_checksum_reply',
    sentence: "a member's answer without a checksum reaches the client without one",
    steps: [
      { frame: query('10.1.0.100'), verdict: toServer },
      { frame: reply('10.2.0.11', '10.2.0.1', { checksum: 0 }), verdict: toClient },
    ],
  },
  {
    name: 'udp_checksum_of_ones',
    sentence: 'a checksum that would become zero is sent as all ones (RFC 768)',
    steps: [{ frame: query('10.1.0.100', { payload: payloadForZero('10.2.0.1', '10.2.0.11') }), verdict: toServer }],
  },
  {
    name: 'udp_wrong_checksum',
    sentence: 'a wrong UDP checksum stays exactly as wrong, both families',
    wrongChecksums: 2,
    steps: [
      { frame: query('10.1.0.100', { checksum: 0x1234 }), verdict: toServer },
      { frame: query('fd01::100', { checksum: 0x1234 }), verdict: toServer },
    ],
  },
  {
    name: 'udp_empty',
    sentence: 'a datagram without data is one, both ways and both families',
    steps: [
      { frame: query('10.1.0.100', { payload: '' }), verdict: toServer },
      { frame: reply('10.2.0.11', '10.2.0.1', { payload: '' }), verdict: toClient },
      { frame: query('fd01::100', { payload: '' }), verdict: toServer },
      { frame: reply('fd02::11', 'fd02::1', { payload: '' }), verdict: toClient },
    ],
  },
  {
    name: 'udp_padded',
    sentence: 'padding behind a datagram is no part of it',
    steps: [{ frame: Uint8Array.of(...query('10.1.0.100', { payload: 'a' }), 0xde, 0xad, 0xbe), verdict: toServer }],
  },
  {
    name: 'udp_bad_length',
    sentence: 'a UDP length below 8 or beyond its packet is dropped',
    steps: [
      { frame: withByte(query('10.1.0.100'), 39, 7), verdict: 'drop bad_header' },
      { frame: withByte(query('10.1.0.100'), 39, 200), verdict: 'drop truncated' },
      { frame: withByte(query('fd01::100'), 59, 7), verdict: 'drop bad_header' },
      { frame: withByte(query('fd01::100'), 59, 200), verdict: 'drop truncated' },
    ],
  },
  {
    name: 'udp_two_clients',
    sentence: 'two clients with the same port are two connections, and each gets its own answer',
    steps: [
      { frame: query('10.1.0.100'), verdict: toServer },
      { frame: query('10.1.0.100', {}, { source: '198.51.100.8', from: '02:00:00:00:0c:02' }), verdict: toServer },
      { frame: reply('10.2.0.11', '10.2.0.1', { destinationPort: SNAT_NEXT, payload: 'second' }), verdict: toClient },
      { frame: reply('10.2.0.11', '10.2.0.1', { payload: 'first' }), verdict: toClient },
    ],
  },
  {
    name: 'udp_routed',
    sentence: 'UDP without SNAT: the member sees the client',
    steps: [
      { frame: query('10.1.0.101'), verdict: toServer },
      { frame: reply('10.2.0.11', CLIENT, { destinationPort: CLIENT_PORT }), verdict: toClient },
    ],
  },
  {
    name: 'udp_routed_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      { frame: query('fd01::101'), verdict: toServer },
      { frame: reply('fd02::11', CLIENT6, { destinationPort: CLIENT_PORT }), verdict: toClient },
    ],
  },
  {
    name: 'udp_keeps_on',
    sentence: 'a UDP connection lives as long as a datagram comes within its idle timeout, from either side',
    steps: [
      { frame: query('10.1.0.100'), verdict: toServer },
      { frame: reply('10.2.0.11', '10.2.0.1'), verdict: toClient, afterMs: 4_000 },
      { frame: query('10.1.0.100'), verdict: toServer, afterMs: 4_000 },
      { frame: reply('10.2.0.11', '10.2.0.1'), verdict: toClient, afterMs: 4_000 },
    ],
  },
  {
    name: 'udp_expires_ipv6',
    sentence: 'IPv6: a UDP connection that was idle for 30 s, the default, is no more',
    steps: [
      { frame: query('fd01::100'), verdict: toServer },
      { frame: query('fd01::100', { sourcePort: 40_009 }), verdict: toServer, afterMs: 31_000 },
      { frame: reply('fd02::11', 'fd02::1'), verdict: 'drop unknown_return', afterMs: 1_000 },
    ],
  },
  {
    name: 'udp_stranger',
    sentence: 'only the member that was asked may answer: another’s datagram is of no known connection',
    steps: [
      { frame: query('10.1.0.100'), verdict: toServer },
      { frame: reply('10.2.0.11', '10.2.0.1', { destinationPort: SNAT_NEXT }), verdict: 'drop unknown_return' },
      { frame: reply('10.2.0.12', '10.2.0.1'), verdict: 'drop unknown_return' },
      { frame: reply('10.2.0.11', '10.2.0.1', { sourcePort: 5353 }), verdict: 'drop closed_port' },
    ],
  },
  {
    name: 'udp_within_tcp',
    sentence: 'the same ports of another protocol are another connection',
    steps: [
      ...handshake,
      { frame: reply('10.2.0.11', '10.2.0.1', { sourcePort: 8080 }), verdict: 'drop unknown_return' },
      { frame: query('10.1.0.100', { destinationPort: 80 }), verdict: 'drop closed_port' },
    ],
  },
];

export const ipCases: readonly Case[] = [...limitCases, ...headerCases, ...udpCases];
