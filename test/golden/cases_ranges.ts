/** Golden cases: virtual servers of port ranges, of any port and of any protocol. */

import { echoRequest, other } from '../support/packets.js';
import {
  type Case,
  CLIENT,
  CLIENT6,
  client,
  fragments,
  icmpError,
  type Link,
  macOf,
  member,
  packet,
  query,
  quoted,
  ROUTER,
  reply,
  SNAT_NEXT,
  syn,
  toClient,
  toServer,
} from './network.js';

const GRE = 47;
const ESP = 50;
const SCTP = 132;
const octets = (bytes: number) => Uint8Array.from({ length: bytes }, (_, index) => index);

/** To a port, or from the member's same port. */
const to = (address: string, destinationPort: number, fields = {}) =>
  client(address, { ...syn, destinationPort, ...fields });
const from = (address: string, sourcePort: number, at = address.includes(':') ? 'fd02::1' : '10.2.0.1') =>
  member(address, at, { flags: 'SA', sourcePort });

/** A packet of another protocol, and its answer. */
const ask = (address: string, protocol = GRE, how: Link = {}, bytes = 24) =>
  packet(
    { source: address.includes(':') ? CLIENT6 : CLIENT, destination: address, ...how },
    other(protocol, octets(bytes)),
  );
const answer = (address: string, protocol = GRE, at = address.includes(':') ? 'fd02::1' : '10.2.0.1') =>
  packet({ from: macOf(address), source: address, destination: at }, other(protocol, octets(20)));

const ranges: readonly Case[] = [
  {
    name: 'range',
    sentence: 'a range takes its first port, its last, and what is between; the member is asked on the same port',
    steps: [
      { frame: to('10.1.0.175', 8000), verdict: toServer },
      { frame: to('10.1.0.175', 8099), verdict: toServer },
      { frame: to('10.1.0.175', 8043), verdict: toServer },
      { frame: from('10.2.0.41', 8000), verdict: toClient },
    ],
  },
  {
    name: 'range_ipv6',
    sentence: 'the same over IPv6, and what is outside the range is closed',
    steps: [
      { frame: to('fd01::175', 8000), verdict: toServer },
      { frame: to('fd01::175', 8099), verdict: toServer },
      { frame: from('fd02::41', 8000), verdict: toClient },
      { frame: to('fd01::175', 7999), verdict: 'drop closed_port' },
      { frame: to('fd01::175', 8100), verdict: 'drop closed_port' },
    ],
  },
  {
    name: 'range_order',
    sentence: 'the exact port comes before the range, the range before any port; ranges may stand side by side',
    steps: [
      { frame: to('10.1.0.175', 8042), verdict: toServer },
      { frame: to('10.1.0.175', 8041), verdict: toServer },
      { frame: to('10.1.0.175', 8100), verdict: toServer },
      { frame: to('10.1.0.175', 8199), verdict: toServer },
      { frame: to('10.1.0.175', 8200), verdict: toServer },
    ],
  },
  {
    name: 'range_members_port',
    sentence: "a member with a port of its own gets all of a range there, and answers from the client's",
    steps: [
      { frame: to('10.1.0.175', 8150), verdict: toServer },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
    ],
  },
  {
    name: 'range_udp',
    sentence: 'a range of UDP ports, and TCP is not of it',
    steps: [
      { frame: query('10.1.0.175', { destinationPort: 5042 }), verdict: toServer },
      { frame: reply('10.2.0.41', '10.2.0.1', { sourcePort: 5042 }), verdict: toClient },
      { frame: query('10.1.0.175', { destinationPort: 5100 }), verdict: 'drop closed_port' },
      { frame: query('fd01::175', { destinationPort: 8000 }), verdict: 'drop closed_port' },
    ],
  },
  {
    name: 'any_port',
    sentence: 'any port is any port: the first and the last there are',
    steps: [
      { frame: to('10.1.0.175', 1), verdict: toServer },
      { frame: to('10.1.0.175', 65_535), verdict: toServer },
      {
        frame: member('10.2.0.41', CLIENT, { flags: 'SA', sourcePort: 65_535, destinationPort: 40_000 }),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'any_port_unknown',
    sentence: "what a member without a port sends to a floating address without a connection is a member's",
    steps: [{ frame: from('10.2.0.41', 4711), verdict: 'drop unknown_return' }],
  },
  {
    name: 'protocols_any',
    sentence: 'any protocol: GRE, ESP and SCTP by their addresses, each both ways, and nothing behind those is touched',
    steps: [GRE, ESP, SCTP].flatMap((protocol) => [
      { frame: ask('10.1.0.176', protocol), verdict: toServer },
      { frame: answer('10.2.0.41', protocol), verdict: toClient },
    ]),
  },
  {
    name: 'protocols_any_ipv6',
    sentence: 'the same over IPv6',
    steps: [GRE, SCTP].flatMap((protocol) => [
      { frame: ask('fd01::176', protocol), verdict: toServer },
      { frame: answer('fd02::41', protocol), verdict: toClient },
    ]),
  },
  {
    name: 'protocols_any_ports',
    sentence:
      'TCP and UDP are protocols, too, unless a virtual server of their own has the port; echo is answered here',
    steps: [
      { frame: to('10.1.0.176', 443), verdict: toServer },
      { frame: from('10.2.0.41', 443), verdict: toClient },
      { frame: to('10.1.0.176', 80), verdict: toServer },
      { frame: query('10.1.0.176', { destinationPort: 514 }), verdict: toServer },
      { frame: reply('10.2.0.41', '10.2.0.1', { sourcePort: 514, destinationPort: SNAT_NEXT }), verdict: toClient },
      { frame: packet({ source: CLIENT, destination: '10.1.0.176' }, echoRequest(4)), verdict: toClient },
    ],
  },
  {
    name: 'protocols_any_second',
    sentence:
      'with SNAT a second client of the same protocol could not be told apart, and is dropped; another protocol is not',
    steps: [
      { frame: ask('10.1.0.176'), verdict: toServer },
      { frame: ask('10.1.0.176', GRE, { source: '198.51.100.8' }), verdict: 'drop flow_taken' },
      { frame: ask('10.1.0.176', ESP, { source: '198.51.100.8' }), verdict: toServer },
      { frame: ask('10.1.0.176'), verdict: toServer },
    ],
  },
  {
    name: 'protocols_any_expires',
    sentence: 'idle for its timeout it is no more, and the second client gets its turn',
    steps: [
      { frame: ask('10.1.0.176'), verdict: toServer, afterMs: 0 },
      { frame: query('10.1.0.100'), verdict: toServer, afterMs: 6_000 },
      { frame: answer('10.2.0.41'), verdict: 'drop protocol' },
      { frame: ask('10.1.0.176', GRE, { source: '198.51.100.8' }), verdict: toServer },
    ],
  },
  {
    name: 'protocols_direct',
    mtus: { client: 1500, server: 1500 },
    sentence: 'DSR and tunnels carry any protocol, and as many clients of it as there are',
    steps: ['10.1.0.177', '10.1.0.178'].flatMap((address) => [
      { frame: ask(address), verdict: toServer },
      { frame: ask(address, GRE, { source: '198.51.100.8' }), verdict: toServer },
      { frame: to(address, 443), verdict: toServer },
    ]),
  },
  {
    name: 'protocols_fragments',
    sentence: 'fragments of such a protocol follow their first one, also when it is late; those of ICMP do not',
    steps: (() => {
      const [first, second, third] = fragments(
        { source: CLIENT, destination: '10.1.0.176' },
        other(GRE, octets(100)),
        [40, 80],
      );
      return [
        { frame: first!, verdict: toServer },
        { frame: third!, verdict: toServer },
        { frame: second!, verdict: toServer },
        {
          frame: fragments({ source: CLIENT, destination: '10.1.0.176' }, echoRequest(4, 'x'.repeat(80)), [40])[0]!,
          verdict: 'drop fragment',
        },
      ];
    })(),
  },
  {
    name: 'protocols_fragments_ipv6',
    sentence: 'the same over IPv6, the last one first',
    steps: (() => {
      const [first, second] = fragments({ source: CLIENT6, destination: 'fd01::176' }, other(GRE, octets(100)), [40]);
      return [
        { frame: second!, verdict: 'hold' },
        { frame: first!, verdict: `${toServer}, ${toServer}` },
      ];
    })(),
  },
  {
    name: 'protocols_too_big',
    sentence: 'who sends too much of it is told, by us and by routers behind us; who has no hops left is told as well',
    mtus: { server: 1300 },
    steps: [
      { frame: ask('10.1.0.176', GRE, { vlan: [7] }), verdict: toServer },
      { frame: ask('10.1.0.176', GRE, {}, 1280), verdict: toServer },
      { frame: ask('10.1.0.176', GRE, {}, 1281), verdict: toClient },
      { frame: ask('10.1.0.176', GRE, { ttl: 1 }), verdict: toClient },
      {
        frame: packet(
          { from: ROUTER, source: '10.2.0.254', destination: '10.2.0.1' },
          icmpError(4, 3, 4, 1200, quoted('10.2.0.1', '10.2.0.41', other(GRE, octets(8)))),
        ),
        verdict: toClient,
      },
    ],
  },
];

export const rangeCases: readonly Case[] = ranges.map((each) => ({
  ...each,
  unwitnessed: 'the witness knows virtual servers of one port only',
}));
