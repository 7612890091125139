/** What config and policy say of a frame, for those who read them beside the datapath. Pure. */

import type { Config, VirtualServerConfig } from '../config/model.js';
import type { PolicyDescription } from '../datapath.js';
import { formatMacAddress } from '../wire/bytes.js';
import { type FrameFacts, NEIGHBOUR_SOLICITATION, type PacketFacts, Protocol } from '../wire/frame.js';
import { virtualMac } from '../wire/vrrp.js';

/** The one whose address, protocol and port a packet is sent to, of several the one with fewest ports. */
export function virtualServerOf(config: Config, packet: PacketFacts | null): VirtualServerConfig | null {
  if (packet === null) return null;
  const port = packet.destinationPort ?? 0;
  const taking = config.virtualServers.filter((server) => {
    if (server.address !== packet.destination || port < server.port || port > server.portLast) return false;
    return server.protocol === 'any' || Protocol[server.protocol] === packet.protocol;
  });
  return taking.toSorted((left, right) => left.portLast - left.port - (right.portLast - right.port))[0] ?? null;
}

/** Why a frame is the kernel's: native/forward.cc, classify(). */
export function puntReason(policy: PolicyDescription, frame: FrameFacts, device: number): string {
  const ours = virtualMacs(policy, device);
  const { destinationMac, sourceMac, arp, packet } = frame;
  const isGroup = destinationMac !== null && (Number.parseInt(destinationMac.slice(0, 2), 16) & 1) === 1;
  if (!isGroup && !ours.has(destinationMac ?? '')) return 'it is not sent to a virtual MAC of this link';
  if (ours.has(sourceMac ?? '')) return 'it comes from a virtual MAC: a frame of our own, or of the peer';
  if (arp !== null)
    return arp.operation === 1 ? 'it asks for an address that is not ours' : 'ARP that asks for nothing';
  const asks = packet?.protocol === Protocol.icmpv6 && packet.icmp?.type === NEIGHBOUR_SOLICITATION;
  if (asks) return 'a neighbour solicitation that is not valid (RFC 4861 7.1.1), or for an address that is not ours';
  return isGroup ? 'it is sent to a group, and asks for no address' : 'it is neither IP nor ARP';
}

function virtualMacs({ groups }: PolicyDescription, device: number): ReadonlySet<string> {
  const vrids = groups.map(({ vrids: ofDevices }) => ofDevices[device] ?? 0).filter((vrid) => vrid !== 0);
  const families = [4, 6] as const;
  return new Set(vrids.flatMap((vrid) => families.map((family) => formatMacAddress(virtualMac(family, vrid)))));
}
