/**
 * Frames that tell a link where an address is now: gratuitous ARP (RFC 5227 section 2.3), unsolicited
 * neighbour advertisement (RFC 4861 section 7.2.6), and the MLDv2 report (RFC 3810 section 5.2) that keeps
 * snooping bridges sending neighbour solicitations here. Whole Ethernet frames, untagged, with the virtual
 * MAC as their source, so that every bridge on the way learns it.
 */

import { foldChecksum, sumPseudoHeader, sumWords } from './bytes.js';

const ETHERNET_BYTES = 14;
const IPV6_BYTES = 40;
const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const ICMPV6 = 58;
const HOP_BY_HOP = 0;

/** An ARP frame is padded to the least that Ethernet carries; some drivers send shorter frames as they are. */
const ETHERNET_BYTES_MIN = 60;

/**
 * RFC 5227 section 2.3: an ARP request in which sender and target are both the announced address. A request
 * and not a reply, as keepalived sends it: every host with an entry updates it from a request (RFC 826), and
 * some ignore replies they did not ask for.
 */
export function gratuitousArp(mac: Uint8Array, address: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES_MIN);
  const view = new DataView(frame.buffer);
  frame.fill(0xff, 0, 6);
  frame.set(mac, 6);
  view.setUint16(12, ETHERTYPE_ARP);
  view.setUint16(14, 1); // Ethernet
  view.setUint16(16, 0x0800); // IPv4
  view.setUint8(18, 6);
  view.setUint8(19, 4);
  view.setUint16(20, 1); // request
  frame.set(mac, 22);
  frame.set(address, 28);
  // Target MAC stays 0: it is ignored in a request.
  frame.set(address, 38);
  return frame;
}

const ALL_NODES = multicast(0x01);
const MLD_ROUTERS = multicast(0x16);

const NA_FLAG_ROUTER = 0x80;
const NA_FLAG_OVERRIDE = 0x20;

/**
 * RFC 4861 section 4.4, to all nodes. Override, so that caches take the virtual MAC over what they hold;
 * router, because the addresses are next hops: a cleared flag would make hosts drop them from their router
 * lists (section 7.2.5).
 */
export function unsolicitedNeighbourAdvertisement(mac: Uint8Array, address: Uint8Array): Uint8Array {
  const message = new Uint8Array(32);
  message[0] = 136;
  message[4] = NA_FLAG_ROUTER | NA_FLAG_OVERRIDE;
  message.set(address, 8);
  message[24] = 2; // target link-layer address
  message[25] = 1; // in units of 8 octets
  message.set(mac, 26);
  const frame = ipv6Frame(mac, address, ALL_NODES, 255, ICMPV6, message.length);
  frame.set(withIcmpv6Checksum(message, address, ALL_NODES), ETHERNET_BYTES + IPV6_BYTES);
  return frame;
}

/** Router alert (RFC 2711, value 0: MLD) and PadN, padded to 8 octets; next header ICMPv6. */
const ROUTER_ALERT = Uint8Array.of(ICMPV6, 0, 5, 2, 0, 0, 1, 0);
const MLD_RECORD_BYTES = 20;
/** Records per report: what fits IPv6's least MTU of 1280. The next report takes the rest. */
export const MLD_RECORDS_MAX = 60;

/** RFC 3810 section 5.2.12. `joined`: the filter changed just now. `listening`: an answer to a query. */
export type MldReportKind = 'joined' | 'listening';
const MLD_RECORD_TYPES: Readonly<Record<MldReportKind, number>> = { joined: 4, listening: 2 };

/** One frame per MLD_RECORDS_MAX groups, from the virtual MAC's link-local address (section 5.2.13). */
export function mldReports(mac: Uint8Array, groups: readonly Uint8Array[], kind: MldReportKind): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let start = 0; start < groups.length; start += MLD_RECORDS_MAX) {
    frames.push(mldReport(mac, groups.slice(start, start + MLD_RECORDS_MAX), kind));
  }
  return frames;
}

function mldReport(mac: Uint8Array, groups: readonly Uint8Array[], kind: MldReportKind): Uint8Array {
  const message = new Uint8Array(8 + groups.length * MLD_RECORD_BYTES);
  message[0] = 143;
  message[6] = groups.length >> 8;
  message[7] = groups.length & 0xff;
  for (const [index, group] of groups.entries()) {
    const record = 8 + index * MLD_RECORD_BYTES;
    // No auxiliary data and no sources: exclude nobody.
    message[record] = MLD_RECORD_TYPES[kind];
    message.set(group, record + 4);
  }
  const source = linkLocalAddress(mac);
  const frame = ipv6Frame(mac, source, MLD_ROUTERS, 1, HOP_BY_HOP, ROUTER_ALERT.length + message.length);
  frame.set(ROUTER_ALERT, ETHERNET_BYTES + IPV6_BYTES);
  frame.set(withIcmpv6Checksum(message, source, MLD_ROUTERS), ETHERNET_BYTES + IPV6_BYTES + ROUTER_ALERT.length);
  return frame;
}

/** ff02::1:ff00:0/104 and the address's last 24 bits: RFC 4291 section 2.7.1. */
export function solicitedNodeGroup(address: Uint8Array): Uint8Array {
  const group = multicast(0);
  group.set([0x01, 0xff], 11);
  group.set(address.subarray(13), 13);
  return group;
}

/** fe80:: and the modified EUI-64 of a MAC: RFC 4291 appendix A. fe80::200:5eff:fe00:2XX of a virtual MAC. */
export function linkLocalAddress(mac: Uint8Array): Uint8Array {
  const address = new Uint8Array(16);
  address.set([0xfe, 0x80]);
  address.set([mac[0]! ^ 0x02, mac[1]!, mac[2]!, 0xff, 0xfe, mac[3]!, mac[4]!, mac[5]!], 8);
  return address;
}

function multicast(last: number): Uint8Array {
  const address = new Uint8Array(16);
  address.set([0xff, 0x02]);
  address[15] = last;
  return address;
}

/** An Ethernet and an IPv6 header, and room for the payload. The destination is a multicast address. */
function ipv6Frame(
  mac: Uint8Array,
  source: Uint8Array,
  destination: Uint8Array,
  hopLimit: number,
  nextHeader: number,
  payloadBytes: number,
): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES + IPV6_BYTES + payloadBytes);
  const view = new DataView(frame.buffer);
  // RFC 2464 section 7: 33-33 and the group's last 32 bits.
  frame.set([0x33, 0x33]);
  frame.set(destination.subarray(12), 2);
  frame.set(mac, 6);
  view.setUint16(12, ETHERTYPE_IPV6);
  view.setUint8(ETHERNET_BYTES, 0x60);
  view.setUint16(ETHERNET_BYTES + 4, payloadBytes);
  view.setUint8(ETHERNET_BYTES + 6, nextHeader);
  view.setUint8(ETHERNET_BYTES + 7, hopLimit);
  frame.set(source, ETHERNET_BYTES + 8);
  frame.set(destination, ETHERNET_BYTES + 24);
  return frame;
}

function withIcmpv6Checksum(message: Uint8Array, source: Uint8Array, destination: Uint8Array): Uint8Array {
  const sum = sumWords(message) + sumPseudoHeader(source, destination, ICMPV6, message.length);
  const checksum = foldChecksum(sum);
  message[2] = checksum >> 8;
  message[3] = checksum & 0xff;
  return message;
}
