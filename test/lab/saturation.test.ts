/**
 * Goal: a machine and daemons that have too much to do fail over to nobody.
 * Method: saturate both for a few seconds at the default interval, and count changes of role. Minutes of it:
 * scripts/soak --saturation.
 */

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { startServers } from '../support/lab/traffic.js';
import { startPair } from '../support/lab/unit.js';
import { saturate } from '../support/soak/saturation.js';

labTest('both cores and both daemons saturated: nobody takes over', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const { roleChanges, answers, lateness } = await saturate(lab, pair, 8);
  expect(answers).toBeGreaterThan(0);
  // It is told once a second, so it covers most of the time at least.
  expect(lateness?.adverts).toBeGreaterThan(30);
  expect(roleChanges, `adverts late by ${JSON.stringify(lateness)}`).toBe(0);
});
