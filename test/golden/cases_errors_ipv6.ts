/** Golden cases: what cases_errors.ts has for IPv4, over IPv6; and what either family is missing there. */

import { behind, echoRequest, join, other, type Transport, udp } from '../support/packets.js';
import {
  type Case,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  client,
  GATEWAY,
  handshake,
  handshake6,
  icmpError,
  MEMBER1,
  MEMBER6,
  member,
  packet,
  query,
  quoted,
  ROUTER,
  SNAT,
  type Step,
  segment,
  syn,
  toClient,
  toServer,
} from './network.js';

const toMember = quoted('10.2.0.1', '10.2.0.11', segment(SNAT, 8080));
const toMember6 = quoted('fd02::1', 'fd02::11', segment(SNAT, 8080));
const toRouted6 = quoted(CLIENT6, 'fd02::11', segment(CLIENT_PORT, 8080));
const backToClient = quoted('10.1.0.100', CLIENT, segment(80, CLIENT_PORT));
const backToClient6 = quoted('fd01::100', CLIENT6, segment(80, CLIENT_PORT));
const askedMember = (fields = {}) => udp({ sourcePort: SNAT, destinationPort: 53, payload: 'who is it?', ...fields });
const answeredClient = udp({ sourcePort: 53, destinationPort: CLIENT_PORT, payload: 'it is me' });

const fromRouter = { from: ROUTER, source: '10.2.0.254', destination: '10.2.0.1' } as const;
const fromRouter6 = { from: ROUTER, source: 'fd02::fe', destination: 'fd02::1' } as const;
const fromBeyond = { from: GATEWAY, source: '192.0.2.7', destination: '10.1.0.100', ttl: 58 } as const;
const fromBeyond6 = { from: GATEWAY, source: '2001:db8:9::7', destination: 'fd01::100', ttl: 58 } as const;

const opened6: Step = { frame: client('fd01::100', syn), verdict: toServer };
const tell = (link: Parameters<typeof packet>[0], error: Transport, verdict = toClient): Step => ({
  frame: packet(link, error),
  verdict,
});
const HOP_BY_HOP = { protocol: 0, bytes: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0) };

export const errorCases6: readonly Case[] = [
  {
    name: 'icmpv6_port_unreachable',
    sentence: 'IPv6: a member without a listener: the client hears it from the virtual address',
    steps: [
      { frame: query('fd01::100'), verdict: toServer },
      tell(
        { from: MEMBER6, source: 'fd02::11', destination: 'fd02::1' },
        icmpError(6, 1, 4, 0, quoted('fd02::1', 'fd02::11', askedMember())),
      ),
    ],
  },
  {
    name: 'icmpv6_vlan',
    sentence: "IPv6: an error goes the connection's way: into the client's VLAN",
    steps: [
      { frame: client('fd01::100', syn, { vlan: [7] }), verdict: toServer },
      tell(fromRouter6, icmpError(6, 2, 0, 1400, toMember6)),
    ],
  },
  {
    name: 'icmpv6_routed',
    sentence: 'IPv6: without SNAT an error about what the client sent is addressed to the client, and is ours',
    steps: [
      { frame: client('fd01::101', syn), verdict: toServer },
      tell({ ...fromRouter6, destination: CLIENT6 }, icmpError(6, 2, 0, 1400, toRouted6)),
    ],
  },
  {
    name: 'icmpv6_routed_to_member',
    sentence: 'IPv6: without SNAT the member sees the router that noticed',
    steps: [
      { frame: client('fd01::101', syn), verdict: toServer },
      tell(
        { ...fromBeyond6, destination: 'fd01::101' },
        icmpError(6, 2, 0, 1300, quoted('fd01::101', CLIENT6, segment(80, CLIENT_PORT))),
        toServer,
      ),
    ],
  },
  {
    name: 'icmpv6_kinds_to_member',
    sentence: "IPv6: unreachable, time exceeded and parameter problem on the clients' side reach the member",
    steps: [
      opened6,
      tell(fromBeyond6, icmpError(6, 1, 0, 0, backToClient6), toServer),
      tell(fromBeyond6, icmpError(6, 3, 0, 0, backToClient6.subarray(0, 48)), toServer),
      tell(fromBeyond6, icmpError(6, 4, 0, 6, backToClient6), toServer),
    ],
  },
  {
    name: 'icmp_kinds_to_member',
    sentence: "unreachable, time exceeded and parameter problem on the clients' side reach the member",
    steps: [
      ...handshake,
      ...[0, 1, 2, 3, 9, 13].map((code) => tell(fromBeyond, icmpError(4, 3, code, 0, backToClient), toServer)),
      tell(fromBeyond, icmpError(4, 11, 0, 0, backToClient), toServer),
      tell(fromBeyond, icmpError(4, 11, 1, 0, backToClient), toServer),
      tell(fromBeyond, icmpError(4, 12, 0, 0x14000000, backToClient), toServer),
    ],
  },
  {
    name: 'icmp_udp_to_member',
    sentence: 'a client that no longer listens: the member that answered it is told, both families',
    steps: [
      { frame: query('10.1.0.100'), verdict: toServer },
      tell(
        { from: GATEWAY, source: CLIENT, destination: '10.1.0.100' },
        icmpError(4, 3, 3, 0, quoted('10.1.0.100', CLIENT, answeredClient)),
        toServer,
      ),
      { frame: query('fd01::100'), verdict: toServer },
      tell(
        { from: GATEWAY, source: CLIENT6, destination: 'fd01::100' },
        icmpError(6, 1, 4, 0, quoted('fd01::100', CLIENT6, answeredClient)),
        toServer,
      ),
    ],
  },
  {
    name: 'icmp_outer_options',
    sentence: 'an error that comes with IPv4 options, or behind an IPv6 extension header, is translated with them',
    steps: [
      ...handshake,
      opened6,
      tell({ ...fromRouter, options: Uint8Array.of(0x94, 4, 0, 0) }, icmpError(4, 3, 4, 1400, toMember)),
      tell(fromRouter6, behindHopByHop(icmpError(6, 2, 0, 1400, toMember6))),
    ],
  },
  {
    name: 'icmpv6_quoted_extension',
    sentence: 'IPv6: the quoted packet has extension headers',
    steps: [
      opened6,
      tell(
        fromRouter6,
        icmpError(6, 2, 0, 1400, quoted('fd02::1', 'fd02::11', behind([HOP_BY_HOP], segment(SNAT, 8080)))),
      ),
    ],
  },
  {
    name: 'icmpv6_odd_quote',
    sentence: 'IPv6: a quote of an odd number of octets, and one that ends before the checksum',
    steps: [
      opened6,
      tell(fromRouter6, icmpError(6, 2, 0, 1400, toMember6.subarray(0, 61))),
      tell(fromRouter6, icmpError(6, 2, 0, 1400, toMember6.subarray(0, 53))),
    ],
  },
  {
    name: 'icmp_padded',
    sentence: 'padding behind an error is no part of it',
    steps: [
      ...handshake,
      {
        frame: join(packet(fromRouter, icmpError(4, 3, 4, 1400, toMember.subarray(0, 28))), new Uint8Array(6)),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'icmpv6_goes_on',
    sentence: 'IPv6: an error ends nothing: the connection goes on behind it',
    steps: [
      ...handshake6,
      tell(fromRouter6, icmpError(6, 1, 0, 0, toMember6)),
      { frame: member('fd02::11', 'fd02::1', { flags: 'PA', payload: 'still here' }), verdict: toClient },
    ],
  },
  {
    name: 'icmp_refreshes_nothing',
    sentence: 'RFC 5508: an error keeps no connection alive',
    steps: [
      ...handshake,
      { ...tell(fromRouter, icmpError(4, 3, 1, 0, toMember)), afterMs: 250_000 },
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_009 }), verdict: toServer, afterMs: 60_000 },
      tell(fromRouter, icmpError(4, 3, 1, 0, toMember), 'drop icmp_unknown'),
    ],
  },
  {
    name: 'icmp_last_hop',
    sentence: 'an error from elsewhere does not move the client: replies still go to its own last hop',
    steps: [
      ...handshake,
      tell({ ...fromBeyond, from: '02:00:00:00:0c:99' }, icmpError(4, 3, 4, 1300, backToClient), toServer),
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'PA', payload: 'same way' }), verdict: toClient },
    ],
  },
  {
    name: 'icmpv6_about_nothing',
    sentence: 'IPv6: errors about no known connection, later fragments, echoes and errors are dropped',
    steps: [
      opened6,
      tell(fromRouter6, icmpError(6, 1, 0, 0, quoted('fd02::1', 'fd02::11', segment(9, 8080))), 'drop icmp_unknown'),
      tell(
        fromRouter6,
        icmpError(
          6,
          2,
          0,
          1280,
          quoted('fd02::1', 'fd02::11', other(44, join(Uint8Array.of(6, 0, 0, 9, 0, 0, 0, 9), new Uint8Array(16)))),
        ),
        'drop icmp_unknown',
      ),
      tell(fromRouter6, icmpError(6, 1, 0, 0, quoted('fd02::1', 'fd02::11', echoRequest(6))), 'drop icmp_unknown'),
      tell(
        fromRouter6,
        icmpError(6, 1, 0, 0, quoted('fd02::1', 'fd02::11', icmpError(6, 1, 0, 0, toMember6))),
        'drop icmp_unknown',
      ),
    ],
  },
  {
    name: 'icmp_about_errors',
    sentence: 'errors about an echo or another error are dropped',
    steps: [
      ...handshake,
      tell(fromRouter, icmpError(4, 3, 1, 0, quoted('10.2.0.1', '10.2.0.11', echoRequest(4))), 'drop icmp_unknown'),
      tell(
        fromRouter,
        icmpError(4, 3, 1, 0, quoted('10.2.0.1', '10.2.0.11', icmpError(4, 3, 1, 0, toMember))),
        'drop icmp_unknown',
      ),
    ],
  },
  {
    name: 'icmpv6_broken',
    sentence: 'IPv6: errors that quote too little, another family, or whose own checksum is wrong, are dropped',
    steps: [
      opened6,
      tell(fromRouter6, icmpError(6, 2, 0, 1400, toMember6.subarray(0, 47)), 'drop truncated'),
      tell(fromRouter6, icmpError(6, 2, 0, 1400, toMember6.subarray(0, 39)), 'drop truncated'),
      tell(fromRouter6, icmpError(6, 2, 0, 1400, toMember6, 0x1234), 'drop bad_header'),
      tell(fromRouter6, icmpError(6, 2, 0, 1400, toMember), 'drop bad_header'),
      tell({ ...fromRouter6, ttl: 1 }, icmpError(6, 2, 0, 1400, toMember6), 'drop ttl_expired'),
    ],
  },
  {
    name: 'icmp_truncated',
    sentence: 'an error shorter than its header, and one that quotes nothing or not IPv4, is dropped',
    steps: [
      ...handshake,
      tell(
        { from: MEMBER1, source: '10.2.0.11', destination: '10.2.0.1' },
        other(1, Uint8Array.of(3, 4, 0, 0)),
        'drop truncated',
      ),
      tell(fromRouter, icmpError(4, 3, 4, 1400, new Uint8Array(0)), 'drop truncated'),
      tell(fromRouter, icmpError(4, 3, 4, 1400, toMember6), 'drop bad_header'),
    ],
  },
  {
    name: 'icmpv6_standby',
    sentence: 'IPv6: a standby unit forwards no error',
    role: 'standby',
    steps: [tell(fromRouter6, icmpError(6, 2, 0, 1400, toMember6), 'drop standby')],
  },
  {
    name: 'too_big_for_client_ipv6',
    sentence: "IPv6: a packet that is too long for the clients' link is the member's to shorten",
    mtus: { client: 1300 },
    steps: [
      ...handshake6,
      { frame: member('fd02::11', 'fd02::1', { flags: 'A', payload: 'x'.repeat(1240) }), verdict: toClient },
      { frame: member('fd02::11', 'fd02::1', { flags: 'A', payload: 'x'.repeat(1241) }), verdict: toServer },
    ],
  },
  {
    name: 'too_big_udp',
    sentence: "UDP that is too long for the members' link: its sender is told, both families",
    mtus: { server: 1300 },
    steps: [
      { frame: query('10.1.0.100', { payload: 'x'.repeat(1273) }), verdict: toClient },
      { frame: query('10.1.0.100', { payload: 'x'.repeat(1272) }), verdict: toServer },
      { frame: query('10.1.0.100', { payload: 'x'.repeat(1273) }), verdict: toClient },
      { frame: query('fd01::100', { payload: 'x'.repeat(1252) }), verdict: toServer },
      { frame: query('fd01::100', { payload: 'x'.repeat(1253) }), verdict: toClient },
    ],
  },
  {
    name: 'too_big_expired',
    sentence: 'TTL is looked at before length, as a router does',
    mtus: { server: 1300 },
    steps: [
      ...handshake,
      { frame: client('10.1.0.100', { flags: 'A', payload: 'x'.repeat(1400) }, { ttl: 1 }), verdict: toClient },
    ],
  },
];

function behindHopByHop(error: Transport): Transport {
  return behind([HOP_BY_HOP], error);
}
