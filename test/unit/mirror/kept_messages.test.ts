/** Goal: what is kept is what the other end may still want, by its number. Method: against a plain list. */

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { BatchMemory, type Region } from '../../../src/io/batch_memory.js';
import { KeptMessages } from '../../../src/mirror/kept_messages.js';

test('messages are numbered from 1, kept until released, and found by what was received', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant('add' as const), fc.nat(40)), { maxLength: 300 }), (steps) => {
      const kept = new KeptMessages<number>();
      let last = 0;
      let released = 0;
      const gone: number[] = [];
      for (const step of steps) {
        if (step === 'add') {
          last += 1;
          kept.add(last);
        } else if (kept.release(step, (item) => gone.push(item))) {
          released = Math.max(released, step);
        } else {
          expect(step).toBeGreaterThan(last);
        }
        expect(kept.last).toBe(last);
        expect(kept.length).toBe(last - released);
        expect(kept.above(released)).toEqual(Array.from({ length: last - released }, (_, at) => released + 1 + at));
        expect(kept.above(last)).toEqual([]);
        expect(kept.above(last + 1)).toBeNull();
        if (released > 0) expect(kept.above(released - 1)).toBeNull();
      }
      expect(gone).toEqual(Array.from({ length: released }, (_, at) => at + 1));
    }),
  );
});

test('an ack lets go of everything up to its batch, and one of no batch of nothing', () => {
  const kept = new KeptMessages<string>();
  for (const item of ['hello', 'batch 1', 'ack', 'batch 2']) kept.add(item);
  const gone: string[] = [];
  kept.releaseThrough(
    (item) => item === 'batch 7',
    (item) => gone.push(item),
  );
  expect(gone).toEqual([]);
  kept.releaseThrough(
    (item) => item === 'batch 1',
    (item) => gone.push(item),
  );
  expect(gone).toEqual(['hello', 'batch 1']);
  expect(kept.above(2)).toEqual(['ack', 'batch 2']);
});

test('memory is given in one piece, never twice, and comes back whatever the order', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(5)), { maxLength: 200 }), (steps) => {
      const memory = new BatchMemory(100);
      const held: Region[] = [];
      let mark = 0;
      for (const [bytes, back] of steps) {
        const hadRoom = memory.hasRoom(bytes);
        const region = memory.take(bytes);
        expect(region !== null).toBe(hadRoom);
        if (region !== null) {
          expect(region.bytes.length).toBe(bytes);
          mark = (mark % 250) + 1;
          region.bytes.fill(mark);
          held.push(region);
        }
        // A part that was given twice would have been overwritten.
        for (const each of held) expect(new Set(each.bytes).size).toBe(1);
        if (back < held.length) held.splice(back, 1)[0]?.release();
      }
      for (const region of held.splice(0)) region.release();
      expect(memory.hasRoom(100)).toBe(true);
    }),
  );
});

test('a region that two hold is free when both have let go', () => {
  const memory = new BatchMemory(10);
  const region = memory.take(10);
  region?.hold();
  region?.release();
  expect(memory.hasRoom(1)).toBe(false);
  region?.release();
  expect(memory.hasRoom(10)).toBe(true);
});
