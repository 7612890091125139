/**
 * Judges captured frames: did any unit's kernel speak for Tandem's addresses? Pure.
 *
 * A unit's kernel must never send a RST or an ICMP error for them, nor answer ARP or neighbour solicitations: those
 * addresses are Tandem's alone and bear virtual MACs (RFC 9568 section 7.3). The capture's filter picks candidates;
 * the verdict is made here.
 */

/** ARP, ICMP of both families, and TCP segments with RST. IPv6 without extension headers: 6 TCP, 58 ICMPv6. */
export const suspectFilter =
  'arp or icmp or icmp6 or (ip and tcp[tcpflags] & tcp-rst != 0) or (ip6 and ip6[6] == 6 and ip6[53] & 4 != 0)';

export interface Suspicion {
  readonly kind: 'rst' | 'icmp error' | 'arp answer' | 'neighbour advertisement';
  readonly detail: string;
}

const ethernetBytes = 14;
const etherType = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
const protocol = { icmp: 1, tcp: 6, icmpv6: 58 } as const;
/** RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem. */
const icmpErrors: readonly number[] = [3, 4, 5, 11, 12];
const neighbourAdvertisement = 136;
const redirect = 137;

/**
 * Null if the frame is innocent. `ownMacs` belong to hosts that may say what they like (the client and the servers);
 * `addresses` are Tandem's.
 */
export function suspicion(frame: Buffer, ownMacs: readonly string[], addresses: readonly string[]): Suspicion | null {
  if (frame.length < ethernetBytes) return null;
  const source = macText(frame.subarray(6, 12));
  if (ownMacs.includes(source)) return null;
  const payload = frame.subarray(ethernetBytes);
  switch (frame.readUInt16BE(12)) {
    case etherType.arp:
      return suspectArp(payload, source, addresses);
    case etherType.ipv4:
      return suspectIpv4(payload, source);
    case etherType.ipv6:
      return suspectIpv6(payload, source, addresses);
    default:
      return null;
  }
}

/** RFC 826: sender hardware address at 8, sender protocol address at 14. Probes and gratuitous ARP count as answers. */
function suspectArp(packet: Buffer, source: string, addresses: readonly string[]): Suspicion | null {
  if (packet.length < 28) return null;
  const senderMac = macText(packet.subarray(8, 14));
  const sender = ipv4Text(packet.subarray(14, 18));
  if (!addresses.includes(sender) || (isVirtualMac(senderMac) && isVirtualMac(source))) return null;
  return { kind: 'arp answer', detail: `${sender} is at ${senderMac}, said ${source}` };
}

/** Gratuitous ARP from a virtual MAC: what a unit sends the moment it takes over. */
export function isAnnouncement(frame: Buffer, addresses: readonly string[]): boolean {
  if (frame.length < ethernetBytes + 28 || frame.readUInt16BE(12) !== etherType.arp) return false;
  const packet = frame.subarray(ethernetBytes);
  const sender = ipv4Text(packet.subarray(14, 18));
  return (
    addresses.includes(sender) &&
    sender === ipv4Text(packet.subarray(24, 28)) &&
    isVirtualMac(macText(packet.subarray(8, 14)))
  );
}

function suspectIpv4(packet: Buffer, source: string): Suspicion | null {
  if (packet.length < 20) return null;
  const header = ((packet[0] ?? 0) & 0x0f) * 4;
  const from = ipv4Text(packet.subarray(12, 16));
  if (packet[9] === protocol.tcp) return { kind: 'rst', detail: `from ${from}, ${source}` };
  const type = packet[header] ?? 0;
  if (packet[9] !== protocol.icmp || !icmpErrors.includes(type)) return null;
  return { kind: 'icmp error', detail: `type ${type} from ${from}, ${source}` };
}

function suspectIpv6(packet: Buffer, source: string, addresses: readonly string[]): Suspicion | null {
  if (packet.length < 41) return null;
  const from = ipv6Text(packet.subarray(8, 24));
  if (packet[6] === protocol.tcp) return { kind: 'rst', detail: `from ${from}, ${source}` };
  if (packet[6] !== protocol.icmpv6) return null;
  const message = packet.subarray(40);
  const type = message[0] ?? 0;
  // RFC 4443 section 2.1: errors are the types below 128.
  if (type < 128 || type === redirect) return { kind: 'icmp error', detail: `type ${type} from ${from}, ${source}` };
  if (type !== neighbourAdvertisement || message.length < 24) return null;
  const target = ipv6Text(message.subarray(8, 24));
  if (!addresses.some((each) => each.includes(':') && expandIpv6(each) === target) || isVirtualMac(source)) return null;
  return { kind: 'neighbour advertisement', detail: `${target} said by ${source}` };
}

/** RFC 9568 section 7.3: 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6. */
function isVirtualMac(mac: string): boolean {
  return mac.startsWith('00:00:5e:00:01:') || mac.startsWith('00:00:5e:00:02:');
}

function macText(bytes: Buffer): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function ipv4Text(bytes: Buffer): string {
  return [...bytes].join('.');
}

/** All eight groups, no zero left out: one text for one address. */
function ipv6Text(bytes: Buffer): string {
  return Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16)).join(':');
}

function expandIpv6(text: string): string {
  const [head = '', tail] = text.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - front.length - back.length;
  return [...front, ...Array<string>(zeros).fill('0'), ...back]
    .map((group) => parseInt(group, 16).toString(16))
    .join(':');
}
