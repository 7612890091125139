/**
 * Goal: each way in which a stream can be wrong has its name, and nothing behind it is read.
 * Method: one row per fault: a good message with one field made wrong, and a good message behind it.
 */

import { expect, test } from 'vitest';

import {
  BATCH_BYTES_MAX,
  encode,
  type FaultName,
  HEADER_BYTES,
  MessageReader,
  PAYLOAD_BYTES_MAX,
} from '../../../src/mirror/codec.js';
import type { Message } from '../../../src/mirror/messages.js';

const keepalive: Message = { type: 'keepalive' };
const batch: Message = { type: 'batch', generation: 3, sequence: 7, count: 2, records: new Uint8Array(92) };
const ack: Message = { type: 'ack', sequence: 9, counts: { applied: 1, stale: 2, refusedFull: 3, unknown: 4 } };
const nack: Message = { type: 'nack', sequence: 9, refused: Uint32Array.of(3, 0xffff_ffff) };
const goodbye: Message = { type: 'goodbye', reason: 'x' };

interface Row {
  readonly name: string;
  readonly message: Message;
  /** Makes the message wrong. */
  readonly spoil: (view: DataView) => void;
  readonly fault: FaultName;
}

const rows: readonly Row[] = [
  { name: 'another magic', message: keepalive, spoil: (view) => view.setUint8(3, 0), fault: 'bad_magic' },
  { name: 'a newer layout', message: keepalive, spoil: (view) => view.setUint8(4, 2), fault: 'wrong_layout_version' },
  { name: 'type 0', message: keepalive, spoil: (view) => view.setUint8(5, 0), fault: 'unknown_type' },
  {
    name: 'a type that is not there yet',
    message: keepalive,
    spoil: (view) => view.setUint8(5, 99),
    fault: 'unknown_type',
  },
  { name: 'a reserved bit', message: keepalive, spoil: (view) => view.setUint8(6, 1), fault: 'bad_header' },
  { name: 'the last reserved field', message: keepalive, spoil: (view) => view.setUint32(28, 1), fault: 'bad_header' },
  {
    name: 'a keepalive with a generation',
    message: keepalive,
    spoil: (view) => view.setUint32(8, 1),
    fault: 'bad_header',
  },
  {
    name: 'a keepalive with a sequence',
    message: keepalive,
    spoil: (view) => view.setUint32(16, 1),
    fault: 'bad_header',
  },
  {
    name: 'a keepalive with a payload',
    message: keepalive,
    spoil: (view) => view.setUint32(24, 1),
    fault: 'oversized',
  },
  {
    name: 'a sequence beyond 2^53',
    message: batch,
    spoil: (view) => view.setUint32(12, 0x200000),
    fault: 'bad_header',
  },
  { name: 'a batch of no records', message: batch, spoil: (view) => view.setUint32(20, 0), fault: 'bad_header' },
  {
    name: 'more records than bytes for them',
    message: batch,
    spoil: (view) => view.setUint32(20, 4),
    fault: 'bad_header',
  },
  { name: 'a nack of no records', message: nack, spoil: (view) => view.setUint32(20, 0), fault: 'bad_header' },
  {
    name: 'a nack of more records than it has',
    message: nack,
    spoil: (view) => view.setUint32(20, 3),
    fault: 'bad_header',
  },
  {
    name: 'a nack of more records than a batch has',
    message: nack,
    spoil: (view) => view.setUint32(24, 1 << 18),
    fault: 'oversized',
  },
  {
    name: 'too large a batch',
    message: batch,
    spoil: (view) => view.setUint32(24, BATCH_BYTES_MAX + 1),
    fault: 'oversized',
  },
  {
    name: 'too large a text',
    message: goodbye,
    spoil: (view) => view.setUint32(24, PAYLOAD_BYTES_MAX + 1),
    fault: 'oversized',
  },
  { name: 'a short ack', message: ack, spoil: (view) => view.setUint32(24, 31), fault: 'bad_payload' },
  {
    name: 'a count beyond 2^53',
    message: ack,
    spoil: (view) => view.setUint32(HEADER_BYTES, 0x200000),
    fault: 'bad_payload',
  },
  {
    name: 'text that is no JSON',
    message: goodbye,
    spoil: (view) => view.setUint8(HEADER_BYTES, 0x7c),
    fault: 'bad_payload',
  },
  {
    name: 'text that is no UTF-8',
    message: goodbye,
    spoil: (view) => view.setUint8(HEADER_BYTES + 11, 0xff),
    fault: 'bad_payload',
  },
  {
    name: 'JSON of another type of message',
    message: goodbye,
    spoil: (view) => view.setUint8(5, 1),
    fault: 'bad_payload',
  },
];

for (const { name, message, spoil, fault } of rows) {
  test(`${name} is ${fault}`, () => {
    const stream = new Uint8Array(Buffer.concat([encode(keepalive), encode(message), encode(keepalive)]));
    spoil(new DataView(stream.buffer, HEADER_BYTES));
    const reader = new MessageReader();
    const read: Message[] = [];
    const found = reader.read(stream, (each) => read.push(each) > 0);
    expect(found?.name).toBe(fault);
    expect(read).toEqual([keepalive]);
    expect(reader.read(encode(keepalive), () => true)).toEqual(found);
  });
}

test('a reader that is told to stop reads nothing more and finds no fault', () => {
  const reader = new MessageReader();
  const stream = new Uint8Array(Buffer.concat([encode(keepalive), encode(goodbye)]));
  const read: Message[] = [];
  expect(reader.read(stream, (each) => read.push(each) === 0)).toBeNull();
  expect(reader.read(stream, (each) => read.push(each) > 0)).toBeNull();
  expect(read).toEqual([keepalive]);
});

test('fields that this version does not know are ignored in a hello', () => {
  const hello = {
    versionMin: 1,
    versionMax: 4,
    unit: 'b',
    bootId: 'x',
    groups: [],
    config: { links: [], virtualServers: [] },
  } as const;
  const later = encode({ type: 'hello', hello: { ...hello, compression: ['zstd'] } as typeof hello });
  const read: Message[] = [];
  expect(new MessageReader().read(later, (each) => read.push(each) > 0)).toBeNull();
  expect(read).toEqual([{ type: 'hello', hello }]);
});

test('a message too large to be read is not written either', () => {
  const reason = 'x'.repeat(PAYLOAD_BYTES_MAX);
  expect(() => encode({ type: 'goodbye', reason })).toThrow(RangeError);
});
