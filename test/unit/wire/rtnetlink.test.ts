/**
 * Goal: rtnetlink payloads are read as the kernel writes them, and a broken one is refused, not misread.
 * Method: messages that a 6.x kernel sent on a little-endian machine, shortened to what matters.
 */
import { endianness } from 'node:os';

import { describe, expect, test } from 'vitest';

import { ipAddress } from '../../../src/wire/ip_address.js';
import {
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeRoute,
  encodeNeighbourUse,
  encodeRouteLookup,
} from '../../../src/wire/rtnetlink.js';

const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/[\s|]/g, ''), 'hex'));
const hex = (octets: Uint8Array) => Buffer.from(octets).toString('hex');

// rtnetlink speaks the host's byte order, and these captures are little-endian.
describe.skipIf(endianness() !== 'LE')('rtnetlink', () => {
  test('a link: name, MAC, up, carrier', () => {
    const link = bytes(
      '0000 0100 02000000 43100100 00000000 | 0b00 0300 736572766572 00 00 | 0a00 0100 0200000000 0a 0000',
    );
    expect(decodeLink(link)).toEqual({
      index: 2,
      name: 'server',
      mac: '02:00:00:00:00:0a',
      up: true,
      carrier: true,
    });
  });

  test('a link that is up without carrier', () => {
    const link = bytes('0000 0100 02000000 03100000 00000000 | 0700 0300 657468 00');
    expect(decodeLink(link)).toMatchObject({ up: true, carrier: false, mac: null, name: 'eth' });
  });

  test('an address whose duplicate was found', () => {
    const address = bytes('0a 40 88 00 02000000 | 1400 0100 fd020000000000000000000000000002 | 0800 0800 88000000');
    expect(decodeAddress(address)).toEqual({
      interfaceIndex: 2,
      address: 'fd02::2',
      prefixLength: 64,
      duplicate: true,
    });
  });

  test('a point-to-point address is ours, not the other end', () => {
    const address = bytes('02 20 80 00 03000000 | 0800 0100 0a000002 | 0800 0200 0a000001');
    expect(decodeAddress(address)).toMatchObject({ address: '10.0.0.1' });
  });

  test('a route through a gateway', () => {
    const route = bytes(
      '02 20 00 00 fe 00 00 01 00000000 | 0800 0100 0a050001 | 0800 0400 02000000 | 0800 0500 0a0200fe',
    );
    expect(decodeRoute(route)).toEqual({ kind: 'unicast', interfaceIndex: 2, gateway: '10.2.0.254' });
  });

  test('an IPv4 route through an IPv6 gateway', () => {
    const via = 'fd0200000000000000000000000000fe';
    const route = bytes(`02 20 00 00 fe 00 00 01 00000000 | 0800 0400 02000000 | 1600 1200 0a00 ${via} 0000`);
    expect(decodeRoute(route)).toEqual({ kind: 'unicast', interfaceIndex: 2, gateway: 'fd02::fe' });
  });

  test('a route to this host itself, and one to nowhere', () => {
    expect(decodeRoute(bytes('02 20 00 00 ff 00 00 02 00000000 | 0800 0400 01000000'))?.kind).toBe('local');
    expect(decodeRoute(bytes('0a 80 00 00 fe 00 00 07 00000000 | 0800 0400 01000000'))?.kind).toBe('unreachable');
  });

  test('a neighbour and each of its states', () => {
    const neighbour = (state: string) =>
      decodeNeighbour(bytes(`02 00 0000 02000000 ${state}00 00 01 | 0800 0100 0a02000b | 0a00 0200 02000000000b 0000`));
    expect(neighbour('02')).toEqual({
      interfaceIndex: 2,
      address: '10.2.0.11',
      mac: '02:00:00:00:00:0b',
      state: 'reachable',
    });
    const states = ['00', '01', '04', '08', '10', '20', '40', '80'].map((state) => neighbour(state)?.state);
    expect(states).toEqual(['none', 'incomplete', 'stale', 'delay', 'probe', 'failed', 'noarp', 'permanent']);
  });

  test('a bridge forwarding entry is no neighbour', () => {
    expect(decodeNeighbour(bytes('07 00 0000 02000000 0200 00 01 | 0a00 0200 02000000000b 0000'))).toBeNull();
  });

  test('requests, octet by octet', () => {
    expect(hex(encodeNeighbourUse(2, ipAddress('10.2.0.11')))).toBe(
      hex(bytes('02 00 0000 02000000 0000 01 00 | 0800 0100 0a02000b')),
    );
    expect(hex(encodeRouteLookup(ipAddress('10.5.0.1')))).toBe(
      hex(bytes('02 20 00 00 00 00 00 00 00000000 | 0800 0100 0a050001')),
    );
  });

  test('an attribute that runs past the end, or has no length, makes a message broken', () => {
    const head = '02 20 00 00 fe 00 00 01 00000000';
    for (const attribute of ['0900 0400 02000000', '0000 0400 02000000', '0300 0400 02000000', '0800 04']) {
      expect(decodeRoute(bytes(`${head} | ${attribute}`))).toBeNull();
    }
  });
});
