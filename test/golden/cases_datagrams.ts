/** Golden cases: virtual servers that schedule datagram by datagram, and what comes from where nobody is. */

import { udp } from '../support/packets.js';
import {
  type Case,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  client,
  fragments,
  icmpError,
  member,
  packet,
  query,
  quoted,
  reply,
  SNAT,
  type Step,
  syn,
  toClient,
  toServer,
} from './network.js';

const asked = (to: string, fields = {}, how = {}): Step => ({ frame: query(to, fields, how), verdict: toServer });
/** Each member gives its ports from the first on. */
const answered = (from: string, to = '10.2.0.1', destinationPort = SNAT): Step => ({
  frame: reply(from, to, { destinationPort }),
  verdict: toClient,
});
const over = (from: string, to = '10.2.0.1', destinationPort = SNAT): Step => ({
  frame: reply(from, to, { destinationPort }),
  verdict: 'drop unknown_return',
});

const LONG = 'a question that is cut in three: who is it, where are they, and why?';
const sourceFor = (to: string) => (to.includes(':') ? CLIENT6 : CLIENT);
const cutIn3 = (to: string) =>
  fragments(
    { source: sourceFor(to), destination: to },
    udp({ sourcePort: CLIENT_PORT, destinationPort: 53, payload: LONG }),
    [24, 48],
  ) as [Uint8Array, Uint8Array, Uint8Array];

/** The second fragment comes first, the last one in its turn. */
function outOfOrder(to: string): Step[] {
  const [first, second, third] = cutIn3(to);
  return [
    { frame: second, verdict: 'hold' },
    { frame: first, verdict: `${toServer}, ${toServer}` },
    { frame: third, verdict: toServer },
  ];
}

const unwitnessed = 'the witness knows NAT only';

const MARTIANS = ['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.5', '239.255.255.250', '240.0.0.1', '255.255.255.255'];
const MARTIANS6 = ['::', '::1', 'ff02::1', 'ff0e::1'];

export const datagramCases: readonly Case[] = [
  {
    name: 'one_packet',
    sentence: "a client's datagrams from one port go to .11, .12, .11, and each answer finds its own, once",
    steps: [
      asked('10.1.0.180'),
      asked('10.1.0.180'),
      asked('10.1.0.180', { payload: 'and who else?' }),
      answered('10.2.0.12'),
      over('10.2.0.12'),
      answered('10.2.0.11'),
      over('10.2.0.11'),
    ],
  },
  {
    name: 'one_packet_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      asked('fd01::180'),
      asked('fd01::180'),
      answered('fd02::12', 'fd02::1'),
      answered('fd02::11', 'fd02::1'),
      over('fd02::11', 'fd02::1'),
    ],
  },
  {
    name: 'one_packet_in_a_vlan',
    sentence: 'the answer has the tag of the datagram that it answers',
    steps: [asked('10.1.0.180', {}, { vlans: [42] }), asked('10.1.0.180', {}, { vlans: [43] }), answered('10.2.0.11')],
  },
  {
    name: 'one_packet_answered_late',
    sentence: 'an answer after halfOpen (10 s) and a lap of the sweep finds nothing',
    steps: [
      asked('10.1.0.180'),
      ...Array.from({ length: 20 }, (): Step => ({ ...asked('10.1.0.181'), afterMs: 600 })),
      over('10.2.0.11'),
    ],
  },
  {
    name: 'one_packet_makes_way',
    sentence: 'beyond the bound of half-open connections the oldest that waits for an answer makes way',
    steps: [
      asked('10.1.0.180'),
      ...Array.from({ length: 64 }, () => asked('10.1.0.180')),
      over('10.2.0.11'),
      answered('10.2.0.12'),
    ],
  },
  {
    name: 'one_packet_without_snat',
    sentence: 'members that see the client answer as often as they are asked, all of them from one entry each',
    steps: [
      asked('10.1.0.181'),
      asked('10.1.0.181'),
      asked('10.1.0.181'),
      answered('10.2.0.11', CLIENT, CLIENT_PORT),
      answered('10.2.0.12', CLIENT, CLIENT_PORT),
      answered('10.2.0.11', CLIENT, CLIENT_PORT),
    ],
  },
  {
    name: 'one_packet_persistent',
    sentence: "persistence comes first: all of a client's datagrams go to .11; each counts as a new connection of it",
    steps: [
      asked('10.1.0.182'),
      asked('10.1.0.182'),
      asked('10.1.0.182', { sourcePort: 1 }),
      { frame: query('10.1.0.182'), verdict: 'drop client_limit' },
      answered('10.2.0.11'),
    ],
  },
  {
    name: 'one_packet_refused_by_the_member',
    sentence: 'a port unreachable about a datagram reaches its client, translated inside and outside',
    steps: [
      asked('10.1.0.180'),
      {
        frame: packet(
          { source: '10.2.0.11', destination: '10.2.0.1', from: '02:00:00:00:00:01' },
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
  ...(['10.1.0.180', 'fd01::180'] as const).flatMap((to): Case[] => {
    const name = to.includes(':') ? '_ipv6' : '';
    return [
      {
        name: `one_packet_fragments${name}`,
        sentence: 'fragments follow their first one to its member, and the next datagram goes to the next',
        steps: [...cutIn3(to).map((frame): Step => ({ frame, verdict: toServer })), asked(to)],
      },
      {
        name: `one_packet_fragments_out_of_order${name}`,
        sentence: 'also those that come before it',
        steps: [asked(to), ...outOfOrder(to)],
      },
    ];
  }),
  {
    name: 'one_packet_answer_in_fragments',
    sentence: 'an answer in fragments is not over with its first',
    steps: [
      asked('10.1.0.180'),
      ...fragments(
        { source: '10.2.0.11', destination: '10.2.0.1', from: '02:00:00:00:00:01' },
        udp({ sourcePort: 53, destinationPort: SNAT, payload: LONG }),
        [24, 48],
      ).map((frame): Step => ({ frame, verdict: toClient })),
    ],
  },
  // ---- not translated: nothing is kept
  ...(
    [
      ['dsr', '10.1.0.183', 'by MAC address'],
      ['dsr_ipv6', 'fd01::183', 'by MAC address, over IPv6'],
      ['ipip', '10.1.0.184', 'in IPv4'],
      ['gue6_over4', 'fd01::184', 'IPv6 in GUE over IPv4'],
    ] as const
  ).flatMap(([mode, to, how]): Case[] => [
    {
      name: `one_packet_${mode}`,
      sentence: `${how}: .21, .31, .21, whatever the flow`,
      unwitnessed,
      steps: [asked(to), asked(to), asked(to), { frame: query(to, {}, { ttl: 1 }), verdict: toClient }],
    },
    {
      name: `one_packet_${mode}_fragments`,
      sentence: `${how}: fragments follow their first, in and out of order`,
      unwitnessed,
      steps: [
        ...cutIn3(to).map((frame): Step => ({ frame, verdict: toServer })),
        asked(to),
        asked(to),
        ...outOfOrder(to),
      ],
    },
  ]),
  {
    name: 'one_packet_too_big_for_the_tunnel',
    sentence: 'who sends more than fits into the tunnel is told what does: 1480 octets',
    mtus: { server: 1500 },
    unwitnessed,
    steps: [
      asked('10.1.0.184', { payload: 'x'.repeat(1480 - 28) }),
      { frame: query('10.1.0.184', { payload: 'x'.repeat(1481 - 28) }), verdict: toClient },
    ],
  },

  // ---- sources that cannot be
  ...[...MARTIANS, '10.1.0.100'].map(
    (source): Case => ({
      name: `martian_${source.replaceAll('.', '_')}`,
      sentence: `nothing is opened, answered or reset for ${source}`,
      steps: [
        { frame: client('10.1.0.100', syn, { source }), verdict: 'drop martian' },
        { frame: query('10.1.0.100', {}, { source }), verdict: 'drop martian' },
        {
          frame: client('10.1.0.101', { flags: 'A' }, { source }),
          verdict: source === '10.1.0.100' ? toClient : 'drop martian',
        },
      ],
    }),
  ),
  ...[...MARTIANS6, 'fd01::100'].map(
    (source): Case => ({
      name: `martian_${source.replaceAll(/[:.]/g, '_')}`,
      sentence: `nor for ${source}`,
      steps: [
        { frame: client('fd01::100', syn, { source }), verdict: 'drop martian' },
        { frame: query('fd01::100', {}, { source }), verdict: 'drop martian' },
      ],
    }),
  ),

  // ---- who has not seen the SYN-ACK
  {
    name: 'flood_of_blind_acks',
    sentence: 'ACKs that acknowledge no SYN-ACK leave connections half-open: they make way as others do',
    steps: [
      { frame: client('10.1.0.100', syn), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
      { frame: client('10.1.0.100', { flags: 'A', sequence: 1001, acknowledgment: 5002 }), verdict: toServer },
      {
        frame: client('10.1.0.100', { flags: 'PA', sequence: 1001, acknowledgment: 1, payload: 'x' }),
        verdict: toServer,
      },
      ...Array.from({ length: 64 }, (_, index) => ({
        frame: client('10.1.0.100', { ...syn, sourcePort: 1_000 + index }, { source: '192.0.2.1' }),
        verdict: toServer,
      })),
      { frame: client('10.1.0.100', { flags: 'A', sequence: 1001, acknowledgment: 5001 }), verdict: 'drop unknown' },
    ],
  },
  {
    name: 'flood_of_acks_to_adopt',
    sentence: 'adopted connections are half-open until their member says that it has them',
    steps: [
      { frame: client('10.1.0.102', { flags: 'A', sequence: 1, acknowledgment: 1 }), verdict: toServer },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'PA', payload: 'I do' }), verdict: toClient },
      ...Array.from({ length: 66 }, (_, index) => ({
        frame: client('10.1.0.102', { flags: 'A', sourcePort: 1_000 + index }, { source: '192.0.2.1' }),
        verdict: toServer,
      })),
      {
        frame: member('10.2.0.12', '10.2.0.1', { flags: 'A', destinationPort: 25_602 }),
        verdict: 'drop unknown_return',
      },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'PA', payload: 'I still do' }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_weighted_least_connections',
    sentence: 'of eight connections that stay open the member of weight 3 has six',
    steps: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => ({
      frame: client('10.1.0.185', { ...syn, sourcePort: 40_000 + number }),
      verdict: toServer,
    })),
  },
];
