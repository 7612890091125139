/**
 * Goal: the addon as a whole forwards: one TCP connection there and back, what becomes of other frames, expiry.
 * Method: frames through the memory devices; rewritten frames are compared byte by byte with built ones.
 */

import { describe, expect, test } from 'vitest';

import {
  CLIENT,
  CLIENT_DEVICE,
  CLIENT_MAC,
  encode,
  FLOATING,
  MEMBER,
  MEMBER_MAC,
  MemoryDatapath,
  SERVER_DEVICE,
  VIRTUAL_ADDRESS,
  VIRTUAL_MAC,
} from '../../support/memory_datapath.js';
import { arp, ipFrame, type TcpFields, tcp } from '../../support/packets.js';

const CLIENT_PORT = 40_000;

function fromClient(flags: string, more: Partial<TcpFields> = {}): Uint8Array {
  const ports = { sourcePort: CLIENT_PORT, destinationPort: 80 };
  return ipFrame(
    { from: CLIENT_MAC, to: VIRTUAL_MAC },
    { source: CLIENT, destination: VIRTUAL_ADDRESS },
    tcp({ ...ports, flags, ...more }),
  );
}

function fromMember(flags: string, snatPort: number): Uint8Array {
  return ipFrame(
    { from: MEMBER_MAC, to: VIRTUAL_MAC },
    { source: MEMBER, destination: FLOATING },
    tcp({ sourcePort: 8080, destinationPort: snatPort, flags }),
  );
}

/** Source port of an untagged IPv4 frame without options. */
const sourcePort = (frame: Uint8Array) => new DataView(frame.buffer, frame.byteOffset).getUint16(34);

describe('a TCP connection', () => {
  test('its SYN goes to the member from the floating address, the reply goes back to the client', () => {
    const unit = new MemoryDatapath().activate();
    const [syn] = unit.replay([{ atS: 1, device: CLIENT_DEVICE, frame: fromClient('S') }]);
    if (syn?.verdict !== 'forward') throw new Error(`the SYN was not forwarded: ${JSON.stringify(syn)}`);
    const snatPort = sourcePort(syn.frame);
    // Unit 0 has the even ports.
    expect(snatPort % 2).toBe(0);
    expect(syn.device).toBe(SERVER_DEVICE);
    expect(syn.frame).toEqual(
      ipFrame(
        { from: VIRTUAL_MAC, to: MEMBER_MAC },
        { source: FLOATING, destination: MEMBER, ttl: 63 },
        tcp({ sourcePort: snatPort, destinationPort: 8080, flags: 'S' }),
      ),
    );

    const [reply] = unit.replay([{ atS: 1.1, device: SERVER_DEVICE, frame: fromMember('SA', snatPort) }]);
    expect(reply).toEqual({
      verdict: 'forward',
      device: CLIENT_DEVICE,
      frame: ipFrame(
        { from: VIRTUAL_MAC, to: CLIENT_MAC },
        { source: VIRTUAL_ADDRESS, destination: CLIENT, ttl: 63 },
        tcp({ sourcePort: 80, destinationPort: CLIENT_PORT, flags: 'SA' }),
      ),
    });

    unit.replay([{ atS: 1.2, device: CLIENT_DEVICE, frame: fromClient('A', { acknowledgment: 1001 }) }]);
    expect(unit.datapath.connections(0, 10, null)).toEqual({
      rows: [
        {
          id: expect.stringMatching(/^\d+\.\d+$/) as string,
          virtualServer: 'www',
          protocol: 'tcp',
          client: `${CLIENT}:${CLIENT_PORT}`,
          virtual: `${VIRTUAL_ADDRESS}:80`,
          member: `${MEMBER}:8080`,
          snat: `${FLOATING}:${snatPort}`,
          state: 'established',
          idleS: expect.any(Number) as number,
          fromPeer: false,
          unprotected: false,
          mirrored: false,
          forwarding: 'nat',
          lastHop: `${CLIENT_MAC} on client`,
        },
      ],
      next: null,
    });
    expect(unit.datapath.connections(0, 10, 'other').rows).toEqual([]);
    expect(unit.datapath.tableCounts()).toMatchObject({ capacity: 1024, used: 1 });
    expect(unit.datapath.memberCounts()).toEqual([
      { address: MEMBER, port: 8080, connections: 1, opened: 1, limited: 0, persisted: 0, share: 1 },
    ]);
    const [counts] = unit.datapath.virtualServerCounts();
    expect(counts).toMatchObject({ name: 'www', connections: 1, opened: 1, packetsIn: 2, packetsOut: 1, bytesOut: 54 });
    expect(unit.counters()).toEqual({ received: 3, forwarded: 3, opened: 1 });
  });

  test('is forgotten when it was half-open for longer than its timeout', () => {
    const unit = new MemoryDatapath().activate();
    unit.replay([{ atS: 1, device: CLIENT_DEVICE, frame: fromClient('S') }]);
    const other = { frame: new Uint8Array(64), device: CLIENT_DEVICE };
    // A lap of the sweep takes up to 10 s; the timeout is 10 s.
    unit.replay(Array.from({ length: 9 }, (_, second) => ({ ...other, atS: 1 + second })));
    expect(unit.datapath.tableCounts().used).toBe(1);
    unit.replay(Array.from({ length: 15 }, (_, second) => ({ ...other, atS: 10 + second })));
    expect(unit.datapath.tableCounts().used).toBe(0);
    expect(unit.counters()).toMatchObject({ expired: 1, closed: 1 });
  });

  test('goes on when its virtual server is gone from the policy', () => {
    const unit = new MemoryDatapath().activate();
    unit.replay([{ atS: 1, device: CLIENT_DEVICE, frame: fromClient('S') }]);
    unit.datapath.setPolicy({
      groups: [{ name: 'main', vrids: [51, 51], floating: [[], []] }],
      addresses: [],
      pools: [],
      virtualServers: [],
    });
    const [again, fresh] = unit.replay([
      { atS: 2, device: CLIENT_DEVICE, frame: fromClient('A') },
      { atS: 2, device: CLIENT_DEVICE, frame: fromClient('S', { sourcePort: CLIENT_PORT + 1 }) },
    ]);
    expect(again?.verdict).toBe('forward');
    expect(fresh).toEqual({ verdict: 'drop', drop: 'transit' });
    expect(unit.datapath.virtualServerCounts()).toMatchObject([{ name: 'www', connections: 1 }]);
  });
});

describe('the lease and the role', () => {
  test.each([
    ['standby', 'standby', 'standby'],
    ['handing-over', 'handing-over', 'handing_over'],
  ] as const)('%s opens nothing', (_, role, drop) => {
    const unit = new MemoryDatapath().activate();
    unit.shared.setRole(0, role, 1, Number.POSITIVE_INFINITY);
    const outcomes = unit.replay([{ atS: 1, device: CLIENT_DEVICE, frame: fromClient('S') }]);
    expect(outcomes).toEqual([{ verdict: 'drop', drop }]);
  });

  test('an active unit whose lease has run out forwards nothing', () => {
    const unit = new MemoryDatapath().activate();
    unit.shared.setRole(0, 'active', 1, 5000);
    const outcomes = unit.replay([
      { atS: 1, device: CLIENT_DEVICE, frame: fromClient('S') },
      { atS: 6, device: CLIENT_DEVICE, frame: fromClient('A') },
    ]);
    expect(outcomes.map(({ verdict }) => verdict)).toEqual(['forward', 'drop']);
  });
});

describe('replay', () => {
  const question = arp(
    { from: CLIENT_MAC, to: 'ff:ff:ff:ff:ff:ff' },
    { operation: 1, sender: CLIENT, target: VIRTUAL_ADDRESS },
  );

  test('gives one outcome per frame, in the order of the frames', () => {
    const unit = new MemoryDatapath().activate();
    const outcomes = unit.replay([
      { atS: 1, device: CLIENT_DEVICE, frame: question },
      { atS: 1, device: CLIENT_DEVICE, frame: new Uint8Array(5) },
      { atS: 2, device: SERVER_DEVICE, frame: fromMember('A', 4000) },
      { atS: 2, device: CLIENT_DEVICE, frame: fromClient('S') },
    ]);
    expect(outcomes.map(({ verdict }) => verdict)).toEqual(['forward', 'drop', 'drop', 'forward']);
    expect(outcomes[1]).toEqual({ verdict: 'drop', drop: 'truncated' });
    expect(outcomes[2]).toEqual({ verdict: 'drop', drop: 'unknown_return' });
  });

  test('takes more frames of one time than a burst holds', () => {
    const unit = new MemoryDatapath().activate();
    const outcomes = unit.replay(new Array(200).fill({ atS: 1, device: CLIENT_DEVICE, frame: question }));
    expect(outcomes).toHaveLength(200);
    expect(unit.counters()).toEqual({ received: 200, arp_replies: 200 });
  });

  const whole = encode([{ atS: 1, device: CLIENT_DEVICE, frame: question }]);
  test.each([
    ['a cut head', whole.subarray(0, 15), 1024, /frame 0 has less than its 16-byte head/],
    ['a cut frame', whole.subarray(0, whole.length - 1), 1024, /frame 0 is cut/],
    ['no such device', encode([{ atS: 1, device: 2, frame: question }]), 1024, /frame 0 names a device/],
    ['too small an output', whole, whole.length, /the output has 58 bytes; 1 frames may need 186/],
  ])('%s is refused before anything is forwarded', (_, input, outputBytes, sentence) => {
    const unit = new MemoryDatapath().activate();
    expect(() => unit.datapath.replay(input, new Uint8Array(outputBytes))).toThrow(sentence);
    expect(() => unit.datapath.replay(input, new Uint8Array(outputBytes))).toThrow(RangeError);
    expect(unit.counters()).toEqual({});
  });
});
