/** Whether this unit can run a config, as the running one is: every reason why not, each with its place in the text. */

import { diffConfigs } from '../config/diff.js';
import { type Fault, parsePath } from '../config/faults.js';
import { loadConfig, placeFaults } from '../config/load.js';
import type { Config, ConfigRefusal, UnitName } from '../config/model.js';
import type { LinkFault } from './ports.js';

export interface Acceptable {
  readonly config: Config;
  /** One line each, as for a reload. */
  readonly changes: readonly string[];
}

export async function checkConfig(
  text: string,
  file: string,
  running: Config,
  unit: UnitName,
  checkLinks: (config: Config) => Promise<readonly LinkFault[]>,
): Promise<Acceptable | ConfigRefusal> {
  const loaded = loadConfig(text, file);
  if (!loaded.ok) {
    const count = loaded.errors.length;
    const message = `${file} has ${count === 1 ? 'an error' : `${count} errors`}`;
    return { code: 'config_invalid', message, mend: 'mend the file; nothing was changed', errors: loaded.errors };
  }
  const { config } = loaded;
  const { changes, needRestart } = diffConfigs(running, config, unit);
  const restarts = needRestart.map(
    ({ path, change }): Fault => ({
      code: 'needs_restart',
      message: `${change}: needs a restart of unit ${unit}`,
      path,
    }),
  );
  if (restarts.length > 0) {
    return {
      code: 'needs_restart',
      message: `cannot be changed while unit ${unit} runs`,
      mend: 'undo these changes, or change the file and restart one unit after the other; nothing was changed',
      errors: placeFaults(text, file, restarts),
    };
  }
  const faults = newFaults(await checkLinks(running), await checkLinks(config));
  if (faults.length === 0) return { config, changes };
  return {
    code: 'links_unfit',
    message: `unit ${unit}'s links are not what the config needs`,
    mend: `mend the config, or the links of unit ${unit}; nothing was changed`,
    errors: placeFaults(text, file, faults),
  };
}

/** A link that is down already keeps nobody from changing something else. */
function newFaults(before: readonly LinkFault[], after: readonly LinkFault[]): Fault[] {
  const known = new Set(before.map(({ code, path }) => `${code} ${path}`));
  return after
    .filter(({ severity, code, path }) => severity === 'error' && !known.has(`${code} ${path}`))
    .map(({ code, message, path }) => ({ code, message, path: parsePath(path) }));
}
