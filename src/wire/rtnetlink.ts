/**
 * The rtnetlink messages that Tandem sends and reads: links, addresses, route lookups, neighbours.
 *
 * Read first: rtnetlink(7), <linux/rtnetlink.h>, <linux/neighbour.h>. Everything is in the host's byte order,
 * addresses excepted. A message is a fixed header and attributes, each aligned to four octets:
 *
 *   | length u16 | type u16 | value, length - 4 octets | padding |
 *
 * The `netlink` package opens sockets and frames messages; these payloads are read here because it loses
 * attributes that are newer than it is, and route lookups and neighbours depend on some.
 */

import { formatIpAddress, type IpAddress } from './ip_address.js';

export const MessageType = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  deleteNeighbour: 29,
  getNeighbour: 30,
} as const;

/** Multicast groups of changes, RTNLGRP_*. */
export const Group = {
  link: 1,
  neighbour: 3,
  ipv4Address: 5,
  ipv4Route: 7,
  ipv6Address: 9,
  ipv6Route: 11,
} as const;

/** NLM_F_CREATE. */
export const FLAG_CREATE = 0x400;

const AF_INET = 2;
const AF_INET6 = 10;
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

// ------------------------------------------------------------------------------------------- requests

const LINK_HEADER_BYTES = 16;
const ADDRESS_HEADER_BYTES = 8;
const ROUTE_HEADER_BYTES = 12;
const NEIGHBOUR_HEADER_BYTES = 12;
const NTF_USE = 0x01;
const RTA_DST = 1;
const NDA_DST = 1;

/** Payload of a dump of all links, addresses or neighbours: a header of zeros. */
export function encodeDump(type: 'link' | 'address' | 'neighbour'): Uint8Array {
  const bytes = { link: LINK_HEADER_BYTES, address: ADDRESS_HEADER_BYTES, neighbour: NEIGHBOUR_HEADER_BYTES };
  return new Uint8Array(bytes[type]);
}

/** RTM_GETROUTE: how would a packet to this address leave? */
export function encodeRouteLookup(destination: IpAddress): Uint8Array {
  const message = withAttribute(ROUTE_HEADER_BYTES, RTA_DST, destination.octets);
  message[0] = familyNumber(destination);
  message[1] = destination.octets.length * 8;
  return message;
}

/** RTM_NEWNEIGH with NTF_USE: resolve it, or confirm it if it is stale. With FLAG_CREATE. */
export function encodeNeighbourUse(interfaceIndex: number, neighbour: IpAddress): Uint8Array {
  const message = withAttribute(NEIGHBOUR_HEADER_BYTES, NDA_DST, neighbour.octets);
  const view = new DataView(message.buffer);
  view.setUint8(0, familyNumber(neighbour));
  view.setInt32(4, interfaceIndex, LITTLE_ENDIAN);
  view.setUint8(10, NTF_USE);
  return message;
}

function withAttribute(headerBytes: number, type: number, value: Uint8Array): Uint8Array {
  // Addresses are 4 or 16 octets, so no padding follows.
  const message = new Uint8Array(headerBytes + 4 + value.length);
  const view = new DataView(message.buffer);
  view.setUint16(headerBytes, 4 + value.length, LITTLE_ENDIAN);
  view.setUint16(headerBytes + 2, type, LITTLE_ENDIAN);
  message.set(value, headerBytes + 4);
  return message;
}

function familyNumber(address: IpAddress): number {
  return address.family === 4 ? AF_INET : AF_INET6;
}

// -------------------------------------------------------------------------------------------- answers

/** Null from any of these: the message is not whole, or of a family that is not IP. */

export interface LinkMessage {
  readonly index: number;
  readonly name: string;
  /** `02:00:00:00:00:01`; null for a link without one. */
  readonly mac: string | null;
  /** Set up by the operator. */
  readonly up: boolean;
  readonly carrier: boolean;
}

const IFF_UP = 0x1;
const IFF_LOWER_UP = 0x10000;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;

export function decodeLink(payload: Uint8Array): LinkMessage | null {
  if (payload.length < LINK_HEADER_BYTES) return null;
  const view = viewOf(payload);
  const attributes = readAttributes(payload, LINK_HEADER_BYTES);
  const name = attributes?.get(IFLA_IFNAME);
  if (attributes === null || name === undefined) return null;
  const flags = view.getUint32(8, LITTLE_ENDIAN);
  return {
    index: view.getInt32(4, LITTLE_ENDIAN),
    name: String.fromCharCode(...name.subarray(0, name.indexOf(0) < 0 ? name.length : name.indexOf(0))),
    mac: formatMac(attributes.get(IFLA_ADDRESS)),
    up: (flags & IFF_UP) !== 0,
    carrier: (flags & IFF_LOWER_UP) !== 0,
  };
}

export interface AddressMessage {
  readonly interfaceIndex: number;
  readonly address: string;
  readonly prefixLength: number;
  /** Duplicate address detection found another host that has it, RFC 4862 section 5.4. */
  readonly duplicate: boolean;
}

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_F_DADFAILED = 0x08;

export function decodeAddress(payload: Uint8Array): AddressMessage | null {
  if (payload.length < ADDRESS_HEADER_BYTES) return null;
  const view = viewOf(payload);
  const attributes = readAttributes(payload, ADDRESS_HEADER_BYTES);
  // On a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL is ours.
  const address = readAddress(view.getUint8(0), attributes?.get(IFA_LOCAL) ?? attributes?.get(IFA_ADDRESS));
  if (attributes === null || address === null) return null;
  const flags = readU32(attributes.get(IFA_FLAGS)) ?? view.getUint8(2);
  return {
    interfaceIndex: view.getUint32(4, LITTLE_ENDIAN),
    address,
    prefixLength: view.getUint8(1),
    duplicate: (flags & IFA_F_DADFAILED) !== 0,
  };
}

export interface RouteMessage {
  /** `local`: the address is the host's own; `unreachable`: any route that leads nowhere. */
  readonly kind: 'unicast' | 'local' | 'unreachable';
  readonly interfaceIndex: number | null;
  /** Of either family: RFC 5549 routes reach IPv4 through an IPv6 gateway. */
  readonly gateway: string | null;
}

const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_VIA = 18;

export function decodeRoute(payload: Uint8Array): RouteMessage | null {
  if (payload.length < ROUTE_HEADER_BYTES) return null;
  const attributes = readAttributes(payload, ROUTE_HEADER_BYTES);
  if (attributes === null) return null;
  const type = payload[7]!;
  const via = attributes.get(RTA_VIA);
  const gateway =
    via !== undefined && via.length > 2
      ? readAddress(viewOf(via).getUint16(0, LITTLE_ENDIAN), via.subarray(2))
      : readAddress(payload[0]!, attributes.get(RTA_GATEWAY));
  return {
    kind: type === RTN_UNICAST ? 'unicast' : type === RTN_LOCAL ? 'local' : 'unreachable',
    interfaceIndex: readU32(attributes.get(RTA_OIF)),
    gateway,
  };
}

export interface NeighbourMessage {
  readonly interfaceIndex: number;
  readonly address: string;
  readonly mac: string | null;
  readonly state: 'none' | 'incomplete' | 'reachable' | 'stale' | 'delay' | 'probe' | 'failed' | 'noarp' | 'permanent';
}

const NDA_LLADDR = 2;
const NUD_STATES = [
  [0x80, 'permanent'],
  [0x40, 'noarp'],
  [0x20, 'failed'],
  [0x10, 'probe'],
  [0x08, 'delay'],
  [0x04, 'stale'],
  [0x02, 'reachable'],
  [0x01, 'incomplete'],
] as const;

export function decodeNeighbour(payload: Uint8Array): NeighbourMessage | null {
  if (payload.length < NEIGHBOUR_HEADER_BYTES) return null;
  const view = viewOf(payload);
  const attributes = readAttributes(payload, NEIGHBOUR_HEADER_BYTES);
  const address = readAddress(view.getUint8(0), attributes?.get(NDA_DST));
  if (attributes === null || address === null) return null;
  const bits = view.getUint16(8, LITTLE_ENDIAN);
  return {
    interfaceIndex: view.getInt32(4, LITTLE_ENDIAN),
    address,
    mac: formatMac(attributes.get(NDA_LLADDR)),
    state: NUD_STATES.find(([bit]) => (bits & bit) !== 0)?.[1] ?? 'none',
  };
}

// ----------------------------------------------------------------------------------------- attributes

/** The upper two bits of an attribute's type are flags. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;

function readAttributes(payload: Uint8Array, start: number): Map<number, Uint8Array> | null {
  const view = viewOf(payload);
  const attributes = new Map<number, Uint8Array>();
  for (let offset = start; offset < payload.length; ) {
    if (payload.length - offset < 4) return null;
    const length = view.getUint16(offset, LITTLE_ENDIAN);
    if (length < 4 || length > payload.length - offset) return null;
    const type = view.getUint16(offset + 2, LITTLE_ENDIAN) & ATTRIBUTE_TYPE_MASK;
    attributes.set(type, payload.subarray(offset + 4, offset + length));
    offset += (length + 3) & ~3;
  }
  return attributes;
}

function readAddress(family: number, octets: Uint8Array | undefined): string | null {
  const wanted = family === AF_INET ? 4 : family === AF_INET6 ? 16 : 0;
  return octets !== undefined && wanted !== 0 && octets.length === wanted ? formatIpAddress(octets) : null;
}

function readU32(value: Uint8Array | undefined): number | null {
  return value !== undefined && value.length === 4 ? viewOf(value).getUint32(0, LITTLE_ENDIAN) : null;
}

function formatMac(octets: Uint8Array | undefined): string | null {
  if (octets === undefined || octets.length !== 6) return null;
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join(':');
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
