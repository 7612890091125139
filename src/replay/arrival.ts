/**
 * How a captured frame arrives: on which device, and with which destination MAC address. A capture knows
 * neither our links nor our virtual routers, so both are told from the addresses in the frame.
 */

import type { AddressText, PolicyAddress } from '../datapath.js';
import { formatIpAddress } from '../wire/ip_address.js';
import type { Topology } from './topology.js';

export interface Arrival {
  readonly device: number;
  /** What to write over the frame's first six octets; null: nothing. */
  readonly destinationMac: Uint8Array | null;
}

const ETHERNET_BYTES = 14;
const TAG_BYTES = 4;
const TAGS_MAX = 2;
const TYPE_IPV4 = 0x0800;
const TYPE_ARP = 0x0806;
const TYPE_VLAN = 0x8100;
const TYPE_SERVICE_VLAN = 0x88a8;
const TYPE_IPV6 = 0x86dd;
const ICMPV6 = 58;
const NEIGHBOUR_SOLICITATION = 135;

/**
 *   from a member                        its device, to the virtual MAC: servers route through us
 *   to an address that we answer for     the first device where it is answered, to the virtual MAC
 *   asking for such an address           the first device where it is answered, as captured
 *   anything else                        the first device, as captured
 */
export function arrivalOf(topology: Topology, frame: Uint8Array): Arrival {
  const seen = addressesIn(frame);
  if (seen === null) return { device: 0, destinationMac: null };
  const owned = topology.policy.addresses.find(({ address }) => address === seen.target);
  const fromMember = topology.memberDevices.get(seen.source);
  const device = fromMember ?? owned?.devices[0] ?? 0;
  const routed = seen.family !== null && isUnicast(frame) && (fromMember !== undefined || owned !== undefined);
  return { device, destinationMac: routed ? virtualMac(topology, device, seen.family, owned) : null };
}

/** RFC 9568 section 7.3: 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6. */
function virtualMac(
  topology: Topology,
  device: number,
  family: 4 | 6,
  owned: PolicyAddress | undefined,
): Uint8Array | null {
  const groups = topology.policy.groups;
  const vrid =
    (owned === undefined ? undefined : groups[owned.group]?.vrids[device]) ||
    groups.find(({ vrids }) => vrids[device] !== 0)?.vrids[device];
  return vrid === undefined || vrid === 0 ? null : Uint8Array.of(0, 0, 0x5e, 0, family === 4 ? 1 : 2, vrid);
}

interface Addresses {
  /** Null for ARP, which is not routed. */
  readonly family: 4 | 6 | null;
  readonly source: AddressText;
  /** Where the packet goes, or what ARP or a neighbour solicitation asks for. */
  readonly target: AddressText;
}

function addressesIn(frame: Uint8Array): Addresses | null {
  if (frame.length < ETHERNET_BYTES) return null;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  let start = ETHERNET_BYTES;
  let type = view.getUint16(start - 2);
  for (let tags = 0; tags < TAGS_MAX && (type === TYPE_VLAN || type === TYPE_SERVICE_VLAN); tags++) {
    start += TAG_BYTES;
    if (frame.length < start) return null;
    type = view.getUint16(start - 2);
  }
  const payload = frame.subarray(start);
  const text = (offset: number, bytes: number) => formatIpAddress(payload.subarray(offset, offset + bytes));
  if (type === TYPE_IPV4 && payload.length >= 20) return { family: 4, source: text(12, 4), target: text(16, 4) };
  if (type === TYPE_ARP && payload.length >= 28) return { family: null, source: text(14, 4), target: text(24, 4) };
  if (type !== TYPE_IPV6 || payload.length < 40) return null;
  const asks = payload[6] === ICMPV6 && payload[40] === NEIGHBOUR_SOLICITATION && payload.length >= 64;
  return { family: 6, source: text(8, 16), target: asks ? text(48, 16) : text(24, 16) };
}

/** A broadcast or multicast frame keeps its destination: it is not sent to a router. */
function isUnicast(frame: Uint8Array): boolean {
  return (frame[0]! & 1) === 0;
}
