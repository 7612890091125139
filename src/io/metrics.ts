/**
 * Prometheus metrics: the same `Control` as the API's, asked when they are scraped, so that both tell the same figures.
 * Names and units by https://prometheus.io/docs/practices/naming/; what there is, is listed in metric_lists.ts.
 */

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

import type { Control } from '../api.js';
import { LISTS, type Metric, type Seen } from '../http/metric_lists.js';

/** Each look at the event loop wakes the process; the library's own are 10 ms apart. */
const EVENT_LOOP_LOOK_MS = 100;

export class Metrics {
  readonly contentType: string;
  readonly #control: Control;
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, Counter | Gauge>();
  #isMonitored = false;
  #running: Promise<string> | null = null;

  constructor(control: Control) {
    this.#control = control;
    this.contentType = this.#registry.contentType;
  }

  /** Those who ask at the same moment get the same text. */
  async text(): Promise<string> {
    // From the first question on: who is never asked need not wake for it.
    if (!this.#isMonitored)
      collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: EVENT_LOOP_LOOK_MS });
    this.#isMonitored = true;
    this.#running ??= this.#collect().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #collect(): Promise<string> {
    const control = this.#control;
    const [status, virtualServers, pools, counters, mirror, failover, survival] = await Promise.all([
      control.status(),
      control.virtualServers(),
      control.pools(),
      control.counters(),
      control.mirror(),
      control.failover(),
      control.survival(),
    ]);
    const seen: Seen = { status, virtualServers, pools, counters, mirror, failover, survival };
    // What is gone since the last time is told no more.
    for (const metric of this.#metrics.values()) metric.reset();
    for (const metric of LISTS.flatMap((list) => list(seen))) this.#put(metric);
    return this.#registry.metrics();
  }

  #put({ name, kind, help, labels, value }: Metric): void {
    let metric = this.#metrics.get(name);
    if (metric === undefined) {
      const options = { name, help, labelNames: Object.keys(labels), registers: [this.#registry] };
      metric = kind === 'counter' ? new Counter(options) : new Gauge(options);
      this.#metrics.set(name, metric);
    }
    // Also 0: a series that is there can be seen to stay at 0.
    metric.inc(labels, value);
  }
}
