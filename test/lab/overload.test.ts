/**
 * Goal: a mirror channel that carries a tenth of what there is to tell costs staleness, and nothing else.
 * Method: the run of `scripts/soak --overload`, made short: the link throttled under a churn of connections.
 */

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { startServers } from '../support/lab/traffic.js';
import { startPair } from '../support/lab/unit.js';
import { overload } from '../support/soak/overload.js';

labTest(
  'a throttled mirror channel: forwarding goes on, memory stays, and the tables agree afterwards',
  async (lab) => {
    await startServers(lab);
    const pair = await startPair(lab, { mirror: 'async' });
    const seen = await overload(lab, pair, { connectionsPerS: 150, throttledMs: 10_000 });
    console.log(JSON.stringify(seen));
    // It was narrower than the need: else this proves nothing.
    expect(seen.throttledBytesPerS).toBeLessThan(seen.needBytesPerS / 4);
    expect(seen.failedShare).toBeLessThan(0.01);
    expect({ stream: seen.stream, bulks: seen.bulks, held: seen.heldConnections }).toEqual({
      stream: 'survived',
      bulks: 0,
      held: 200,
    });
    expect(seen.grownMiB).toBeLessThan(64);
    expect(seen.agreedAfterMs).not.toBeNull();
  },
);
