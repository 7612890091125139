/**
 * Captures the frames that a filter names on one interface. Arguments: interface, BPF filter.
 *
 * One process per capture: the package `cap` must never open a second time in a process, and the buffer must be
 * referenced as long as the handler may run.
 */

import capModule from 'cap';

import { failLoudly, reportOnStop, tell } from './messages.js';
import { monotonicMs, pause } from './time.js';

export interface CapturedFrame {
  readonly atMs: number;
  /** Base64; cut at `frameBytesMax`. */
  readonly frame: string;
}

export interface CaptureReport {
  readonly frames: readonly CapturedFrame[];
  /** Frames seen past the bound, not kept. */
  readonly omitted: number;
}

const frameBytesMax = 256;
const framesMax = 20_000;
/** Frames on their way through libpcap when we are told to stop. */
const lastFramesMs = 100;

failLoudly();
const [device = '', filter = ''] = process.argv.slice(2);
const buffer = Buffer.alloc(65_536);
const frames: CapturedFrame[] = [];
let omitted = 0;

const capture = new capModule.Cap();
const linkType = capture.open(device, filter, 4 << 20, buffer);
if (linkType !== 'ETHERNET') throw new Error(`${device}: expected an Ethernet interface, found ${linkType}`);
capture.setMinBytes?.(0);
capture.on('packet', (bytes) => {
  if (frames.length >= framesMax) {
    omitted++;
    return;
  }
  const frame = buffer.subarray(0, Math.min(bytes, frameBytesMax)).toString('base64');
  frames.push({ atMs: monotonicMs(), frame });
});

reportOnStop(async (): Promise<CaptureReport> => {
  await pause(lastFramesMs);
  capture.close();
  return { frames, omitted };
});
tell({ type: 'ready' });
