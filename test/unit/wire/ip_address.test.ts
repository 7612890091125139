/**
 * Goal: an address has one text, and a text that is not quite an address is refused for its own reason.
 * Method: rows of RFC 5952, node:net as the judge of what is an address, random addresses there and back.
 */
import { isIPv4, isIPv6 } from 'node:net';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  type AddressFault,
  addressKind,
  formatEndpoint,
  formatIpAddress,
  ipAddress,
  parseIpAddress,
} from '../../../src/wire/ip_address.js';

const canonical = (text: string) => formatIpAddress(ipAddress(text).octets);

test.each([
  ['10.0.0.1', '10.0.0.1'],
  ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
  // RFC 5952 section 4.2.2: one group is not shortened; 4.2.3: the longest run, the first of equals; 4.3: lower case.
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:DB8::ABCD', '2001:db8::abcd'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['0001:002:03:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
])('%s is written %s', (text, expected) => {
  expect(canonical(text)).toBe(expected);
});

const refused: readonly (readonly [text: string, fault: AddressFault])[] = [
  ['10.0.0.1/24', { fault: 'prefix', without: '10.0.0.1' }],
  ['fe80::1%eth0', { fault: 'zone', without: 'fe80::1' }],
  ['::ffff:10.0.0.1', { fault: 'mapped', ipv4: '10.0.0.1' }],
  ['::ffff:a00:1', { fault: 'mapped', ipv4: '10.0.0.1' }],
  ['010.0.0.1', { fault: 'leading_zero' }],
  ...[
    '',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.1.2',
    '1.2.3.a',
    ':',
    ':::',
    '1:::2',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
  ].map((text) => [text, { fault: 'syntax' }] as const),
  ...[
    '1:2:3:4:5:6:7:8::',
    '12345::',
    'g::',
    '1.2.3.4::',
    '::1.2.3',
    ' 10.0.0.1',
    '1:2:3:4:5:6:7:1.2.3.4',
    'localhost',
  ].map((text) => [text, { fault: 'syntax' }] as const),
];

test.each(refused)('%j is refused', (text, fault) => {
  expect(parseIpAddress(text)).toEqual(fault);
});

test('random IPv6 addresses go there and back, and node agrees that they are addresses', () => {
  const octets = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const manyZeros = octets.map((bytes) => bytes.map((octet) => (octet < 160 ? 0 : octet)));
  fc.assert(
    fc.property(fc.oneof(octets, manyZeros), (bytes) => {
      const text = formatIpAddress(bytes);
      expect(isIPv6(text)).toBe(true);
      const parsed = parseIpAddress(text);
      expect(parsed).toEqual(
        'fault' in parsed ? expect.objectContaining({ fault: 'mapped' }) : { family: 6, octets: bytes },
      );
    }),
  );
});

test('random texts of the right letters: node agrees on which are addresses', () => {
  const text = fc.string({ unit: fc.constantFrom(':', ':', ':', '.', '0', '1', '25', 'f', 'abcd'), maxLength: 18 });
  fc.assert(
    fc.property(text, (candidate) => {
      const parsed = parseIpAddress(candidate);
      const isAddress = !('fault' in parsed) || parsed.fault === 'mapped';
      expect(isAddress).toBe(isIPv4(candidate) || isIPv6(candidate));
    }),
    { numRuns: 5000 },
  );
});

describe('kinds', () => {
  test.each([
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['240.0.0.1', 'unspecified'],
    ['255.255.255.255', 'broadcast'],
    ['127.0.0.1', 'loopback'],
    ['224.0.0.18', 'multicast'],
    ['169.254.1.1', 'link-local'],
    ['10.0.0.1', 'unicast'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['ff02::12', 'multicast'],
    ['fe80::1', 'link-local'],
    ['febf::1', 'link-local'],
    ['fec0::1', 'unicast'],
    ['fd00::1', 'unicast'],
  ])('%s is %s', (text, kind) => {
    expect(addressKind(ipAddress(text))).toBe(kind);
  });
});

test('an endpoint is written so that the port can be told apart', () => {
  expect([formatEndpoint('10.0.0.1', 80), formatEndpoint('fd00::1', 80)]).toEqual(['10.0.0.1:80', '[fd00::1]:80']);
});
