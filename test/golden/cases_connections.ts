/** Golden cases: connections of TCP and UDP, from their first packet to their end. */

import {
  type Case,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  client,
  handshake,
  MEMBER2,
  member,
  query,
  question,
  reply,
  SNAT_NEXT,
  STRANGER,
  syn,
  toClient,
  toServer,
} from './network.js';

export const connectionCases: readonly Case[] = [
  // ---- TCP, both ways
  {
    name: 'tcp_snat',
    sentence: 'a TCP connection with SNAT is translated both ways, from the SYN to the last ACK',
    steps: [
      ...handshake,
      {
        frame: member('10.2.0.11', '10.2.0.1', { flags: 'PA', payload: 'HTTP/1.0 200 OK\r\n\r\nodd' }),
        verdict: toClient,
      },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'FA', sequence: 5023 }), verdict: toClient },
      { frame: client('10.1.0.100', { flags: 'FA', sequence: 1019, acknowledgment: 5024 }), verdict: toServer },
      {
        frame: member('10.2.0.11', '10.2.0.1', { flags: 'A', sequence: 5024, acknowledgment: 1020 }),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'tcp_snat_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      { frame: client('fd01::100', syn), verdict: toServer },
      { frame: member('fd02::11', 'fd02::1', { flags: 'SA' }), verdict: toClient },
      {
        frame: client('fd01::100', { flags: 'PA', sequence: 1001, acknowledgment: 5001, payload: 'hello' }),
        verdict: toServer,
      },
      { frame: member('fd02::11', 'fd02::1', { flags: 'PA', payload: 'hello yourself' }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_routed',
    sentence: 'without SNAT the member sees the client, and its reply comes to our virtual MAC',
    steps: [
      { frame: client('10.1.0.101', syn), verdict: toServer },
      { frame: member('10.2.0.12', CLIENT, { flags: 'SA', destinationPort: CLIENT_PORT }), verdict: toClient },
      { frame: client('10.1.0.101', { flags: 'A', sequence: 1001, acknowledgment: 5001 }), verdict: toServer },
    ],
  },
  {
    name: 'tcp_routed_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      { frame: client('fd01::101', syn), verdict: toServer },
      { frame: member('fd02::11', CLIENT6, { flags: 'SA', destinationPort: CLIENT_PORT }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_turns',
    sentence: 'connections go to the members in turn, and a SNAT port is given once for each member',
    steps: [
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_001 }), verdict: toServer },
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_002 }), verdict: toServer },
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_003 }), verdict: toServer },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA', destinationPort: SNAT_NEXT }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_source_hash',
    sentence: 'with source-hash all connections of a client go to one member, and another client may go to the other',
    steps: [
      ...[40_001, 40_002, 40_003].map((sourcePort) => ({
        frame: client('10.1.0.106', { ...syn, sourcePort }),
        verdict: toServer,
      })),
      ...['198.51.100.8', '198.51.100.9', '198.51.100.10'].map((source) => ({
        frame: client('10.1.0.106', syn, { source }),
        verdict: toServer,
      })),
    ],
  },
  {
    name: 'tcp_listed_snat',
    sentence: 'SNAT addresses of a list take turns, and each is ours on the way back',
    steps: [
      { frame: client('10.1.0.104', { ...syn, sourcePort: 40_001 }), verdict: toServer },
      { frame: client('10.1.0.104', { ...syn, sourcePort: 40_002 }), verdict: toServer },
      { frame: member('10.2.0.12', '10.2.0.201', { flags: 'SA' }), verdict: toClient },
      { frame: member('10.2.0.12', '10.2.0.200', { flags: 'SA' }), verdict: toClient },
      { frame: question({ from: MEMBER2 }, '10.2.0.12', '10.2.0.200'), verdict: toServer },
    ],
  },
  {
    name: 'tcp_retransmitted_syn',
    sentence: 'a SYN that is sent again goes the same way as the first',
    steps: [
      { frame: client('10.1.0.100', syn), verdict: toServer },
      { frame: client('10.1.0.100', syn), verdict: toServer, afterMs: 1000 },
      { frame: client('10.1.0.100', syn), verdict: toServer, afterMs: 2000 },
    ],
  },
  {
    name: 'tcp_blind_reset',
    sentence: 'a RST cuts nothing: traffic behind it still goes through',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { flags: 'R', sequence: 77 }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'PA', payload: 'still here' }), verdict: toClient },
      {
        frame: client('10.1.0.100', { flags: 'A', sequence: 1019, acknowledgment: 5011 }),
        verdict: toServer,
        afterMs: 20_000,
      },
    ],
  },
  {
    name: 'tcp_reopened',
    sentence: 'a SYN on a tuple that has closed opens a new connection, to the next member',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { flags: 'FA', sequence: 1019, acknowledgment: 5001 }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'FA', acknowledgment: 1020 }), verdict: toClient },
      { frame: client('10.1.0.100', { ...syn, sequence: 900_000 }), verdict: toServer, reopens: true },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'SA', acknowledgment: 900_001 }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_half_open_expires',
    sentence: 'a connection that stays half open is forgotten, and what comes then is unknown',
    steps: [
      { frame: client('10.1.0.100', syn), verdict: toServer },
      { frame: client('10.1.0.100', { flags: 'S', sourcePort: 40_009 }), verdict: toServer, afterMs: 30_000 },
      {
        frame: client('10.1.0.100', { flags: 'A', sequence: 1001, acknowledgment: 5001 }),
        verdict: 'drop unknown',
        afterMs: 30_000,
      },
    ],
  },
  {
    name: 'tcp_ip_options',
    sentence: 'IPv4 options are kept, and the header checksum is right with them',
    steps: [
      { frame: client('10.1.0.100', syn, { options: Uint8Array.of(0x94, 4, 0, 0) }), verdict: toServer },
      {
        frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }, { options: Uint8Array.of(1, 1, 1, 0) }),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'tcp_padded',
    sentence: 'padding behind a short packet is no part of it',
    steps: [
      {
        frame: Uint8Array.of(...client('10.1.0.100', { flags: 'S' }), 0xde, 0xad, 0xbe, 0xef, 0, 0),
        verdict: toServer,
      },
    ],
  },
  {
    name: 'tcp_wrong_checksum',
    sentence: 'a wrong TCP checksum stays exactly as wrong: the receiver must see it',
    wrongChecksums: 1,
    steps: [{ frame: client('10.1.0.100', { ...syn, checksum: 0x1234 }), verdict: toServer }],
  },
  {
    name: 'tcp_last_hop',
    sentence: "replies follow the client's last hop when it moves to another router",
    steps: [
      ...handshake,
      {
        frame: client('10.1.0.100', { flags: 'A', sequence: 1019, acknowledgment: 5001 }, { from: STRANGER }),
        verdict: toServer,
      },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'PA', payload: 'to the new router' }), verdict: toClient },
    ],
  },
  {
    name: 'vlan',
    sentence: "a client's 802.1Q tag is taken off towards the member and put back on the reply",
    steps: [
      { frame: client('10.1.0.100', syn, { vlan: [7] }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
    ],
  },
  // ---- UDP
  {
    name: 'udp',
    sentence: 'a UDP query and its answer, and the next query goes the same way',
    steps: [
      { frame: query('10.1.0.100'), verdict: toServer },
      { frame: reply('10.2.0.11', '10.2.0.1'), verdict: toClient },
      { frame: query('10.1.0.100', { payload: 'and now?' }), verdict: toServer },
    ],
  },
  {
    name: 'udp_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      { frame: query('fd01::100'), verdict: toServer },
      { frame: reply('fd02::11', 'fd02::1'), verdict: toClient },
    ],
  },
  {
    name: 'udp_no_checksum',
    sentence: 'UDP over IPv4 without a checksum goes on without one (RFC 768)',
    steps: [{ frame: query('10.1.0.100', { checksum: 0 }), verdict: toServer }],
  },
  {
    name: 'udp_expires',
    sentence: "a UDP connection that was idle for its timeout is no more: the member's late answer is dropped",
    steps: [
      { frame: query('10.1.0.100'), verdict: toServer },
      { frame: query('10.1.0.100', { sourcePort: 40_009 }), verdict: toServer, afterMs: 10_000 },
      { frame: reply('10.2.0.11', '10.2.0.1'), verdict: 'drop unknown_return', afterMs: 10_000 },
    ],
  },
  {
    name: 'udp_closed',
    sentence: 'UDP to a port without a virtual server is dropped, whatever closed: says',
    steps: [
      { frame: query('10.1.0.100', { destinationPort: 54 }), verdict: 'drop closed_port' },
      { frame: query('10.1.0.101', { destinationPort: 54 }), verdict: 'drop closed_port' },
    ],
  },
];
