/** Goal: five rounds after a takeover and one each minute, in batches that hold nothing up. */
import { expect, test } from 'vitest';

import {
  ANNOUNCEMENT_BATCH,
  type Announcing,
  announce,
  announcementPlan,
  startAnnouncing,
} from '../../../src/failover/announcements.js';
import { group } from './example.js';

/** Runs until `until`, and returns when frames went out and how many. */
function run(frames: number, until: number): [time: number, sent: number][] {
  const sent: [number, number][] = [];
  let state: Announcing = startAnnouncing(0);
  while (state.dueAt <= until) {
    const now = state.dueAt;
    const { announcing, from, to } = announce(state, frames, now);
    sent.push([now, to - from]);
    state = announcing;
  }
  return sent;
}

test('rounds at 0, 100, 300, 700 and 1500 ms, then each minute', () => {
  expect(run(3, 125_000).map(([time]) => time)).toEqual([0, 100, 300, 700, 1_500, 61_500, 121_500]);
});

test('nothing goes out before it is due', () => {
  const { announcing } = announce(startAnnouncing(0), 3, 0);
  expect(announce(announcing, 3, 99)).toEqual({ announcing, from: 0, to: 0 });
});

test('a group with nothing to announce sends nothing and goes on', () => {
  expect(run(0, 200)).toEqual([
    [0, 0],
    [100, 0],
  ]);
});

test('thousands of frames go out in batches, every one once a round', () => {
  const round = run(1_000, 50);
  expect(Math.max(...round.map(([, sent]) => sent))).toBe(ANNOUNCEMENT_BATCH);
  expect(round.reduce((sum, [, sent]) => sum + sent, 0)).toBe(1_000);
  expect(round.at(-1)).toEqual([30, 1_000 - 15 * ANNOUNCEMENT_BATCH]);
});

test('a round longer than the gap to the next does not overlap it', () => {
  const frames = 10_000;
  const sums = run(frames, 5_000).map(([, sent]) => sent);
  expect(sums.filter((sent) => sent === frames % ANNOUNCEMENT_BATCH)).toHaveLength(5);
  expect(sums.reduce((sum, sent) => sum + sent, 0)).toBe(5 * frames);
});

test('MLD reports go out before the addresses that need them', () => {
  const { frames, listening } = announcementPlan(group());
  const kinds = frames.map(({ link, frame }) => `${link} ${kind(frame)}`);
  expect(kinds).toEqual(['0 mld', '1 mld', '0 arp', '0 na', '0 arp', '0 na', '1 arp', '1 na']);
  expect(listening.map(({ link, frame }) => `${link} ${kind(frame)}`)).toEqual(['0 mld', '1 mld']);
  // Floating and virtual address, and the virtual router's own link-local one.
  expect(frames[0]!.frame[69]).toBe(3);
});

test('every frame has the virtual MAC of its family as its source', () => {
  for (const { frame } of announcementPlan(group()).frames) {
    const family = kind(frame) === 'arp' ? '01' : '02';
    expect(Buffer.from(frame.subarray(6, 12)).toString('hex')).toBe(`00005e00${family}33`);
  }
});

function kind(frame: Uint8Array): string {
  if (frame[12] === 0x08) return 'arp';
  return frame[20] === 0 ? 'mld' : 'na';
}
