/** What commands need of the world; src/cli.ts gives the real thing, tests give their own. */

import type { CommandContext, StricliProcess } from '@stricli/core';

import type { CaptureRequest, Control } from '../api.js';
import type { ConfigResult } from '../config/load.js';
import type { ConfigError } from '../config/model.js';
import type { Subject } from '../doctor/examine.js';
import type { HostFacts } from '../doctor/facts.js';
import type { CaptureSummary } from '../io/capture_file.js';
import type { Terminal } from '../io/terminal.js';
import type { ReplayOptions, ReplaySummary } from '../replay.js';

/** A file's text, or why it cannot be read. */
export type ConfigText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly errors: readonly ConfigError[] };

export interface RunOptions {
  readonly file: string;
  readonly unit: 'a' | 'b';
  readonly socket: string;
  /** The directory of what outlives the daemon. */
  readonly state: string;
  readonly logLevel: LogLevel;
}

/** What pairing needs of the world. */
export interface Pairing {
  /** Resolves when the code can be printed. */
  invite(options: {
    readonly directory: string;
    readonly address: string;
    readonly port: number;
  }): Promise<{ readonly code: string; readonly paired: Promise<PairedUnits> }>;
  join(code: string, directory: string): Promise<PairedUnits>;
  /** Null when the unit is not paired. */
  status(directory: string): Promise<PairedUnits | null>;
}

/** SHA-256 of certificates, in hex. */
export interface PairedUnits {
  readonly fingerprint: string;
  readonly peerFingerprint: string;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface CliContext extends CommandContext {
  readonly process: StricliProcess;
  /** Whether the output is a terminal that is to show colours. */
  readonly colours: boolean;
  readonly terminal: Terminal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly connect: (socketPath: string) => Control;
  readonly readConfig: (file: string) => ConfigResult;
  readonly readConfigText: (file: string) => ConfigText;
  readonly runDaemon: (options: RunOptions) => Promise<void>;
  readonly pairing: Pairing;
  readonly readHostFacts: (question: {
    readonly subject: Subject | null;
    readonly socket: string;
    readonly state: string;
  }) => Promise<HostFacts>;
  /** Until it ends or a signal ends it. `file`: `-` is the standard output. */
  readonly capture: (socketPath: string, file: string, request: CaptureRequest) => Promise<CaptureSummary>;
  readonly replay: (options: ReplayOptions) => Promise<ReplaySummary>;
}

/** 0 done, 1 refused or failed, 2 not understood, 3 no daemon answers. Told in --help. */
export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3 } as const;
