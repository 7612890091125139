/**
 * IP addresses between text and octets. Text out is canonical: dotted quads, and RFC 5952 for IPv6, so
 * that two texts are the same address exactly when they are the same string.
 *
 * Refused on the way in, each with its own reason, because every one of them hides a mistake in a config:
 * prefix notation, zone ids, IPv4-mapped IPv6 and leading zeros (octal to some, decimal to others).
 */

export interface IpAddress {
  readonly family: 4 | 6;
  /** Network byte order: 4 or 16 octets. */
  readonly octets: Uint8Array;
}

export type AddressFault =
  | { readonly fault: 'syntax' }
  | { readonly fault: 'prefix'; readonly without: string }
  | { readonly fault: 'zone'; readonly without: string }
  | { readonly fault: 'mapped'; readonly ipv4: string }
  | { readonly fault: 'leading_zero' };

export type ParsedAddress = IpAddress | AddressFault;

/** Longest text of an address: 8 groups of 4 digits, or with an embedded dotted quad. */
const TEXT_MAX = 45;

export function parseIpAddress(text: string): ParsedAddress {
  const slash = text.indexOf('/');
  if (slash >= 0) return { fault: 'prefix', without: text.slice(0, slash) };
  const percent = text.indexOf('%');
  if (percent >= 0) return { fault: 'zone', without: text.slice(0, percent) };
  if (text.length > TEXT_MAX) return { fault: 'syntax' };
  if (!text.includes(':')) {
    const octets = parseDottedQuad(text);
    return octets instanceof Uint8Array ? { family: 4, octets } : { fault: octets };
  }
  const octets = parseIpv6(text);
  if (octets === null) return { fault: 'syntax' };
  if (isMapped(octets)) return { fault: 'mapped', ipv4: formatIpAddress(octets.subarray(12)) };
  return { family: 6, octets };
}

/** For text already validated; throws a TypeError on anything else. */
export function ipAddress(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  if ('fault' in parsed) throw new TypeError(`not an IP address: ${text}`);
  return parsed;
}

/** 4 or 16 octets in network byte order to canonical text. */
export function formatIpAddress(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join('.');
  if (octets.length !== 16) throw new RangeError(`an address has 4 or 16 octets, not ${octets.length}`);
  const groups = Array.from({ length: 8 }, (_, index) => (octets[2 * index]! << 8) | octets[2 * index + 1]!);
  const run = longestZeroRun(groups);
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  if (run === null) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.end))}`;
}

export type AddressKind = 'unspecified' | 'loopback' | 'multicast' | 'broadcast' | 'link-local' | 'unicast';

/** RFC 6890's special blocks, as far as they cannot be a virtual address, a member or a peer. */
export function addressKind({ family, octets }: IpAddress): AddressKind {
  if (octets.every((octet) => octet === 0)) return 'unspecified';
  const first = octets[0]!;
  if (family === 4) {
    if (octets.every((octet) => octet === 255)) return 'broadcast';
    // 0.0.0.0/8 is "this network", 240.0.0.0/4 is reserved: neither is ever a destination.
    if (first === 0 || first >= 240) return 'unspecified';
    if (first === 127) return 'loopback';
    if (first >= 224) return 'multicast';
    return first === 169 && octets[1] === 254 ? 'link-local' : 'unicast';
  }
  if (octets.subarray(0, 15).every((octet) => octet === 0) && octets[15] === 1) return 'loopback';
  if (first === 0xff) return 'multicast';
  return first === 0xfe && (octets[1]! & 0xc0) === 0x80 ? 'link-local' : 'unicast';
}

/** `10.0.0.1:80`, `[fd00::1]:80`; of port 0 the address alone. */
export function formatEndpoint(address: string, port: number): string {
  if (port === 0) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `10.0.0.1:80`, `[fd00::1]:80`, or an address alone (port 0); the address comes back canonical. Null: neither. */
export function parseEndpoint(text: string): { readonly address: string; readonly port: number } | null {
  const match = /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(text) ?? /^([^:]*):(\d{1,5})$/.exec(text);
  const parsed = parseIpAddress(match?.[1] ?? text);
  const port = Number(match?.[2] ?? '0');
  return 'fault' in parsed || port > 65535 ? null : { address: formatIpAddress(parsed.octets), port };
}

/** Addresses that begin alike. */
export interface AddressPrefix {
  readonly address: string;
  readonly prefixBits: number;
}

/** `10.0.0.0/8`, `fd00::/8`, or an address alone; the address comes back canonical. Null: neither. */
export function parsePrefix(text: string): AddressPrefix | null {
  const [, address = '', length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const parsed = parseIpAddress(address);
  if ('fault' in parsed) return null;
  const bits = 8 * parsed.octets.length;
  const prefixBits = length === undefined ? bits : Number(length);
  return prefixBits > bits ? null : { address: formatIpAddress(parsed.octets), prefixBits };
}

function parseDottedQuad(text: string): Uint8Array | 'syntax' | 'leading_zero' {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part))) return 'syntax';
  if (parts.some((part) => part.length > 1 && part.startsWith('0'))) return 'leading_zero';
  const octets = parts.map(Number);
  return octets.every((octet) => octet <= 255) ? Uint8Array.from(octets) : 'syntax';
}

/** RFC 4291 section 2.2. */
function parseIpv6(text: string): Uint8Array | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (head === null || tail === null) return null;
  const missing = 16 - head.length - tail.length;
  // "::" stands for at least one group of zeros.
  if (halves.length === 1 ? missing !== 0 : missing < 2) return null;
  return Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail]);
}

/** Groups of one side of `::` as octets; a dotted quad may only come last. */
function parseGroups(text: string, mayEndInIpv4: boolean): number[] | null {
  if (text === '') return [];
  const octets: number[] = [];
  const groups = text.split(':');
  for (const [index, group] of groups.entries()) {
    if (group.includes('.') && mayEndInIpv4 && index === groups.length - 1) {
      const quad = parseDottedQuad(group);
      if (!(quad instanceof Uint8Array)) return null;
      octets.push(...quad);
      continue;
    }
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return null;
    const value = Number.parseInt(group, 16);
    octets.push(value >> 8, value & 0xff);
  }
  return octets.length <= 16 ? octets : null;
}

function isMapped(octets: Uint8Array): boolean {
  return octets.subarray(0, 10).every((octet) => octet === 0) && octets[10] === 0xff && octets[11] === 0xff;
}

/** RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equals. */
function longestZeroRun(groups: readonly number[]): { start: number; end: number } | null {
  let best: { start: number; end: number } | null = null;
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (end < groups.length && groups[end] === 0) end++;
    if (end - start >= 2 && (best === null || end - start > best.end - best.start)) best = { start, end };
    start = Math.max(start, end);
  }
  return best;
}
