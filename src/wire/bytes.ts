/**
 * Octets in network byte order: comparison, the internet checksum, MAC addresses. Pure; no Node types, so
 * that it runs anywhere.
 */

/** Compares two addresses of equal length as unsigned integers in network byte order. */
export function compareBytes(left: Uint8Array, right: Uint8Array): number {
  if (left.length !== right.length) throw new RangeError(`lengths differ: ${left.length}, ${right.length}`);
  for (let index = 0; index < left.length; index++) {
    const difference = left[index]! - right[index]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * RFC 1071's sum of 16-bit words, not yet folded or complemented, so that a pseudo-header and a message can
 * be summed one after the other. Only the last part may have an odd number of octets. Exact up to 2^31
 * words.
 */
export function sumWords(octets: Uint8Array, sum = 0): number {
  const even = octets.length & ~1;
  for (let index = 0; index < even; index += 2) sum += (octets[index]! << 8) | octets[index + 1]!;
  return even === octets.length ? sum : sum + (octets[even]! << 8);
}

/** The checksum field for a sum: 16 bits, complemented. Over a message with a right checksum it is 0. */
export function foldChecksum(sum: number): number {
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/**
 * Sum of the pseudo-header: RFC 8200 section 8.1 for 16-octet addresses, RFC 793 section 3.1 for 4-octet
 * ones. Both sum the same words once the zeros are left out.
 */
export function sumPseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  messageBytes: number,
): number {
  return sumWords(source) + sumWords(destination) + protocol + messageBytes;
}

/** `02:00:00:00:00:01` to 6 octets; throws a TypeError on anything else. */
export function macAddress(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new TypeError(`not a MAC address: ${text}`);
  return Uint8Array.from(text.split(':'), (octet) => Number.parseInt(octet, 16));
}

export function formatMacAddress(octets: Uint8Array): string {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join(':');
}
