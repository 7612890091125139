/**
 * Goal: any message crosses the stream unchanged however it is cut, and no damage to the stream is believed.
 * Method: fast-check draws messages, chunk boundaries and damage; the reader must give the same messages back, or
 * one fault and nothing behind it.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { BATCH_BYTES_MAX, encode, type Fault, HEADER_BYTES, MessageReader } from '../../src/mirror/codec.js';
import type { Message } from '../../src/mirror/messages.js';

const whole = (max: number) => fc.integer({ min: 0, max });
const generation = whole(0xffff_ffff);
const sequence = fc.maxSafeNat();
const name = fc.string({ minLength: 1, maxLength: 40 });
const term = whole(0xffff_ffff);
const groups = fc.array(fc.record({ name, role: fc.constantFrom('standby', 'active', 'handing-over'), term }), {
  maxLength: 16,
});
const config = fc.record({
  links: fc.array(name, { maxLength: 16 }),
  virtualServers: fc.array(name, { maxLength: 30 }),
});
const counts = fc.record({ applied: sequence, stale: sequence, refusedFull: sequence, unknown: sequence });
const records = fc
  .uint8Array({ minLength: 24, maxLength: 2_000 })
  .chain((bytes) =>
    fc.record({ records: fc.constant(bytes), count: fc.integer({ min: 1, max: Math.floor(bytes.length / 24) }) }),
  );

const transaction = fc.maxSafeNat();
const digest = fc.string({ minLength: 64, maxLength: 64, unit: fc.constantFrom(...'0123456789abcdef') });
const unit = fc.constantFrom('a', 'b');
const revision = fc.record({ number: fc.integer({ min: 1 }), digest, unit, appliedAt: fc.string({ maxLength: 64 }) });
const someText = fc.string({ maxLength: 60 });
const refusal = fc.option(
  fc.record({
    code: fc.string({ minLength: 1, maxLength: 64 }),
    message: someText,
    mend: fc.option(someText),
    errors: fc.array(
      fc.record({
        code: fc.string({ maxLength: 64 }),
        message: someText,
        hint: fc.option(someText),
        file: someText,
        path: someText,
        line: fc.nat(),
        column: fc.nat(),
      }),
      { maxLength: 3 },
    ),
  }),
);

const configMessage: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ revision: fc.option(revision), digest }).map((standing): Message => ({ type: 'config-offer', standing })),
  fc
    .record({ id: transaction, revision, text: fc.string(), file: name, automatic: fc.boolean(), dryRun: fc.boolean() })
    .map((asked): Message => ({ type: 'config-prepare', ...asked })),
  fc.record({ id: transaction, refusal }).map((answer): Message => ({ type: 'config-prepared', ...answer })),
  transaction.map((id): Message => ({ type: 'config-commit', id })),
  fc.record({ id: transaction, refusal }).map((answer): Message => ({ type: 'config-committed', ...answer })),
  fc.record({ id: transaction, reason: someText }).map((told): Message => ({ type: 'config-abort', ...told })),
);

const message: fc.Arbitrary<Message> = fc.oneof(
  configMessage,
  fc
    .record({
      versionMin: whole(0xffff),
      versionMax: whole(0xffff),
      unit: fc.constantFrom('a', 'b'),
      bootId: fc.string({ minLength: 1, maxLength: 64 }),
      groups,
      config,
    })
    .map((hello): Message => ({ type: 'hello', hello })),
  fc
    .record({
      virtualServers: fc.array(fc.record({ id: whole(0xffff), name }), { maxLength: 30 }),
      devices: fc.array(name, { maxLength: 16 }),
    })
    .map((dictionary): Message => ({ type: 'dictionary', dictionary })),
  groups.map((each): Message => ({ type: 'terms', groups: each })),
  fc
    .record({ generation, sequence, batch: records })
    .map(({ batch, ...rest }): Message => ({ type: 'batch', ...rest, count: batch.count, records: batch.records })),
  fc.record({ sequence, counts }).map((ack): Message => ({ type: 'ack', ...ack })),
  fc
    .record({ sequence, refused: fc.uint32Array({ minLength: 1, maxLength: 50 }) })
    .map((nack): Message => ({ type: 'nack', ...nack })),
  generation.map((each): Message => ({ type: 'bulk-begin', generation: each })),
  fc.record({ generation, sequence, count: whole(0xffff_ffff) }).map((end): Message => ({ type: 'bulk-end', ...end })),
  fc.record({ generation, count: whole(0xffff_ffff) }).map((ack): Message => ({ type: 'bulk-ack', ...ack })),
  generation.map((each): Message => ({ type: 'join', generation: each })),
  fc.record({ generation, sequence }).map((each): Message => ({ type: 'switch', ...each })),
  sequence.map((each): Message => ({ type: 'receipt', sequence: each })),
  fc.constantFrom<Message>({ type: 'bulk-request' }, { type: 'keepalive' }),
  fc.record({ group: name, term, forced: fc.boolean() }).map((asked): Message => ({ type: 'hand-over', ...asked })),
  fc
    .record({ group: name, term, refusal: fc.option(fc.string({ maxLength: 60 })) })
    .map((answer): Message => ({ type: 'take-over', ...answer })),
  fc.string({ maxLength: 60 }).map((reason): Message => ({ type: 'goodbye', reason })),
);

interface Reading {
  readonly messages: readonly Message[];
  readonly fault: Fault | null;
}

/** Reads a stream cut at the given places. Views are copied, as they hold for the call only. */
function readCut(stream: Uint8Array, places: readonly number[]): Reading {
  const reader = new MessageReader();
  const messages: Message[] = [];
  const cuts = [
    0,
    ...places.map((place) => place % (stream.length + 1)).toSorted((left, right) => left - right),
    stream.length,
  ];
  let fault: Fault | null = null;
  for (const [index, from] of cuts.slice(0, -1).entries()) {
    // A socket reuses its memory: what the reader kept must be its own.
    const chunk = stream.slice(from, cuts[index + 1]);
    fault = reader.read(chunk, (read) => {
      messages.push(read.type === 'batch' ? { ...read, records: read.records.slice() } : read);
      return true;
    });
    chunk.fill(0xee);
  }
  return { messages, fault };
}

function concatenated(messages: readonly Message[]): Uint8Array {
  return new Uint8Array(Buffer.concat(messages.map(encode)));
}

test('messages cross the stream unchanged, wherever it is cut', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 12 }), (messages, places) => {
      expect(readCut(concatenated(messages), places)).toEqual({ messages, fault: null });
    }),
    { numRuns: 300 },
  );
});

test('byte by byte is no different', () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 3 }), (messages) => {
      const stream = concatenated(messages);
      const places = Array.from(stream.keys());
      expect(readCut(stream, places)).toEqual({ messages, fault: null });
    }),
    { numRuns: 40 },
  );
});

test('damage to one header leaves what came before it alone, and never throws', () => {
  const damage = fc.record({ place: whole(HEADER_BYTES - 1), bits: fc.integer({ min: 1, max: 255 }) });
  fc.assert(
    fc.property(fc.array(message, { minLength: 2, maxLength: 4 }), damage, (messages, { place, bits }) => {
      const stream = concatenated(messages);
      const header = encode(messages[0] as Message).length;
      stream[header + place] = (stream[header + place] ?? 0) ^ bits;
      const { messages: read } = readCut(stream, []);
      expect(read[0]).toEqual(messages[0]);
      expect(read.length).toBeLessThanOrEqual(messages.length + 1);
    }),
    { numRuns: 300 },
  );
});

test('random bytes are no messages', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: HEADER_BYTES, maxLength: 4_000 }), fc.array(fc.nat()), (bytes, places) => {
      const { messages, fault } = readCut(bytes, places);
      expect(messages).toEqual([]);
      expect(fault?.name).toBe('bad_magic');
    }),
    { numRuns: 300 },
  );
});

test('the largest batch passes, in one chunk and in many', () => {
  const batch: Extract<Message, { type: 'batch' }> = {
    type: 'batch',
    generation: 1,
    sequence: 1,
    count: Math.floor(BATCH_BYTES_MAX / 46),
    records: new Uint8Array(BATCH_BYTES_MAX).map((_, index) => index),
  };
  const stream = concatenated([batch, { type: 'keepalive' }]);
  for (const places of [[], [10, 70_000, 140_000, 262_150]]) {
    const { messages, fault } = readCut(stream, places);
    expect(fault).toBeNull();
    expect(messages.map(({ type }) => type)).toEqual(['batch', 'keepalive']);
    const [read] = messages;
    // As buffers: comparing a large array value by value takes seconds.
    expect(read?.type === 'batch' && Buffer.compare(read.records, batch.records) === 0).toBe(true);
  }
});
