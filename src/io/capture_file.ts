/**
 * A capture into a file or the standard output: whole blocks only, so that it can be read wherever it ended. A file has
 * its name only when it is finished.
 */

import { once } from 'node:events';
import { closeSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';

import type { CaptureRequest, CaptureStream } from '../api.js';
import { PcapngReader } from '../wire/pcapng_reader.js';

export const STANDARD_OUTPUT = '-';
const UNFINISHED = '.unfinished';

export interface CaptureSummary {
  readonly frames: number;
  /** Frames that the unit had no room for, as far as it told. */
  readonly missed: number;
}

/** Until the daemon ends it, or SIGINT or SIGTERM. Throws what the stream throws; the file has what came before. */
export async function captureInto(
  path: string,
  stream: CaptureStream,
  request: CaptureRequest,
): Promise<CaptureSummary> {
  const ended = new AbortController();
  const end = () => ended.abort();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  const blocks = stream.capture(request, ended.signal);
  try {
    return path === STANDARD_OUTPUT ? await intoOutput(blocks) : await intoFile(path, blocks);
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end);
    end();
  }
}

async function intoOutput(stream: AsyncIterable<Uint8Array>): Promise<CaptureSummary> {
  const tally = new Tally();
  for await (const chunk of stream)
    for (const bytes of tally.wholeBlocks(chunk)) if (!process.stdout.write(bytes)) await once(process.stdout, 'drain');
  return tally.summary();
}

/** The daemon's refusal leaves no file behind. */
async function intoFile(path: string, stream: AsyncIterable<Uint8Array>): Promise<CaptureSummary> {
  const unfinished = `${path}${UNFINISHED}`;
  const descriptor = openSync(unfinished, 'w', 0o600);
  const tally = new Tally();
  try {
    for await (const chunk of stream) for (const bytes of tally.wholeBlocks(chunk)) writeSync(descriptor, bytes);
  } finally {
    closeSync(descriptor);
    if (tally.blocks > 0) renameSync(unfinished, path);
    else unlinkSync(unfinished);
  }
  return tally.summary();
}

class Tally {
  blocks = 0;
  #frames = 0;
  readonly #missed = new Map<number, number>();
  readonly #reader = new PcapngReader();

  *wholeBlocks(chunk: Uint8Array): Generator<Uint8Array> {
    for (const { block, bytes } of this.#reader.read(chunk)) {
      this.blocks++;
      if (block.kind === 'frame') this.#frames++;
      if (block.kind === 'statistics') this.#missed.set(block.interfaceIndex, Number(block.dropped));
      yield bytes;
    }
  }

  summary(): CaptureSummary {
    return { frames: this.#frames, missed: [...this.#missed.values()].reduce((sum, each) => sum + each, 0) };
  }
}
