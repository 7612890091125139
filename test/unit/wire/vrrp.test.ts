/**
 * Goal: adverts are what RFC 9568 section 5.2 draws, octet by octet, and nothing else is taken for one.
 * The whole messages below were checked with tshark 4.0, which computes the pseudo-header form.
 */
import { describe, expect, test } from 'vitest';

import { ipAddress } from '../../../src/wire/ip_address.js';
import { type Advert, decodeAdvert, encodeAdvert, virtualMac } from '../../../src/wire/vrrp.js';

const octets = (text: string) => ipAddress(text).octets;
const hex = (message: Uint8Array) => Buffer.from(message).toString('hex');

const source4 = octets('192.0.2.2');
const group4 = octets('224.0.0.18');
const source6 = octets('fe80::2');
const group6 = octets('ff02::12');

const advert4: Advert = {
  virtualRouterId: 51,
  priority: 150,
  advertIntervalMs: 100,
  addresses: [octets('192.0.2.1'), octets('192.0.2.9')],
};
const advert6: Advert = { ...advert4, addresses: [octets('fe80::200:5eff:fe00:233'), octets('2001:db8::1')] };

describe('encoding', () => {
  test('IPv4, checksum over the message alone', () => {
    // 3133 + 9602 + 000a + c000 + 0201 + c000 + 0209 = 2_4b49, folded 4b4b, complemented b4b4.
    expect(hex(encodeAdvert(advert4, { form: 'plain' }))).toBe('31339602000ab4b4' + 'c0000201' + 'c0000209');
  });

  test('IPv4, checksum over the pseudo-header too', () => {
    // And c000 + 0202 + e000 + 0012 + 0070 (protocol) + 0010 (length).
    const message = encodeAdvert(advert4, { form: 'pseudo-header', source: source4, destination: group4 });
    expect(hex(message)).toBe('31339602000a121f' + 'c0000201' + 'c0000209');
  });

  test('IPv6, checksum left to the kernel', () => {
    expect(hex(encodeAdvert(advert6, { form: 'kernel' }))).toBe(
      '31339602000a0000' + 'fe8000000000000002005efffe000233' + '20010db8000000000000000000000001',
    );
  });

  test.each([
    [10, '0001'],
    [15, '0002'],
    [1_000, '0064'],
    [40_950, '0fff'],
  ])('an interval of %d ms is %s centiseconds, rounded up', (advertIntervalMs, centiseconds) => {
    const message = encodeAdvert({ ...advert4, advertIntervalMs }, { form: 'plain' });
    expect(hex(message.subarray(4, 6))).toBe(centiseconds);
  });

  test.each([
    ['VRID 0', { virtualRouterId: 0 }],
    ['VRID 256', { virtualRouterId: 256 }],
    ['priority 256', { priority: 256 }],
    ['no interval', { advertIntervalMs: 0 }],
    ['an interval past 12 bits', { advertIntervalMs: 40_951 }],
    ['no addresses', { addresses: [] }],
    ['256 addresses', { addresses: new Array(256).fill(source4) as Uint8Array[] }],
    ['both families at once', { addresses: [source4, source6] }],
    ['an address of 5 octets', { addresses: [new Uint8Array(5)] }],
  ] satisfies [string, Partial<Advert>][])('%s does not fit the wire', (_, changes) => {
    expect(() => encodeAdvert({ ...advert4, ...changes }, { form: 'plain' })).toThrow(RangeError);
  });
});

describe('decoding', () => {
  test.each(['plain', 'pseudo-header'] as const)('IPv4 with the %s checksum', (form) => {
    const message = encodeAdvert(advert4, { form, source: source4, destination: group4 });
    expect(decodeAdvert(message, source4, group4)).toEqual({ ok: true, advert: advert4, checksum: form });
  });

  test('IPv6', () => {
    const message = encodeAdvert(advert6, { form: 'pseudo-header', source: source6, destination: group6 });
    expect(decodeAdvert(message, source6, group6)).toEqual({ ok: true, advert: advert6, checksum: 'pseudo-header' });
  });

  test('IPv6 always has the pseudo-header', () => {
    const message = encodeAdvert(advert6, { form: 'plain' });
    expect(decodeAdvert(message, source6, group6)).toEqual({ ok: false, fault: 'wrong_checksum' });
  });

  test('the reserved bits beside the interval are ignored', () => {
    const message = encodeAdvert(advert4, { form: 'plain' });
    message[4] = 0xf0;
    const sum = 0xb4b4 - 0xf000;
    message[6] = (sum >> 8) & 0xff;
    message[7] = (sum & 0xff) - 1;
    expect(decodeAdvert(message, source4, group4)).toMatchObject({ ok: true, advert: { advertIntervalMs: 100 } });
  });

  const plain = (changes: Partial<Advert> = {}) => encodeAdvert({ ...advert4, ...changes }, { form: 'plain' });
  const patched = (offset: number, value: number) => {
    const message = plain();
    message[offset] = value;
    return message;
  };
  test.each([
    ['too_short', plain().subarray(0, 7)],
    ['wrong_version', patched(0, 0x21)],
    ['wrong_type', patched(0, 0x32)],
    ['wrong_length', patched(3, 0)],
    ['wrong_length', patched(3, 3)],
    ['wrong_length', plain().subarray(0, 12)],
    ['wrong_checksum', patched(2, 151)],
    ['zero_vrid', Uint8Array.of(0x31, 0, 150, 1, 0, 10, 0x76, 0xf2, 192, 0, 2, 1)],
    ['zero_interval', Uint8Array.of(0x31, 51, 150, 1, 0, 0, 0x76, 0xc9, 192, 0, 2, 1)],
  ])('%s', (fault, message) => {
    expect(decodeAdvert(message, source4, group4)).toEqual({ ok: false, fault });
  });
});

test('virtual MACs of both families', () => {
  expect(hex(virtualMac(4, 51))).toBe('00005e000133');
  expect(hex(virtualMac(6, 51))).toBe('00005e000233');
});
