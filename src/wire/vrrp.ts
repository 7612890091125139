/**
 * The VRRP version 3 advert, RFC 9568 section 5.2, for IPv4 and IPv6. Bytes only: who may send one and what
 * it means is in src/failover/.
 *
 *    0                   1                   2                   3
 *   +-------+-------+---------------+---------------+---------------+
 *   | ver 3 | type 1|     VRID      |   priority    | address count |
 *   +-------+-------+---------------+-------+-------+---------------+
 *   |rsvd(0)| max advert interval, cs       |       checksum        |
 *   +-------+-------------------------------+-----------------------+
 *   |  addresses, 4 or 16 octets each                               |
 *   +---------------------------------------------------------------+
 *
 * The IPv4 checksum exists in two forms in the field. RFC 9568 section 5.2.8 sums the message alone
 * (`plain`); keepalived 2.2.7, tshark 4.0 and others read RFC 5798 as asking for the pseudo-header too.
 * Either is accepted; what is sent is configured. IPv6 always has the pseudo-header.
 */

import { foldChecksum, sumPseudoHeader, sumWords } from './bytes.js';

export const VRRP_PROTOCOL = 112;
export const VRRP_IPV4_GROUP = '224.0.0.18';
export const VRRP_IPV6_GROUP = 'ff02::12';
/** RFC 9568 sections 5.1.1.3 and 5.1.2.3: anything else was forwarded by a router, and is dropped. */
export const VRRP_HOP_LIMIT = 255;

const HEADER_BYTES = 8;
const VERSION_3_ADVERT = 0x31;
const CHECKSUM_OFFSET = 6;
/** Max advert interval has 12 bits of centiseconds. */
export const ADVERT_INTERVAL_MS_MAX = 40_950;

/** Addresses that fit an advert of one unfragmented packet of 1500 bytes; IPv4 is bound by the 8-bit count. */
export const ADVERT_ADDRESSES_MAX = { 4: 255, 6: 90 } as const;

export type Family = 4 | 6;

export interface Advert {
  readonly virtualRouterId: number;
  /** 0: the sender resigns. */
  readonly priority: number;
  /** Multiple of 10 once decoded. Encoding rounds up, so a receiver never waits less than the sender sends. */
  readonly advertIntervalMs: number;
  /** 4 or 16 octets each, network byte order. IPv6: the link-local address first (section 5.2.9). */
  readonly addresses: readonly Uint8Array[];
}

/**
 * How the checksum field is made: over the message (`plain`), over the pseudo-header too, or left 0 for the
 * kernel, which knows the source it picks (IPV6_CHECKSUM, RFC 3542 section 3.1).
 */
export type ChecksumForm =
  | { readonly form: 'plain' }
  | { readonly form: 'pseudo-header'; readonly source: Uint8Array; readonly destination: Uint8Array }
  | { readonly form: 'kernel' };

/** Throws a RangeError when a field does not fit the wire: a bug in the caller, not weather. */
export function encodeAdvert(advert: Advert, checksum: ChecksumForm): Uint8Array {
  requireRange('virtualRouterId', advert.virtualRouterId, 1, 255);
  requireRange('priority', advert.priority, 0, 255);
  requireRange('advertIntervalMs', advert.advertIntervalMs, 1, ADVERT_INTERVAL_MS_MAX);
  requireRange('address count', advert.addresses.length, 1, 255);
  const addressBytes = advert.addresses[0]!.length;
  if (addressBytes !== 4 && addressBytes !== 16) throw new RangeError(`an address of ${addressBytes} octets`);

  const message = new Uint8Array(HEADER_BYTES + advert.addresses.length * addressBytes);
  const centiseconds = Math.ceil(advert.advertIntervalMs / 10);
  message[0] = VERSION_3_ADVERT;
  message[1] = advert.virtualRouterId;
  message[2] = advert.priority;
  message[3] = advert.addresses.length;
  message[4] = centiseconds >> 8;
  message[5] = centiseconds & 0xff;
  for (const [index, address] of advert.addresses.entries()) {
    if (address.length !== addressBytes) throw new RangeError('addresses of both families in one advert');
    message.set(address, HEADER_BYTES + index * addressBytes);
  }
  const value = checksumOf(message, checksum);
  message[CHECKSUM_OFFSET] = value >> 8;
  message[CHECKSUM_OFFSET + 1] = value & 0xff;
  return message;
}

/** Why bytes are no advert: [name, sentence], counted by name. In the order they are checked. */
export const ADVERT_FAULTS = [
  ['too_short', 'shorter than a VRRP header'],
  ['wrong_version', 'VRRP version is not 3'],
  ['wrong_type', 'VRRP type is not advertisement'],
  ['wrong_length', 'length does not fit the address count'],
  ['wrong_checksum', 'checksum is wrong in both forms'],
  ['zero_vrid', 'VRID is 0'],
  ['zero_interval', 'advert interval is 0'],
] as const;

export type AdvertFault = (typeof ADVERT_FAULTS)[number][0];

export type DecodedAdvert =
  | { readonly ok: true; readonly advert: Advert; readonly checksum: 'plain' | 'pseudo-header' }
  | { readonly ok: false; readonly fault: AdvertFault };

/** RFC 9568 section 7.1. `source` and `destination` have 4 or 16 octets, and say which family it is. */
export function decodeAdvert(message: Uint8Array, source: Uint8Array, destination: Uint8Array): DecodedAdvert {
  if (message.length < HEADER_BYTES) return { ok: false, fault: 'too_short' };
  if (message[0]! >> 4 !== 3) return { ok: false, fault: 'wrong_version' };
  if ((message[0]! & 0x0f) !== 1) return { ok: false, fault: 'wrong_type' };
  const addressBytes = source.length;
  const count = message[3]!;
  // "MUST verify that the received packet contains the complete VRRP packet"; no padding is known in the field.
  if (count === 0 || message.length !== HEADER_BYTES + count * addressBytes)
    return { ok: false, fault: 'wrong_length' };
  const checksum = acceptedForm(message, source, destination);
  if (checksum === null) return { ok: false, fault: 'wrong_checksum' };
  if (message[1] === 0) return { ok: false, fault: 'zero_vrid' };
  const centiseconds = ((message[4]! & 0x0f) << 8) | message[5]!;
  if (centiseconds === 0) return { ok: false, fault: 'zero_interval' };

  const addresses = Array.from({ length: count }, (_, index) =>
    message.slice(HEADER_BYTES + index * addressBytes, HEADER_BYTES + (index + 1) * addressBytes),
  );
  const advert = {
    virtualRouterId: message[1]!,
    priority: message[2]!,
    advertIntervalMs: centiseconds * 10,
    addresses,
  };
  return { ok: true, advert, checksum };
}

/** RFC 9568 section 7.3: 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6. */
export function virtualMac(family: Family, virtualRouterId: number): Uint8Array {
  return Uint8Array.of(0x00, 0x00, 0x5e, 0x00, family === 4 ? 0x01 : 0x02, virtualRouterId);
}

function checksumOf(message: Uint8Array, checksum: ChecksumForm): number {
  switch (checksum.form) {
    case 'kernel':
      return 0;
    case 'plain':
      return foldChecksum(sumWords(message));
    case 'pseudo-header': {
      const { source, destination } = checksum;
      return foldChecksum(sumWords(message) + sumPseudoHeader(source, destination, VRRP_PROTOCOL, message.length));
    }
  }
}

function acceptedForm(
  message: Uint8Array,
  source: Uint8Array,
  destination: Uint8Array,
): 'plain' | 'pseudo-header' | null {
  const sum = sumWords(message);
  const pseudoHeader = sumPseudoHeader(source, destination, VRRP_PROTOCOL, message.length);
  if (foldChecksum(sum + pseudoHeader) === 0) return 'pseudo-header';
  return source.length === 4 && foldChecksum(sum) === 0 ? 'plain' : null;
}

function requireRange(field: string, value: number, least: number, most: number): void {
  if (!(value >= least && value <= most)) throw new RangeError(`${field} ${value} is not in ${least}..${most}`);
}
