/** Golden cases: what is not translated, to members that have the virtual address themselves. By MAC, in IP, in UDP. */

import { ipPacket, join, other, type Transport, tcp, udp, word } from '../support/packets.js';
import {
  type Case,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  client,
  fragments,
  GATEWAY,
  icmpError,
  macOf,
  member,
  packet,
  query,
  quoted,
  ROUTER,
  type Step,
  segment,
  syn,
  toClient,
  toServer,
} from './network.js';

const ack = { flags: 'A', sequence: 1001, acknowledgment: 5001 } as const;
const ask = { flags: 'PA', sequence: 1001, acknowledgment: 5001, payload: 'GET / HTTP/1.0\r\n\r\n' } as const;
const fin = { flags: 'FA', sequence: 1019, acknowledgment: 5001 } as const;

/** What we see of a connection whose member answers past us. */
const oneSided = (virtual: string): readonly Step[] =>
  [syn, ack, ask, fin].map((fields) => ({ frame: client(virtual, fields), verdict: toServer }));

const opened = (virtual: string): Step => ({ frame: client(virtual, syn), verdict: toServer });

const LONG = 'a question that is cut in three: who is it, where are they, and why?';
const cutIn3 = (virtual: string) =>
  fragments(
    { source: virtual.includes(':') ? CLIENT6 : CLIENT, destination: virtual },
    tcp({ sourcePort: CLIENT_PORT, destinationPort: 80, flags: 'S', payload: LONG }),
    [24, 48],
  ) as [Uint8Array, Uint8Array, Uint8Array];

const OVERHEAD = { ipip4: 20, ipip6: 40, gue4: 32, gue6: 52 } as const;

/** A client's segment that fills packets of `bytes` octets. */
const filling = (virtual: string, bytes: number, how = {}) =>
  client(virtual, { ...ack, payload: 'x'.repeat(bytes - (virtual.includes(':') ? 60 : 40)) }, how);

/** The packet that the client sent, as it went into the tunnel. */
const inside = (virtual: string) =>
  quoted(virtual.includes(':') ? CLIENT6 : CLIENT, virtual, segment(CLIENT_PORT, 80), { ttl: 63 });

const version = (bytes: Uint8Array) => (bytes[0]! >> 4 === 4 ? 4 : 41);
const outer4 = (bytes: Uint8Array, to = '10.2.0.31') =>
  quoted('10.2.0.1', to, other(version(bytes), bytes), { ttl: 60 });
const outer6 = (bytes: Uint8Array, to = 'fd02::31') => quoted('fd02::1', to, other(version(bytes), bytes), { ttl: 60 });
const gueOf = (bytes: Uint8Array, port = 6080): Transport =>
  udp({
    sourcePort: 50_000,
    destinationPort: port,
    checksum: 0,
    payload: join(Uint8Array.of(0, version(bytes)), word(0), bytes),
  });

const fromRouter = { from: ROUTER, source: '10.2.0.254', destination: '10.2.0.1' } as const;
const fromRouter6 = { from: ROUTER, source: 'fd02::fe', destination: 'fd02::1' } as const;
const fromBeyond = { from: GATEWAY, source: '192.0.2.7', ttl: 58 } as const;

/** RFC 9293 section 3.1's options: no operation, segment size, a timestamp's head. */
const NOTHING = 1;
const sized = (size: number) => [2, 4, size >> 8, size & 0xff];
const synWith = (...options: readonly number[]) => ({ flags: 'S', options: Uint8Array.from(options) }) as const;

const modes: readonly Case[] = [
  // ---- DSR
  {
    name: 'dsr',
    sentence: 'DSR: what the client sends goes to the member as it is, a hop counted, and the answers are not ours',
    steps: oneSided('10.1.0.170'),
  },
  { name: 'dsr_ipv6', sentence: 'the same over IPv6', steps: oneSided('fd01::170') },
  {
    name: 'dsr_established',
    sentence: "the client's ACK behind its SYN completes the handshake: idle for a minute, the connection is there",
    steps: [
      ...oneSided('10.1.0.170').slice(0, 2),
      { frame: query('10.1.0.100'), verdict: toServer, afterMs: 30_000 },
      { frame: client('10.1.0.170', ask), verdict: toServer, afterMs: 30_000 },
    ],
  },
  {
    name: 'dsr_half_open',
    sentence: 'a SYN alone is forgotten after the half-open timeout',
    steps: [
      opened('10.1.0.170'),
      { frame: query('10.1.0.100'), verdict: toServer, afterMs: 30_000 },
      { frame: client('10.1.0.170', ack), verdict: 'drop unknown', afterMs: 30_000 },
    ],
  },
  {
    name: 'dsr_finished',
    sentence: "after the client's FIN the half-closed timeout holds: the member may still be sending",
    steps: [
      // In one burst, so that expiry begins behind it.
      ...oneSided('10.1.0.170').map((step) => ({ ...step, afterMs: 0 })),
      { frame: query('10.1.0.100'), verdict: toServer, afterMs: 70_000 },
      { frame: client('10.1.0.170', { ...ack, sequence: 1020 }), verdict: 'drop unknown', afterMs: 1 },
    ],
  },
  {
    name: 'dsr_blind_reset',
    sentence: 'a RST cuts nothing: data behind it goes on, and the connection is established still',
    steps: [
      ...oneSided('10.1.0.170').slice(0, 2),
      { frame: client('10.1.0.170', { flags: 'R', sequence: 77 }), verdict: toServer },
      { frame: client('10.1.0.170', ask), verdict: toServer },
      { frame: query('10.1.0.100'), verdict: toServer, afterMs: 30_000 },
      { frame: client('10.1.0.170', ack), verdict: toServer, afterMs: 30_000 },
    ],
  },
  {
    name: 'dsr_syn_again',
    sentence: 'a SYN from a port whose connection is closing goes to the same member, which knows whether it is new',
    steps: [
      ...oneSided('10.1.0.170'),
      { frame: client('10.1.0.170', { ...syn, sequence: 900_000 }), verdict: toServer },
    ],
  },
  {
    name: 'dsr_vlan',
    sentence:
      "the client's 802.1Q tag is taken off towards the member, and put back on an answer that comes through us",
    steps: [
      { frame: client('10.1.0.170', syn, { vlan: [7] }), verdict: toServer },
      {
        frame: packet(
          { from: macOf('10.2.0.21'), source: '10.1.0.170', destination: CLIENT },
          tcp({ sourcePort: 80, destinationPort: CLIENT_PORT, flags: 'SA', sequence: 5000, acknowledgment: 1001 }),
        ),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'dsr_fragments',
    sentence: 'fragments go to the member as they are, also when the first one is late',
    steps: [
      { frame: cutIn3('10.1.0.170')[2], verdict: 'hold' },
      { frame: cutIn3('10.1.0.170')[0], verdict: `${toServer}, ${toServer}` },
      { frame: cutIn3('10.1.0.170')[1], verdict: toServer },
    ],
  },
  {
    name: 'dsr_ttl',
    sentence: 'a TTL or hop limit that has run out is told by us, the last but one goes on',
    steps: [
      { frame: client('10.1.0.170', syn, { ttl: 1 }), verdict: toClient },
      { frame: client('10.1.0.170', syn, { ttl: 2 }), verdict: toServer },
      { frame: client('fd01::170', syn, { ttl: 1 }), verdict: toClient },
      { frame: client('fd01::170', syn, { ttl: 2 }), verdict: toServer },
    ],
  },
  {
    name: 'dsr_too_big',
    sentence: "a packet that is too long for the members' link is answered with that link's MTU",
    mtus: { server: 1300 },
    steps: [
      opened('10.1.0.170'),
      { frame: filling('10.1.0.170', 1300), verdict: toServer },
      { frame: filling('10.1.0.170', 1301), verdict: toClient },
    ],
  },
  {
    name: 'dsr_error_to_member',
    sentence:
      'an error about what the member answered past us comes to the virtual address, and goes to the member as it is',
    steps: [
      opened('10.1.0.170'),
      {
        frame: packet(
          { ...fromBeyond, destination: '10.1.0.170' },
          icmpError(4, 3, 4, 1300, quoted('10.1.0.170', CLIENT, segment(80, CLIENT_PORT))),
        ),
        verdict: toServer,
      },
      opened('fd01::170'),
      {
        frame: packet(
          { ...fromBeyond, source: '2001:db8:9::7', destination: 'fd01::170' },
          icmpError(6, 2, 0, 1300, quoted('fd01::170', CLIENT6, segment(80, CLIENT_PORT))),
        ),
        verdict: toServer,
      },
    ],
  },
  {
    name: 'dsr_standby',
    sentence: 'a standby unit forwards none of it',
    role: 'standby',
    steps: [
      { frame: client('10.1.0.170', syn), verdict: 'drop standby' },
      { frame: client('10.1.0.171', syn), verdict: 'drop standby' },
    ],
  },
  // ---- tunnels
  {
    name: 'ipip',
    sentence: 'IPv4 in IPv4 (RFC 2003): the packet whole, in a packet from us to the member',
    steps: oneSided('10.1.0.171'),
  },
  { name: 'ipip_ipv6', sentence: 'IPv6 in IPv6 (RFC 2473)', steps: oneSided('fd01::171') },
  { name: 'ipip_4in6', sentence: 'IPv4 in IPv6 (RFC 2473)', steps: oneSided('10.1.0.172') },
  { name: 'ipip_6in4', sentence: 'IPv6 in IPv4 (RFC 4213)', steps: oneSided('fd01::172') },
  {
    name: 'gue',
    sentence: 'GUE: the packet in UDP without a checksum; another connection comes from another port',
    steps: [
      ...oneSided('10.1.0.173'),
      ...[40_001, 40_002].map((sourcePort) => ({
        frame: client('10.1.0.173', { ...syn, sourcePort }),
        verdict: toServer,
      })),
    ],
  },
  { name: 'gue_ipv6', sentence: 'GUE, IPv6 in UDP over IPv6, which needs the checksum', steps: oneSided('fd01::173') },
  { name: 'gue_4in6', sentence: 'GUE, IPv4 over IPv6', steps: oneSided('10.1.0.174') },
  { name: 'gue_6in4', sentence: "GUE, IPv6 over IPv4, to the members' own port", steps: oneSided('fd01::174') },
  {
    name: 'gue_udp',
    sentence: 'UDP goes through a tunnel as TCP does, with its checksum or without one',
    steps: [
      { frame: query('10.1.0.173'), verdict: toServer },
      { frame: query('10.1.0.173', { checksum: 0, payload: 'odd' }), verdict: toServer },
    ],
  },
  {
    name: 'tunnel_class',
    sentence: 'DSCP and ECN of the packet are those of the outer header (RFC 6040)',
    steps: ['10.1.0.171', '10.1.0.172', 'fd01::171', 'fd01::174'].map((virtual) => ({
      frame: client(virtual, syn, { tos: 0xbb }),
      verdict: toServer,
    })),
  },
  {
    name: 'tunnel_vlan',
    sentence: "the client's 802.1Q tag is none of the tunnel's; an answer that comes through us gets it back",
    steps: [
      { frame: client('10.1.0.174', syn, { vlan: [7] }), verdict: toServer },
      {
        frame: packet(
          { from: macOf('fd02::31'), source: '10.1.0.174', destination: CLIENT },
          tcp({ sourcePort: 80, destinationPort: CLIENT_PORT, flags: 'SA', sequence: 5000, acknowledgment: 1001 }),
        ),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'tunnel_padded',
    sentence: 'padding behind a short packet does not go into the tunnel; IPv4 options do',
    steps: [
      {
        frame: Uint8Array.of(...client('10.1.0.171', { flags: 'S' }), 0xde, 0xad, 0xbe, 0xef, 0, 0),
        verdict: toServer,
      },
      { frame: client('10.1.0.171', ack, { options: Uint8Array.of(0x94, 4, 0, 0) }), verdict: toServer },
    ],
  },
  {
    name: 'tunnel_ttl',
    sentence: 'the tunnel is one hop: who runs out of them is told, and the outer TTL is its own',
    steps: [
      { frame: client('10.1.0.171', syn, { ttl: 1 }), verdict: toClient },
      { frame: client('10.1.0.171', syn, { ttl: 2 }), verdict: toServer },
      { frame: client('fd01::172', syn, { ttl: 1 }), verdict: toClient },
      { frame: client('fd01::172', syn, { ttl: 255 }), verdict: toServer },
    ],
  },
  {
    name: 'tunnel_fragments',
    sentence: 'fragments go through a tunnel as fragments, each in a packet of its own, to one port of GUE',
    steps: [
      ...cutIn3('10.1.0.173').map((frame) => ({ frame, verdict: toServer })),
      ...cutIn3('10.1.0.172').map((frame) => ({ frame, verdict: toServer })),
    ],
  },
  {
    name: 'tunnel_fragments_ipv6',
    sentence: 'the same over IPv6, the last one first',
    steps: [
      { frame: cutIn3('fd01::173')[2], verdict: 'hold' },
      { frame: cutIn3('fd01::173')[0], verdict: `${toServer}, ${toServer}` },
      { frame: cutIn3('fd01::173')[1], verdict: toServer },
    ],
  },
  {
    name: 'tunnel_fragments_too_big',
    sentence: 'a later fragment that does not fit the tunnel is dropped, for nobody may be told about it',
    mtus: { server: 80 },
    steps: [
      { frame: cutIn3('10.1.0.173')[0], verdict: toServer },
      {
        frame: fragments(
          { source: CLIENT, destination: '10.1.0.173' },
          tcp({ sourcePort: CLIENT_PORT, destinationPort: 80, flags: 'S', payload: LONG }),
          [24],
        )[1]!,
        verdict: 'drop oversized',
      },
    ],
  },
  // ---- what fits
  {
    name: 'tunnel_segment_size',
    sentence: 'a SYN asks for segments that fit the tunnel, and for no larger ones than it asked for',
    mtus: { server: 1500 },
    steps: [
      opened('10.1.0.171'),
      { frame: client('10.1.0.173', synWith(...sized(1460))), verdict: toServer },
      { frame: client('10.1.0.174', synWith(...sized(1460))), verdict: toServer },
      { frame: client('10.1.0.174', { ...synWith(...sized(1408)), sourcePort: 40_001 }), verdict: toServer },
      { frame: client('fd01::171', synWith(...sized(1440))), verdict: toServer },
      { frame: client('fd01::174', synWith(...sized(1440))), verdict: toServer },
    ],
  },
  {
    name: 'tunnel_segment_size_options',
    sentence:
      'wherever the option stands, on odd octets too, and whatever is broken around it, the checksum stays right',
    mtus: { server: 1500 },
    steps: [
      synWith(NOTHING, ...sized(1460), 0, 0, 0),
      synWith(NOTHING, NOTHING, ...sized(1460), NOTHING, 0),
      synWith(4, 2, ...sized(9000), 0, 0),
      // None, one that ends the list before it, one that is cut, one of a wrong length, one of length 0.
      synWith(4, 2, NOTHING, NOTHING),
      synWith(0, ...sized(1460), 0, 0, 0),
      synWith(NOTHING, NOTHING, 2, 4),
      synWith(2, 3, 0xff, NOTHING),
      synWith(2, 0, 0xff, 0xff),
    ].map((fields, index) => ({
      frame: client('10.1.0.171', { ...fields, sourcePort: 41_000 + index }),
      verdict: toServer,
    })),
  },
  {
    name: 'tunnel_segment_size_answer',
    sentence: "and so does the member's SYN-ACK, when it comes through us",
    mtus: { server: 1500 },
    steps: [
      opened('10.1.0.171'),
      {
        frame: packet(
          { from: macOf('10.2.0.31'), source: '10.1.0.171', destination: CLIENT },
          tcp({
            sourcePort: 80,
            destinationPort: CLIENT_PORT,
            sequence: 5000,
            acknowledgment: 1001,
            ...syn,
            flags: 'SA',
          }),
        ),
        verdict: toClient,
      },
      opened('fd01::172'),
      {
        frame: packet(
          { from: macOf('10.2.0.31'), source: 'fd01::172', destination: CLIENT6 },
          tcp({
            sourcePort: 80,
            destinationPort: CLIENT_PORT,
            sequence: 5000,
            acknowledgment: 1001,
            ...syn,
            flags: 'SA',
          }),
        ),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'tunnel_too_big',
    sentence: "what fits the link and not the tunnel is told with what the outer header leaves, don't fragment or not",
    mtus: { server: 1400 },
    steps: [
      opened('10.1.0.171'),
      { frame: filling('10.1.0.171', 1400 - OVERHEAD.ipip4), verdict: toServer },
      { frame: filling('10.1.0.171', 1401 - OVERHEAD.ipip4), verdict: toClient },
      { frame: filling('10.1.0.171', 1401 - OVERHEAD.ipip4, { fragment: 0 }), verdict: toClient },
      opened('10.1.0.174'),
      { frame: filling('10.1.0.174', 1400 - OVERHEAD.gue6), verdict: toServer },
      { frame: filling('10.1.0.174', 1401 - OVERHEAD.gue6, { vlan: [7] }), verdict: toClient },
    ],
  },
  {
    name: 'tunnel_too_big_ipv6',
    sentence: 'the same over IPv6: packet too big',
    mtus: { server: 1400 },
    steps: [
      opened('fd01::171'),
      { frame: filling('fd01::171', 1400 - OVERHEAD.ipip6), verdict: toServer },
      { frame: filling('fd01::171', 1401 - OVERHEAD.ipip6), verdict: toClient },
      opened('fd01::174'),
      { frame: filling('fd01::174', 1400 - OVERHEAD.gue4), verdict: toServer },
      { frame: filling('fd01::174', 1401 - OVERHEAD.gue4), verdict: toClient },
    ],
  },
  // ---- errors
  {
    name: 'tunnel_error',
    sentence: 'a router on the way to the member wants smaller packets: the client is told what fits inside',
    steps: [
      opened('10.1.0.171'),
      { frame: packet(fromRouter, icmpError(4, 3, 4, 1400, outer4(inside('10.1.0.171')))), verdict: toClient },
      // Eight octets of the segment are enough.
      {
        frame: packet(fromRouter, icmpError(4, 3, 4, 1400, outer4(inside('10.1.0.171')).subarray(0, 48))),
        verdict: toClient,
      },
      { frame: client('10.1.0.171', ack), verdict: toServer },
    ],
  },
  {
    name: 'tunnel_error_families',
    sentence: "it is told in the client's family, whatever the way's is, and never less than every link carries",
    steps: [
      opened('fd01::171'),
      { frame: packet(fromRouter6, icmpError(6, 2, 0, 1400, outer6(inside('fd01::171')))), verdict: toClient },
      opened('fd01::172'),
      { frame: packet(fromRouter, icmpError(4, 3, 4, 1400, outer4(inside('fd01::172')))), verdict: toClient },
      { frame: packet(fromRouter, icmpError(4, 3, 4, 576, outer4(inside('fd01::172')))), verdict: toClient },
      opened('10.1.0.172'),
      { frame: packet(fromRouter6, icmpError(6, 2, 0, 1400, outer6(inside('10.1.0.172')))), verdict: toClient },
    ],
  },
  {
    name: 'tunnel_error_gue',
    sentence: 'GUE is looked into as well, and the VLAN of the client is that of what it is told',
    steps: [
      { frame: client('10.1.0.173', syn, { vlan: [7] }), verdict: toServer },
      {
        frame: packet(
          fromRouter,
          icmpError(4, 3, 4, 1400, quoted('10.2.0.1', '10.2.0.31', gueOf(inside('10.1.0.173')), { ttl: 60 })),
        ),
        verdict: toClient,
      },
      opened('fd01::173'),
      {
        frame: packet(
          fromRouter6,
          icmpError(6, 2, 0, 1400, quoted('fd02::1', 'fd02::31', gueOf(inside('fd01::173')), { ttl: 60 })),
        ),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'tunnel_error_useless',
    sentence: 'errors that tell the client nothing, quote too little, or are about what we did not send are dropped',
    steps: [
      opened('10.1.0.171'),
      opened('10.1.0.173'),
      // The member is not there; time ran out; an MTU of none; less than the outer header.
      ...[[3, 1, 0] as const, [3, 2, 0] as const, [11, 0, 0] as const, [3, 4, 0] as const, [3, 4, 20] as const].map(
        ([type, code, mtu]) => ({
          frame: packet(fromRouter, icmpError(4, type, code, mtu, outer4(inside('10.1.0.171')))),
          verdict: 'drop tunnel_error',
        }),
      ),
      ...[20, 28, 39, 47].map((bytes) => ({
        frame: packet(fromRouter, icmpError(4, 3, 4, 1400, outer4(inside('10.1.0.171')).subarray(0, bytes))),
        verdict: 'drop tunnel_error',
      })),
      // Another member, another tunnel, another connection.
      {
        frame: packet(fromRouter, icmpError(4, 3, 4, 1400, outer4(inside('10.1.0.171'), '10.2.0.32'))),
        verdict: 'drop icmp_unknown',
      },
      {
        frame: packet(fromRouter, icmpError(4, 3, 4, 1400, outer4(inside('10.1.0.173')))),
        verdict: 'drop icmp_unknown',
      },
      {
        frame: packet(
          fromRouter,
          icmpError(4, 3, 4, 1400, quoted('10.2.0.1', '10.2.0.31', gueOf(inside('10.1.0.173'), 6081), { ttl: 60 })),
        ),
        verdict: 'drop icmp_unknown',
      },
      {
        frame: packet(fromRouter, icmpError(4, 3, 4, 1400, outer4(inside('10.1.0.172')))),
        verdict: 'drop icmp_unknown',
      },
    ],
  },
  {
    name: 'tunnel_error_to_member',
    sentence: 'an error about what the member answered past us goes to it through the tunnel',
    steps: [
      opened('10.1.0.171'),
      {
        frame: packet(
          { ...fromBeyond, destination: '10.1.0.171' },
          icmpError(4, 3, 4, 1300, quoted('10.1.0.171', CLIENT, segment(80, CLIENT_PORT))),
        ),
        verdict: toServer,
      },
      opened('fd01::174'),
      {
        frame: packet(
          { ...fromBeyond, source: '2001:db8:9::7', destination: 'fd01::174' },
          icmpError(6, 2, 0, 1300, quoted('fd01::174', CLIENT6, segment(80, CLIENT_PORT))),
        ),
        verdict: toServer,
      },
    ],
  },
  {
    name: 'tunnel_not_from_members',
    sentence: 'a tunnel goes one way: what comes to our floating address in one is no packet of ours',
    steps: [
      opened('10.1.0.171'),
      {
        frame: packet(
          { from: macOf('10.2.0.31'), source: '10.2.0.31', destination: '10.2.0.1' },
          other(4, ipPacket({ source: '10.1.0.171', destination: CLIENT }, segment(80, CLIENT_PORT))),
        ),
        verdict: 'drop protocol',
      },
      { frame: member('10.2.0.31', '10.2.0.1', { flags: 'A', sequence: 1 }), verdict: 'drop closed_port' },
    ],
  },
];

/** Devices of a real link: SYNs into a tunnel are clamped to what fits. */
const MTUS = { client: 1500, server: 1500 };

export const modeCases: readonly Case[] = modes.map((each) => ({
  ...each,
  mtus: each.mtus ?? MTUS,
  unwitnessed: 'the witness knows NAT only',
}));
