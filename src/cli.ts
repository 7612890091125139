/** `tandem`: gives the command line the real world. Commands are in src/cli/. */

import { readFileSync } from 'node:fs';

import { run, type StricliProcess } from '@stricli/core';

import { buildCli } from './cli/app.js';
import { inOurWords } from './cli/bigip_words.js';
import { type CliContext, EXIT } from './cli/context.js';
import { ApiClient } from './io/api_client.js';
import { readConfig, readConfigText } from './io/config_file.js';
import { systemTerminal } from './io/terminal.js';

/** Output piped into `head` ends early; that is no failure of ours. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    throw error;
  });
}

const streams: StricliProcess = { stdout: process.stdout, stderr: process.stderr, env: process.env };
const context: CliContext = {
  process: streams,
  // https://no-color.org: set and not empty.
  colours: process.stdout.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb',
  terminal: systemTerminal,
  now: Date.now,
  connect: (socketPath) => new ApiClient(socketPath),
  readConfig,
  readConfigText,
  // Loaded when asked for: `tandem status` needs no datapath.
  runDaemon: async (options) => (await import('./main.js')).runDaemon(options),
  pairing: {
    invite: async (options) => (await import('./io/pairing.js')).invite(options),
    join: async (code, directory) => (await import('./io/pairing.js')).join(code, directory),
    status: async (directory) => (await import('./io/pairing.js')).pairedUnits(directory),
  },
  readHostFacts: async (question) => (await import('./io/host_facts.js')).readHostFacts(question),
  capture: async (socketPath, file, request) =>
    (await import('./io/capture_file.js')).captureInto(file, new ApiClient(socketPath), request),
  replay: async (options) => {
    const [{ native }, { replayCapture }] = await Promise.all([import('./io/native.js'), import('./replay.js')]);
    return replayCapture(native, options);
  },
};

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
await run(buildCli(version), inOurWords(process.argv.slice(2)), context);
// stricli's own codes, for what it could not understand, are negative.
const code = Number(streams.exitCode);
process.exitCode = code < 0 ? EXIT.usage : code;
