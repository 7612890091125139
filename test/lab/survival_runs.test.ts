/**
 * Goal: what a failover costs is counted right: with mirroring none that is older than its lag, without it all.
 * Method: short runs of what scripts/survival plays at length.
 */

import { expect } from 'vitest';

import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { type FaultName, faults } from '../support/survival/faults.js';
import { type ModeName, modes } from '../support/survival/modes.js';
import { playRun, type RunResult } from '../support/survival/run.js';
import { setStage } from '../support/survival/stage.js';
import { whyVoid } from '../support/survival/summary.js';

const connections = 2_000;
const runsMax = 3;
const few = { openPerS: 5_000, newPerS: 1_000, probesPerS: 500, verifyPerS: 5_000, kernelConnections: 50 } as const;

labTest(
  'async: a kill costs no connection that is older than 100 ms, and no reset',
  async (lab) => {
    const run = await play(lab, 'async', 'kill');
    expect(run.established).toBeGreaterThan(connections);
    expect(run.established6).toBeGreaterThan(connections / 5);
    expect(run.ages.older, JSON.stringify(run)).toMatchObject({ lost: 0 });
    expect(run).toMatchObject({ corrupt: 0, reset: 0, rstsOfUnits: 0, rstsToMembers: 0, badChecksums: 0 });
    expect(run).toMatchObject({ rstsOfMembers: 0, badChecksumsAtServers: 0, falseFailover: false });
    expect(run.kernel).toMatchObject({ survived: few.kernelConnections, stream: 'survived' });
    expect(run.newEstablished).toBeGreaterThan(0);
    expect(run.streamLost).toBeGreaterThan(0);
  },
  180_000,
);

labTest(
  'commit: links that are cut cost no connection whose SYN-ACK had arrived',
  async (lab) => {
    const cut = await play(lab, 'commit', 'links');
    expect(cut.established).toBeGreaterThan(connections);
    expect(cut, JSON.stringify(cut)).toMatchObject({
      survived: cut.established,
      rstsOfUnits: 0,
    });
    expect(cut.kernel).toMatchObject({ survived: few.kernelConnections, stream: 'survived' });
  },
  180_000,
);

labTest(
  'off: a kill costs every connection, and none is reset',
  async (lab) => {
    const killed = await play(lab, 'off', 'kill');
    expect(killed.established).toBeGreaterThan(connections);
    expect(killed).toMatchObject({ survived: 0, hung: killed.established, rstsOfUnits: 0 });
    expect(killed.kernel).toMatchObject({ survived: 0, stream: 'hung' });
    expect(killed.newEstablished).toBeGreaterThan(0);
  },
  180_000,
);

/** Again, as scripts/survival does, when the machine stood still just then or the pair changed roles by itself. */
async function play(lab: Lab, mode: ModeName, fault: FaultName): Promise<RunResult> {
  const stage = await setStage(lab, { ...modes[mode], advertIntervalMs: 100, connections, more: 60_000 });
  const whys: string[] = [];
  for (let number = 1; number <= runsMax; number++) {
    const run = await playRun(stage, { ...few, fault, number });
    const why = whyVoid(run, faults[fault].takeover, 0);
    if (why === null) return run;
    whys.push(why);
  }
  throw new Error(`${runsMax} runs proved nothing: ${whys.join('; ')}`);
}
