/**
 * Goal: the story of the demo, as a test: what becomes of connections when the active unit fails, with mirroring and
 * without. Method: the demo's own runs and its own verdict.
 */

import { expect } from 'vitest';

import { type Chapter, play } from '../support/demo/story.js';
import { faults } from '../support/demo/verdict.js';
import { labTest } from '../support/lab/lab_test.js';
import { virtualAddress } from '../support/lab/topology.js';
import { startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, startPair } from '../support/lab/unit.js';
import { streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

const chapters: readonly (Chapter & { readonly name: string })[] = [
  { mirror: 'off', fault: 'kill', name: 'mirroring off, unit killed: connections hang and nothing pretends otherwise' },
  { mirror: 'off', fault: 'links', name: 'mirroring off, links cut: connections hang and nothing pretends otherwise' },
  { mirror: 'async', fault: 'kill', name: 'mirroring async, unit killed: every connection goes on' },
  { mirror: 'async', fault: 'links', name: 'mirroring async, links cut: every connection goes on' },
];

for (const chapter of chapters) {
  labTest(chapter.name, async (lab) => {
    const run = await play(lab, { ...chapter, progress: () => undefined, keep: false });
    expect(faults(run)).toEqual([]);
  });
}

labTest('300 idle connections of each family survive', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const idle = await Promise.all([startIdle(lab, 300, virtualAddress.ipv4), startIdle(lab, 300, virtualAddress.ipv6)]);
  await pair.b.waitUntil('holding 600 connections', (status) => status.table.used >= 600);
  pair.a.kill();
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  const reports = await Promise.all(idle.map((each) => each.stop()));
  expect(reports).toEqual([
    { survived: 300, hung: 0, reset: 0 },
    { survived: 300, hung: 0, reset: 0 },
  ]);
});

labTest('a switch that loses every frame of the active unit, carrier kept, costs no connection', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async' });
  const echo = await startEcho(lab);
  await pair.b.waitUntil('holding the connection', (status) => status.table.used >= 1);
  const silencedAtMs = monotonicMs();
  lab.silenceLinks('a');
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  await pause(2_000);
  expect(streamOutcome(await echo.stop(), silencedAtMs)).toBe('survived');
});
