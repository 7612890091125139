/** Goal: the quantiles that an operator is shown are those of the adverts, a class's width aside. */
import { expect, test } from 'vitest';

import { Lateness } from '../../../src/failover/lateness.js';

const CLASS = 2 ** 0.25;

test('no advert, no quantile', () => {
  expect(new Lateness().report()).toBeNull();
});

test('quantiles are at most a class above, and never above the latest', () => {
  const lateness = new Lateness();
  for (let ms = 1; ms <= 1_000; ms++) lateness.record(ms / 10);
  const { adverts, p50Ms, p99Ms, maxMs } = lateness.report()!;
  expect([adverts, maxMs]).toEqual([1_000, 100]);
  expect(p50Ms).toBeGreaterThanOrEqual(50);
  expect(p50Ms).toBeLessThanOrEqual(50 * CLASS);
  expect(p99Ms).toBeGreaterThanOrEqual(99);
  expect(p99Ms).toBeLessThanOrEqual(100);
});

test('one that is very late does not move the median', () => {
  const lateness = new Lateness();
  for (let times = 0; times < 99; times++) lateness.record(0);
  lateness.record(1e9);
  expect(lateness.report()).toEqual({ adverts: 100, p50Ms: 0.125, p99Ms: 0.125, maxMs: 1e9 });
});
