/** Goal: every way in which an advert is not our peer's has a name, and the peer's is taken. RFC 9568 section 7.1. */
import { describe, expect, test } from 'vitest';

import {
  type ExpectedAdvert,
  fromIpv4Packet,
  type ReceivedMessage,
  receiveAdvert,
} from '../../../src/failover/receive.js';
import { ipAddress } from '../../../src/wire/ip_address.js';
import { type Advert, encodeAdvert } from '../../../src/wire/vrrp.js';

const octets = (text: string) => ipAddress(text).octets;

const router4: ExpectedAdvert = {
  family: 4,
  virtualRouterId: 51,
  advertIntervalMs: 100,
  ownAddresses: ['10.1.0.2'],
  peerAddresses: ['10.1.0.3', '10.1.0.4'],
};
const router6: ExpectedAdvert = {
  ...router4,
  family: 6,
  ownAddresses: ['fd01::2', 'fe80::2'],
  peerAddresses: ['fd01::3'],
};

function ipv4(changes: Partial<ReceivedMessage> = {}, advert: Partial<Advert> = {}): ReceivedMessage {
  const source = changes.source ?? octets('10.1.0.3');
  const destination = changes.destination ?? octets('224.0.0.18');
  const whole: Advert = {
    virtualRouterId: 51,
    priority: 150,
    advertIntervalMs: 100,
    addresses: [octets('10.1.0.1')],
    ...advert,
  };
  const message = encodeAdvert(whole, { form: 'pseudo-header', source, destination });
  return { family: 4, message, source, destination, hopLimit: 255, ...changes };
}

function ipv6(source: string): ReceivedMessage {
  const addresses = [octets('fe80::1'), octets('fd01::1')];
  const destination = octets('ff02::12');
  const message = encodeAdvert(
    { virtualRouterId: 51, priority: 150, advertIntervalMs: 100, addresses },
    { form: 'pseudo-header', source: octets(source), destination },
  );
  return { family: 6, message, source: octets(source), destination, hopLimit: 255 };
}

const routers = [router6, router4];

describe('taken', () => {
  test("the peer's advert, for its virtual router", () => {
    expect(receiveAdvert(ipv4(), routers)).toEqual({
      ok: true,
      router: router4,
      priority: 150,
      advertIntervalMs: 100,
      otherInterval: false,
    });
  });

  test("from any of the peer's addresses", () => {
    expect(receiveAdvert(ipv4({ source: octets('10.1.0.4') }), routers)).toMatchObject({ ok: true });
  });

  test('another interval is adopted, and noted', () => {
    const outcome = receiveAdvert(ipv4({}, { advertIntervalMs: 200 }), routers);
    expect(outcome).toMatchObject({ ok: true, advertIntervalMs: 200, otherInterval: true });
  });

  test('an interval that the wire rounds up is no other interval', () => {
    const router = { ...router4, advertIntervalMs: 15 };
    expect(receiveAdvert(ipv4({}, { advertIntervalMs: 15 }), [router])).toMatchObject({
      ok: true,
      otherInterval: false,
    });
  });

  test('IPv6 from a link-local address, where none of the peer is configured', () => {
    expect(receiveAdvert(ipv6('fe80::3'), routers)).toMatchObject({ ok: true, router: router6 });
  });

  test("IPv6 from the peer's configured link-local address", () => {
    const router = { ...router6, peerAddresses: ['fd01::3', 'fe80::3'] };
    expect(receiveAdvert(ipv6('fe80::3'), [router])).toMatchObject({ ok: true });
  });
});

describe('dropped', () => {
  test.each([
    ['wrong_hop_limit', ipv4({ hopLimit: 254 })],
    ['wrong_destination', ipv4({ destination: octets('10.1.0.2') })],
    ['wrong_checksum', ipv4({ message: ipv4({}, { priority: 7 }).message.with(2, 8) })],
    ['too_short', ipv4({ message: new Uint8Array(0) })],
    ['unknown_vrid', ipv4({}, { virtualRouterId: 52 })],
    ['wrong_source', ipv4({ source: octets('10.1.0.9') })],
    ['wrong_source', ipv6('fd01::3')],
    ['wrong_source', ipv6('fe80::2')],
  ])('%s', (drop, received) => {
    expect(receiveAdvert(received, routers)).toEqual({ ok: false, drop });
  });

  test('IPv6 from a stranger, where the link-local address of the peer is configured', () => {
    const router = { ...router6, peerAddresses: ['fe80::3'] };
    expect(receiveAdvert(ipv6('fe80::4'), [router])).toEqual({ ok: false, drop: 'wrong_source' });
  });
});

describe('an IPv4 packet from a raw socket', () => {
  const packet = Buffer.from('46c0002000004000ff70000' + '00a010003e0000012' + '01020304' + '3133960100000000', 'hex');

  test('is taken apart, options and padding left out', () => {
    const padded = Buffer.concat([packet, Buffer.alloc(6)]);
    expect(fromIpv4Packet(padded)).toEqual({
      family: 4,
      message: packet.subarray(24),
      source: packet.subarray(12, 16),
      destination: packet.subarray(16, 20),
      hopLimit: 255,
    });
  });

  test.each([
    ['nothing', packet.subarray(0, 0)],
    ['half a header', packet.subarray(0, 22)],
    ['less than its total length', packet.subarray(0, 31)],
    ['IPv6', Buffer.concat([Buffer.of(0x66), packet.subarray(1)])],
    ['a header of 16 octets', Buffer.concat([Buffer.of(0x44), packet.subarray(1)])],
    ['a total length within the header', Buffer.concat([packet.subarray(0, 3), Buffer.of(23), packet.subarray(4)])],
  ])('%s is none', (_, bytes) => {
    expect(fromIpv4Packet(bytes)).toBeNull();
  });
});
