/** Golden cases: packets of no known connection over the other family, to the wrong link, from impossible sources. */

import { echoRequest, icmp, other } from '../support/packets.js';
import {
  type Case,
  CLIENT,
  CLIENT6,
  client,
  MEMBER1,
  member,
  packet,
  query,
  reply,
  syn,
  toClient,
  toServer,
} from './network.js';

export const moreStrangerCases: readonly Case[] = [
  // ---- not known
  {
    name: 'unknown_drop_ipv6',
    sentence: 'IPv6: TCP of no known connection is dropped, whatever its flags',
    steps: ['A', 'PA', 'FA', 'R', 'RA', 'SA', '', 'SF', 'SR'].map((flags) => ({
      frame: client('fd01::100', { flags, sequence: 5, acknowledgment: 6 }),
      verdict: 'drop unknown',
    })),
  },
  {
    name: 'unknown_reset_flags',
    sentence: 'a reset counts what it acknowledges: data, SYN and FIN are each an octet of sequence (RFC 9293)',
    steps: [
      ...['', 'F', 'SF', 'P'].map((flags) => ({
        frame: client('10.1.0.101', { flags, sequence: 0xffff_fff0, payload: 'sixteen and some' }),
        verdict: toClient,
      })),
      { frame: client('10.1.0.101', { flags: 'SA', sequence: 7, acknowledgment: 8 }), verdict: toClient },
      { frame: client('fd01::101', { flags: 'F', sequence: 500, payload: 'odd' }), verdict: toClient },
      { frame: client('fd01::101', { flags: 'RA', sequence: 500 }), verdict: 'drop unknown' },
    ],
  },
  {
    name: 'unknown_adopt_ipv6',
    sentence: 'IPv6: with unknown: adopt an ACK is scheduled; a SYN-ACK, a RST and a bare FIN are not',
    steps: [
      { frame: client('fd01::102', { flags: 'R', sequence: 500 }), verdict: 'drop unknown' },
      { frame: client('fd01::102', { flags: 'SA', sequence: 500 }), verdict: 'drop unknown' },
      { frame: client('fd01::102', { flags: 'F', sequence: 500 }), verdict: 'drop unknown' },
      { frame: client('fd01::102', { flags: 'A', sequence: 500, acknowledgment: 600 }), verdict: toServer },
      { frame: member('fd02::11', 'fd02::1', { flags: 'A', acknowledgment: 505 }), verdict: toClient },
    ],
  },
  {
    name: 'unknown_adopt_fin',
    sentence: 'with unknown: adopt a FIN with an ACK is scheduled, and both ends close',
    steps: [
      { frame: client('10.1.0.102', { flags: 'FA', sequence: 500, acknowledgment: 600 }), verdict: toServer },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'FA', sequence: 600 }), verdict: toClient },
    ],
  },
  {
    name: 'unknown_return_routed',
    sentence: 'what a member sends to a client without a connection is not routed: Tandem is no router',
    steps: [
      { frame: member('10.2.0.12', CLIENT, { flags: 'SA' }), verdict: 'drop transit' },
      { frame: member('fd02::11', CLIENT6, { flags: 'A' }), verdict: 'drop transit' },
      { frame: reply('10.2.0.11', CLIENT), verdict: 'drop transit' },
    ],
  },
  {
    name: 'closed_reset_floating',
    sentence: 'closed: reset is for the addresses of its virtual server: floating addresses stay silent',
    steps: [
      { frame: client('10.1.0.1', { flags: 'S', destinationPort: 80 }), verdict: 'drop closed_port' },
      { frame: client('fd01::1', { flags: 'A', destinationPort: 80 }), verdict: 'drop closed_port' },
    ],
  },
  {
    name: 'closed_reset_flags',
    sentence: 'with closed: reset whatever comes to such a port is refused, except a RST',
    steps: [
      {
        frame: client('10.1.0.101', { flags: 'PA', destinationPort: 81, acknowledgment: 3, payload: 'x' }),
        verdict: toClient,
      },
      { frame: client('fd01::101', { flags: 'FA', destinationPort: 81, acknowledgment: 3 }), verdict: toClient },
      { frame: client('fd01::101', { flags: 'R', destinationPort: 81 }), verdict: 'drop closed_port' },
    ],
  },
  {
    name: 'closed_udp_ipv6',
    sentence: 'IPv6: UDP to a port without a virtual server is dropped, whatever closed: says',
    steps: [
      { frame: query('fd01::100', { destinationPort: 54 }), verdict: 'drop closed_port' },
      { frame: query('fd01::101', { destinationPort: 54 }), verdict: 'drop closed_port' },
      { frame: query('fd01::1', { destinationPort: 53 }), verdict: 'drop closed_port' },
    ],
  },
  {
    name: 'no_member_ipv6',
    sentence: 'IPv6: a pool whose members are down takes no connection, and the client asks again',
    steps: [
      { frame: client('fd01::103', syn), verdict: 'drop no_member' },
      { frame: client('fd01::103', syn), verdict: 'drop no_member', afterMs: 1000 },
    ],
  },
  // ---- ICMP
  {
    name: 'echo_long',
    sentence: 'an echo request as long as the link takes is answered whole, both families',
    steps: [
      {
        frame: packet({ source: CLIENT, destination: '10.1.0.100' }, echoRequest(4, 'x'.repeat(1472))),
        verdict: toClient,
      },
      {
        frame: packet({ source: CLIENT6, destination: 'fd01::100' }, echoRequest(6, 'x'.repeat(1451))),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'echo_options',
    sentence: 'an echo request with options or padding is answered with them',
    steps: [
      {
        frame: packet(
          { source: CLIENT, destination: '10.1.0.100', options: Uint8Array.of(0x94, 4, 0, 0), tos: 0xb8 },
          echoRequest(4),
        ),
        verdict: toClient,
      },
      {
        frame: Uint8Array.of(...packet({ source: CLIENT, destination: '10.1.0.1' }, echoRequest(4, '')), 0, 0, 0, 0),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'icmp_others',
    sentence: 'echo replies, address masks, router advertisements and node information are nobody’s',
    steps: [
      ...[0, 9, 15, 17].map((type) => ({
        frame: packet({ source: CLIENT, destination: '10.1.0.100' }, icmp(4, type, new Uint8Array(16))),
        verdict: 'drop icmp',
      })),
      ...[129, 134, 139].map((type) => ({
        frame: packet({ source: CLIENT6, destination: 'fd01::100' }, icmp(6, type, new Uint8Array(16))),
        verdict: 'drop icmp',
      })),
    ],
  },
  {
    name: 'icmp_short',
    sentence: 'ICMP shorter than its header is dropped',
    steps: [
      {
        frame: packet({ source: CLIENT, destination: '10.1.0.100' }, other(1, new Uint8Array(3))),
        verdict: 'drop truncated',
      },
      {
        frame: packet({ source: CLIENT6, destination: 'fd01::100' }, other(58, new Uint8Array(3))),
        verdict: 'drop truncated',
      },
    ],
  },
  {
    name: 'transit_kinds',
    sentence: 'nothing is routed for others, not even a ping or a datagram',
    steps: [
      { frame: packet({ source: CLIENT, destination: '192.0.2.1' }, echoRequest(4)), verdict: 'drop transit' },
      { frame: query('192.0.2.1'), verdict: 'drop transit' },
      { frame: query('2001:db8:1::1'), verdict: 'drop transit' },
      {
        frame: packet({ source: CLIENT, destination: '192.0.2.1' }, other(47, new Uint8Array(8))),
        verdict: 'drop transit',
      },
    ],
  },
  // ---- the wrong link
  {
    name: 'other_link',
    sentence: 'a host on the members’ link reaches a virtual address through our virtual MAC there',
    steps: [{ frame: client('10.1.0.102', syn, { source: '10.2.0.11', from: MEMBER1 }), verdict: toServer }],
  },
  // ---- the other role
  {
    name: 'standby_ipv6',
    sentence: 'IPv6: a standby unit answers nothing, resets nothing and forwards nothing',
    role: 'standby',
    steps: [
      { frame: client('fd01::101', { flags: 'A' }), verdict: 'drop standby' },
      { frame: client('fd01::101', { flags: 'S', destinationPort: 81 }), verdict: 'drop standby' },
      { frame: query('fd01::100'), verdict: 'drop standby' },
      { frame: packet({ source: CLIENT6, destination: 'fd01::100' }, echoRequest(6)), verdict: 'drop standby' },
      { frame: client('fd01::100', syn, { ttl: 1 }), verdict: 'drop standby' },
      { frame: member('fd02::11', 'fd02::1', { flags: 'A' }), verdict: 'drop standby' },
    ],
  },
];
