/**
 * Goal: the judge of the lab's captures convicts every frame that a kernel must not send, and nothing else.
 * Method: rows: a sentence, a built frame, the verdict.
 */

import { expect, test } from 'vitest';

import { isAnnouncement, type Suspicion, suspicion } from '../../support/traffic/frames.js';

const addresses = ['10.1.0.100', 'fd01::100'];
const clientMac = '02:00:00:00:00:50';
const unitMac = '02:00:00:00:00:02';
const virtualMac = '00:00:5e:00:01:33';
const virtualMac6 = '00:00:5e:00:02:33';

const rows: readonly (readonly [name: string, frame: Buffer, kind: Suspicion['kind'] | null])[] = [
  ['a unit answers ARP for a virtual address', arp(unitMac, '10.1.0.100', 2), 'arp answer'],
  ['a unit announces a virtual address', arp(unitMac, '10.1.0.100', 1), 'arp answer'],
  ['ARP for a virtual address from its virtual MAC', arp(virtualMac, '10.1.0.100', 2), null],
  ['ARP for the unit’s own address', arp(unitMac, '10.1.0.2', 2), null],
  ['the client asks', arp(clientMac, '10.1.0.50', 1), null],
  ['RST from a unit', ipv4(unitMac, 6, tcp(0x14)), 'rst'],
  ['RST from the virtual MAC', ipv4(virtualMac, 6, tcp(0x04)), 'rst'],
  ['RST from the client', ipv4(clientMac, 6, tcp(0x04)), null],
  ['ICMP unreachable from a unit', ipv4(unitMac, 1, Buffer.from([3, 1, 0, 0, 0, 0, 0, 0])), 'icmp error'],
  ['ICMP echo reply', ipv4(virtualMac, 1, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0])), null],
  ['ICMPv6 unreachable from a unit', ipv6(unitMac, 58, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])), 'icmp error'],
  ['RST over IPv6', ipv6(unitMac, 6, tcp(0x04)), 'rst'],
  ['a unit advertises a virtual address', ipv6(unitMac, 58, advertisement('fd01::100')), 'neighbour advertisement'],
  ['advertised from its virtual MAC', ipv6(virtualMac6, 58, advertisement('fd01::100')), null],
  ['a unit advertises its own address', ipv6(unitMac, 58, advertisement('fd01::2')), null],
  ['an MLD report', ipv6(unitMac, 58, Buffer.from([143, 0, 0, 0, 0, 0, 0, 0])), null],
  ['a frame cut short', Buffer.alloc(13), null],
];

for (const [name, frame, kind] of rows) {
  test(`${name}: ${kind ?? 'innocent'}`, () => {
    expect(suspicion(frame, [clientMac], addresses)?.kind ?? null).toBe(kind);
  });
}

test('gratuitous ARP from a virtual MAC is an announcement, an answer is not', () => {
  expect(isAnnouncement(arp(virtualMac, '10.1.0.100', 1, '10.1.0.100'), addresses)).toBe(true);
  expect(isAnnouncement(arp(virtualMac, '10.1.0.100', 2, '10.1.0.50'), addresses)).toBe(false);
  expect(isAnnouncement(arp(unitMac, '10.1.0.100', 1, '10.1.0.100'), addresses)).toBe(false);
});

function ethernet(source: string, type: number, payload: Buffer): Buffer {
  return Buffer.concat([mac('ff:ff:ff:ff:ff:ff'), mac(source), Buffer.from([type >> 8, type & 0xff]), payload]);
}

function arp(source: string, sender: string, operation: number, target = '10.1.0.50'): Buffer {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, operation]);
  return ethernet(source, 0x0806, Buffer.concat([head, mac(source), ip4(sender), Buffer.alloc(6), ip4(target)]));
}

function ipv4(source: string, protocol: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header[9] = protocol;
  ip4('10.1.0.100').copy(header, 12);
  ip4('10.1.0.50').copy(header, 16);
  return ethernet(source, 0x0800, Buffer.concat([header, payload]));
}

function ipv6(source: string, protocol: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header[6] = protocol;
  ip6('fd01::100').copy(header, 8);
  return ethernet(source, 0x86dd, Buffer.concat([header, payload]));
}

function tcp(flags: number): Buffer {
  const header = Buffer.alloc(20);
  header[12] = 0x50;
  header[13] = flags;
  return header;
}

/** RFC 4861 section 4.4. */
function advertisement(target: string): Buffer {
  return Buffer.concat([Buffer.from([136, 0, 0, 0, 0x20, 0, 0, 0]), ip6(target)]);
}

function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

function ip4(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number));
}

/** Only `head::tail` of one group each is needed here. */
function ip6(text: string): Buffer {
  const [head = '', tail = ''] = text.split('::');
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16BE(parseInt(head, 16), 0);
  bytes.writeUInt16BE(parseInt(tail, 16), 14);
  return bytes;
}
