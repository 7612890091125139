/**
 * Goal: what is written is read again, however the stream is cut, and no damage to it is believed or breaks the reader.
 * Method: fast-check draws captures, chunk boundaries and damage.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { type PcapngFrame, pcapngFrame, pcapngHeader, pcapngStatistics } from '../../src/wire/pcapng.js';
import { type PcapngBlock, PcapngFault, PcapngReader } from '../../src/wire/pcapng_reader.js';

const interfaces = fc.array(
  fc.string({ minLength: 1, maxLength: 15 }).filter((name) => !name.includes('\0')),
  {
    minLength: 1,
    maxLength: 4,
  },
);
const capture = interfaces.chain((names) =>
  fc.record({
    names: fc.constant(names),
    application: fc.string({ maxLength: 30 }).filter((text) => !text.includes('\0')),
    frames: fc.array(
      fc
        .record({
          interfaceIndex: fc.nat(names.length - 1),
          timeNs: fc.bigInt(0n, 2n ** 64n - 1n),
          bytes: fc.uint8Array({ maxLength: 200 }),
          cut: fc.nat(70_000),
          direction: fc.constantFrom('unknown', 'inbound', 'outbound'),
          comment: fc.string({ maxLength: 60, unit: 'grapheme' }).filter((text) => !text.includes('\0')),
        })
        .map(({ cut, ...frame }): PcapngFrame => ({ ...frame, originalBytes: frame.bytes.length + cut })),
      { maxLength: 20 },
    ),
    dropped: fc.bigInt(0n, 2n ** 64n - 1n),
  }),
);

function written({
  names,
  application,
  frames,
  dropped,
}: typeof capture extends fc.Arbitrary<infer Value> ? Value : never) {
  const statistics = pcapngStatistics(0, 5n, { received: dropped, dropped });
  return Buffer.concat([pcapngHeader(application, names, 65_535), ...frames.map(pcapngFrame), statistics]);
}

function read(chunks: Iterable<Uint8Array>): { blocks: PcapngBlock[]; fault: string | null; pendingBytes: number } {
  const reader = new PcapngReader();
  const blocks: PcapngBlock[] = [];
  try {
    for (const chunk of chunks) for (const { block } of reader.read(chunk)) blocks.push(block);
  } catch (error) {
    if (!(error instanceof PcapngFault)) throw error;
    return { blocks, fault: error.message, pendingBytes: reader.pendingBytes };
  }
  return { blocks, fault: null, pendingBytes: reader.pendingBytes };
}

function* cut(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  let at = 0;
  for (let index = 0; at < bytes.length; index++) {
    const end = at + (sizes[index % sizes.length] ?? bytes.length);
    yield bytes.subarray(at, end);
    at = end;
  }
}

test('what is written is read again, however it is cut', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 10 });
  fc.assert(
    fc.property(capture, sizes, (drawn, chunks) => {
      const { blocks, fault, pendingBytes } = read(cut(written(drawn), chunks));
      expect({ fault, pendingBytes }).toEqual({ fault: null, pendingBytes: 0 });
      expect(blocks).toEqual([
        { kind: 'section', application: drawn.application },
        ...drawn.names.map((name) => ({ kind: 'interface', name })),
        ...drawn.frames.map((frame) => ({ kind: 'frame', linkType: 1, frame })),
        { kind: 'statistics', interfaceIndex: 0, dropped: drawn.dropped },
      ]);
    }),
  );
});

test('damage is a fault that says where, or leaves blocks that stand in the format; never another error', () => {
  const damage = fc.array(fc.record({ at: fc.nat(), octet: fc.nat(255) }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(capture, damage, (drawn, places) => {
      const bytes = written(drawn);
      for (const { at, octet } of places) bytes[at % bytes.length] = octet;
      const { fault } = read([bytes]);
      if (fault !== null) expect(fault).toMatch(/^(block \d+ |does not begin with a section header)/);
    }),
  );
});
