/** Golden cases: who gets a new connection. The member of each is in the recorded frames, and in the sentence. */

import { type Case, client, member, query, reply, type Step, syn, toClient, toServer } from './network.js';

/** A SYN of a client, by its port or its address. */
function opening(to: string, port: number, source?: string): Step {
  return {
    frame: client(to, { ...syn, sourcePort: port }, source === undefined ? {} : { source }),
    verdict: toServer,
  };
}

const SWEPT_BEFORE = 'a worker without frames sweeps before the frame comes that a replay sweeps behind';

export const memberCases: readonly Case[] = [
  // ---- persistence
  {
    name: 'persistence',
    sentence: 'connections of one client go to one member, .11, those of the next client to the next, .12',
    steps: [
      opening('10.1.0.120', 40_000),
      opening('10.1.0.120', 40_001),
      opening('10.1.0.120', 40_002, '198.51.100.8'),
      opening('10.1.0.120', 40_003, '198.51.100.8'),
      opening('10.1.0.120', 40_004),
    ],
  },
  {
    name: 'persistence_expires',
    sentence:
      'after 60 s without a new connection the client is anybody again; each new one counts, so .11 thrice, then .12',
    steps: [
      opening('10.1.0.120', 40_000),
      { ...opening('10.1.0.120', 40_001), afterMs: 59_000 },
      { ...opening('10.1.0.120', 40_002), afterMs: 59_000 },
      { ...opening('10.1.0.120', 40_003), afterMs: 61_000 },
    ],
  },
  {
    name: 'persistence_prefix4',
    sentence:
      'with prefix4: 24 the clients of one network are one client, those of the next are not: .11, .11, .12, .11',
    steps: [
      opening('10.1.0.121', 40_000, '198.51.100.7'),
      opening('10.1.0.121', 40_000, '198.51.100.200'),
      opening('10.1.0.121', 40_000, '198.51.101.7'),
      opening('10.1.0.121', 40_000, '198.51.100.1'),
    ],
  },
  {
    name: 'persistence_prefix6',
    sentence: 'with prefix6: 64 the addresses of one host are one client: ::11, ::11, ::12, ::11',
    steps: [
      opening('fd01::120', 40_000, '2001:db8:0:1::7'),
      opening('fd01::120', 40_000, '2001:db8:0:1:ffff::8'),
      opening('fd01::120', 40_000, '2001:db8:0:2::7'),
      opening('fd01::120', 40_001, '2001:db8:0:1::9'),
    ],
  },
  {
    name: 'persistence_udp',
    sentence: 'the same of UDP, and the reply comes back: .11, .11, .12',
    steps: [
      { frame: query('10.1.0.120', { sourcePort: 40_000 }), verdict: toServer },
      { frame: reply('10.2.0.11', '10.2.0.1'), verdict: toClient },
      { frame: query('10.1.0.120', { sourcePort: 40_001 }), verdict: toServer },
      { frame: query('10.1.0.120', { sourcePort: 40_000 }, { source: '198.51.100.8' }), verdict: toServer },
    ],
  },
  {
    name: 'persistence_per_virtual_server',
    sentence: 'an entry is of one virtual server: the same client goes to .11 at one and to .12 at the other',
    steps: [
      opening('10.1.0.120', 40_000),
      opening('10.1.0.121', 40_000),
      opening('10.1.0.120', 40_001),
      opening('10.1.0.121', 40_001),
    ],
  },
  {
    name: 'persistence_at_the_limit',
    sentence: 'a member at its limit is left, and the entry moves with the client: .11, .12, .12',
    steps: [
      opening('10.1.0.128', 40_000),
      opening('10.1.0.128', 40_001),
      // The first one ends, so .11 has room again; the client stays.
      { frame: client('10.1.0.128', { flags: 'R', sequence: 1001 }), verdict: toServer },
      { ...opening('10.1.0.128', 40_002), afterMs: 30_000 },
    ],
  },
  // ---- limits
  {
    name: 'limit',
    sentence: 'a member at its maxConnections is passed over: .11, .12, .12, and then nobody has room',
    steps: [
      opening('10.1.0.122', 40_000),
      opening('10.1.0.122', 40_001),
      opening('10.1.0.122', 40_002),
      { ...opening('10.1.0.122', 40_003), verdict: 'drop members_full' },
    ],
  },
  {
    name: 'limit_counts_what_is_open',
    sentence: 'a SYN that is sent again, data and replies are no new connection; a reopened one takes its own place',
    steps: [
      opening('10.1.0.122', 40_000),
      opening('10.1.0.122', 40_001),
      opening('10.1.0.122', 40_002),
      opening('10.1.0.122', 40_000),
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
      { frame: client('10.1.0.122', { flags: 'A', sequence: 1001, acknowledgment: 5001 }), verdict: toServer },
      { frame: client('10.1.0.122', { flags: 'R', sequence: 1001 }), verdict: toServer },
      { frame: client('10.1.0.122', { ...syn, sequence: 9000 }), verdict: toServer },
      { ...opening('10.1.0.122', 40_003), verdict: 'drop members_full' },
    ],
  },
  {
    name: 'limit_least_connections',
    sentence: 'least connections leaves out who is at its limit: .11, .12, .12, nobody',
    steps: [40_000, 40_001, 40_002, 40_003].map((port, index) => ({
      ...opening('10.1.0.122', port),
      frame: client('10.1.0.122', { ...syn, sourcePort: port, destinationPort: 81 }),
      verdict: index < 3 ? toServer : 'drop members_full',
    })),
  },
  {
    name: 'limit_weighted',
    sentence: 'nine turns of ten are of .11, which may have one connection: .12 takes the others',
    steps: [40_000, 40_001, 40_002, 40_003, 40_004].map((port) => ({
      frame: client('10.1.0.122', { ...syn, sourcePort: port, destinationPort: 82 }),
      verdict: toServer,
    })),
  },
  {
    name: 'limit_source_hash',
    sentence: 'a client whose member is at its limit goes to the next place of the table; with both full to nobody',
    steps: [
      opening('10.1.0.123', 40_000),
      opening('10.1.0.123', 40_001),
      { ...opening('10.1.0.123', 40_002), verdict: 'drop members_full' },
    ],
  },
  {
    name: 'limit_freed',
    sentence: 'who ends a connection makes room: expired after its RST, .11 takes the next',
    notOn: { packet: SWEPT_BEFORE, xdp: SWEPT_BEFORE },
    steps: [
      opening('10.1.0.122', 40_000),
      opening('10.1.0.122', 40_001),
      opening('10.1.0.122', 40_002),
      { frame: client('10.1.0.122', { flags: 'R', sequence: 1001 }), verdict: toServer },
      { ...opening('10.1.0.122', 40_003), verdict: 'drop members_full', afterMs: 9000 },
      // A sweep of the whole table, and the half-open ones are gone, too.
      { ...opening('10.1.0.122', 40_004), verdict: 'drop members_full', afterMs: 11_000 },
      { ...opening('10.1.0.122', 40_005), afterMs: 10_000 },
    ],
  },
  // ---- priority
  {
    name: 'priority',
    sentence: 'only the member of the higher priority, .11, gets connections',
    steps: [40_000, 40_001, 40_002].map((port) => opening('10.1.0.124', port)),
  },
  {
    name: 'priority_down',
    sentence: 'while it is down the lower one, .12, gets them',
    steps: [40_000, 40_001, 40_002].map((port) => opening('10.1.0.125', port)),
  },
  {
    name: 'priority_min_active',
    sentence: 'with minActiveMembers: 2 both take turns, for one of the higher priority is too few',
    steps: [40_000, 40_001, 40_002, 40_003].map((port) => opening('10.1.0.126', port)),
  },
  {
    name: 'priority_at_the_limit',
    sentence: 'when those that serve are all at their limit, the lower priority takes the rest: .11, .12, .12',
    steps: [40_000, 40_001, 40_002].map((port) => opening('10.1.0.127', port)),
  },
];
