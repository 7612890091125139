/** What a monitor's probe is: one question to one member, and its answer in words. */

import type { MonitorConfig } from '../config/model.js';

export interface ProbeTarget {
  readonly address: string;
  /** The port to probe, the member's own unless the monitor names another. */
  readonly port: number;
  readonly monitor: MonitorConfig;
}

export interface ProbeAnswer {
  readonly ok: boolean;
  readonly reason: string;
}

/**
 * Never rejects: whatever goes wrong is an answer. When `signal` aborts (the time is up, the member is gone), it
 * lets go of everything it holds at once.
 */
export type Probe = (target: ProbeTarget, signal: AbortSignal) => Promise<ProbeAnswer>;

const SENTENCES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'no route',
  ETIMEDOUT: 'connection timed out',
  EMFILE: 'this unit has no file descriptor left (raise LimitNOFILE)',
  EADDRNOTAVAIL: 'this unit has no local port left',
  EACCES: 'refused by a firewall of this unit',
  EPERM: 'refused by a firewall of this unit',
};

export function probeFault(error: Error): string {
  const code = (error as NodeJS.ErrnoException).code;
  return (code === undefined ? undefined : SENTENCES[code]) ?? error.message;
}
