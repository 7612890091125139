/** Golden cases: ICMP and ICMPv6 errors about connections, translated inside and outside, and errors of our own. */

import { join, udp } from '../support/packets.js';
import {
  type Case,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  client,
  GATEWAY,
  handshake,
  icmpError,
  MEMBER1,
  member,
  packet,
  query,
  quoted,
  ROUTER,
  SNAT,
  segment,
  syn,
  toClient,
  toServer,
} from './network.js';

/** As they left our unit: what members and clients were sent. */
const toMember = quoted('10.2.0.1', '10.2.0.11', segment(SNAT, 8080));
const toMember6 = quoted('fd02::1', 'fd02::11', segment(SNAT, 8080));
const toRouted = quoted(CLIENT, '10.2.0.12', segment(CLIENT_PORT, 8080));
const backToClient = quoted('10.1.0.100', CLIENT, segment(80, CLIENT_PORT));
const backToClient6 = quoted('fd01::100', CLIENT6, segment(80, CLIENT_PORT));
const opened6 = { frame: client('fd01::100', syn), verdict: toServer } as const;
const openedRouted = { frame: client('10.1.0.101', syn), verdict: toServer } as const;
const openedUdp = { frame: query('10.1.0.100'), verdict: toServer } as const;

const data = { flags: 'A', sequence: 1019, acknowledgment: 5001 } as const;

const fromRouter = { from: ROUTER, source: '10.2.0.254', destination: '10.2.0.1' } as const;
const fromRouter6 = { from: ROUTER, source: 'fd02::fe', destination: 'fd02::1' } as const;
const fromBeyond = { from: GATEWAY, source: '192.0.2.7', destination: '10.1.0.100', ttl: 58 } as const;
const fromBeyond6 = { from: GATEWAY, source: '2001:db8:9::7', destination: 'fd01::100', ttl: 58 } as const;

export const errorCases: readonly Case[] = [
  {
    name: 'icmp_fragmentation_needed',
    sentence: "a router on the members' side wants smaller packets: the client is told, as by the virtual address",
    steps: [
      ...handshake,
      { frame: packet(fromRouter, icmpError(4, 3, 4, 1400, toMember.subarray(0, 28))), verdict: toClient },
    ],
  },
  {
    name: 'icmp_whole_quote',
    sentence: 'the same with the whole segment quoted: the checksum in the quote fits what the client sent',
    steps: [...handshake, { frame: packet(fromRouter, icmpError(4, 3, 4, 1400, toMember)), verdict: toClient }],
  },
  {
    name: 'icmp_odd_quote',
    sentence: 'a quote of an odd number of octets',
    steps: [
      ...handshake,
      { frame: packet(fromRouter, icmpError(4, 3, 4, 1400, toMember.subarray(0, 41))), verdict: toClient },
    ],
  },
  {
    name: 'icmp_time_exceeded',
    sentence: "time ran out between us and the member: traceroute's answer reaches the client",
    steps: [
      ...handshake,
      { frame: packet(fromRouter, icmpError(4, 11, 0, 0, toMember.subarray(0, 28))), verdict: toClient },
    ],
  },
  {
    name: 'icmp_parameter_problem',
    sentence: 'a parameter problem keeps its pointer',
    steps: [
      ...handshake,
      { frame: packet(fromRouter, icmpError(4, 12, 0, 0x14000000, toMember.subarray(0, 28))), verdict: toClient },
    ],
  },
  {
    name: 'icmp_port_unreachable',
    sentence: 'a member without a listener: the client hears it from the virtual address',
    steps: [
      openedUdp,
      {
        frame: packet(
          { from: MEMBER1, source: '10.2.0.11', destination: '10.2.0.1', tos: 0xc0 },
          icmpError(
            4,
            3,
            3,
            0,
            quoted('10.2.0.1', '10.2.0.11', udp({ sourcePort: SNAT, destinationPort: 53, payload: 'who is it?' })),
          ),
        ),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'icmp_no_udp_checksum',
    sentence: 'a quoted datagram without a checksum gets none',
    steps: [
      openedUdp,
      {
        frame: packet(
          fromRouter,
          icmpError(
            4,
            3,
            1,
            0,
            quoted('10.2.0.1', '10.2.0.11', udp({ sourcePort: SNAT, destinationPort: 53, checksum: 0 })),
          ),
        ),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'icmp_quoted_options',
    sentence: 'the quoted IPv4 header has options',
    steps: [
      ...handshake,
      {
        frame: packet(
          fromRouter,
          icmpError(
            4,
            3,
            4,
            1400,
            quoted('10.2.0.1', '10.2.0.11', segment(SNAT, 8080), { options: Uint8Array.of(0x94, 4, 0, 0) }),
          ),
        ),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'icmp_to_member',
    sentence: 'a router beyond the client wants smaller packets: the member is told, as by the floating address',
    steps: [
      ...handshake,
      { frame: packet(fromBeyond, icmpError(4, 3, 4, 1300, backToClient.subarray(0, 28))), verdict: toServer },
      { frame: packet(fromBeyond, icmpError(4, 3, 4, 1300, backToClient)), verdict: toServer },
    ],
  },
  {
    name: 'icmp_vlan',
    sentence: "an error goes the connection's way: into the client's VLAN",
    steps: [
      { frame: client('10.1.0.100', syn, { vlan: [7] }), verdict: toServer },
      { frame: packet(fromRouter, icmpError(4, 3, 4, 1400, toMember.subarray(0, 28))), verdict: toClient },
    ],
  },
  {
    name: 'icmp_routed',
    sentence: 'without SNAT an error about what the client sent is addressed to the client, and is ours',
    steps: [
      openedRouted,
      {
        frame: packet({ ...fromRouter, destination: CLIENT }, icmpError(4, 3, 4, 1400, toRouted)),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'icmp_routed_to_member',
    sentence: 'without SNAT the member sees the router that noticed',
    steps: [
      openedRouted,
      {
        frame: packet(
          { ...fromBeyond, destination: '10.1.0.101' },
          icmpError(4, 3, 4, 1300, quoted('10.1.0.101', CLIENT, segment(80, CLIENT_PORT))),
        ),
        verdict: toServer,
      },
    ],
  },
  {
    name: 'icmpv6_packet_too_big',
    sentence: "IPv6: packet too big on the members' side, 8 octets of the segment and the whole of it",
    steps: [
      opened6,
      { frame: packet(fromRouter6, icmpError(6, 2, 0, 1400, toMember6.subarray(0, 48))), verdict: toClient },
      { frame: packet(fromRouter6, icmpError(6, 2, 0, 1400, toMember6)), verdict: toClient },
    ],
  },
  {
    name: 'icmpv6_kinds',
    sentence: 'IPv6: unreachable, time exceeded and parameter problem',
    steps: [
      opened6,
      { frame: packet(fromRouter6, icmpError(6, 1, 3, 0, toMember6)), verdict: toClient },
      { frame: packet(fromRouter6, icmpError(6, 3, 0, 0, toMember6)), verdict: toClient },
      { frame: packet(fromRouter6, icmpError(6, 4, 1, 40, toMember6)), verdict: toClient },
    ],
  },
  {
    name: 'icmpv6_to_member',
    sentence: 'IPv6: packet too big beyond the client',
    steps: [opened6, { frame: packet(fromBeyond6, icmpError(6, 2, 0, 1280, backToClient6)), verdict: toServer }],
  },
  {
    name: 'icmpv6_quoted_fragment',
    sentence: 'IPv6: the quoted packet is a first fragment behind a fragment header',
    steps: [
      opened6,
      {
        frame: packet(
          fromRouter6,
          icmpError(
            6,
            2,
            0,
            1280,
            quoted('fd02::1', 'fd02::11', {
              protocol: 44,
              bytes: (from, to) => join(Uint8Array.of(6, 0, 0, 1, 0, 0, 0, 9), segment(SNAT, 8080).bytes(from, to)),
            }),
          ),
        ),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'icmp_goes_on',
    sentence: 'an error ends nothing: the connection goes on behind it',
    steps: [
      ...handshake,
      { frame: packet(fromRouter, icmpError(4, 3, 1, 0, toMember.subarray(0, 28))), verdict: toClient },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'PA', payload: 'still here' }), verdict: toClient },
    ],
  },
  {
    name: 'icmp_about_nothing',
    sentence: 'errors about no known connection, about later fragments and about our own answers are dropped',
    steps: [
      ...handshake,
      {
        frame: packet(fromRouter, icmpError(4, 3, 1, 0, quoted('10.2.0.1', '10.2.0.11', segment(9, 8080)))),
        verdict: 'drop icmp_unknown',
      },
      {
        frame: packet(
          fromRouter,
          icmpError(4, 3, 1, 0, quoted('10.2.0.1', '10.2.0.11', segment(SNAT, 8080), { fragment: 0x2001 })),
        ),
        verdict: 'drop icmp_unknown',
      },
      {
        frame: packet(fromRouter6, icmpError(6, 1, 0, 0, toMember6)),
        verdict: 'drop icmp_unknown',
      },
    ],
  },
  {
    name: 'icmp_broken',
    sentence: 'errors that quote too little, or whose own checksum is wrong, are dropped',
    steps: [
      ...handshake,
      { frame: packet(fromRouter, icmpError(4, 3, 4, 1400, toMember.subarray(0, 27))), verdict: 'drop truncated' },
      { frame: packet(fromRouter, icmpError(4, 3, 4, 1400, toMember.subarray(0, 19))), verdict: 'drop truncated' },
      { frame: packet(fromRouter, icmpError(4, 3, 4, 1400, toMember, 0x1234)), verdict: 'drop bad_header' },
      {
        frame: packet({ ...fromRouter, ttl: 1 }, icmpError(4, 3, 4, 1400, toMember)),
        verdict: 'drop ttl_expired',
      },
      { frame: packet(fromRouter, icmpError(4, 4, 0, 0, toMember)), verdict: 'drop icmp' },
      { frame: packet(fromRouter, icmpError(4, 5, 1, 0, toMember)), verdict: 'drop icmp' },
    ],
  },
  // ---- errors of our own
  {
    name: 'too_big',
    sentence: "a packet that is too long for the members' link is answered with that link's MTU",
    mtus: { server: 1300 },
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { ...data, payload: 'x'.repeat(1260) }), verdict: toServer },
      { frame: client('10.1.0.100', { ...data, payload: 'x'.repeat(1261) }), verdict: toClient },
      { frame: client('10.1.0.100', { ...data, payload: 'x'.repeat(1261) }, { fragment: 0 }), verdict: toClient },
    ],
  },
  {
    name: 'too_big_ipv6',
    sentence: 'the same over IPv6',
    mtus: { server: 1300 },
    steps: [
      opened6,
      { frame: client('fd01::100', { ...data, payload: 'x'.repeat(1240) }), verdict: toServer },
      { frame: client('fd01::100', { ...data, payload: 'x'.repeat(1241) }), verdict: toClient },
    ],
  },
  {
    name: 'too_big_for_client',
    sentence: "a packet that is too long for the clients' link is the member's to shorten",
    mtus: { client: 1300 },
    steps: [
      ...handshake,
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'A', payload: 'x'.repeat(1261) }), verdict: toServer },
    ],
  },
  {
    name: 'icmp_standby',
    sentence: 'a standby unit forwards no error',
    role: 'standby',
    steps: [{ frame: packet(fromRouter, icmpError(4, 3, 4, 1400, toMember)), verdict: 'drop standby' }],
  },
];
