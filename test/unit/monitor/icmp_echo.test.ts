/** Goal: echo requests as RFC 792 and RFC 4443 lay them out, and nothing but a true reply taken for one. */
import { expect, test } from 'vitest';

import { decodeEchoReply, encodeEchoRequest } from '../../../src/monitor/icmp_echo.js';

const echo = { identifier: 0x1234, sequence: 0xfffe, token: 0x0102_0304_0506_0708n };

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function reply(family: 4 | 6): Uint8Array {
  const message = encodeEchoRequest(family, echo);
  message[0] = family === 4 ? 0 : 129;
  return family === 4 ? Uint8Array.of(0x46, ...new Uint8Array(23), ...message) : message;
}

test('an IPv4 request carries the checksum of RFC 1071', () => {
  // Computed by hand: 0x0800 + 0x1234 + 0xfffe + 0x0102 + 0x0304 + 0x0506 + 0x0708, folded, complemented.
  expect(hex(encodeEchoRequest(4, echo))).toBe('0800d5b81234fffe0102030405060708');
});

test('an IPv6 request leaves the checksum to the kernel', () => {
  expect(hex(encodeEchoRequest(6, echo))).toBe('800000001234fffe0102030405060708');
});

test('a reply is read behind an IPv4 header with options', () => expect(decodeEchoReply(4, reply(4))).toEqual(echo));

test('a reply is read without a header from an IPv6 socket', () => expect(decodeEchoReply(6, reply(6))).toEqual(echo));

test('our own request, heard on loopback, is no reply', () => {
  expect(decodeEchoReply(6, encodeEchoRequest(6, echo))).toBeNull();
});

test('no prefix of a reply is read as one', () => {
  for (const family of [4, 6] as const) {
    const whole = reply(family);
    for (let length = 0; length < whole.length; length++) {
      expect(decodeEchoReply(family, whole.subarray(0, length))).toBeNull();
    }
  }
});
