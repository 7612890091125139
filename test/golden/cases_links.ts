/** Golden cases: VLAN tags, ARP and neighbour discovery of every kind. */

import { ipAddress } from '../../src/wire/ip_address.js';
import { arp, echoRequest, icmpMessage, ipFrame, join, word } from '../support/packets.js';
import {
  BROADCAST,
  type Case,
  CLIENT,
  CLIENT6,
  client,
  cut,
  GATEWAY,
  MEMBER1,
  MEMBER6,
  member,
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

/** 802.1Q control field of VLAN 7 with priority 5. */
const URGENT7 = 0xa007;
const SERVICE_TAG = 0x88a8;

/** A neighbour message with options of any kind: type 135 with what a test wants wrong. */
function oddSolicitation(how: {
  readonly code?: number;
  readonly target?: string;
  readonly options?: Uint8Array;
  readonly source?: string;
  readonly destination?: string;
  readonly to?: string;
  readonly checksum?: number;
}): Uint8Array {
  const { code = 0, target = 'fd01::100', options = new Uint8Array(0), checksum } = how;
  const body = join(new Uint8Array(4), ipAddress(target).octets, options);
  const to = how.to ?? '33:33:ff:00:01:00';
  const [source, destination] = [how.source ?? 'fd01::9', how.destination ?? 'ff02::1:ff00:100'];
  const fields = { from: GATEWAY, to, source, destination, ttl: 255 };
  return ipFrame(fields, fields, icmpMessage(6, 135, code, body, checksum));
}

const linkCases: readonly Case[] = [
  {
    name: 'vlan_ipv6',
    sentence: "IPv6: a client's tag is taken off towards the member and put back on the reply",
    steps: [
      { frame: client('fd01::100', syn, { vlan: [7] }), verdict: toServer },
      { frame: member('fd02::11', 'fd02::1', { flags: 'SA' }), verdict: toClient },
    ],
  },
  {
    name: 'vlan_routed',
    sentence: 'without SNAT, too',
    steps: [
      { frame: client('10.1.0.101', syn, { vlan: [7] }), verdict: toServer },
      { frame: member('10.2.0.12', CLIENT, { flags: 'SA', destinationPort: 40_000 }), verdict: toClient },
    ],
  },
  {
    name: 'vlan_udp',
    sentence: 'a datagram in a VLAN is answered there',
    steps: [
      { frame: query('10.1.0.100', {}, { vlan: [4094] }), verdict: toServer },
      { frame: reply('10.2.0.11', '10.2.0.1'), verdict: toClient },
    ],
  },
  {
    name: 'vlan_priority',
    sentence: "a member's own priority stays in the client's VLAN; the client's ends where its tag does",
    steps: [
      { frame: client('10.1.0.100', syn, { vlan: [URGENT7] }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }, { vlan: [0xc009] }), verdict: toClient },
    ],
  },
  {
    name: 'vlan_priority_tag',
    sentence: 'a tag with a priority and no VLAN is no VLAN: the reply has none',
    steps: [
      { frame: client('10.1.0.100', syn, { vlan: [0xa000] }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
    ],
  },
  {
    name: 'vlan_moved',
    sentence: 'a client that moves to another VLAN is answered there, and one that leaves it without a tag',
    steps: [
      { frame: client('10.1.0.100', syn, { vlan: [7] }), verdict: toServer },
      { frame: client('10.1.0.100', { flags: 'A' }, { vlan: [8] }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'PA', payload: 'in 8' }), verdict: toClient },
      { frame: client('10.1.0.100', { flags: 'A' }), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'PA', payload: 'in none' }), verdict: toClient },
    ],
  },
  {
    name: 'vlan_two_tags',
    sentence: 'two tags cannot be repeated on a reply: such a packet opens nothing and joins nothing',
    steps: [
      { frame: client('10.1.0.100', syn, { vlan: [100, 7] }), verdict: 'drop vlan_tags' },
      { frame: client('fd01::100', syn, { vlan: [100, 7] }), verdict: 'drop vlan_tags' },
      { frame: client('10.1.0.100', syn), verdict: toServer },
      { frame: client('10.1.0.100', { flags: 'A' }, { vlan: [100, 7] }), verdict: 'drop vlan_tags' },
    ],
  },
  {
    name: 'vlan_service_tag',
    sentence: 'an 802.1ad tag cannot be repeated either, alone or around an 802.1Q tag',
    steps: [
      { frame: client('10.1.0.100', syn, { vlan: [100], tagType: SERVICE_TAG }), verdict: 'drop vlan_tags' },
      { frame: client('10.1.0.100', syn, { vlan: [100, 7], tagType: SERVICE_TAG }), verdict: 'drop vlan_tags' },
    ],
  },
  {
    name: 'vlan_three_tags',
    sentence: 'what stands behind three tags is nothing that we know',
    steps: [{ frame: client('10.1.0.100', syn, { vlan: [1, 2, 3] }), verdict: 'punt' }],
  },
  {
    name: 'vlan_answers',
    sentence: 'answers go back with the tags of the question, however many: ARP, echo, a reset, hop limit',
    steps: [
      { frame: question({ vlan: [URGENT7] }, '10.1.0.9', '10.1.0.100'), verdict: toClient },
      { frame: question({ vlan: [100, 7], tagType: SERVICE_TAG }, '10.1.0.9', '10.1.0.100'), verdict: toClient },
      { frame: solicitation('fd01::100', { vlan: [7] }), verdict: toClient },
      { frame: packet({ source: CLIENT, destination: '10.1.0.100', vlan: [7] }, echoRequest(4)), verdict: toClient },
      { frame: packet({ source: CLIENT6, destination: 'fd01::100', vlan: [7] }, echoRequest(6)), verdict: toClient },
      { frame: client('10.1.0.101', { flags: 'A', acknowledgment: 9 }, { vlan: [7] }), verdict: toClient },
      { frame: client('fd01::101', { flags: 'S', destinationPort: 81 }, { vlan: [100, 7] }), verdict: toClient },
      { frame: client('fd01::100', syn, { vlan: [7], ttl: 1 }), verdict: toClient },
    ],
  },
  {
    name: 'vlan_too_big',
    sentence: 'a tag is no part of what has to fit the next link',
    mtus: { server: 1300 },
    steps: [
      { frame: client('10.1.0.100', syn, { vlan: [7] }), verdict: toServer },
      { frame: client('10.1.0.100', { flags: 'A', payload: 'x'.repeat(1260) }, { vlan: [7] }), verdict: toServer },
      { frame: client('10.1.0.100', { flags: 'A', payload: 'x'.repeat(1261) }, { vlan: [7] }), verdict: toClient },
    ],
  },
];

/** `operation` and addresses as given, in the sender's and the target's place. */
const arpFrame = (operation: 1 | 2, sender: string, target: string, to = BROADCAST) =>
  arp({ from: STRANGER, to }, { operation, sender, target });

const arpCases: readonly Case[] = [
  {
    name: 'arp_probe',
    sentence: 'a probe (RFC 5227) for an address of ours is answered, so that nobody takes it',
    steps: [{ frame: arpFrame(1, '0.0.0.0', '10.1.0.100'), verdict: toClient }],
  },
  {
    name: 'arp_announcement',
    sentence: 'who announces an address of ours is told whose it is',
    steps: [{ frame: arpFrame(1, '10.1.0.100', '10.1.0.100'), verdict: toClient }],
  },
  {
    name: 'arp_unicast',
    sentence: 'a host that asks our virtual MAC whether it is still there is answered',
    steps: [
      { frame: arpFrame(1, '10.1.0.9', '10.1.0.100', VIRTUAL4), verdict: toClient },
      { frame: arpFrame(1, '10.1.0.9', '10.1.0.77', VIRTUAL4), verdict: 'punt' },
    ],
  },
  {
    name: 'arp_replies',
    sentence: "ARP replies are the kernel's: to our virtual MAC, and unasked to everybody",
    steps: [
      { frame: arpFrame(2, '10.1.0.9', '10.1.0.1', VIRTUAL4), verdict: 'punt' },
      { frame: arpFrame(2, '10.1.0.9', '10.1.0.9'), verdict: 'punt' },
      { frame: arpFrame(2, '10.1.0.100', '10.1.0.100'), verdict: 'punt' },
    ],
  },
  {
    name: 'arp_other_kinds',
    sentence: 'ARP of other hardware, protocols or operations, and one that is cut short, are not answered',
    steps: [
      { frame: withByte(arpFrame(1, '10.1.0.9', '10.1.0.100'), 15, 6), verdict: 'punt' },
      { frame: withByte(arpFrame(1, '10.1.0.9', '10.1.0.100'), 16, 9), verdict: 'punt' },
      { frame: withByte(arpFrame(1, '10.1.0.9', '10.1.0.100'), 18, 8), verdict: 'punt' },
      { frame: withByte(arpFrame(1, '10.1.0.9', '10.1.0.100'), 21, 3), verdict: 'punt' },
      { frame: cut(arpFrame(1, '10.1.0.9', '10.1.0.100'), 41), verdict: 'punt' },
    ],
  },
  {
    name: 'arp_padded',
    sentence: 'a question padded to the least Ethernet frame is answered by one as long',
    steps: [{ frame: join(arpFrame(1, '10.1.0.9', '10.1.0.100'), new Uint8Array(18)), verdict: toClient }],
  },
  {
    name: 'arp_own',
    sentence: 'a question of our own that comes back, or the peer’s, is not answered',
    steps: [{ frame: question({ from: VIRTUAL4 }, '10.1.0.1', '10.1.0.100'), verdict: 'punt' }],
  },
];

const neighbourCases: readonly Case[] = [
  {
    name: 'neighbour_server',
    sentence: "a member's solicitation for the floating address on its link is answered, for one on the other link not",
    steps: [
      {
        frame: solicitation('fd02::1', { from: MEMBER6, mac: MEMBER6, source: 'fd02::11' }),
        verdict: toServer,
      },
      {
        frame: solicitation('fd01::1', { from: MEMBER6, mac: MEMBER6, source: 'fd02::11' }),
        verdict: 'drop not_asked',
      },
    ],
  },
  {
    name: 'neighbour_unicast',
    sentence: 'reachability: a solicitation to our virtual MAC is answered, with the option and without (RFC 4861)',
    steps: [
      { frame: solicitation('fd01::1', { to: VIRTUAL6, destination: 'fd01::1' }), verdict: toClient },
      { frame: solicitation('fd01::1', { to: VIRTUAL6, destination: 'fd01::1', mac: null }), verdict: toClient },
      { frame: solicitation('fd01::77', { to: VIRTUAL6, destination: 'fd01::77' }), verdict: 'drop transit' },
    ],
  },
  {
    name: 'neighbour_options',
    sentence: 'options that we do not know are passed over',
    steps: [
      {
        frame: oddSolicitation({
          options: join(Uint8Array.of(14, 1, 1, 2, 3, 4, 5, 6), Uint8Array.of(1, 1, 2, 0, 0, 0, 12, 1)),
        }),
        verdict: toClient,
      },
    ],
  },
  {
    name: 'neighbour_invalid',
    sentence: 'an invalid solicitation (RFC 4861 section 7.1.1) is not answered: code, target, option, checksum',
    steps: [
      { frame: oddSolicitation({ code: 1 }), verdict: 'punt' },
      { frame: oddSolicitation({ target: 'ff02::1' }), verdict: 'punt' },
      { frame: oddSolicitation({ options: new Uint8Array(8) }), verdict: 'punt' },
      { frame: oddSolicitation({ checksum: 0x1234 }), verdict: 'punt' },
      {
        frame: oddSolicitation({ checksum: 0x1234, to: VIRTUAL6, destination: 'fd01::100' }),
        verdict: 'drop bad_header',
      },
      // A probe for duplicates: no option, and to the solicited-node group.
      { frame: oddSolicitation({ source: '::', options: Uint8Array.of(1, 1, 2, 0, 0, 0, 12, 1) }), verdict: 'punt' },
      { frame: oddSolicitation({ source: '::', destination: 'ff02::1' }), verdict: 'punt' },
    ],
  },
  {
    name: 'neighbour_other',
    sentence:
      "advertisements, router solicitations and group reports are the kernel's; to our virtual MAC they are nobody's",
    steps: [
      {
        frame: packet(
          { source: 'fd01::9', destination: 'ff02::1', to: '33:33:00:00:00:01', ttl: 255 },
          icmpMessage(6, 136, 0, join(new Uint8Array(4), ipAddress('fd01::9').octets)),
        ),
        verdict: 'punt',
      },
      {
        frame: packet(
          { source: 'fd01::9', destination: 'ff02::2', to: '33:33:00:00:00:02', ttl: 255 },
          icmpMessage(6, 133, 0, new Uint8Array(4)),
        ),
        verdict: 'punt',
      },
      {
        frame: packet(
          { source: 'fd01::9', destination: 'fd01::1', ttl: 255 },
          icmpMessage(6, 136, 0, join(new Uint8Array(4), ipAddress('fd01::9').octets)),
        ),
        verdict: 'drop icmp',
      },
    ],
  },
  {
    name: 'mld_query',
    sentence: "a multicast listener query is the kernel's, and its hop limit must be 1 for it to count (RFC 3810)",
    steps: [1, 64].map((ttl) => ({
      frame: packet(
        { source: 'fe80::9', destination: 'ff02::1', to: '33:33:00:00:00:01', ttl },
        icmpMessage(6, 130, 0, join(word(10_000), new Uint8Array(18))),
      ),
      verdict: 'punt',
    })),
  },
  {
    name: 'echo_other_link',
    sentence: "a member that pings a virtual address of the clients' link is answered",
    steps: [
      {
        frame: packet({ from: MEMBER1, source: '10.2.0.11', destination: '10.1.0.100' }, echoRequest(4)),
        verdict: toServer,
      },
      {
        frame: packet({ from: MEMBER6, source: 'fd02::11', destination: 'fd01::100' }, echoRequest(6)),
        verdict: toServer,
      },
    ],
  },
];

export const localCases: readonly Case[] = [...linkCases, ...arpCases, ...neighbourCases];
