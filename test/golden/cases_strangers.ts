/** Golden cases: packets of no known connection, what is not ours, what is broken, and the standby unit. */

import { arp, echoRequest, ethernet, icmp, other } from '../support/packets.js';
import {
  BROADCAST,
  type Case,
  CLIENT,
  CLIENT6,
  client,
  cut,
  GATEWAY,
  MEMBER1,
  member,
  OWN,
  packet,
  query,
  question,
  reply,
  STRANGER,
  solicitation,
  syn,
  toClient,
  toServer,
  VIRTUAL4,
  VIRTUAL6,
  withByte,
} from './network.js';

const NO_SHORTER_FRAME = 'the kernel sends no frame shorter than an Ethernet header';

export const strangerCases: readonly Case[] = [
  // ---- not known
  {
    name: 'unknown_drop',
    sentence: 'TCP of no known connection is dropped, whatever its flags: the seed of this project',
    steps: ['A', 'PA', 'FA', 'R', 'RA', 'SA', '', 'SF', 'SR'].map((flags) => ({
      frame: client('10.1.0.100', { flags, sequence: 5, acknowledgment: 6 }),
      verdict: 'drop unknown',
    })),
  },
  {
    name: 'unknown_reset',
    sentence: 'with unknown: reset it is answered with the RST of RFC 9293, except a RST',
    steps: [
      {
        frame: client('10.1.0.101', { flags: 'PA', sequence: 500, acknowledgment: 600, payload: 'lost' }),
        verdict: toClient,
      },
      { frame: client('10.1.0.101', { flags: 'F', sequence: 500 }), verdict: toClient },
      { frame: client('10.1.0.101', { flags: 'R', sequence: 500 }), verdict: 'drop unknown' },
      { frame: client('fd01::101', { flags: 'A', sequence: 500, acknowledgment: 600 }), verdict: toClient },
    ],
  },
  {
    name: 'unknown_adopt',
    sentence: 'with unknown: adopt an ACK is scheduled, and its connection goes on both ways',
    steps: [
      { frame: client('10.1.0.102', { flags: 'R', sequence: 500 }), verdict: 'drop unknown' },
      {
        frame: client('10.1.0.102', { flags: 'PA', sequence: 500, acknowledgment: 600, payload: 'found' }),
        verdict: toServer,
      },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'A', acknowledgment: 505 }), verdict: toClient },
    ],
  },
  {
    name: 'unknown_return',
    sentence: "what a member sends to a floating address without a connection is dropped, never the kernel's",
    steps: [
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: 'drop unknown_return' },
      { frame: member('fd02::11', 'fd02::1', { flags: 'A' }), verdict: 'drop unknown_return' },
      { frame: reply('10.2.0.11', '10.2.0.1'), verdict: 'drop unknown_return' },
    ],
  },
  {
    name: 'closed_drop',
    sentence: 'a port without a virtual server is silent by default, on virtual and floating addresses',
    steps: [
      { frame: client('10.1.0.100', { flags: 'S', destinationPort: 81 }), verdict: 'drop closed_port' },
      { frame: client('10.1.0.1', { flags: 'S', destinationPort: 22 }), verdict: 'drop closed_port' },
      { frame: client('fd01::1', { flags: 'S', destinationPort: 22 }), verdict: 'drop closed_port' },
    ],
  },
  {
    name: 'closed_reset',
    sentence: 'with closed: reset a SYN to such a port is refused',
    steps: [
      { frame: client('10.1.0.101', { flags: 'S', destinationPort: 81 }), verdict: toClient },
      { frame: client('fd01::101', { flags: 'S', destinationPort: 81 }), verdict: toClient },
      { frame: client('10.1.0.101', { flags: 'R', destinationPort: 81 }), verdict: 'drop closed_port' },
    ],
  },
  {
    name: 'no_member',
    sentence: 'a pool whose members are down or draining takes no connection',
    steps: [{ frame: client('10.1.0.103', syn), verdict: 'drop no_member' }],
  },
  // ---- who has it
  {
    name: 'arp',
    sentence: 'ARP for our addresses is answered with the virtual MAC, on their links only',
    steps: [
      { frame: question({}, '10.1.0.9', '10.1.0.100'), verdict: toClient },
      { frame: question({}, '10.1.0.9', '10.1.0.1'), verdict: toClient },
      { frame: question({ from: MEMBER1 }, '10.2.0.11', '10.2.0.1'), verdict: toServer },
      // A member asks on its link for what is answered on the other.
      { frame: question({ from: MEMBER1 }, '10.2.0.11', '10.1.0.105'), verdict: 'drop not_asked' },
      { frame: question({ from: MEMBER1 }, '10.2.0.11', '10.1.0.1'), verdict: 'drop not_asked' },
      { frame: question({ vlan: [7] }, '10.1.0.9', '10.1.0.100'), verdict: toClient },
    ],
  },
  {
    name: 'arp_kernels',
    sentence: "ARP for other addresses, the unit's own among them, and ARP replies are the kernel's",
    steps: [
      { frame: question({}, '10.1.0.9', '10.1.0.2'), verdict: 'punt' },
      { frame: question({}, '10.1.0.9', '10.1.0.77'), verdict: 'punt' },
      {
        frame: arp({ from: GATEWAY, to: OWN }, { operation: 2, sender: '10.1.0.9', target: '10.1.0.2' }),
        verdict: 'punt',
      },
    ],
  },
  {
    name: 'neighbour',
    sentence: 'a neighbour solicitation is answered by an advertisement of the virtual MAC',
    steps: [
      { frame: solicitation('fd01::100'), verdict: toClient },
      { frame: solicitation('fd01::1'), verdict: toClient },
      { frame: solicitation('fd01::100', { to: VIRTUAL6, destination: 'fd01::100' }), verdict: toClient },
      { frame: solicitation('fd01::100', { source: '::', mac: null }), verdict: toClient },
    ],
  },
  {
    name: 'neighbour_kernels',
    sentence: 'a solicitation for another address, or one that a router has forwarded, is not answered',
    steps: [
      { frame: solicitation('fd01::2'), verdict: 'punt' },
      { frame: solicitation('fd01::100', { ttl: 64 }), verdict: 'punt' },
    ],
  },
  // ---- ICMP
  {
    name: 'echo',
    sentence: 'an echo request to a virtual or floating address is answered',
    steps: [
      { frame: packet({ source: CLIENT, destination: '10.1.0.100' }, echoRequest(4)), verdict: toClient },
      { frame: packet({ source: CLIENT, destination: '10.1.0.1', ttl: 1 }, echoRequest(4, 'odd')), verdict: toClient },
      {
        frame: packet({ from: MEMBER1, source: '10.2.0.11', destination: '10.2.0.1' }, echoRequest(4)),
        verdict: toServer,
      },
    ],
  },
  {
    name: 'echo_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      { frame: packet({ source: CLIENT6, destination: 'fd01::100' }, echoRequest(6)), verdict: toClient },
      { frame: packet({ source: CLIENT6, destination: 'fd01::1' }, echoRequest(6, 'odd')), verdict: toClient },
    ],
  },
  {
    name: 'icmp_other',
    sentence: 'other ICMP to our addresses is dropped: a timestamp request, a redirect',
    steps: [
      {
        frame: packet({ source: CLIENT, destination: '10.1.0.100' }, icmp(4, 13, new Uint8Array(16))),
        verdict: 'drop icmp',
      },
      {
        frame: packet({ source: CLIENT, destination: '10.1.0.1' }, icmp(4, 5, new Uint8Array(32))),
        verdict: 'drop icmp',
      },
      {
        frame: packet({ source: CLIENT6, destination: 'fd01::100' }, icmp(6, 137, new Uint8Array(36))),
        verdict: 'drop icmp',
      },
    ],
  },
  // ---- not ours
  {
    name: 'kernels',
    sentence: "frames to the unit's own MAC, to others, to groups, and of other protocols are the kernel's",
    steps: [
      { frame: client('10.1.0.2', { flags: 'S', destinationPort: 22 }, { to: OWN }), verdict: 'punt' },
      { frame: client('10.1.0.100', { flags: 'S' }, { to: STRANGER }), verdict: 'punt' },
      { frame: client('10.1.0.100', { flags: 'S' }, { to: BROADCAST }), verdict: 'punt' },
      {
        frame: packet(
          { source: '10.1.0.3', destination: '224.0.0.18', to: '01:00:5e:00:00:12', ttl: 255 },
          other(112, new Uint8Array(20)),
        ),
        verdict: 'punt',
      },
      { frame: ethernet({ from: GATEWAY, to: '01:80:c2:00:00:0e' }, 0x88cc, new Uint8Array(40)), verdict: 'punt' },
      { frame: ethernet({ from: GATEWAY, to: VIRTUAL4 }, 0x88b5, new Uint8Array(46)), verdict: 'punt' },
    ],
  },
  {
    name: 'transit',
    sentence: 'a packet to our virtual MAC for an address that is not ours is not routed',
    steps: [
      { frame: client('192.0.2.1', { flags: 'S' }), verdict: 'drop transit' },
      { frame: client('2001:db8:1::1', { flags: 'S' }), verdict: 'drop transit' },
    ],
  },
  {
    name: 'protocols',
    sentence: 'protocols without ports, to our addresses, are dropped',
    steps: [
      {
        frame: packet({ source: CLIENT, destination: '10.1.0.100' }, other(47, new Uint8Array(24))),
        verdict: 'drop protocol',
      },
      {
        frame: packet({ source: CLIENT6, destination: 'fd01::100' }, other(132, new Uint8Array(24))),
        verdict: 'drop protocol',
      },
    ],
  },
  // ---- broken
  {
    name: 'truncated_link',
    sentence: 'a frame shorter than an Ethernet header is dropped',
    notOn: { packet: NO_SHORTER_FRAME, xdp: NO_SHORTER_FRAME },
    steps: [0, 5, 13].map((bytes) => ({ frame: cut(client('10.1.0.100', syn), bytes), verdict: 'drop truncated' })),
  },
  {
    name: 'truncated',
    sentence: 'a frame that ends within a header, or before its stated length, is dropped',
    steps: [
      ...[14, 33, 34, 40, 53].map((bytes) => ({
        frame: cut(client('10.1.0.100', syn), bytes),
        verdict: 'drop truncated',
      })),
      { frame: cut(client('fd01::100', syn), 60), verdict: 'drop truncated' },
      { frame: client('10.1.0.100', syn, { length: 1500 }), verdict: 'drop truncated' },
    ],
  },
  {
    name: 'truncated_tag',
    sentence: 'a frame that ends within its tag is dropped',
    notOn: { packet: 'the kernel drops such a frame before AF_PACKET sees it' },
    steps: [{ frame: cut(client('10.1.0.100', syn, { vlan: [7] }), 17), verdict: 'drop truncated' }],
  },
  {
    name: 'bad_header',
    sentence: 'a wrong version, header length or IPv4 header checksum is dropped',
    steps: [
      { frame: client('10.1.0.100', syn, { checksum: 0x0bad }), verdict: 'drop bad_header' },
      { frame: client('10.1.0.100', syn, { length: 10 }), verdict: 'drop bad_header' },
      { frame: withByte(client('10.1.0.100', syn), 14, 0x65), verdict: 'drop bad_header' },
      { frame: withByte(client('10.1.0.100', syn), 14, 0x43), verdict: 'drop bad_header' },
      { frame: withByte(client('fd01::100', syn), 14, 0x40), verdict: 'drop bad_header' },
      { frame: withByte(client('10.1.0.100', syn), 46, 0x10), verdict: 'drop bad_header' },
    ],
  },
  {
    name: 'ttl',
    sentence: 'a sender whose TTL or hop limit has run out is told; one more is sent on with one less',
    steps: [
      { frame: client('10.1.0.100', syn, { ttl: 1 }), verdict: toClient },
      { frame: client('10.1.0.100', syn, { ttl: 0 }), verdict: toClient },
      { frame: client('fd01::100', syn, { ttl: 1 }), verdict: toClient },
      { frame: query('10.1.0.100', {}, { ttl: 1, vlan: [7] }), verdict: toClient },
      { frame: client('10.1.0.100', syn, { ttl: 2 }), verdict: toServer },
      { frame: client('10.1.0.100', { flags: 'A' }, { ttl: 1 }), verdict: toClient },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }, { ttl: 1 }), verdict: toServer },
    ],
  },
  {
    name: 'ttl_untold',
    sentence: 'a sender whose address is no one host is not told, and nobody is told about what is not known',
    steps: [
      { frame: client('10.1.0.100', syn, { source: '0.0.0.0', ttl: 1 }), verdict: 'drop martian' },
      { frame: client('10.1.0.100', syn, { source: '224.0.0.5', ttl: 1 }), verdict: 'drop martian' },
      { frame: client('fd01::100', syn, { source: '::', ttl: 1 }), verdict: 'drop martian' },
      { frame: client('10.1.0.100', { flags: 'A' }, { ttl: 1 }), verdict: 'drop unknown' },
    ],
  },
  {
    name: 'ttl_long',
    sentence: 'of a long packet an error quotes no more than 576 octets of IPv4, 1280 of IPv6, hold',
    steps: [
      { frame: client('10.1.0.100', { flags: 'S', payload: 'x'.repeat(1401) }, { ttl: 1 }), verdict: toClient },
      { frame: client('fd01::100', { flags: 'S', payload: 'x'.repeat(1401) }, { ttl: 1 }), verdict: toClient },
    ],
  },
  // ---- the other role
  {
    name: 'standby',
    sentence: 'a standby unit answers nothing and forwards nothing',
    role: 'standby',
    steps: [
      { frame: client('10.1.0.100', syn), verdict: 'drop standby' },
      { frame: client('fd01::100', syn), verdict: 'drop standby' },
      { frame: client('10.1.0.101', { flags: 'A' }), verdict: 'drop standby' },
      { frame: query('10.1.0.100'), verdict: 'drop standby' },
      { frame: packet({ source: CLIENT, destination: '10.1.0.100' }, echoRequest(4)), verdict: 'drop standby' },
      { frame: question({}, '10.1.0.9', '10.1.0.100'), verdict: 'drop not_asked' },
      { frame: solicitation('fd01::100'), verdict: 'drop not_asked' },
      { frame: question({}, '10.1.0.9', '10.1.0.2'), verdict: 'punt' },
    ],
  },
];
