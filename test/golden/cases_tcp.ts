/** Golden cases: TCP in every state, flag by flag; what ends a connection, what does not; which member gets it. */

import {
  type Case,
  CLIENT_PORT,
  CLIENT6,
  client,
  handshake,
  handshake6,
  member,
  SNAT_NEXT,
  type Step,
  syn,
  toClient,
  toServer,
} from './network.js';

/** Segments of www's connection behind the handshake. */
const fromClient = (flags: string, more: Partial<Step> = {}): Step => ({
  frame: client('10.1.0.100', { flags, sequence: 1019, acknowledgment: 5001 }),
  verdict: toServer,
  ...more,
});
const fromMember = (flags: string, more: Partial<Step> = {}): Step => ({
  frame: member('10.2.0.11', '10.2.0.1', { flags, sequence: 5001, acknowledgment: 1019 }),
  verdict: toClient,
  ...more,
});
const fromClient6 = (flags: string, more: Partial<Step> = {}): Step => ({
  frame: client('fd01::100', { flags, sequence: 1001, acknowledgment: 5001 }),
  verdict: toServer,
  ...more,
});
const fromMember6 = (flags: string, more: Partial<Step> = {}): Step => ({
  frame: member('fd02::11', 'fd02::1', { flags, sequence: 5001, acknowledgment: 1001 }),
  verdict: toClient,
  ...more,
});
/** The SYN of a client that begins anew on the tuple. */
const again = (more: Partial<Step> = {}): Step => ({
  frame: client('10.1.0.100', { ...syn, sequence: 900_000 }),
  verdict: toServer,
  ...more,
});
const opened = { frame: client('10.1.0.100', syn), verdict: toServer } as const;
const gone = (verdict = 'drop unknown'): Partial<Step> => ({ verdict });

const tuples = [40_001, 40_002, 40_003, 40_004].map((sourcePort) => ({
  frame: client('10.1.0.111', { ...syn, sourcePort }),
  verdict: toServer,
}));

export const tcpCases: readonly Case[] = [
  // ---- opening
  {
    name: 'tcp_retransmitted_syn_ipv6',
    sentence: 'IPv6: a SYN that is sent again goes the same way as the first',
    steps: [1, 2, 3].map(() => ({ frame: client('fd01::100', syn), verdict: toServer })),
  },
  {
    name: 'tcp_retransmitted_syn_ack',
    sentence: 'a SYN-ACK that is sent again reaches the client again, and the handshake completes',
    steps: [opened, fromMember('SA'), fromMember('SA', { afterMs: 1000 }), fromClient('A')],
  },
  {
    name: 'tcp_fast_open',
    sentence: 'data in a SYN goes to the member with it (RFC 7413)',
    steps: [
      { frame: client('10.1.0.100', { ...syn, payload: 'GET / HTTP/1.0\r\n\r\n' }), verdict: toServer },
      fromMember('SA'),
    ],
  },
  {
    name: 'tcp_ecn',
    sentence: 'a SYN that offers ECN opens a connection (RFC 3168), and its flags stay',
    steps: [{ frame: client('10.1.0.100', { flags: 'SEC' }), verdict: toServer }, fromMember('SAE'), fromClient('AC')],
  },
  {
    name: 'tcp_syn_answered_by_reset',
    sentence: 'a member that refuses: its RST reaches the client, and the next SYN asks the same member',
    steps: [opened, fromMember('RA'), opened, fromMember('SA')],
  },
  {
    name: 'tcp_challenge',
    sentence: 'a SYN-ACK is answered by the client with a RST: the member hears it',
    steps: [opened, fromMember('SA'), fromClient('R')],
  },
  {
    name: 'tcp_simultaneous',
    sentence: 'a member that answers a SYN with a SYN of its own is let through (RFC 9293 figure 7)',
    steps: [opened, fromMember('S'), fromClient('SA'), fromMember('A')],
  },
  {
    name: 'tcp_early_data',
    sentence: 'segments of a half-open connection follow its SYN, whatever order they come in',
    steps: [opened, fromClient('A'), fromClient('PA'), fromMember('SA'), fromMember('PA')],
  },
  {
    name: 'tcp_half_open_expires_ipv6',
    sentence: 'IPv6: a connection that stays half open is forgotten after 10 s',
    steps: [
      { frame: client('fd01::100', syn), verdict: toServer },
      { frame: client('fd01::100', { ...syn, sourcePort: 40_009 }), verdict: toServer, afterMs: 30_000 },
      fromClient6('A', { verdict: 'drop unknown', afterMs: 30_000 }),
    ],
  },
  // ---- in between
  {
    name: 'tcp_odd_flags',
    sentence: 'within a connection the ends judge flags: none at all, all of them, SYN with FIN, urgent',
    steps: [
      ...handshake,
      fromClient(''),
      fromClient('U'),
      fromClient('FPU'),
      fromClient('SF'),
      fromClient('FSRPAU'),
      fromMember('U'),
      fromMember('PA'),
    ],
  },
  {
    name: 'tcp_options_stay',
    sentence: 'options are the ends’: MSS, window scale, SACK permitted and timestamps go through as they are',
    steps: [
      {
        frame: client('10.1.0.100', {
          flags: 'S',
          options: Uint8Array.of(2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7),
        }),
        verdict: toServer,
      },
      {
        frame: member('10.2.0.11', '10.2.0.1', {
          flags: 'SA',
          options: Uint8Array.of(2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9, 1, 3, 3, 9),
        }),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'tcp_service_class',
    sentence: 'type of service, with its ECN bits, stays, and so do identification and don’t fragment',
    steps: [
      { frame: client('10.1.0.100', syn, { tos: 0xb8 }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }, { tos: 0x03, fragment: 0 }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_service_class_ipv6',
    sentence: 'IPv6: traffic class and flow label stay',
    steps: [
      { frame: client('fd01::100', syn, { tos: 0xb8, flowLabel: 0xabcde }), verdict: toServer },
      { frame: member('fd02::11', 'fd02::1', { flags: 'SA' }, { tos: 0x03, flowLabel: 0x12345 }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_full_segment',
    sentence: 'a segment as long as an Ethernet link takes, both ways, and an odd one',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { flags: 'A', sequence: 1019, payload: 'x'.repeat(1460) }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'A', payload: 'y'.repeat(1459) }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_full_segment_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      ...handshake6,
      { frame: client('fd01::100', { flags: 'A', sequence: 1001, payload: 'x'.repeat(1440) }), verdict: toServer },
      { frame: member('fd02::11', 'fd02::1', { flags: 'A', payload: 'y'.repeat(1439) }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_keeps_on',
    sentence: 'an established connection lives as long as a packet comes within its 300 s, from either side',
    steps: [
      ...handshake,
      fromClient('A', { afterMs: 299_000 }),
      fromMember('A', { afterMs: 299_000 }),
      fromClient('PA', { afterMs: 299_000 }),
    ],
  },
  {
    name: 'tcp_idle_expires',
    sentence: 'an established connection that was idle for 300 s is forgotten',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_009 }), verdict: toServer, afterMs: 301_000 },
      fromClient('A', { verdict: 'drop unknown', afterMs: 1_000 }),
      fromMember('A', { verdict: 'drop unknown_return' }),
    ],
  },
  // ---- a SYN within a connection
  {
    name: 'tcp_syn_on_established',
    sentence: 'a SYN in an established connection is the member’s to challenge (RFC 5961): it opens nothing',
    steps: [...handshake, again(), fromMember('A'), fromClient('A')],
  },
  {
    name: 'tcp_syn_on_half_closed',
    sentence: 'a SYN after one FIN opens nothing either',
    steps: [...handshake, fromClient('FA'), again(), fromMember('A')],
  },
  {
    name: 'tcp_syn_on_reset',
    sentence: 'a SYN after a RST goes to the same member, or a blind RST and SYN would cut a connection',
    steps: [...handshake, fromClient('R'), again(), fromMember('SA')],
  },
  {
    name: 'tcp_reopened_ipv6',
    sentence: 'IPv6: a SYN on a tuple that has closed opens a new connection, with a SNAT port of its own',
    steps: [
      ...handshake6,
      fromClient6('FA'),
      fromMember6('FA'),
      { frame: client('fd01::100', { ...syn, sequence: 900_000 }), verdict: toServer, reopens: true },
      {
        frame: member('fd02::11', 'fd02::1', { flags: 'SA', acknowledgment: 900_001, destinationPort: SNAT_NEXT }),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'tcp_reopened_routed',
    sentence: 'without SNAT a SYN on a tuple that has closed opens it again',
    steps: [
      { frame: client('10.1.0.101', syn), verdict: toServer },
      {
        frame: member('10.2.0.12', '198.51.100.7', { flags: 'FA', destinationPort: CLIENT_PORT }),
        verdict: toClient,
      },
      { frame: client('10.1.0.101', { flags: 'FA', sequence: 1001 }), verdict: toServer },
      { frame: client('10.1.0.101', { ...syn, sequence: 900_000 }), verdict: toServer, reopens: true },
    ],
  },
  // ---- closing
  {
    name: 'tcp_simultaneous_fin',
    sentence: 'both ends close at the same time, and each hears the other',
    steps: [...handshake, fromClient('FA'), fromMember('FA'), fromClient('A'), fromMember('A')],
  },
  {
    name: 'tcp_repeated_fin',
    sentence: 'a FIN that is sent again goes through, and the connection closes once',
    steps: [...handshake, fromClient('FA'), fromClient('FA'), fromMember('FA'), fromMember('FA'), fromClient('A')],
  },
  {
    name: 'tcp_half_closed_client',
    sentence: 'a client that has sent all still receives: half-closed lasts 60 s from the last packet',
    steps: [
      ...handshake,
      fromClient('FA'),
      fromMember('PA', { afterMs: 50_000 }),
      fromClient('A', { afterMs: 50_000 }),
      fromMember('FA', { afterMs: 50_000 }),
      fromClient('A'),
    ],
  },
  {
    name: 'tcp_half_closed_member',
    sentence: 'a member that has sent all still receives',
    steps: [
      ...handshake,
      fromMember('FA'),
      fromClient('PA', { afterMs: 50_000 }),
      fromMember('A', { afterMs: 50_000 }),
      fromClient('FA'),
    ],
  },
  {
    name: 'tcp_half_closed_expires',
    sentence: 'a half-closed connection that is idle for 60 s is forgotten',
    steps: [
      ...handshake,
      fromClient('FA'),
      fromMember('A'),
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_009 }), verdict: toServer, afterMs: 61_000 },
      fromMember('PA', { verdict: 'drop unknown_return', afterMs: 1_000 }),
    ],
  },
  {
    name: 'tcp_closed_expires',
    sentence: 'after both FINs stragglers pass for 10 s, and then no more',
    steps: [
      ...handshake,
      fromClient('FA'),
      fromMember('FA'),
      fromClient('A', { afterMs: 9_000 }),
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_009 }), verdict: toServer, afterMs: 11_000 },
      fromClient('A', { ...gone(), afterMs: 1_000 }),
    ],
  },
  {
    name: 'tcp_reset_by_member',
    sentence: 'a member’s RST reaches the client, and what the client still sends is answered with a RST again',
    steps: [...handshake, fromMember('R'), fromClient('PA'), fromMember('R')],
  },
  {
    name: 'tcp_reset_both',
    sentence: 'RSTs from both sides go through; 10 s later the connection is forgotten',
    steps: [
      ...handshake,
      fromClient('R'),
      fromMember('R'),
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_009 }), verdict: toServer, afterMs: 11_000 },
      fromClient('A', { ...gone(), afterMs: 1_000 }),
    ],
  },
  {
    name: 'tcp_blind_reset_ipv6',
    sentence:
      'IPv6: a RST cuts nothing, from either side: traffic behind it goes through and restores the idle timeout',
    steps: [
      ...handshake6,
      fromClient6('R'),
      fromMember6('PA'),
      fromMember6('R'),
      fromClient6('A'),
      fromClient6('A', { afterMs: 20_000 }),
    ],
  },
  {
    name: 'tcp_blind_fin',
    sentence: 'a FIN that somebody else sent is taken back by data from the end that it was said to be from',
    steps: [
      ...handshake,
      fromClient('F'),
      fromClient('PA'),
      fromMember('A'),
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_009 }), verdict: toServer, afterMs: 70_000 },
      fromClient('A'),
    ],
  },
  // ---- who gets it
  {
    name: 'tcp_turns_ipv6',
    sentence: 'IPv6: connections go to the members in turn',
    steps: [40_001, 40_002, 40_003].map((sourcePort) => ({
      frame: client('fd01::107', { ...syn, sourcePort }),
      verdict: toServer,
    })),
  },
  {
    name: 'tcp_source_hash_ipv6',
    sentence: 'IPv6: with source-hash all connections of a client go to one member',
    steps: [
      ...[40_001, 40_002, 40_003].map((sourcePort) => ({
        frame: client('fd01::106', { ...syn, sourcePort }),
        verdict: toServer,
      })),
      ...['2001:db8::8', '2001:db8::9', '2001:db8::a', CLIENT6].map((source) => ({
        frame: client('fd01::106', { ...syn, sourcePort: 40_009 }, { source }),
        verdict: toServer,
      })),
    ],
  },
  {
    name: 'tcp_listed_snat_ipv6',
    sentence: 'IPv6: SNAT addresses of a list take turns, and each is ours on the way back',
    steps: [
      { frame: client('fd01::104', { ...syn, sourcePort: 40_001 }), verdict: toServer },
      { frame: client('fd01::104', { ...syn, sourcePort: 40_002 }), verdict: toServer },
      { frame: member('fd02::11', 'fd02::201', { flags: 'SA' }), verdict: toClient },
      { frame: member('fd02::11', 'fd02::200', { flags: 'SA' }), verdict: toClient },
    ],
  },
  {
    name: 'tcp_weighted',
    sentence: 'of four connections the member of weight 3 gets three, spread over the round',
    steps: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => ({
      frame: client('10.1.0.109', { ...syn, sourcePort: 40_000 + number }),
      verdict: toServer,
    })),
  },
  {
    name: 'tcp_least_connections',
    sentence: 'least connections: the member that has fewer gets the next one, so four are two and two',
    steps: [
      { frame: client('10.1.0.110', { ...syn, sourcePort: 40_001 }), verdict: toServer },
      { frame: client('10.1.0.110', { ...syn, sourcePort: 40_002 }), verdict: toServer },
      { frame: client('10.1.0.110', { ...syn, sourcePort: 40_003 }), verdict: toServer },
      { frame: client('10.1.0.110', { ...syn, sourcePort: 40_004 }), verdict: toServer },
    ],
  },
  {
    name: 'tcp_maglev',
    sentence: 'with maglev a tuple chooses its member, so that a SYN chooses the same after its connection is gone',
    steps: [
      ...tuples,
      { frame: client('10.1.0.111', { ...syn, destinationPort: 81 }), verdict: 'drop closed_port', afterMs: 11_000 },
      ...tuples.map((step) => ({ ...step, reopens: true }) as const),
    ],
  },
  {
    name: 'tcp_two_clients',
    sentence: 'two clients with the same port are two connections, each with a SNAT port of its own',
    steps: [
      { frame: client('10.1.0.110', syn), verdict: toServer },
      { frame: client('10.1.0.110', syn, { source: '198.51.100.8' }), verdict: toServer },
      { frame: client('10.1.0.110', syn, { source: '198.51.100.9' }), verdict: toServer },
    ],
  },
  {
    name: 'tcp_member_down',
    sentence: 'a member that is down gets no connection: the other gets them all',
    steps: [40_001, 40_002].map((sourcePort) => ({
      frame: client('10.1.0.107', { ...syn, sourcePort }),
      verdict: toServer,
    })),
  },
  {
    name: 'tcp_member_draining',
    sentence: 'a member that drains gets no new connection',
    steps: [40_001, 40_002].map((sourcePort) => ({
      frame: client('10.1.0.108', { ...syn, sourcePort }),
      verdict: toServer,
    })),
  },
  {
    name: 'tcp_member_as_client',
    sentence: 'a member may be a client, too: with SNAT its connection to a virtual address goes through',
    steps: [
      {
        frame: client('10.1.0.102', syn, { source: '10.2.0.11', from: '02:00:00:00:00:01' }),
        verdict: toServer,
      },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'SA' }), verdict: toServer },
    ],
  },
  {
    name: 'tcp_last_hop_ipv6',
    sentence: "IPv6: replies follow the client's last hop when it moves to another router",
    steps: [
      ...handshake6,
      {
        frame: client('fd01::100', { flags: 'A', sequence: 1001, acknowledgment: 5001 }, { from: '02:00:00:00:ff:01' }),
        verdict: toServer,
      },
      fromMember6('PA'),
    ],
  },
];
