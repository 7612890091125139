/**
 * Whether received bytes are an advert for one of our virtual routers, from our peer: RFC 9568 section 7.1,
 * and the configured peer's address, for which the RFC has no authentication any more. Pure.
 */

import { formatIpAddress } from '../wire/ip_address.js';
import { decodeAdvert, type Family, VRRP_HOP_LIMIT, VRRP_IPV4_GROUP, VRRP_IPV6_GROUP } from '../wire/vrrp.js';
import type { AdvertDrop } from './counts.js';

/** One advert with what its IP header said. */
export interface ReceivedMessage {
  readonly family: Family;
  readonly message: Uint8Array;
  /** 4 or 16 octets, network byte order. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly hopLimit: number;
}

/** What the receiver knows of one virtual router of a link. */
export interface ExpectedAdvert {
  readonly family: Family;
  readonly virtualRouterId: number;
  readonly advertIntervalMs: number;
  /** Canonical text. */
  readonly ownAddresses: readonly string[];
  readonly peerAddresses: readonly string[];
}

export type Reception<Router> =
  | {
      readonly ok: true;
      readonly router: Router;
      readonly priority: number;
      readonly advertIntervalMs: number;
      readonly otherInterval: boolean;
    }
  | { readonly ok: false; readonly drop: AdvertDrop };

const GROUPS: Readonly<Record<Family, string>> = { 4: VRRP_IPV4_GROUP, 6: VRRP_IPV6_GROUP };

/** `routers`: the virtual routers of the link that the advert came from. */
export function receiveAdvert<Router extends ExpectedAdvert>(
  received: ReceivedMessage,
  routers: readonly Router[],
): Reception<Router> {
  const { family, message } = received;
  // "MUST verify that the IPv4 TTL / IPv6 Hop Limit is 255": nothing that crossed a router gets in.
  if (received.hopLimit !== VRRP_HOP_LIMIT) return { ok: false, drop: 'wrong_hop_limit' };
  if (formatIpAddress(received.destination) !== GROUPS[family]) return { ok: false, drop: 'wrong_destination' };
  const decoded = decodeAdvert(message, received.source, received.destination);
  if (!decoded.ok) return { ok: false, drop: decoded.fault };
  const { virtualRouterId, priority, advertIntervalMs } = decoded.advert;
  // Other routers of the link run VRRP too; their VRIDs are no fault of theirs.
  const router = routers.find((one) => one.family === family && one.virtualRouterId === virtualRouterId);
  if (router === undefined) return { ok: false, drop: 'unknown_vrid' };
  if (!isPeer(received.source, router)) return { ok: false, drop: 'wrong_source' };
  // "If the interval differs: the receiver adopts the active router's", section 6.1; it is counted.
  const otherInterval = advertIntervalMs !== Math.ceil(router.advertIntervalMs / 10) * 10;
  return { ok: true, router, priority, advertIntervalMs, otherInterval };
}

/** An IPv4 packet as a raw socket gives it, header included, to its parts; null if it is not whole. */
export function fromIpv4Packet(packet: Uint8Array): ReceivedMessage | null {
  const headerBytes = ((packet[0] ?? 0) & 0x0f) * 4;
  if (headerBytes < 20 || packet.length < headerBytes || packet[0]! >> 4 !== 4) return null;
  // Ethernet pads short packets; the total length says where the message ends.
  const totalBytes = (packet[2]! << 8) | packet[3]!;
  if (totalBytes < headerBytes || totalBytes > packet.length) return null;
  return {
    family: 4,
    message: packet.subarray(headerBytes, totalBytes),
    source: packet.subarray(12, 16),
    destination: packet.subarray(16, 20),
    hopLimit: packet[8]!,
  };
}

function isPeer(source: Uint8Array, { family, ownAddresses, peerAddresses }: ExpectedAdvert): boolean {
  const text = formatIpAddress(source);
  if (family === 4) return peerAddresses.includes(text);
  // RFC 9568 section 5.1.2.1: "the IPv6 link-local address of the interface".
  const linkLocal = peerAddresses.filter(isLinkLocal);
  if (linkLocal.length > 0) return linkLocal.includes(text);
  return isLinkLocal(text) && !ownAddresses.includes(text);
}

function isLinkLocal(text: string): boolean {
  return /^fe[89ab]/.test(text);
}
