/** Golden cases: fragments over the other family, of replies, of what is refused, at their bounds, and malformed. */

import { ipAddress } from '../../src/wire/ip_address.js';
import { behind, icmp, other, tcp, udp } from '../support/packets.js';
import {
  type Case,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  client,
  fragments,
  MEMBER1,
  MEMBER6,
  packet,
  query,
  SNAT,
  type Step,
  toClient,
  toServer,
} from './network.js';

const LONG = 'a question that is cut in three: who is it, where are they, and why?';
const datagram = (destinationPort = 53, payload: string = LONG) =>
  udp({ sourcePort: CLIENT_PORT, destinationPort, payload });
const segment = (flags = 'S') => tcp({ sourcePort: CLIENT_PORT, destinationPort: 80, flags, payload: LONG });
const answer = udp({ sourcePort: 53, destinationPort: SNAT, payload: LONG });
const routedAnswer = udp({ sourcePort: 53, destinationPort: CLIENT_PORT, payload: LONG });
const dns = { source: CLIENT, destination: '10.1.0.100' } as const;
const dns6 = { source: CLIENT6, destination: 'fd01::100' } as const;
const fromMember = { from: MEMBER1, source: '10.2.0.11', destination: '10.2.0.1' } as const;
const fromMember6 = { from: MEMBER6, source: 'fd02::11', destination: 'fd02::1' } as const;

const all = (frames: readonly Uint8Array[], verdict: string): Step[] => frames.map((frame) => ({ frame, verdict }));
const opened: Step = { frame: query('10.1.0.100'), verdict: toServer };
const opened6: Step = { frame: query('fd01::100'), verdict: toServer };

function reversed(frames: readonly Uint8Array[], verdict: string): Step[] {
  const [first, ...later] = frames;
  const released = Array<string>(frames.length).fill(verdict).join(', ');
  return [...all(later.toReversed(), 'hold'), { frame: first!, verdict: released }];
}

const pass: readonly Case[] = [
  {
    name: 'fragments_mixed_ipv6',
    sentence: 'IPv6: the last fragment first, then in order',
    steps: (() => {
      const [first, second, third] = fragments(dns6, datagram(), [24, 48]);
      return [
        { frame: third!, verdict: 'hold' },
        { frame: first!, verdict: `${toServer}, ${toServer}` },
        { frame: second!, verdict: toServer },
      ];
    })(),
  },
  {
    name: 'fragments_middle_last',
    sentence: 'the middle fragment last',
    steps: (() => {
      const [first, second, third] = fragments(dns, datagram(), [24, 48]);
      return all([first!, third!, second!], toServer);
    })(),
  },
  {
    name: 'fragments_reply_reversed',
    sentence: "a member's answer in fragments that come in reverse, both families",
    steps: [
      opened,
      ...reversed(fragments(fromMember, answer, [24, 48]), toClient),
      opened6,
      ...reversed(fragments(fromMember6, answer, [24, 48]), toClient),
    ],
  },
  {
    name: 'fragments_tcp_ipv6',
    sentence: 'IPv6: a SYN in fragments opens a connection, and what comes then belongs to it',
    steps: [
      ...all(fragments(dns6, segment(), [24, 48]), toServer),
      { frame: client('fd01::100', { flags: 'A', sequence: 1070, acknowledgment: 1 }), verdict: toServer },
    ],
  },
  {
    name: 'fragments_vlan_ipv6',
    sentence: "IPv6: a member's answer in fragments goes into the client's VLAN; fragments in a VLAN leave it",
    steps: [
      ...all(fragments({ ...dns6, vlan: [7] }, datagram(), [24]), toServer),
      ...all(fragments(fromMember6, answer, [24]), toClient),
    ],
  },
  {
    name: 'fragments_routed',
    sentence: 'without SNAT, both ways',
    steps: [
      ...all(fragments({ ...dns, destination: '10.1.0.101' }, datagram(), [24]), toServer),
      ...all(fragments({ ...fromMember, destination: CLIENT }, routedAnswer, [24]), toClient),
    ],
  },
  {
    name: 'fragments_routed_ipv6',
    sentence: 'the same over IPv6',
    steps: [
      ...all(fragments({ ...dns6, destination: 'fd01::101' }, datagram(), [24]), toServer),
      ...all(fragments({ ...fromMember6, destination: CLIENT6 }, routedAnswer, [24]), toClient),
    ],
  },
  {
    name: 'fragments_many',
    sentence: 'nine fragments in order, the least of them 8 octets',
    steps: all(fragments(dns, datagram(), [8, 16, 24, 32, 40, 48, 56, 64]), toServer),
  },
  {
    name: 'fragments_options',
    sentence: 'fragments with IPv4 options, of IPv6 behind a hop-by-hop header',
    steps: [
      ...all(fragments({ ...dns, options: Uint8Array.of(0x94, 4, 0, 0) }, datagram(), [24]), toServer),
      ...all(
        [0, 24].map((begin) => {
          const part = datagram()
            .bytes(v6(CLIENT6), v6('fd01::100'))
            .subarray(begin, begin === 0 ? 24 : undefined);
          const header = Uint8Array.of(17, 0, 0, begin | (begin === 0 ? 1 : 0), 0, 0, 0, 9);
          const hops = { protocol: 0, bytes: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0) };
          return packet(dns6, behind([hops, { protocol: 44, bytes: header }], other(17, part)));
        }),
        toServer,
      ),
    ],
  },
  {
    name: 'fragments_interleaved',
    sentence: 'fragments of two packets between each other are kept apart by their addresses',
    steps: (() => {
      const mine = fragments(dns, datagram(), [24]);
      const yours = fragments({ ...dns, source: '198.51.100.8' }, datagram(), [24]);
      return [
        { frame: yours[1]!, verdict: 'hold' },
        { frame: mine[0]!, verdict: toServer },
        { frame: mine[1]!, verdict: toServer },
        { frame: yours[0]!, verdict: `${toServer}, ${toServer}` },
      ];
    })(),
  },
  {
    name: 'fragments_no_checksum',
    sentence: 'a datagram in fragments without a checksum gets none',
    steps: all(
      fragments(dns, udp({ sourcePort: CLIENT_PORT, destinationPort: 53, payload: LONG, checksum: 0 }), [24]),
      toServer,
    ),
  },
];

const refused: readonly Case[] = [
  {
    name: 'fragments_refused_ipv6',
    sentence: 'IPv6: what a first fragment is denied, the others are, too',
    steps: fragments(dns6, datagram(54), [24, 48]).map((frame, index) => ({
      frame,
      verdict: index === 0 ? 'drop closed_port' : 'drop fragment',
    })),
  },
  {
    name: 'fragments_unknown',
    sentence: 'a segment in fragments of no known connection is dropped whole',
    steps: fragments(dns, segment('PA'), [24, 48]).map((frame, index) => ({
      frame,
      verdict: index === 0 ? 'drop unknown' : 'drop fragment',
    })),
  },
  {
    name: 'fragments_held_refused',
    sentence: 'what waited for a first fragment goes when that is denied, and no frame is sent',
    steps: (() => {
      const [first, second, third] = fragments(dns, datagram(54), [24, 48]);
      return [...all([third!, second!], 'hold'), { frame: first!, verdict: 'drop closed_port' }];
    })(),
  },
  {
    name: 'fragments_held_bound',
    sentence: 'eight fragments wait for their first one and no more; it releases them',
    steps: (() => {
      const [first, ...later] = fragments(dns, datagram(53, LONG.repeat(2)), [16, 24, 32, 40, 48, 56, 64, 72, 80, 88]);
      return [
        ...all(later.slice(0, 8), 'hold'),
        ...all(later.slice(8), 'drop fragments_held_full'),
        { frame: first!, verdict: Array<string>(9).fill(toServer).join(', ') },
      ];
    })(),
  },
  {
    name: 'fragments_timeout_ipv6',
    sentence: 'IPv6: a fragment waits 2 s for its first one and no longer',
    steps: (() => {
      const [first, second, third] = fragments(dns6, datagram(), [24, 48]);
      return [
        { frame: second!, verdict: 'hold' },
        { frame: first!, verdict: toServer, afterMs: 2_000 },
        ...all([second!, third!], toServer),
      ];
    })(),
  },
  {
    name: 'fragments_late',
    sentence: 'a fragment that comes 2 s after its first one waits in vain: it is of another packet',
    steps: (() => {
      const [first, second] = fragments(dns, datagram(), [24]);
      return [
        { frame: first!, verdict: toServer },
        { frame: second!, verdict: 'hold', afterMs: 2_001 },
      ];
    })(),
  },
  {
    name: 'fragments_ttl',
    sentence: 'nobody is told about a later fragment whose TTL has run out (RFC 1812); about a first one he is',
    steps: [
      { frame: fragments({ ...dns, ttl: 1 }, datagram(), [24])[0]!, verdict: toClient },
      { frame: fragments({ ...dns6 }, datagram(), [24])[0]!, verdict: toServer },
      { frame: fragments({ ...dns6, ttl: 1 }, datagram(), [24])[1]!, verdict: 'drop ttl_expired' },
    ],
  },
  {
    name: 'fragments_too_big_ipv6',
    sentence: "IPv6: a first fragment that does not fit the members' link: its sender is told",
    mtus: { server: 1280 },
    steps: fragments(dns6, datagram(53, 'x'.repeat(1500)), [1280]).map((frame, index) => ({
      frame,
      verdict: index === 0 ? toClient : 'drop fragment',
    })),
  },
  {
    name: 'fragments_other_later',
    sentence: 'fragments of an echo request are dropped, the later ones, too: nothing is put together here',
    steps: [
      { frame: fragments(dns6, icmp(6, 128, new Uint8Array(100)), [48])[0]!, verdict: 'drop fragment' },
      { frame: fragments(dns6, icmp(6, 128, new Uint8Array(100)), [48])[1]!, verdict: 'drop fragment' },
      { frame: fragments(dns, icmp(4, 8, new Uint8Array(100)), [48])[1]!, verdict: 'drop fragment' },
    ],
  },
  {
    name: 'fragments_malformed',
    sentence: 'empty fragments, those beyond 65535 octets, and odd lengths amid a packet are none',
    steps: [
      { frame: packet({ ...dns, fragment: 0x2003 }, other(17, new Uint8Array(0))), verdict: 'drop bad_header' },
      { frame: packet({ ...dns, fragment: 0x1fff }, other(17, new Uint8Array(64))), verdict: 'drop bad_header' },
      { frame: packet({ ...dns, fragment: 0x2003 }, other(17, new Uint8Array(12))), verdict: 'drop bad_header' },
      {
        frame: packet(dns6, other(44, Uint8Array.of(17, 0, 0, 0x19, 0, 0, 0, 9, 1, 2, 3))),
        verdict: 'drop bad_header',
      },
      { frame: packet(dns6, other(44, Uint8Array.of(17, 0, 0, 0x19))), verdict: 'drop truncated' },
    ],
  },
  {
    name: 'fragments_vlan_tags',
    sentence: 'fragments with two tags open nothing',
    steps: fragments({ ...dns, vlan: [100, 7] }, datagram(), [24]).map((frame, index) => ({
      frame,
      verdict: index === 0 ? 'drop vlan_tags' : 'drop fragment',
    })),
  },
  {
    name: 'fragments_standby_ipv6',
    sentence: 'IPv6: a standby unit forwards no fragment',
    role: 'standby',
    steps: fragments(dns6, datagram(), [24]).map((frame, index) => ({
      frame,
      verdict: index === 0 ? 'drop standby' : 'drop fragment',
    })),
  },
];

function v6(text: string): Uint8Array {
  return ipAddress(text).octets;
}

export const moreFragmentCases: readonly Case[] = [...pass, ...refused];
