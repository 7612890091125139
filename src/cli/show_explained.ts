/** A replayed frame for people: what it is, what was decided and why, what was changed. Pure. */

import type { ExplainedFrame } from '../replay/explain.js';
import type { FrameFacts, PacketFacts } from '../wire/frame.js';
import { formatEndpoint } from '../wire/ip_address.js';

/**
 *   #1 0.000000 client: TCP 198.51.100.7:40000 > 10.1.0.100:80 [S] seq 1000, 0 octets
 *      forwarded to server: opened a connection of www to member 10.2.0.11:8080, by round-robin in pool web; syn_sent
 *      source 198.51.100.7:40000 to 10.2.0.1:1024; TTL 64 to 63
 */
export function showExplained(explained: ExplainedFrame): string {
  const { number, timeS, link, frame, connection, rewritten, sent, why } = explained;
  const state = connection?.state ? `; ${connection.state}` : '';
  const toward = why.virtualServer !== null && isUnserved(explained) ? ` (virtual server ${why.virtualServer})` : '';
  const changes = rewritten.map(({ what, from, to }) => `${what} ${from} to ${to}`);
  return [
    `#${number} ${timeS.toFixed(6)} ${link}: ${frameText(frame)}`,
    `   ${verdictText(explained)}: ${why.sentence}${toward}${state}`,
    ...(changes.length === 0 ? [] : [`   ${changes.join('; ')}`]),
    ...(sent === null ? [] : [`   sent: ${frameText(sent)}`]),
  ].join('\n');
}

/** What was forwarded names its virtual server in the sentence. */
function isUnserved({ verdict }: ExplainedFrame): boolean {
  return verdict === 'drop' || verdict === 'hold';
}

function verdictText({ verdict, why, sentOn, releasedBy }: ExplainedFrame): string {
  const now = releasedBy === null ? '' : `, held until #${releasedBy} came`;
  switch (verdict) {
    case 'forward':
      return `${why.code === 'answered' ? 'answered on' : 'forwarded to'} ${sentOn}${now}`;
    case 'drop':
      return `${why.code.replace('drop ', 'dropped, ')}${now}`;
    case 'punt':
      return 'left to the kernel';
    case 'hold':
      return 'held';
  }
}

// ----------------------------------------------------------------------------------------- what it is

const ETHER_TYPES: ReadonlyMap<number, string> = new Map([
  [0x0800, 'IPv4, header cut short'],
  [0x86dd, 'IPv6, header cut short'],
  [0x0806, 'ARP, cut short'],
]);

function frameText({ bytes, vlans, etherType, arp, packet, sourceMac, destinationMac }: FrameFacts): string {
  if (etherType === null) return `${bytes} octets, no Ethernet frame`;
  const tags = vlans.length === 0 ? '' : `VLAN ${vlans.join(' ')} `;
  if (packet !== null) return tags + packetText(packet);
  if (arp !== null) {
    const { operation, sender, target, senderMac } = arp;
    if (operation === 1) return `${tags}ARP who has ${target}, tell ${sender}`;
    return operation === 2 ? `${tags}ARP ${sender} is at ${senderMac}` : `${tags}ARP operation ${operation}`;
  }
  const what = ETHER_TYPES.get(etherType) ?? `EtherType 0x${etherType.toString(16).padStart(4, '0')}`;
  return `${tags}${what}, ${sourceMac} > ${destinationMac}, ${bytes} octets`;
}

function packetText(packet: PacketFacts): string {
  const { protocol, tcp, icmp, payloadBytes, fragment } = packet;
  const [source, destination] = [
    formatEndpoint(packet.source, packet.sourcePort ?? 0),
    formatEndpoint(packet.destination, packet.destinationPort ?? 0),
  ];
  const name = PROTOCOLS[protocol] ?? `IPv${packet.family} protocol ${protocol}`;
  const flags =
    tcp === null ? '' : ` [${tcp.flags}] seq ${tcp.sequence}${/A/.test(tcp.flags) ? ` ack ${tcp.acknowledgment}` : ''}`;
  const what = icmp === null ? '' : ` ${icmpText(protocol, icmp)}`;
  const part =
    fragment === null
      ? ''
      : `, fragment ${fragment.id} at ${fragment.offset}${fragment.more ? ', more follow' : ', the last'}`;
  return `${name} ${source} > ${destination}${flags}${what}, ${payloadBytes} octets${part}`;
}

/** IANA's numbers, of those that come by a load balancer. */
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'ICMP',
  2: 'IGMP',
  4: 'IPv4 in IP',
  6: 'TCP',
  17: 'UDP',
  41: 'IPv6 in IP',
  47: 'GRE',
  50: 'ESP',
  58: 'ICMPv6',
  112: 'VRRP',
  132: 'SCTP',
};

/** By type, or type and code: RFC 792, RFC 1191; RFC 4443, RFC 4861, RFC 3810. */
const ICMP: Readonly<Record<string, string>> = {
  '0': 'echo reply',
  '3/0': 'network unreachable',
  '3/1': 'host unreachable',
  '3/2': 'protocol unreachable',
  '3/3': 'port unreachable',
  '3/4': 'fragmentation needed',
  '3': 'unreachable',
  '5': 'redirect',
  '8': 'echo request',
  '11/1': 'reassembly time exceeded',
  '11': 'TTL exceeded',
  '12': 'parameter problem',
};
const ICMPV6: Readonly<Record<string, string>> = {
  '1/3': 'address unreachable',
  '1/4': 'port unreachable',
  '1': 'unreachable',
  '2': 'packet too big',
  '3/1': 'reassembly time exceeded',
  '3': 'hop limit exceeded',
  '4': 'parameter problem',
  '128': 'echo request',
  '129': 'echo reply',
  '130': 'MLD query',
  '131': 'MLD report',
  '133': 'router solicitation',
  '134': 'router advertisement',
  '135': 'neighbour solicitation',
  '136': 'neighbour advertisement',
  '137': 'redirect',
  '143': 'MLD report',
};

function icmpText(protocol: number, { type, code, target, quoted }: NonNullable<PacketFacts['icmp']>): string {
  const names = protocol === 1 ? ICMP : ICMPV6;
  const name = names[`${type}/${code}`] ?? names[type] ?? `type ${type} code ${code}`;
  const about = target === null ? '' : ` of ${target}`;
  return quoted === null ? `${name}${about}` : `${name} about (${packetText(quoted)})`;
}
