/** The command line: every command, its flags and its words, and nothing of how it is done. */

import { type Application, buildApplication, buildCommand, buildRouteMap } from '@stricli/core';

import { DEFAULT_SOCKET } from '../api.js';
import { formatConfigError } from '../config/faults.js';
import { configJsonSchema } from '../config/schema.js';
import { applyCommand } from './apply.js';
import { clientFlags, socketFlag, socketPath } from './asking.js';
import { captureCommand } from './capture.js';
import { pool, reload, standby, virtual } from './change.js';
import { conclude } from './command.js';
import { completeCommand, completion } from './completion.js';
import { type CliContext, LOG_LEVELS, type LogLevel } from './context.js';
import { convertCommand } from './convert.js';
import { doctor } from './doctor.js';
import { jsonFlag, stateDirectory, stateFlag, unitFlag } from './flags.js';
import { top, watch } from './live.js';
import { pairRoutes } from './pair.js';
import { replay } from './replay.js';
import { showRoutes, statusCommand } from './show_routes.js';

// ---------------------------------------------------------------------------------------- without daemon

const runDaemon = buildCommand<
  { readonly unit: 'a' | 'b'; readonly socket?: string; readonly state?: string; readonly logLevel: LogLevel },
  [file: string],
  CliContext
>({
  docs: { brief: 'Run one unit in the foreground: run FILE --unit a' },
  parameters: {
    flags: {
      unit: unitFlag,
      socket: socketFlag,
      state: stateFlag,
      logLevel: { kind: 'enum', values: LOG_LEVELS, default: 'info', brief: 'How much is logged' },
    },
    positional: {
      kind: 'tuple',
      parameters: [{ parse: String, placeholder: 'FILE', brief: 'The config, for both units' }],
    },
  },
  async func({ unit, socket, state, logLevel }, file) {
    await conclude(this, false, async () => {
      const paths = { socket: socketPath(this, socket), state: stateDirectory(this, state) };
      await this.runDaemon({ file, unit, ...paths, logLevel });
      return { json: null, text: '' };
    });
  },
});

const check = buildCommand<{ readonly json: boolean }, [file: string], CliContext>({
  docs: { brief: 'Check a config file and print every error in it' },
  parameters: {
    flags: { json: jsonFlag },
    positional: { kind: 'tuple', parameters: [{ parse: String, placeholder: 'FILE', brief: 'The config' }] },
  },
  async func({ json }, file) {
    await conclude(this, json, async () => {
      const result = this.readConfig(file);
      if (!result.ok) {
        const errors = result.errors;
        const total = `${errors.length} ${errors.length === 1 ? 'error' : 'errors'}`;
        return {
          json: { ok: false, errors },
          text: [...errors.map(formatConfigError), total].join('\n'),
          failed: true,
        };
      }
      const { trafficGroups, pools, virtualServers } = result.config;
      const members = pools.reduce((sum, pool) => sum + pool.members.length, 0);
      const what = [
        `${trafficGroups.length} traffic group(s)`,
        `${virtualServers.length} virtual server(s)`,
        `${pools.length} pool(s)`,
        `${members} member(s)`,
      ].join(', ');
      return { json: { ok: true, errors: [] }, text: `${file} is valid: ${what}` };
    });
  },
});

const schema = buildCommand<{ readonly json: boolean }, [], CliContext>({
  docs: { brief: "Print the config's JSON Schema, for editors" },
  // It is JSON anyway.
  parameters: { flags: { json: jsonFlag } },
  async func() {
    await conclude(this, true, async () => ({ json: configJsonSchema(), text: '' }));
  },
});

// ------------------------------------------------------------------------------------------------- all

function routes(application: () => Application<CliContext>) {
  return buildRouteMap({
    docs: {
      hideRoute: { complete: true },
      brief: 'Tandem: a layer-4 load balancer in pairs',
      fullDescription: [
        'Tandem: a layer-4 load balancer in pairs.',
        '',
        `Commands that ask the daemon find it at --socket, $TANDEM_SOCKET or ${DEFAULT_SOCKET}.`,
        'Exit codes: 0 done, 1 refused or failed, 2 usage, 3 no daemon answers.',
      ].join('\n'),
    },
    routes: {
      run: runDaemon,
      check,
      schema,
      convert: convertCommand,
      status: statusCommand,
      show: showRoutes,
      watch,
      top,
      standby,
      apply: applyCommand(clientFlags, socketPath),
      reload,
      virtual,
      pool,
      pair: pairRoutes,
      doctor,
      capture: captureCommand,
      replay,
      completion,
      complete: completeCommand(application),
    },
  });
}

export function buildCli(version: string) {
  const application: Application<CliContext> = buildApplication<CliContext>(
    routes(() => application),
    {
      name: 'tandem',
      versionInfo: { currentVersion: version },
      scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
      documentation: { caseStyle: 'convert-camel-to-kebab' },
    },
  );
  return application;
}
