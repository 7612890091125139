/**
 * Server-sent events (HTML Living Standard, section 9.2): states, rates and failovers, for whoever listens.
 *
 * Nothing is looked at while nobody listens. Each listener has a bounded queue; one that does not read is cut off, and
 * its browser or program connects anew.
 */

import { type ApiEvent, type Control, ControlError } from '../api.js';
import { type Look, ratesBetween } from '../http/rates.js';

const LISTENERS_MAX = 16;
/** A state of 4096 virtual servers has some 2 MiB. */
const QUEUE_BYTES_MAX = 8 * 1024 * 1024;
const LOOK_MS = 500;
const RATES_EVERY = 2;
const STATE_EVERY = 10;

type Listener = ReadableStreamDefaultController<Uint8Array>;

export interface ApiEventsOptions {
  readonly control: Control;
  readonly onInternalError: (route: string, error: unknown) => void;
  /** Milliseconds between two looks. */
  readonly lookMs?: number;
}

export class ApiEvents {
  readonly #options: ApiEventsOptions;
  readonly #listeners = new Set<Listener>();
  #timer: NodeJS.Timeout | null = null;
  #busy = false;
  #looks = 0;
  #look: Look | null = null;
  #told = '';
  #transitions: ReadonlyMap<string, number> | null = null;

  constructor(options: ApiEventsOptions) {
    this.#options = options;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** A stream that never ends by itself. Throws a ControlError when too many listen. */
  response(): Response {
    if (this.#listeners.size >= LISTENERS_MAX) {
      const message = `${LISTENERS_MAX} listen to events already`;
      throw new ControlError('refused', 'too_many_listeners', message, 'close a page or a tandem watch');
    }
    let own: Listener;
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (listener) => {
          own = listener;
          this.#listeners.add(listener);
          void this.#greet(listener);
          this.#timer ??= setInterval(() => void this.#tick(), this.#options.lookMs ?? LOOK_MS).unref();
        },
        cancel: () => this.#forget(own),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: QUEUE_BYTES_MAX }),
    );
    const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' };
    return new Response(stream, { headers });
  }

  close(): void {
    for (const listener of this.#listeners) {
      this.#forget(listener);
      listener.close();
    }
  }

  #forget(listener: Listener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    [this.#looks, this.#look, this.#told, this.#transitions] = [0, null, '', null];
  }

  /** A new listener need not wait for something to change. */
  async #greet(listener: Listener): Promise<void> {
    await this.#guarded(async () => this.#sendTo(listener, { event: 'state', data: await this.#state() }));
  }

  async #tick(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    await this.#guarded(() => this.#lookAround());
    this.#busy = false;
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.onInternalError('GET /v1/events', error);
    }
  }

  async #lookAround(): Promise<void> {
    const looks = this.#looks++;
    await this.#tellTransitions();
    const state = await this.#state();
    const told = whatMatters(state);
    if (told !== this.#told || looks % STATE_EVERY === 0) this.#send({ event: 'state', data: state });
    this.#told = told;
    if (looks % RATES_EVERY === 0) await this.#tellRates();
  }

  async #state() {
    const { control } = this.#options;
    const [status, survival] = await Promise.all([control.status(), control.survival()]);
    return { status, survival };
  }

  async #tellRates(): Promise<void> {
    const { control } = this.#options;
    const [virtualServers, pools] = await Promise.all([control.virtualServers(), control.pools()]);
    const now = { at: new Date().toISOString(), atMs: performance.now(), virtualServers, pools };
    if (this.#look !== null) this.#send({ event: 'rates', data: ratesBetween(this.#look, now) });
    this.#look = now;
  }

  async #tellTransitions(): Promise<void> {
    const { trafficGroups } = await this.#options.control.failover();
    const before = this.#transitions;
    this.#transitions = new Map(trafficGroups.map(({ name, transitionCount }) => [name, transitionCount]));
    if (before === null) return;
    for (const { name, transitionCount, transitions } of trafficGroups) {
      const fresh = transitions.slice(0, transitionCount - (before.get(name) ?? 0)).toReversed();
      for (const transition of fresh) this.#send({ event: 'failover', data: { ...transition, trafficGroup: name } });
    }
  }

  #send(event: ApiEvent): void {
    for (const listener of this.#listeners) this.#sendTo(listener, event);
  }

  #sendTo(listener: Listener, { event, data }: ApiEvent): void {
    if (!this.#listeners.has(listener)) return;
    const bytes = new TextEncoder().encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    if ((listener.desiredSize ?? 0) >= bytes.length) return listener.enqueue(bytes);
    this.#forget(listener);
    listener.error(new Error('the listener does not read'));
  }
}

/** Of a state: all but what changes with every packet. */
function whatMatters({ status, survival }: Extract<ApiEvent, { event: 'state' }>['data']): string {
  const { table: _table, ...rest } = status;
  const servers = survival.virtualServers.map(({ name, mode, wouldBeLost }) => [name, mode, wouldBeLost > 0]);
  return JSON.stringify([rest, servers]);
}
