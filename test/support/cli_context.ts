/** The real command line in a made-up world: what it printed, and its exit code. */

import { run } from '@stricli/core';

import type { Control } from '../../src/api.js';
import { buildCli } from '../../src/cli/app.js';
import { inOurWords } from '../../src/cli/bigip_words.js';
import type { CliContext } from '../../src/cli/context.js';
import { loadConfig } from '../../src/config/load.js';
import type { Terminal } from '../../src/io/terminal.js';
import { validConfig } from './config_text.js';
import { NOW, stubControl } from './control_stub.js';

export interface CliRun {
  readonly out: string;
  readonly err: string;
  /** Negative: stricli's own, for what it could not understand. */
  readonly code: number;
}

export interface CliWorld {
  readonly control?: Control;
  /** The text of every file. */
  readonly file?: string;
  readonly colours?: boolean;
  readonly terminal?: Terminal;
  /** Milliseconds since the epoch, at each question. */
  readonly now?: () => number;
  readonly capture?: CliContext['capture'];
  readonly env?: Readonly<Record<string, string>>;
}

/** A pipe, where no time passes. */
export const noTerminal: Terminal = {
  isTerminal: false,
  size: () => ({ columns: 80, rows: 24 }),
  takeOver: () => () => {},
  wait: () => Promise.resolve(),
};

/** `words` as a shell would have split them. */
export async function runCli(words: readonly string[], world: CliWorld = {}): Promise<CliRun> {
  let [out, err] = ['', ''];
  const units = { fingerprint: 'aa11', peerFingerprint: 'bb22' };
  const text = world.file ?? validConfig;
  const context: CliContext = {
    process: {
      stdout: { write: (more) => (out += more) },
      stderr: { write: (more) => (err += more) },
      env: world.env ?? {},
    },
    now: world.now ?? (() => NOW),
    colours: world.colours ?? false,
    terminal: world.terminal ?? noTerminal,
    connect: () => world.control ?? stubControl(),
    readConfig: (file) => loadConfig(text, file),
    readConfigText: () => ({ ok: true, text }),
    runDaemon: () => Promise.resolve(),
    pairing: {
      invite: async () => ({ code: 'CODE', paired: Promise.resolve(units) }),
      join: async () => units,
      status: async () => units,
    },
    readHostFacts: () => Promise.reject(new Error('this test looks at no host')),
    capture: world.capture ?? (async () => ({ frames: 0, missed: 0 })),
    replay: async () => ({ read: 0, forwarded: 0, punted: 0, dropped: [], accounted: true, damage: null }),
  };
  await run(buildCli('0.1.0'), [...inOurWords(words)], context);
  return { out, err, code: Number(context.process.exitCode ?? 0) };
}
