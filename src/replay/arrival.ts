/**
 * How a captured frame arrives: on which device, and with which destination MAC address. A capture knows
 * neither our links nor our virtual routers, so both are told from the addresses in the frame.
 */

import type { AddressText, PolicyAddress } from '../datapath.js';
import { frameFacts, NEIGHBOUR_SOLICITATION } from '../wire/frame.js';
import { virtualMac } from '../wire/vrrp.js';
import type { Topology } from './topology.js';

export interface Arrival {
  readonly device: number;
  /** What to write over the frame's first six octets; null: nothing. */
  readonly destinationMac: Uint8Array | null;
}

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
  return { device, destinationMac: routed ? virtualMacOf(topology, device, seen.family, owned) : null };
}

function virtualMacOf(
  topology: Topology,
  device: number,
  family: 4 | 6,
  owned: PolicyAddress | undefined,
): Uint8Array | null {
  const groups = topology.policy.groups;
  const vrid =
    (owned === undefined ? undefined : groups[owned.group]?.vrids[device]) ||
    groups.find(({ vrids }) => vrids[device] !== 0)?.vrids[device];
  return vrid === undefined || vrid === 0 ? null : virtualMac(family, vrid);
}

interface Addresses {
  /** Null for ARP, which is not routed. */
  readonly family: 4 | 6 | null;
  readonly source: AddressText;
  /** Where the packet goes, or what ARP or a neighbour solicitation asks for. */
  readonly target: AddressText;
}

function addressesIn(frame: Uint8Array): Addresses | null {
  const { arp, packet } = frameFacts(frame);
  if (arp !== null) return { family: null, source: arp.sender, target: arp.target };
  if (packet === null) return null;
  const { family, source, destination, icmp } = packet;
  const asks = family === 6 && icmp?.type === NEIGHBOUR_SOLICITATION;
  return { family, source, target: (asks ? icmp.target : null) ?? destination };
}

/** A broadcast or multicast frame keeps its destination: it is not sent to a router. */
function isUnicast(frame: Uint8Array): boolean {
  return (frame[0]! & 1) === 0;
}
