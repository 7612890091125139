/**
 * Goal: announcement frames are what RFC 5227, RFC 4861 and RFC 3810 draw, octet by octet. A wrong octet
 * here is a neighbour that keeps the dead unit's address. tshark 4.0 finds no fault with them.
 */
import { expect, test } from 'vitest';

import {
  gratuitousArp,
  linkLocalAddress,
  MLD_RECORDS_MAX,
  mldReports,
  solicitedNodeGroup,
  unsolicitedNeighbourAdvertisement,
} from '../../../src/wire/announce.js';
import { foldChecksum, sumPseudoHeader, sumWords } from '../../../src/wire/bytes.js';
import { formatIpAddress, ipAddress } from '../../../src/wire/ip_address.js';
import { virtualMac } from '../../../src/wire/vrrp.js';

const octets = (text: string) => ipAddress(text).octets;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const mac4 = virtualMac(4, 51);
const mac6 = virtualMac(6, 51);

test('gratuitous ARP: a broadcast request from the virtual MAC, sender and target the same', () => {
  expect(hex(gratuitousArp(mac4, octets('192.0.2.1')))).toBe(
    [
      'ffffffffffff' + '00005e000133' + '0806',
      '0001' + '0800' + '06' + '04' + '0001',
      '00005e000133' + 'c0000201',
      '000000000000' + 'c0000201',
      '00'.repeat(18),
    ].join(''),
  );
});

test('unsolicited neighbour advertisement: to all nodes, router and override set, with the virtual MAC', () => {
  const target = '20010db8000000000000000000000001';
  expect(hex(unsolicitedNeighbourAdvertisement(mac6, octets('2001:db8::1')))).toBe(
    [
      '333300000001' + '00005e000233' + '86dd',
      '60000000' + '0020' + '3a' + 'ff' + target + 'ff020000000000000000000000000001',
      '88' + '00' + '1af8' + 'a0000000' + target,
      '02' + '01' + '00005e000233',
    ].join(''),
  );
});

test('MLDv2 report: hop limit 1, router alert, from the link-local address of the virtual MAC', () => {
  const [frame, ...more] = mldReports(mac6, [solicitedNodeGroup(octets('2001:db8::1'))], 'joined');
  expect(more).toEqual([]);
  expect(hex(frame!)).toBe(
    [
      '333300000016' + '00005e000233' + '86dd',
      '60000000' + '0024' + '00' + '01',
      'fe8000000000000002005efffe000233' + 'ff020000000000000000000000000016',
      '3a' + '00' + '0502' + '0000' + '0100',
      '8f' + '00' + hex(frame!.subarray(64, 66)) + '0000' + '0001',
      '04' + '00' + '0000' + 'ff0200000000000000000001ff000001',
    ].join(''),
  );
  const sum = sumPseudoHeader(octets('fe80::200:5eff:fe00:233'), octets('ff02::16'), 58, 28);
  expect(foldChecksum(sumWords(frame!.subarray(62), sum))).toBe(0);
});

test('an answer to a query says "is", a join says "changed to"', () => {
  const types = (['joined', 'listening'] as const).map(
    (kind) => mldReports(mac6, [octets('ff02::1:ff00:1')], kind)[0]![70],
  );
  expect(types).toEqual([4, 2]);
});

test('more groups than fit one report go into the next', () => {
  const groups = Array.from({ length: MLD_RECORDS_MAX + 1 }, (_, index) =>
    octets(`ff02::1:ff00:${index.toString(16)}`),
  );
  const frames = mldReports(mac6, groups, 'joined');
  expect(frames.map((frame) => frame.length)).toEqual([14 + 40 + 8 + 8 + 20 * MLD_RECORDS_MAX, 14 + 40 + 8 + 8 + 20]);
  expect(frames.map((frame) => frame[69])).toEqual([MLD_RECORDS_MAX, 1]);
  expect(frames[0]!.length - 14).toBeLessThanOrEqual(1280);
});

test('solicited-node group and link-local address', () => {
  expect(formatIpAddress(solicitedNodeGroup(octets('2001:db8::12:3456')))).toBe('ff02::1:ff12:3456');
  expect(formatIpAddress(linkLocalAddress(mac6))).toBe('fe80::200:5eff:fe00:233');
});
