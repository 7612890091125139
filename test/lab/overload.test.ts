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
    // At a few kB/s tbf drops acks as well, and the channel may be lost for a moment: a bulk then follows.
    expect({ stream: seen.stream, held: seen.heldConnections }).toEqual({ stream: 'survived', held: 200 });
    expect(seen.grownMiB).toBeLessThan(64);
    expect(seen.agreedAfterMs).not.toBeNull();
  },
);
