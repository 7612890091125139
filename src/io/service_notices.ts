/**
 * What the daemon tells the service manager that started it, over the socket in $NOTIFY_SOCKET: that it serves, how it
 * is, that it reloads or stops, and, while a watchdog wants to hear it, that it lives. Without that socket it tells
 * nobody. Read first: sd_notify(3), sd_watchdog_enabled(3).
 *
 * It lives while the event loop turns and every worker's heartbeat moves; a worker that stands still is not reported,
 * and the manager starts the daemon anew. The failover process watches the same heartbeats, far more closely: by then
 * the peer is active.
 */

import type { Status } from '../api.js';
import { noHeartbeats, observe, WORKERS_MAX, workersAlive } from '../failover/heartbeats.js';
import type { Millis, Timers } from './timers.js';

export interface ServiceNoticesOptions {
  /** NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  /** One datagram; throws if it cannot be sent. */
  readonly send: (socket: string, message: string) => void;
  readonly timers: Timers;
  /** Microseconds on CLOCK_MONOTONIC. */
  readonly monotonicUs: () => bigint;
  readonly readHeartbeats: (into: BigUint64Array) => void;
  /** One line for `systemctl status`. */
  readonly status: () => Promise<string>;
  /** Told once when messages begin to fail. */
  readonly onFault: (message: string) => void;
}

/** How often the status line is looked at while there is no watchdog; it is sent when it has changed. */
const STATUS_MS: Millis = 5_000;

export class ServiceNotices {
  readonly #options: ServiceNoticesOptions;
  readonly #socket: string | null;
  readonly #watchdogMs: Millis | null;
  readonly #values = new BigUint64Array(WORKERS_MAX);
  #heartbeats = noHeartbeats;
  #cancel: (() => void) | null = null;
  #statusSent = '';
  #failing = false;

  constructor(options: ServiceNoticesOptions) {
    this.#options = options;
    this.#socket = options.environment['NOTIFY_SOCKET'] || null;
    this.#watchdogMs = watchdogMs(options);
  }

  /** It serves: after the start, and after each reload. */
  ready(): void {
    if (this.#socket === null) return;
    this.#send('READY=1');
    if (this.#cancel === null) this.#turn();
  }

  reloading(): void {
    this.#send(`RELOADING=1\nMONOTONIC_USEC=${this.#options.monotonicUs()}`);
  }

  /** Nothing is told after this. */
  stopping(): void {
    this.#cancel?.();
    this.#send('STOPPING=1\nSTATUS=handing over and stopping');
  }

  #turn(): void {
    const { timers } = this.#options;
    if (this.#watchdogMs !== null && this.#alive(timers.now(), this.#watchdogMs / 2)) this.#send('WATCHDOG=1');
    void this.#tellStatus();
    this.#cancel = timers.after(Math.min(STATUS_MS, (this.#watchdogMs ?? Infinity) / 4), () => this.#turn());
  }

  #alive(now: Millis, timeoutMs: Millis): boolean {
    this.#options.readHeartbeats(this.#values);
    this.#heartbeats = observe(this.#heartbeats, this.#values, now, timeoutMs);
    return workersAlive(this.#heartbeats, now, timeoutMs);
  }

  async #tellStatus(): Promise<void> {
    try {
      const line = await this.#options.status();
      if (line === this.#statusSent) return;
      this.#statusSent = line;
      this.#send(`STATUS=${line}`);
    } catch {
      // The status line is a courtesy; what keeps it from being made is shown where it is asked for.
    }
  }

  #send(message: string): void {
    if (this.#socket === null) return;
    try {
      this.#options.send(this.#socket, message);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) {
        const why = error instanceof Error ? error.message : String(error);
        this.#options.onFault(`the service manager does not hear of this unit: ${why}`);
      }
      this.#failing = true;
    }
  }
}

/** Null: no watchdog, or one for another process. */
function watchdogMs({ environment, pid }: ServiceNoticesOptions): Millis | null {
  const microseconds = Number(environment['WATCHDOG_USEC'] ?? '');
  const watched = environment['WATCHDOG_PID'];
  if (!(microseconds > 0) || (watched !== undefined && Number(watched) !== pid)) return null;
  return microseconds / 1000;
}

/** `main active; mirror up, in sync; 3 of 3 members up`, then the first warning if there is one. */
export function statusLine({ trafficGroups, mirror, members, warnings }: Status): string {
  const roles = trafficGroups.map(({ name, role }) => `${name} ${role}`).join(', ') || 'no traffic group';
  const more = warnings.length > 1 ? ` (and ${warnings.length - 1} more)` : '';
  const warning = warnings[0] === undefined ? [] : [`look at: ${warnings[0]}${more}`];
  const sync = `mirror ${mirror.channel}, ${mirror.inSync ? 'in sync' : 'not in sync'}`;
  return [roles, sync, `${members.up} of ${members.total} members up`, ...warning].join('; ').replaceAll('\n', ' ');
}
