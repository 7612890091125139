/**
 * Goal: "if this unit failed now" promises no connection that the peer does not hold.
 * Method: one row for each way in which a unit and its peer may stand.
 */

import { expect, test } from 'vitest';

import type { VirtualServerStatus } from '../../../src/api.js';
import { type Standing, survivalOf } from '../../../src/balancer/survival.js';
import { virtualServers } from '../../support/control_stub.js';

const www: VirtualServerStatus = { ...virtualServers[0]!, mirror: 'async', connections: 100, role: 'active' };
const open: Standing['channel'] = {
  link: 'open',
  inSync: { self: true, peer: true },
  queueBatches: 0,
  lagMs: 0,
  bulk: { phase: 'acked', announced: 100, forMs: 1 },
};
const told = (connections: number) => ({ sums: [{ name: 'www', connections }], unsummed: [] });
const nothing = { sums: [], unsummed: [] };
const behind = { self: true, peer: false };

const rows: readonly (readonly [string, Partial<Standing>, survive: number, reason: RegExp | null])[] = [
  ['in sync, all told', { told: told(100) }, 100, null],
  ['in sync, not all told', { told: told(90) }, 90, /not told/],
  ['in sync, none told', { told: nothing }, 0, /not told/],
  ['closed since they were told', { told: told(120) }, 100, null],
  ['mirroring off', { servers: [{ ...www, mirror: 'off' }], told: told(100) }, 0, /mirroring is off/],
  ['no channel', { channel: { ...open, link: 'dialling' }, told: told(100) }, 0, /channel is down/],
  ['not in sync', { channel: { ...open, inSync: behind } }, 0, /not in sync/],
  [
    'a bulk runs',
    { channel: { ...open, inSync: behind, bulk: { phase: 'running', announced: 40, forMs: 5 } } },
    40,
    /is being told .* 40 so far/,
  ],
  ['standby: the peer forwards them', { servers: [{ ...www, role: 'standby' }], told: nothing }, 100, null],
  [
    'standby without a peer',
    { servers: [{ ...www, role: 'standby' }], channel: { ...open, link: 'waiting' } },
    0,
    /channel is down/,
  ],
];

test.each(rows)('%s', (_name, standing, survive, reason) => {
  const result = survivalOf({ at: '', servers: [www], told: null, channel: open, ...standing });
  expect([result.wouldSurvive, result.wouldBeLost]).toEqual([survive, 100 - survive]);
  const [row] = result.virtualServers;
  if (reason === null) expect([row!.reason, result.reasons]).toEqual([null, []]);
  else {
    expect(row!.reason).toMatch(reason);
    expect(result.reasons[0]).toMatch(/: \d+ of www$/);
  }
});

test('a bulk that runs promises no more in all than it has announced', () => {
  const channel = { ...open, inSync: behind, bulk: { phase: 'running', announced: 40, forMs: 5 } } as const;
  const servers = [www, { ...www, name: 'other', connections: 300 }];
  expect(survivalOf({ at: '', servers, told: null, channel }).wouldSurvive).toBe(40);
});

test('what is on its way is said, and not counted as lost', () => {
  const channel = { ...open, queueBatches: 2, lagMs: 3.4 };
  const result = survivalOf({ at: '', servers: [www], told: told(100), channel });
  expect(result.wouldBeLost).toBe(0);
  expect(result.reasons).toEqual([expect.stringMatching(/^2 batches of changes not acknowledged for 3 ms/)]);
});

test('what was not summed yet is counted as told, and that is said where something is mirrored', () => {
  for (const unsummed of [null, { ...told(90), unsummed: ['www'] }]) {
    const result = survivalOf({ at: '', servers: [www], told: unsummed, channel: open });
    expect([result.wouldSurvive, result.reasons]).toEqual([100, [expect.stringMatching(/not all summed up yet/)]]);
  }
  const off = survivalOf({ at: '', servers: [{ ...www, mirror: 'off' }], told: null, channel: open });
  expect(off.reasons).toEqual(['mirroring is off: 100 of www']);
});
