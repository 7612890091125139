/** Which connections carry how much: every frame of a moment, looked at by a capture that nobody reads. */

import type { Datapath } from '../datapath.js';
import { type Tally, type TrafficSample, tallyTraffic, trafficOf } from '../wire/capture_record.js';

const SAMPLE_MS = 200;
/** A busy unit shows as much in less time; counting so many keeps this thread for a few milliseconds. */
const RECORDS_MAX = 10_000;
const LOOK_MS = 5;
const TAKE_BYTES = 1024 * 1024;
/** Only the records are wanted; it is the least that a capture copies. */
const SNAPLEN_BYTES = 64;

type CapturePort = Pick<Datapath, 'startCapture' | 'takeCapture' | 'captureCounts' | 'stopCapture'>;

/** Takes the place of a capture that runs. `cut`: another takes this one's place, and what was seen is given. */
export async function sampleTraffic(datapath: CapturePort, cut: AbortSignal): Promise<TrafficSample> {
  const memory = new Uint8Array(TAKE_BYTES);
  const traffic: Tally = new Map();
  let [records, wanted] = [0, 0];
  const startMs = performance.now();
  datapath.startCapture({ virtualServer: null, client: null, snaplenBytes: SNAPLEN_BYTES });
  let forMs: number;
  do {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    forMs = performance.now() - startMs;
    if (cut.aborted) break;
    wanted = datapath.captureCounts().reduce((sum, each) => sum + each.wanted, 0);
    for (let taken = datapath.takeCapture(memory); taken > 0; taken = datapath.takeCapture(memory)) {
      records += tallyTraffic(memory.subarray(0, taken), traffic);
      if (records >= RECORDS_MAX) break;
    }
  } while (forMs < SAMPLE_MS && records < RECORDS_MAX);
  if (!cut.aborted) datapath.stopCapture();
  return { forMs, seen: wanted === 0 ? 1 : Math.min(1, records / wanted), connections: trafficOf(traffic) };
}
