/**
 * Goal: any capture can be replayed: frames find their device and our virtual MAC, and the sum is right.
 * Method: frames as some other network had them, through the real datapath; and the pieces by themselves.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { native } from '../../../src/io/native.js';
import { arrivalOf } from '../../../src/replay/arrival.js';
import { topologyOf } from '../../../src/replay/topology.js';
import { type ReplayOptions, replayCapture } from '../../../src/replay.js';
import { formatMacAddress } from '../../../src/wire/bytes.js';
import { pcapFileHeader, pcapFrame } from '../../../src/wire/pcap.js';
import { framesOf } from '../../support/checksums.js';
import { changed, loaded, validConfig } from '../../support/config_text.js';
import { arp, echoRequest, ethernet, ipFrame, neighbourSolicitation, tcp } from '../../support/packets.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-replay-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const theirs = { from: '00:11:22:33:44:55', to: '00:66:77:88:99:aa' };
const syn = tcp({ sourcePort: 1234, destinationPort: 80, flags: 'S' });
const toVirtual = ipFrame(theirs, { source: '192.0.2.1', destination: '10.1.0.100' }, syn);

async function replay(frames: readonly Uint8Array[], options: Partial<ReplayOptions> = {}, times?: readonly bigint[]) {
  const [input, output] = [join(folder, 'in.pcap'), join(folder, 'out.pcap')];
  const records = frames.map((frame, index) => pcapFrame(times?.[index] ?? BigInt(index) * 1_000_000n, frame));
  writeFileSync(input, Buffer.concat([pcapFileHeader(), ...records]));
  const config = loaded(`${validConfig}datapath: { connections: 4096 }\n`);
  const summary = await replayCapture(native, {
    config,
    unit: 'a',
    input,
    output,
    role: 'active',
    keepMac: false,
    ...options,
  });
  return { summary, sent: framesOf(readFileSync(output)) };
}

describe('where a frame arrives', () => {
  const topology = topologyOf(loaded(changed('mirror: async', 'links: [client]')), 'a');
  const arrival = (frame: Uint8Array) => {
    const { device, destinationMac } = arrivalOf(topology, frame);
    const mac = destinationMac === null ? 'as captured' : formatMacAddress(destinationMac);
    return `${topology.devices[device]!.name} ${mac}`;
  };
  const ip = (source: string, destination: string, link = theirs) => ipFrame(link, { source, destination }, syn);

  test.each([
    ['to a virtual address', ip('192.0.2.1', '10.1.0.100'), 'client 00:00:5e:00:01:33'],
    ['to an IPv6 virtual address', ip('2001:db8::1', 'fd01::100'), 'client 00:00:5e:00:02:33'],
    ['to a floating address of the other link', ip('192.0.2.1', '10.2.0.1'), 'server 00:00:5e:00:01:33'],
    ['from a member to a floating address', ip('10.2.0.11', '10.2.0.1'), 'server 00:00:5e:00:01:33'],
    ['from a member to a client', ip('10.2.0.11', '192.0.2.1'), 'server 00:00:5e:00:01:33'],
    ['between strangers', ip('192.0.2.1', '192.0.2.2'), 'client as captured'],
    [
      'to a virtual address, tagged',
      ipFrame({ ...theirs, vlan: [5, 6] }, { source: '192.0.2.1', destination: '10.1.0.100' }, syn),
      'client 00:00:5e:00:01:33',
    ],
    ['to a group', ip('10.2.0.11', '224.0.0.1', { ...theirs, to: '01:00:5e:00:00:01' }), 'server as captured'],
    [
      'ARP for a floating address',
      arp({ ...theirs, to: 'ff:ff:ff:ff:ff:ff' }, { operation: 1, sender: '10.2.0.77', target: '10.2.0.1' }),
      'server as captured',
    ],
    ['ARP of a member', arp(theirs, { operation: 1, sender: '10.2.0.11', target: '10.9.9.9' }), 'server as captured'],
    [
      'a solicitation',
      ipFrame(
        { ...theirs, to: '33:33:ff:00:00:01' },
        { source: 'fd02::77', destination: 'ff02::1:ff00:1', ttl: 255 },
        neighbourSolicitation('fd02::1', null),
      ),
      'server as captured',
    ],
    ['another protocol', ethernet(theirs, 0x88cc, new Uint8Array(30)), 'client as captured'],
    ['half a header', toVirtual.subarray(0, 20), 'client as captured'],
    ['nothing', new Uint8Array(0), 'client as captured'],
  ])('%s', (_name, frame, expected) => {
    expect(arrival(frame)).toBe(expected);
  });
});

describe('the network', () => {
  test('a member is on the link whose addresses are nearest', () => {
    expect([...topologyOf(loaded(), 'a').memberDevices]).toEqual([
      ['10.2.0.11', 1],
      ['10.2.0.12', 1],
      ['fd02::11', 1],
    ]);
  });

  test('every member has a MAC address of its own', () => {
    expect(topologyOf(loaded(), 'a').nextHops.map(({ address, mac }) => `${address} ${mac}`)).toEqual([
      '10.2.0.11 02:00:00:00:00:01',
      '10.2.0.12 02:00:00:00:00:02',
      'fd02::11 02:00:00:00:00:03',
    ]);
  });
});

describe('replay', () => {
  test("forwards what was captured with others' MAC addresses", async () => {
    const { summary, sent } = await replay([toVirtual]);
    expect(summary).toMatchObject({ read: 1, forwarded: 1, punted: 0, dropped: [], accounted: true });
    expect(formatMacAddress(sent[0]!.subarray(0, 6))).toBe('02:00:00:00:00:01');
  });

  test('leaves them as captured when told to, and then they are not for us', async () => {
    const { summary } = await replay([toVirtual], { keepMac: true });
    expect(summary).toMatchObject({ read: 1, forwarded: 0, punted: 1 });
  });

  test('as standby drops them', async () => {
    const { summary } = await replay([toVirtual], { role: 'standby' });
    expect(summary.dropped).toEqual([expect.objectContaining({ name: 'standby', value: 1 })]);
  });

  test('gives the same result every time', async () => {
    const echo = ipFrame(theirs, { source: '192.0.2.1', destination: '10.1.0.100' }, echoRequest(4));
    const [first, second] = [await replay([toVirtual, echo]), await replay([toVirtual, echo])];
    expect(first).toEqual(second);
  });

  test('takes clocks that jump, forwards and backwards', async () => {
    const far = 4_000_000_000n * 1_000_000_000n;
    const { summary } = await replay([toVirtual, toVirtual, toVirtual, toVirtual], {}, [5n, far, 7n, far]);
    expect(summary).toMatchObject({ read: 4, forwarded: 4, accounted: true });
  });

  test('drops by name what no device could have handed over', async () => {
    const { summary } = await replay([toVirtual, new Uint8Array(70_000), toVirtual]);
    expect(summary).toMatchObject({ read: 3, forwarded: 2, accounted: true });
    expect(summary.dropped).toMatchObject([{ name: 'oversized', value: 1 }]);
  });

  test('takes more frames than fit into one batch', async () => {
    const { summary } = await replay(Array.from({ length: 9_000 }, () => toVirtual));
    expect(summary).toMatchObject({ read: 9_000, forwarded: 9_000, accounted: true });
  });

  test('does not write over its own input', async () => {
    const input = join(folder, 'same.pcap');
    writeFileSync(input, pcapFileHeader());
    await expect(replay([], { input, output: input })).rejects.toThrow(/is the capture itself/);
  });

  test('leaves no output behind when the input is no capture', async () => {
    const [input, output] = [join(folder, 'text'), join(folder, 'never.pcap')];
    writeFileSync(input, 'this is text, and long enough to be a header');
    const config = loaded(`${validConfig}datapath: { connections: 4096 }\n`);
    await expect(
      replayCapture(native, { config, unit: 'a', input, output, role: 'active', keepMac: false }),
    ).rejects.toThrow(/is neither a pcap nor a pcapng file/);
    expect(existsSync(output)).toBe(false);
  });
});
