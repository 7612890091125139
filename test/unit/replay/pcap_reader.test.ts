/**
 * Goal: every file that pcap-parser alone would misread is read, or refused with how to mend it.
 * Method: files written octet by octet; the frames, the damage, the words of the refusal.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type CapturedFrame, PcapError, readPcap } from '../../../src/io/pcap_reader.js';
import { pcapFileHeader, pcapFrame } from '../../../src/wire/pcap.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-pcap-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Head {
  readonly magic?: number;
  readonly little?: boolean;
  readonly version?: readonly [number, number];
  readonly linkType?: number;
}

function header({ magic = 0xa1b2c3d4, little = true, version = [2, 4], linkType = 1 }: Head = {}): Buffer {
  const bytes = Buffer.alloc(24);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(0, magic, little);
  view.setUint16(4, version[0], little);
  view.setUint16(6, version[1], little);
  view.setUint32(16, 65_535, little);
  view.setUint32(20, linkType, little);
  return bytes;
}

function record(
  seconds: number,
  fraction: number,
  frame: Uint8Array,
  little = true,
  captured = frame.length,
  original = captured,
) {
  const bytes = Buffer.alloc(16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const [index, value] of [seconds, fraction, captured, original].entries())
    view.setUint32(4 * index, value, little);
  return Buffer.concat([bytes, frame]);
}

const frame = (bytes: number, value = 7) => new Uint8Array(bytes).fill(value);

async function read(...parts: readonly Uint8Array[]): Promise<{ frames: CapturedFrame[]; damage: string | null }> {
  const path = join(folder, 'file.pcap');
  writeFileSync(path, Buffer.concat(parts));
  const reader = readPcap(path);
  const frames: CapturedFrame[] = [];
  for await (const each of reader) frames.push({ timeNs: each.timeNs, bytes: Uint8Array.from(each.bytes) });
  return { frames, damage: reader.damage?.replace(path, 'FILE') ?? null };
}

async function refusal(...parts: readonly Uint8Array[]): Promise<string> {
  const error: unknown = await read(...parts).catch((thrown: unknown) => thrown);
  if (!(error instanceof PcapError)) throw new Error('was not refused', { cause: error });
  return error.message.replaceAll(join(folder, 'file.pcap'), 'FILE');
}

describe('is read', () => {
  test.each([
    ['microseconds, little endian', 0xa1b2c3d4, true, 5_000_123_000n],
    ['microseconds, big endian', 0xa1b2c3d4, false, 5_000_123_000n],
    ['nanoseconds, little endian', 0xa1b23c4d, true, 5_000_000_123n],
    ['nanoseconds, big endian', 0xa1b23c4d, false, 5_000_000_123n],
  ])('%s', async (_name, magic, little, timeNs) => {
    const { frames, damage } = await read(header({ magic, little }), record(5, 123, frame(60), little));
    expect(frames).toEqual([{ timeNs, bytes: frame(60) }]);
    expect(damage).toBeNull();
  });

  test('a file without frames', async () => {
    expect(await read(header())).toEqual({ frames: [], damage: null });
  });

  test('frames that lie across chunks, in order', async () => {
    const records = Array.from({ length: 500 }, (_, index) =>
      record(index, 0, frame(1 + ((index * 37) % 1500), index % 256)),
    );
    const { frames, damage } = await read(header(), ...records);
    expect(frames.map(({ timeNs }) => Number(timeNs / 1_000_000_000n))).toEqual(records.map((_, index) => index));
    expect(
      frames.every(
        ({ bytes }, index) =>
          bytes.length === 1 + ((index * 37) % 1500) && bytes.every((octet) => octet === index % 256),
      ),
    ).toBe(true);
    expect(damage).toBeNull();
  });

  test('a frame of no octets', async () => {
    expect(
      (await read(header(), record(0, 0, frame(0)), record(1, 0, frame(1)))).frames.map(({ bytes }) => bytes.length),
    ).toEqual([0, 1]);
  });

  test('what we write ourselves', async () => {
    const { frames } = await read(pcapFileHeader(), pcapFrame(1_700_000_000_123_456_789n, frame(70)));
    expect(frames).toEqual([{ timeNs: 1_700_000_000_123_456_789n, bytes: frame(70) }]);
  });
});

// pcapng, octet by octet; `little` as the section has it.
type Field = (little: boolean) => Uint8Array;
const field =
  (bytes: number, write: (view: DataView, little: boolean) => void): Field =>
  (little) => {
    const octets = new Uint8Array(bytes);
    write(new DataView(octets.buffer), little);
    return octets;
  };
const u16 = (value: number) => field(2, (view, little) => view.setUint16(0, value, little));
const u32 = (value: number) => field(4, (view, little) => view.setUint32(0, value, little));
const octets =
  (value: Uint8Array): Field =>
  () =>
    Buffer.concat([value, Buffer.alloc(-value.length & 3)]);
const option = (code: number, value: Uint8Array): Field[] => [u16(code), u16(value.length), octets(value)];

let little = true;
function inOrder<Result>(order: boolean, make: () => Result): Result {
  little = order;
  try {
    return make();
  } finally {
    little = true;
  }
}
function block(type: number, ...fields: readonly Field[]): Buffer {
  const body = Buffer.concat(fields.map((each) => each(little)));
  const [typed, length] = [u32(type)(little), u32(body.length + 12)(little)];
  return Buffer.concat([typed, length, body, length]);
}
const section = (application = '') =>
  block(
    0x0a0d0d0a,
    ...[u32(0x1a2b3c4d), u16(1), u16(0), u32(0xffffffff), u32(0xffffffff)],
    ...(application === '' ? [] : option(4, Buffer.from(application))),
  );
const device = (...options: readonly Field[]) => block(1, u16(1), u16(0), u32(0), ...options);
const packet = (index: number, high: number, low: number, bytes: Uint8Array, flags?: number) =>
  block(
    6,
    ...[u32(index), u32(high), u32(low), u32(bytes.length), u32(bytes.length), octets(bytes)],
    ...(flags === undefined ? [] : option(2, u32(flags)(little))),
  );

describe('pcapng is read', () => {
  const nanoseconds = option(9, Uint8Array.of(9));

  test.each([
    ['little endian', true],
    ['big endian', false],
  ])('%s, microseconds by default, other blocks passed over', async (_name, order) => {
    const parts = inOrder(order, () => [
      section(),
      device(),
      block(0x0bad, u32(7)),
      packet(0, 1, 5, frame(61)),
      block(5, u32(0), u32(0), u32(0)),
    ]);
    expect(await read(...parts)).toEqual({
      frames: [{ timeNs: (2n ** 32n + 5n) * 1000n, bytes: frame(61) }],
      damage: null,
    });
  });

  test('sections of both byte orders in one file, each with devices and resolutions of its own', async () => {
    const parts = [
      section(),
      device(...nanoseconds),
      packet(0, 0, 1, frame(60)),
      ...inOrder(false, () => [section(), device(...option(9, Uint8Array.of(0x8a))), packet(0, 0, 2048, frame(62))]),
      section(),
      device(
        ...nanoseconds,
        ...option(
          14,
          inOrder(true, () => Buffer.from('ffffffffffffffff', 'hex')),
        ),
      ),
      packet(0, 0, 2_000_000_000, frame(64)),
    ];
    const { frames, damage } = await read(...parts);
    expect(frames.map(({ timeNs, bytes }) => [timeNs, bytes.length])).toEqual([
      [1n, 60],
      [2_000_000_000n, 62],
      [1_000_000_000n, 64],
    ]);
    expect(damage).toBeNull();
  });

  test('simple and obsolete packet blocks', async () => {
    const simple = block(3, u32(5), octets(frame(5)));
    const obsolete = block(2, u16(0), u16(0), u32(0), u32(9), u32(3), u32(3), octets(frame(3)));
    const { frames } = await read(section(), device(), simple, obsolete);
    expect(frames).toEqual([
      { timeNs: 0n, bytes: frame(5) },
      { timeNs: 9000n, bytes: frame(3) },
    ]);
  });

  test('of a capture by tandem, what was received', async () => {
    const directions = [packet(0, 0, 1, frame(60), 1), packet(0, 0, 2, frame(61), 2), packet(0, 0, 3, frame(62))];
    const received = async (application: string) =>
      (await read(section(application), device(), ...directions)).frames.map(({ bytes }) => bytes.length);
    expect(await received('tandem 1.0')).toEqual([60]);
    expect(await received('dumpcap')).toEqual([60, 61, 62]);
  });

  test.each([
    ['the file ends within a block', packet(0, 0, 2, frame(60)).subarray(0, 40), 'FILE ends within block 4'],
    [
      'a device that is not described',
      packet(1, 0, 2, frame(60)),
      'FILE block 4 names interface 1, which is not described',
    ],
    [
      'a block that cannot be so long',
      Buffer.from('06000000fcffffff00000000', 'hex'),
      'FILE block 4 claims 4294967292 bytes, more than the 4194304 that are read',
    ],
    [
      'more captured than the block holds',
      block(6, u32(0), u32(0), u32(0), u32(64), u32(64), octets(frame(60))),
      'FILE block 4 is too short: 80 bytes, of which 84 are needed',
    ],
    [
      'another length at its end',
      Buffer.concat([packet(0, 0, 2, frame(60)).subarray(0, -4), Buffer.alloc(4)]),
      'FILE block 4 ends with a length of 0, and began with 92',
    ],
    [
      'more captured than there was',
      block(6, ...[0, 0, 0, 60, 40].map(u32), octets(frame(60))),
      'FILE block 4 claims 60 captured bytes of only 40',
    ],
  ])('and told as damage: %s', async (_name, bad, damage) => {
    const result = await read(section(), device(), packet(0, 0, 1, frame(60)), bad);
    expect(result.frames).toHaveLength(1);
    expect(result.damage).toBe(damage);
  });
});

describe('is told as damage, after the frames before it', () => {
  const good = record(1, 0, frame(60));

  test.each([
    ['the file ends within a frame', record(2, 0, frame(60)).subarray(0, 40), 'FILE ends within frame 2'],
    ['the file ends within a frame header', record(2, 0, frame(60)).subarray(0, 9), 'FILE ends within frame 2'],
    [
      'a frame that cannot be so long',
      record(2, 0, frame(60), true, 0x7fffffff),
      "FILE: frame 2 claims 2147483647 captured bytes, more than the format's 262144",
    ],
    [
      'more captured than there was',
      record(2, 0, frame(60), true, 60, 40),
      'FILE: frame 2 claims 60 captured bytes of only 40',
    ],
  ])('%s', async (_name, bad, damage) => {
    const result = await read(header(), good, bad);
    expect(result.frames).toHaveLength(1);
    expect(result.damage).toBe(damage);
  });

  test('nothing behind the damage is read', async () => {
    const { frames } = await read(header(), good, record(2, 0, frame(60), true, 60, 40), good, good);
    expect(frames).toHaveLength(1);
  });
});

describe('is refused', () => {
  test.each([
    [
      'pcapng of another version',
      [block(0x0a0d0d0a, u32(0x1a2b3c4d), u16(2), u16(0), u32(0xffffffff), u32(0xffffffff))],
      'FILE block 1 is of pcapng version 2; only 1 is read',
    ],
    [
      'pcapng without a byte order',
      [Buffer.from('0a0d0d0a1c0000001234567801000000ffffffffffffffff', 'hex')],
      'FILE block 1 has no byte-order magic',
    ],
    [
      'pcapng of raw IP',
      [section(), block(1, u16(101), u16(0), u32(0)), packet(0, 0, 1, frame(60))],
      'FILE has link type 101; only Ethernet (1) is read: capture on an Ethernet interface',
    ],
    [
      'gzip',
      [Buffer.concat([Buffer.from('1f8b0800', 'hex'), Buffer.alloc(40)])],
      'FILE is compressed; unpack it with: gunzip FILE',
    ],
    [
      'no capture at all',
      [Buffer.from('#!/usr/bin/env bash\necho hello\n')],
      'FILE is neither a pcap nor a pcapng file (it begins with 23212f75)',
    ],
    ['an empty file', [], 'FILE is empty'],
    [
      'a file header cut short',
      [header().subarray(0, 20)],
      'FILE is no capture: it ends after 20 bytes, within the file header',
    ],
    ['another version', [header({ version: [2, 3] })], 'FILE is pcap version 2.3; only 2.4 is read'],
    [
      'raw IP',
      [header({ linkType: 101 })],
      'FILE has link type 101; only Ethernet (1) is read: capture on an Ethernet interface',
    ],
    [
      'Linux cooked capture, big endian',
      [header({ linkType: 113, little: false })],
      'FILE has link type 113; only Ethernet (1) is read: capture on an Ethernet interface',
    ],
  ])('%s', async (_name, parts, message) => {
    expect(await refusal(...parts)).toBe(message);
  });

  test('a file that is not there', async () => {
    const iteration = readPcap(join(folder, 'nowhere'))[Symbol.asyncIterator]();
    await expect(iteration.next()).rejects.toThrow(/nowhere cannot be read: ENOENT/);
  });

  test('a folder', async () => {
    await expect(readPcap(folder)[Symbol.asyncIterator]().next()).rejects.toThrow(/cannot be read: EISDIR/);
  });
});

test('a reader that is left early lets go of the file', async () => {
  const path = join(folder, 'long.pcap');
  writeFileSync(path, Buffer.concat([header(), ...Array.from({ length: 5000 }, () => record(0, 0, frame(100)))]));
  for await (const _frame of readPcap(path)) break;
});
