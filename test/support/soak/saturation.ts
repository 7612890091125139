/**
 * False failovers: a pair whose machine and whose daemons have more to do than they can, and whose roles must not move.
 * Every core has two processes that never rest, and the daemons' main threads are asked without a pause.
 */

import { availableParallelism } from 'node:os';

import type { AdvertLatenessStatus } from '../../../src/api.js';
import { ApiClient } from '../../../src/io/api_client.js';
import type { Lab } from '../lab/lab.js';
import type { Pair, Unit } from '../lab/unit.js';
import { monotonicMs, pause } from '../traffic/time.js';

export interface Saturation {
  /** Changes of role of either unit; a single failover makes two at least. */
  readonly roleChanges: number;
  /** Answers that the daemons gave meanwhile. */
  readonly answers: number;
  /** Of the active unit's adverts, since its start. */
  readonly lateness: AdvertLatenessStatus | null;
}

const BURNERS_PER_CORE = 2;
const ASKERS_PER_UNIT = 4;

export async function saturate(lab: Lab, pair: Pair, seconds: number): Promise<Saturation> {
  const before = await roleChanges(pair);
  const burners = Array.from({ length: BURNERS_PER_CORE * availableParallelism() }, () =>
    lab.spawn('client', 'burners.log', process.execPath, ['-e', 'for (;;);']),
  );
  const untilMs = monotonicMs() + 1_000 * seconds;
  try {
    const askers = [pair.a, pair.b].flatMap((unit) =>
      Array.from({ length: ASKERS_PER_UNIT }, () => askUntil(unit, untilMs)),
    );
    const answers = (await Promise.all(askers)).reduce((sum, count) => sum + count, 0);
    const { advertLateness } = await pair.a.show('failover');
    return { roleChanges: (await roleChanges(pair)) - before, answers, lateness: advertLateness };
  } finally {
    for (const burner of burners) burner.kill('SIGKILL');
  }
}

/** One question after the other, each of them work for the main thread. */
async function askUntil(unit: Unit, untilMs: number): Promise<number> {
  const api = new ApiClient(unit.socket);
  let answers = 0;
  while (monotonicMs() < untilMs) {
    try {
      await api.counters();
      await api.pools();
      answers += 2;
    } catch {
      // The client's patience is over; the daemon has too much to do, as it should.
      await pause(10);
    }
  }
  return answers;
}

async function roleChanges(pair: Pair): Promise<number> {
  const all = await Promise.all([pair.a, pair.b].map((unit) => unit.show('failover')));
  return all.flatMap(({ trafficGroups }) => trafficGroups).reduce((sum, group) => sum + group.transitionCount, 0);
}
