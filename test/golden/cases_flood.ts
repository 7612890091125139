/**
 * Golden cases: a flood of half-open connections, a client that opens too many, and packets that somebody sends
 * blindly into a connection that is open. tandem.yaml bounds half-open connections at 64.
 */

import {
  type Case,
  CLIENT,
  CLIENT_PORT,
  client,
  handshake,
  member,
  query,
  question,
  reply,
  SNAT_NEXT,
  STRANGER,
  type Step,
  syn,
  toClient,
  toServer,
} from './network.js';

const HALF_OPEN_BOUND = 64;
const LIMITED = '10.1.0.130';
const LIMITED6 = 'fd01::130';

/** SYNs that nobody means, each from another port of a spoofed client. */
function flood(count: number, to = '10.1.0.100', source = to.includes(':') ? '2001:db8:f::1' : '192.0.2.1'): Step[] {
  return Array.from({ length: count }, (_, index) => ({
    frame: client(to, { ...syn, sourcePort: 1_000 + index }, { source }),
    verdict: toServer,
  }));
}

const ack = { flags: 'A', sequence: 1001, acknowledgment: 5001 } as const;
const data = { flags: 'PA', sequence: 1019, acknowledgment: 5001, payload: 'and on' } as const;
/** What the ends of handshake's connection go on with. */
const goesOn: readonly Step[] = [
  { frame: client('10.1.0.100', data), verdict: toServer },
  {
    frame: member('10.2.0.11', '10.2.0.1', { flags: 'PA', sequence: 5001, acknowledgment: 1025, payload: 'and on' }),
    verdict: toClient,
  },
];
/** Eleven seconds before each of the later two: longer than a connection that was reset is kept. */
const livesOn: readonly Step[] = [...goesOn, { ...goesOn[0]!, afterMs: 11_000 }, { ...goesOn[1]!, afterMs: 11_000 }];

/** Sequence numbers that nobody is at. */
const blind = { sequence: 77_777, acknowledgment: 88_888 } as const;

export const floodCases: readonly Case[] = [
  // ---- the bound of half-open connections
  {
    name: 'flood_oldest_makes_way',
    sentence: 'beyond the bound the oldest half-open connection makes way: its late SYN-ACK and ACK are unknown',
    steps: [
      { frame: client('10.1.0.100', syn), verdict: toServer },
      ...flood(HALF_OPEN_BOUND - 1),
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
      { frame: client('10.1.0.100', { ...syn, sourcePort: 999 }, { source: '192.0.2.2' }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: 'drop unknown_return' },
      { frame: client('10.1.0.100', ack), verdict: 'drop unknown' },
    ],
  },
  {
    name: 'flood_oldest_makes_way_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      { frame: client('fd01::100', syn), verdict: toServer },
      ...flood(HALF_OPEN_BOUND, 'fd01::100'),
      { frame: member('fd02::11', 'fd02::1', { flags: 'SA' }), verdict: 'drop unknown_return' },
      { frame: client('fd01::100', ack), verdict: 'drop unknown' },
    ],
  },
  {
    name: 'flood_late_ack_is_reset',
    sentence: 'where unknown says reset, the late ACK of a half-open connection that made way is reset',
    steps: [
      { frame: client('10.1.0.101', syn), verdict: toServer },
      { frame: member('10.2.0.12', CLIENT, { flags: 'SA', destinationPort: CLIENT_PORT }), verdict: toClient },
      ...flood(HALF_OPEN_BOUND),
      { frame: client('10.1.0.101', ack), verdict: toClient },
      { frame: client('10.1.0.101', syn), verdict: toServer },
    ],
  },
  {
    name: 'flood_handshake_in_time',
    sentence: 'who completes the handshake before as many others have begun theirs gets through and stays',
    steps: [
      { frame: client('10.1.0.100', syn), verdict: toServer },
      ...flood(31),
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
      ...flood(31, '10.1.0.100', '192.0.2.2'),
      { frame: client('10.1.0.100', ack), verdict: toServer },
      ...flood(HALF_OPEN_BOUND + 1, '10.1.0.100', '192.0.2.3'),
      ...goesOn,
    ],
  },
  {
    name: 'flood_established_stays',
    sentence: 'an established connection goes on through a flood of twice the bound',
    steps: [...handshake, ...flood(2 * HALF_OPEN_BOUND), ...goesOn],
  },
  {
    name: 'flood_udp_without_reply',
    sentence: 'UDP without a reply makes way as a half-open connection does; once answered it stays',
    steps: [
      { frame: query('10.1.0.100', { sourcePort: 1 }), verdict: toServer },
      { frame: reply('10.2.0.11', '10.2.0.1'), verdict: toClient },
      { frame: query('10.1.0.100', { sourcePort: 2 }), verdict: toServer },
      ...flood(HALF_OPEN_BOUND),
      { frame: reply('10.2.0.11', '10.2.0.1', { destinationPort: SNAT_NEXT }), verdict: 'drop unknown_return' },
      { frame: reply('10.2.0.11', '10.2.0.1'), verdict: toClient },
    ],
  },
  {
    name: 'flood_rst_of_a_half_open',
    sentence: 'a RST, spoofed or of a spoofed client, neither ends nor establishes a half-open connection',
    steps: [
      { frame: client('10.1.0.100', syn), verdict: toServer },
      { frame: client('10.1.0.100', { flags: 'R', ...blind }), verdict: toServer },
      { frame: client('10.1.0.100', { flags: 'A', ...blind }), verdict: toServer },
      ...flood(HALF_OPEN_BOUND),
      { frame: client('10.1.0.100', ack), verdict: 'drop unknown' },
    ],
  },
  {
    name: 'flood_refused_by_the_member',
    sentence: 'a SYN that the member refused is sent again to the same member, which may take it then',
    steps: [
      { frame: client('10.1.0.100', syn), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'RA', sequence: 0 }), verdict: toClient },
      { frame: client('10.1.0.100', syn), verdict: toServer, afterMs: 1000 },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
      { frame: client('10.1.0.100', ack), verdict: toServer },
      ...livesOn,
    ],
  },
  {
    name: 'flood_syn_from_another_router',
    sentence: 'a SYN that comes again by another router is answered there',
    steps: [
      { frame: client('10.1.0.100', syn), verdict: toServer },
      { frame: client('10.1.0.100', syn, { from: STRANGER }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
    ],
  },

  // ---- a client's limit
  {
    name: 'limit_of_a_client',
    sentence: 'a client opens its burst and then as many as its rate gives; what it has goes on, and others are free',
    steps: [
      ...[1, 2, 3].map((sourcePort) => ({ frame: client(LIMITED, { ...syn, sourcePort }), verdict: toServer })),
      { frame: client(LIMITED, { ...syn, sourcePort: 4 }), verdict: 'drop client_limit' },
      { frame: client(LIMITED, { ...syn, sourcePort: 3 }), verdict: toServer },
      { frame: client(LIMITED, { ...syn, sourcePort: 4 }, { source: '198.51.100.8' }), verdict: toServer },
      { frame: client('10.1.0.100', { ...syn, sourcePort: 4 }), verdict: toServer },
      { frame: client(LIMITED, { ...syn, sourcePort: 4 }), verdict: toServer, afterMs: 1000 },
      { frame: client(LIMITED, { ...syn, sourcePort: 5 }), verdict: 'drop client_limit' },
    ],
  },
  {
    name: 'limit_of_a_client_ipv6',
    sentence: 'an IPv6 /64 is one client',
    steps: [
      ...['2001:db8:1::1', '2001:db8:1::2', '2001:db8:1::ffff:3'].map((source) => ({
        frame: client(LIMITED6, syn, { source }),
        verdict: toServer,
      })),
      { frame: client(LIMITED6, syn, { source: '2001:db8:1::4' }), verdict: 'drop client_limit' },
      { frame: client(LIMITED6, syn, { source: '2001:db8:1:1::4' }), verdict: toServer },
    ],
  },

  // ---- blind packets into a connection that is established
  {
    name: 'blind_rst_of_the_client',
    sentence: 'a blind RST to the member cuts no connection: what the ends send goes on and brings its timeout back',
    steps: [...handshake, { frame: client('10.1.0.100', { flags: 'R', ...blind }), verdict: toServer }, ...livesOn],
  },
  {
    name: 'blind_rst_of_the_member',
    sentence: 'nor does one to the client',
    steps: [
      ...handshake,
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'R', ...blind }), verdict: toClient },
      ...livesOn,
    ],
  },
  {
    name: 'blind_rst_from_another_router',
    sentence: 'a blind RST that comes by another router does not turn the replies there',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { flags: 'R', ...blind }, { from: STRANGER }), verdict: toServer },
      goesOn[1]!,
    ],
  },
  {
    name: 'blind_syn',
    sentence: 'a blind SYN goes to the member, whose challenge ACK goes to the client; the connection goes on',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { ...syn, sequence: 77_777 }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'A', sequence: 5001 }), verdict: toClient },
      ...livesOn,
    ],
  },
  {
    name: 'blind_syn_from_another_router',
    sentence: 'a blind SYN that comes by another router does not turn the replies there',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { ...syn, sequence: 77_777 }, { from: STRANGER }), verdict: toServer },
      goesOn[1]!,
    ],
  },
  {
    name: 'blind_syn_ack',
    sentence: 'a blind SYN-ACK, of either side, changes nothing',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { flags: 'SA', ...blind }, { from: STRANGER }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA', ...blind }), verdict: toClient },
      ...livesOn,
    ],
  },
  {
    name: 'blind_syn_keeps_nothing_alive',
    sentence: 'a blind SYN does not prolong a connection: 300 s after its last segment it is unknown',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { ...syn, sequence: 77_777 }), verdict: toServer, afterMs: 290_000 },
      // Expiry is a walk behind each burst: long enough for a whole lap.
      ...Array.from({ length: 20 }, () => ({
        frame: question({}, '10.1.0.9', '10.1.0.100'),
        verdict: toClient,
        afterMs: 1300,
      })),
      { frame: client('10.1.0.100', data), verdict: 'drop unknown' },
    ],
  },
  {
    name: 'blind_rst_and_syn',
    sentence: 'a blind RST and a SYN behind it open nothing anew: the connection keeps its member and goes on',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { flags: 'R', ...blind }), verdict: toServer },
      { frame: client('10.1.0.100', { ...syn, sequence: 77_777 }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'A', sequence: 5001 }), verdict: toClient },
      ...livesOn,
    ],
  },
  {
    name: 'blind_fin',
    sentence: 'a blind FIN only shortens the timeout, to 60 s, until its pretended sender sends data',
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { flags: 'FA', ...blind }), verdict: toServer },
      { ...goesOn[0]!, afterMs: 50_000 },
      { ...goesOn[1]!, afterMs: 70_000 },
    ],
  },
];
