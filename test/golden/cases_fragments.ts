/** Golden cases: packets in fragments. */

import { icmp, tcp, udp } from '../support/packets.js';
import {
  type Case,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  client,
  fragments,
  MEMBER1,
  MEMBER6,
  query,
  SNAT,
  syn,
  toClient,
  toServer,
} from './network.js';

const LONG = 'a question that is cut in three: who is it, where are they, and why?';
const datagram = udp({ sourcePort: CLIENT_PORT, destinationPort: 53, payload: LONG });
const segment = tcp({ sourcePort: CLIENT_PORT, destinationPort: 80, flags: 'S', payload: LONG });
const dns = { source: CLIENT, destination: '10.1.0.100' } as const;
const dns6 = { source: CLIENT6, destination: 'fd01::100' } as const;
const [first, second, third] = fragments(dns, datagram, [24, 48]) as [Uint8Array, Uint8Array, Uint8Array];
const [first6, second6, third6] = fragments(dns6, datagram, [24, 48]) as [Uint8Array, Uint8Array, Uint8Array];
const answer = udp({ sourcePort: 53, destinationPort: SNAT, payload: LONG });
const fromMember = { from: MEMBER1, source: '10.2.0.11', destination: '10.2.0.1' } as const;
const fromMember6 = { from: MEMBER6, source: 'fd02::11', destination: 'fd02::1' } as const;

const forwarded = (...frames: readonly Uint8Array[]) => frames.map((frame) => ({ frame, verdict: toServer }));

export const fragmentCases: readonly Case[] = [
  {
    name: 'fragments',
    sentence: 'fragments in order: the first finds the connection and the others follow it',
    steps: forwarded(first, second, third),
  },
  {
    name: 'fragments_ipv6',
    sentence: 'the same over IPv6',
    steps: forwarded(first6, second6, third6),
  },
  {
    name: 'fragments_reversed',
    sentence: 'fragments that are early wait for the first, and leave behind it in the order in which they came',
    steps: [
      { frame: third, verdict: 'hold' },
      { frame: second, verdict: 'hold' },
      { frame: first, verdict: `${toServer}, ${toServer}, ${toServer}` },
    ],
  },
  {
    name: 'fragments_reversed_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      { frame: third6, verdict: 'hold' },
      { frame: second6, verdict: 'hold' },
      { frame: first6, verdict: `${toServer}, ${toServer}, ${toServer}` },
    ],
  },
  {
    name: 'fragments_mixed',
    sentence: 'the last fragment first, then in order',
    steps: [
      { frame: third, verdict: 'hold' },
      { frame: first, verdict: `${toServer}, ${toServer}` },
      ...forwarded(second),
    ],
  },
  {
    name: 'fragments_reply',
    sentence: "a member's answer in fragments",
    steps: [
      ...forwarded(query('10.1.0.100')),
      ...fragments(fromMember, answer, [24, 48]).map((frame) => ({ frame, verdict: toClient })),
    ],
  },
  {
    name: 'fragments_reply_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      ...forwarded(query('fd01::100')),
      ...fragments(fromMember6, answer, [24, 48]).map((frame) => ({ frame, verdict: toClient })),
    ],
  },
  {
    name: 'fragments_tcp',
    sentence: 'a SYN in fragments opens a connection, and what comes then belongs to it',
    steps: [
      ...forwarded(...fragments(dns, segment, [24, 48])),
      { frame: client('10.1.0.100', { flags: 'A', sequence: 1070, acknowledgment: 1 }), verdict: toServer },
    ],
  },
  {
    name: 'fragments_vlan',
    sentence: "a member's answer in fragments goes into the client's VLAN",
    steps: [
      ...forwarded(query('10.1.0.100', {}, { vlan: [7] })),
      ...fragments(fromMember, answer, [24]).map((frame) => ({ frame, verdict: toClient })),
    ],
  },
  {
    name: 'fragment_atomic',
    sentence: 'RFC 6946: a fragment that is all of its packet is treated as a packet',
    steps: forwarded(...fragments(dns6, datagram, [])),
  },
  {
    name: 'fragments_identification',
    sentence: 'an identification may be used again as soon as its packet has passed',
    steps: forwarded(first, second, third, first, second, third),
  },
  {
    name: 'fragments_overlap',
    sentence: 'RFC 5722: what overlaps goes no further, and no receiver sees it; the packet itself arrives',
    steps: [
      ...forwarded(first),
      { frame: first, verdict: 'drop fragment_overlap' },
      { frame: fragments(dns, datagram, [16, 32])[1]!, verdict: 'drop fragment_overlap' },
      ...forwarded(second, third),
    ],
  },
  {
    name: 'fragments_overlap_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      ...forwarded(first6),
      { frame: first6, verdict: 'drop fragment_overlap' },
      { frame: fragments(dns6, datagram, [16, 32])[1]!, verdict: 'drop fragment_overlap' },
      ...forwarded(second6, third6),
    ],
  },
  {
    name: 'fragments_tiny',
    sentence: 'RFC 1858: fragments that cut a TCP header, and those that begin in one',
    steps: [
      { frame: fragments(dns, segment, [16])[0]!, verdict: 'drop fragment_tiny' },
      { frame: fragments(dns, segment, [16])[1]!, verdict: 'drop fragment_tiny' },
      { frame: fragments(dns, segment, [8])[1]!, verdict: 'drop fragment_tiny' },
      { frame: fragments(dns6, segment, [16])[0]!, verdict: 'drop fragment_tiny' },
      { frame: fragments(dns6, segment, [8])[1]!, verdict: 'drop fragment_tiny' },
    ],
  },
  {
    name: 'fragments_refused',
    sentence: 'what a first fragment is denied, the others are, too',
    steps: [
      ...fragments(dns, udp({ sourcePort: CLIENT_PORT, destinationPort: 54, payload: LONG }), [24, 48]).map(
        (frame, index) => ({ frame, verdict: index === 0 ? 'drop closed_port' : 'drop fragment' }),
      ),
    ],
  },
  {
    name: 'fragments_timeout',
    sentence: 'a fragment waits 2 s for its first one and no longer; the next of that identification begin anew',
    steps: [
      { frame: second, verdict: 'hold' },
      { frame: first, verdict: toServer, afterMs: 2000 },
      ...forwarded(second, third),
    ],
  },
  {
    name: 'fragments_other',
    sentence: 'fragments of an echo request are dropped: nothing is put together here',
    steps: [{ frame: fragments(dns, icmp(4, 8, new Uint8Array(100)), [48])[0]!, verdict: 'drop fragment' }],
  },
  {
    name: 'fragments_bad_length',
    sentence: 'a fragment that is not the last and no multiple of 8 octets long is none',
    steps: [
      { frame: client('10.1.0.100', { ...syn, payload: 'odd' }, { fragment: 0x2000 }), verdict: 'drop bad_header' },
    ],
  },
  {
    name: 'fragments_too_big',
    sentence: "a later fragment that does not fit the members' link is dropped, for nobody may be told about it",
    mtus: { server: 68 },
    steps: [
      ...forwarded(fragments(dns, datagram, [24])[0]!),
      { frame: fragments(dns, datagram, [24])[1]!, verdict: 'drop oversized' },
    ],
  },
  {
    name: 'fragments_standby',
    sentence: 'a standby unit forwards no fragment',
    role: 'standby',
    steps: [
      { frame: first, verdict: 'drop standby' },
      { frame: second, verdict: 'drop fragment' },
    ],
  },
];
