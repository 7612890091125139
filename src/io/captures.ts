/**
 * Captures of a running unit, as streams of pcapng: what the datapath copied, drained on this thread and written for
 * whoever asked. One at a time. Bounded in frames and time; who reads too slowly misses frames, which are counted and
 * told in the stream's interface statistics.
 */

import { type CaptureRequest, ControlError } from '../api.js';
import type { Datapath } from '../datapath.js';
import { capturedFrames, type TrafficSample } from '../wire/capture_record.js';
import { pcapngFrame, pcapngHeader, pcapngStatistics } from '../wire/pcapng.js';
import { sampleTraffic } from './traffic_sample.js';

/** While one runs; a ring of the datapath holds a few tens of milliseconds at full rate. */
const LOOK_MS = 5;
const TAKE_BYTES = 1024 * 1024;
const QUEUE_BYTES_MAX = 2 * 1024 * 1024;
/** Whoever does not read to the end of a capture is not waited for. */
const LINGER_MS = 10_000;

export interface CapturesOptions {
  readonly datapath: Pick<
    Datapath,
    'startCapture' | 'takeCapture' | 'captureCounts' | 'stopCapture' | 'mirrorDictionary'
  >;
  /** In the datapath's order. */
  readonly interfaces: readonly string[];
  readonly dropNames: readonly (readonly [name: string, sentence: string])[];
  readonly version: string;
  readonly onEnd: (end: { readonly caller: string; readonly frames: number; readonly missed: number }) => void;
}

export class Captures {
  readonly #options: CapturesOptions;
  #running: Running | null = null;
  #sampling: { readonly cut: AbortController; readonly sample: Promise<TrafficSample> } | null = null;

  constructor(options: CapturesOptions) {
    this.#options = options;
  }

  /** Throws a ControlError when one runs already, or nothing has the name. */
  response(request: CaptureRequest, caller: string): Response {
    this.#refuseSecond();
    const { virtualServer, client, snaplenBytes } = request;
    if (!this.#options.datapath.startCapture({ virtualServer, client, snaplenBytes })) {
      const names = this.#options.datapath.mirrorDictionary().virtualServers.map(({ name }) => name);
      const mend = `there are: ${names.join(', ')}`;
      throw new ControlError('not_found', 'unknown_virtual_server', `no virtual server '${virtualServer}'`, mend);
    }
    this.#sampling?.cut.abort();
    const running = new Running(this.#options, request, caller, () => {
      this.#running = null;
    });
    this.#running = running;
    return new Response(running.stream, { headers: { 'content-type': 'application/x-pcapng' } });
  }

  /** For all who ask meanwhile the same. Rejects with a ControlError when a capture runs. */
  async sample(): Promise<TrafficSample> {
    this.#refuseSecond();
    if (this.#sampling !== null) return this.#sampling.sample;
    const cut = new AbortController();
    const sampling = { cut, sample: sampleTraffic(this.#options.datapath, cut.signal) };
    this.#sampling = sampling;
    try {
      return await sampling.sample;
    } finally {
      this.#sampling = null;
    }
  }

  close(): void {
    this.#running?.abandon(new Error('the daemon ends'));
    this.#sampling?.cut.abort();
  }

  #refuseSecond(): void {
    if (this.#running === null) return;
    const message = `a capture asked for by ${this.#running.caller} is running`;
    throw new ControlError('refused', 'capture_running', message, 'end that one, or wait until it has ended');
  }
}

class Running {
  readonly caller: string;
  readonly stream: ReadableStream<Uint8Array>;
  readonly #options: CapturesOptions;
  readonly #request: CaptureRequest;
  readonly #onEnd: () => void;
  readonly #memory = new Uint8Array(TAKE_BYTES);
  readonly #told: number[];
  readonly #timers: NodeJS.Timeout[];
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #frames = 0;
  #timeIsUp = false;
  #ended = false;

  constructor(options: CapturesOptions, request: CaptureRequest, caller: string, onEnd: () => void) {
    this.#options = options;
    this.#request = request;
    this.caller = caller;
    this.#onEnd = onEnd;
    this.#told = options.interfaces.map(() => 0);
    const ms = request.seconds * 1000;
    this.#timers = [
      setTimeout(() => {
        this.#timeIsUp = true;
      }, ms),
      setTimeout(() => this.abandon(new Error('the capture is not read')), ms + LINGER_MS),
    ];
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
          controller.enqueue(pcapngHeader(`tandem ${options.version}`, options.interfaces, request.snaplenBytes));
        },
        pull: (controller) => this.#pull(controller),
        cancel: () => this.#end(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: QUEUE_BYTES_MAX }),
    );
  }

  abandon(why: Error): void {
    if (this.#ended) return;
    this.#end();
    this.#controller?.error(why);
  }

  /** Resolves when something was enqueued. */
  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    for (;;) {
      if (this.#ended) return;
      // Told first, so that what came before the end is drained behind it.
      const last = this.#timeIsUp;
      const before = this.#frames;
      for (const block of this.#drain()) controller.enqueue(block);
      if (this.#frames >= this.#request.packets || (last && this.#frames === before)) {
        for (const block of this.#statistics(true)) controller.enqueue(block);
        this.#end();
        controller.close();
        return;
      }
      const missed = this.#statistics(false);
      for (const block of missed) controller.enqueue(block);
      if (this.#frames > before || missed.length > 0) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  #drain(): Uint8Array[] {
    const { datapath, dropNames } = this.#options;
    const taken = datapath.takeCapture(this.#memory);
    if (taken === 0) return [];
    const virtualServers = new Map(datapath.mirrorDictionary().virtualServers.map(({ id, name }) => [id, name]));
    const blocks: Uint8Array[] = [];
    for (const frame of capturedFrames(this.#memory.subarray(0, taken), { drops: dropNames, virtualServers })) {
      if (this.#frames >= this.#request.packets) break;
      this.#frames++;
      blocks.push(pcapngFrame(frame));
    }
    return blocks;
  }

  /** Of every interface, or of those on which more was missed than was told: a reader may leave at any moment. */
  #statistics(all: boolean): Uint8Array[] {
    const timeNs = BigInt(Date.now()) * 1_000_000n;
    return this.#options.datapath.captureCounts().flatMap(({ wanted, missed }, index) => {
      if (!all && missed === this.#told[index]) return [];
      this.#told[index] = missed;
      return [pcapngStatistics(index, timeNs, { received: BigInt(wanted), dropped: BigInt(missed) })];
    });
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const missed = this.#options.datapath.captureCounts().reduce((sum, each) => sum + each.missed, 0);
    this.#options.datapath.stopCapture();
    this.#onEnd();
    this.#options.onEnd({ caller: this.caller, frames: this.#frames, missed });
  }
}
