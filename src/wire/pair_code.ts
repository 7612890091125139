/**
 * The code that an operator carries from one unit to the other to pair them: where to connect to, and a secret
 * that only the two ends know.
 *
 *   version (1) │ secret (16) │ address (4 or 16) │ port (2) │ check (2)          octets, big endian
 *
 * in base 32 of Crockford's alphabet, which has no letters that look alike, in groups of five. The check finds
 * what was mistyped; it is no protection, the secret is.
 */

import { formatIpAddress, ipAddress } from './ip_address.js';

export const PAIR_SECRET_BYTES = 16;
const VERSION = 1;
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const GROUP = 5;
const FIXED_BYTES = 1 + PAIR_SECRET_BYTES + 2 + 2;

export interface PairCode {
  /** PAIR_SECRET_BYTES octets. */
  readonly secret: Uint8Array;
  readonly address: string;
  readonly port: number;
}

export function formatPairCode({ secret, address, port }: PairCode): string {
  const { octets } = ipAddress(address);
  const body = Uint8Array.of(VERSION, ...secret, ...octets, port >> 8, port & 0xff);
  const check = checkOf(body);
  const text = toBase32(Uint8Array.of(...body, check >> 8, check & 0xff));
  return (text.match(new RegExp(`.{1,${GROUP}}`, 'g')) ?? []).join('-');
}

/** Null when it is no code, or not the one that was printed. Case, spaces and hyphens do not matter. */
export function parsePairCode(text: string): PairCode | null {
  const bytes = fromBase32(text.toUpperCase().replaceAll(/[\s-]/g, '').replaceAll('O', '0').replaceAll(/[IL]/g, '1'));
  if (bytes === null || bytes[0] !== VERSION) return null;
  const addressBytes = bytes.length - FIXED_BYTES;
  if (addressBytes !== 4 && addressBytes !== 16) return null;

  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (checkOf(bytes.subarray(0, -2)) !== view.getUint16(bytes.length - 2)) return null;
  return {
    secret: bytes.slice(1, 1 + PAIR_SECRET_BYTES),
    address: formatIpAddress(bytes.subarray(1 + PAIR_SECRET_BYTES, -4)),
    port: view.getUint16(bytes.length - 4),
  };
}

/** Fletcher's, modulo 255 (RFC 1146): a changed octet and two exchanged ones are found. */
function checkOf(bytes: Uint8Array): number {
  let low = 0;
  let high = 0;
  for (const byte of bytes) {
    low = (low + byte) % 255;
    high = (high + low) % 255;
  }
  return high * 256 + low;
}

function toBase32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += ALPHABET[(held >> (bits - 5)) & 31];
  }
  return bits === 0 ? text : text + ALPHABET[(held << (5 - bits)) & 31];
}

function fromBase32(text: string): Uint8Array | null {
  const bytes: number[] = [];
  let bits = 0;
  let held = 0;
  for (const letter of text) {
    const value = ALPHABET.indexOf(letter);
    if (value < 0) return null;
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((held >> bits) & 0xff);
  }
  return Uint8Array.from(bytes);
}
