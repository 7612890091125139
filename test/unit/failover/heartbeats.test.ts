/** Goal: a stopped worker is found within the timeout, and a pause of the observer is not taken for one. */
import { expect, test } from 'vitest';

import {
  type Heartbeats,
  heartbeatTimeoutMs,
  noHeartbeats,
  observe,
  workersAlive,
} from '../../../src/failover/heartbeats.js';

const timeoutMs = 300;

/** Readings in order, each [time, heartbeats]; whether the workers are alive at the last. */
function aliveAfter(...readings: readonly (readonly [number, readonly bigint[]])[]): boolean {
  let heartbeats: Heartbeats = noHeartbeats;
  let last = 0;
  for (const [now, values] of readings) {
    heartbeats = observe(heartbeats, values, now, timeoutMs);
    last = now;
  }
  return workersAlive(heartbeats, last, timeoutMs);
}

test('no worker at all is not alive', () => {
  expect(aliveAfter([1_000, [0n, 0n]], [1_050, [0n, 0n]])).toBe(false);
});

test('a worker that moves is alive', () => {
  expect(aliveAfter([1_000, [5n]], [1_200, [6n]], [1_400, [7n]], [1_600, [8n]])).toBe(true);
});

test('a worker that stands still is alive until the timeout, and not after it', () => {
  expect(aliveAfter([1_000, [5n]], [1_200, [5n]], [1_299, [5n]])).toBe(true);
  expect(aliveAfter([1_000, [5n]], [1_200, [5n]], [1_300, [5n]])).toBe(false);
});

test('one of two workers stopped is not alive: connections are spread over both', () => {
  expect(aliveAfter([1_000, [5n, 9n]], [1_200, [6n, 9n]], [1_400, [7n, 9n]])).toBe(false);
});

test('slots of workers that never started do not count', () => {
  expect(aliveAfter([1_000, [5n, 0n]], [1_200, [6n, 0n]], [1_400, [7n, 0n]])).toBe(true);
});

test('a worker that moves again is alive again', () => {
  expect(aliveAfter([1_000, [5n]], [1_200, [5n]], [1_400, [5n]], [1_450, [6n]])).toBe(true);
});

test('after a pause of the observer every worker gets its time again', () => {
  expect(aliveAfter([1_000, [5n]], [9_000, [5n]])).toBe(true);
  expect(aliveAfter([1_000, [5n]], [9_000, [5n]], [9_200, [5n]], [9_300, [5n]])).toBe(false);
});

test('the timeout follows the advert interval, and is never shorter than 200 ms', () => {
  expect([10, 100, 1_000].map(heartbeatTimeoutMs)).toEqual([200, 300, 3_000]);
});
