/** Goal: what is encoded is decoded again, whatever the fields; and no change of a bit goes unseen. */
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { MLD_RECORDS_MAX, mldReports, unsolicitedNeighbourAdvertisement } from '../../src/wire/announce.js';
import {
  compareBytes,
  foldChecksum,
  formatMacAddress,
  macAddress,
  sumPseudoHeader,
  sumWords,
} from '../../src/wire/bytes.js';
import { ADVERT_ADDRESSES_MAX, type Advert, decodeAdvert, encodeAdvert, type Family } from '../../src/wire/vrrp.js';

const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const family = fc.constantFrom<Family>(4, 6);

interface Example {
  readonly advert: Advert;
  readonly form: 'plain' | 'pseudo-header';
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

const example: fc.Arbitrary<Example> = family.chain((chosen) => {
  const bytes = chosen === 4 ? 4 : 16;
  return fc.record({
    advert: fc.record({
      virtualRouterId: fc.integer({ min: 1, max: 255 }),
      priority: fc.integer({ min: 0, max: 255 }),
      advertIntervalMs: fc.integer({ min: 1, max: 4095 }).map((centiseconds) => centiseconds * 10),
      addresses: fc.array(octets(bytes), { minLength: 1, maxLength: ADVERT_ADDRESSES_MAX[chosen] }),
    }),
    form:
      chosen === 4
        ? fc.constantFrom('plain' as const, 'pseudo-header' as const)
        : fc.constant('pseudo-header' as const),
    source: octets(bytes),
    destination: octets(bytes),
  });
});

const encode = ({ advert, form, source, destination }: Example) => encodeAdvert(advert, { form, source, destination });

test('an advert survives the wire', () => {
  fc.assert(
    fc.property(example, (one) => {
      const decoded = decodeAdvert(encode(one), one.source, one.destination);
      expect(decoded).toMatchObject({ ok: true, advert: one.advert });
    }),
  );
});

test('a flipped bit is never the same advert', () => {
  fc.assert(
    fc.property(example, fc.nat(), (one, place) => {
      const message = encode(one);
      const bit = place % (message.length * 8);
      message[bit >> 3]! ^= 1 << (bit & 7);
      const decoded = decodeAdvert(message, one.source, one.destination);
      if (decoded.ok) expect(decoded.advert).not.toEqual(one.advert);
    }),
  );
});

test('any bytes are decoded or refused, never thrown at', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), family, (message, chosen) => {
      const bytes = chosen === 4 ? 4 : 16;
      expect(typeof decodeAdvert(message, new Uint8Array(bytes), new Uint8Array(bytes)).ok).toBe('boolean');
    }),
  );
});

test('checksums of announcements are those of their own bytes', () => {
  fc.assert(
    fc.property(octets(6), fc.array(octets(16), { minLength: 1, maxLength: 130 }), (mac, addresses) => {
      const reports = mldReports(mac, addresses, 'joined');
      expect(reports).toHaveLength(Math.ceil(addresses.length / MLD_RECORDS_MAX));
      for (const frame of reports) expect(icmpv6Remainder(frame, 62)).toBe(0);
      expect(icmpv6Remainder(unsolicitedNeighbourAdvertisement(mac, addresses[0]!), 54)).toBe(0);
    }),
  );
});

test('a checksum does not depend on how the bytes are cut into even parts', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), (bytes, place) => {
      const cut = (place % (bytes.length + 1)) & ~1;
      const parts = sumWords(bytes.subarray(cut), sumWords(bytes.subarray(0, cut)));
      expect(foldChecksum(parts)).toBe(foldChecksum(sumWords(bytes)));
    }),
  );
});

test('MAC addresses survive their text', () => {
  fc.assert(
    fc.property(octets(6), (mac) => {
      expect(macAddress(formatMacAddress(mac))).toEqual(mac);
    }),
  );
});

test('comparing is what comparing the numbers is', () => {
  const number = (bytes: Uint8Array) => bytes.reduce((value, byte) => value * 256n + BigInt(byte), 0n);
  fc.assert(
    fc.property(octets(16), octets(16), (left, right) => {
      const difference = number(left) - number(right);
      expect(Math.sign(compareBytes(left, right))).toBe(difference === 0n ? 0 : difference > 0n ? 1 : -1);
    }),
  );
});

/** 0 if the checksum is right. `start`: where the ICMPv6 message begins in the frame. */
function icmpv6Remainder(frame: Uint8Array, start: number): number {
  const message = frame.subarray(start);
  const pseudoHeader = sumPseudoHeader(frame.subarray(22, 38), frame.subarray(38, 54), 58, message.length);
  return foldChecksum(sumWords(message, pseudoHeader));
}
