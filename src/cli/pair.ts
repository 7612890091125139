/** `tandem pair`: the two units get to know each other's certificates. Needs no daemon, and a running one notices. */

import { buildCommand, buildRouteMap } from '@stricli/core';

import { formatConfigError } from '../config/faults.js';
import { conclude } from './command.js';
import type { CliContext, PairedUnits } from './context.js';
import { jsonFlag, stateDirectory, stateFlag, unitFlag } from './flags.js';

interface StateFlags {
  readonly state?: string;
  readonly json: boolean;
}

const init = buildCommand<StateFlags & { readonly unit: 'a' | 'b' }, [file: string], CliContext>({
  docs: {
    brief: 'Print a code for the other unit, and wait until it has joined: pair init FILE --unit a',
    fullDescription: [
      'Makes a key and a certificate, prints a code and waits at the mirror address, on the port above that of the',
      'mirror channel, until `tandem pair join CODE` was run on the other unit. The code is good once, ten minutes.',
      'What the unit was paired with before holds until then. A running daemon uses the new certificates from its next',
      'connection on, and the one there is goes on.',
    ].join('\n'),
  },
  parameters: {
    flags: { unit: unitFlag, state: stateFlag, json: jsonFlag },
    positional: { kind: 'tuple', parameters: [{ parse: String, placeholder: 'FILE', brief: 'The config' }] },
  },
  async func({ unit, state, json }, file) {
    await conclude(this, json, async () => {
      const result = this.readConfig(file);
      if (!result.ok) throw new Error([`${file} is not valid`, ...result.errors.map(formatConfigError)].join('\n'));
      const { address, port } = result.config.units[unit].mirror;
      const directory = stateDirectory(this, state);
      const { code, paired } = await this.pairing.invite({ directory, address, port: port + 1 });
      const words = `On the other unit, within ten minutes:\n\n  tandem pair join ${code}\n\n`;
      this.process.stdout.write(json ? `${JSON.stringify({ code })}\n` : words);
      const units = await paired;
      return { json: units, text: showPaired(units) };
    });
  },
});

const join = buildCommand<StateFlags, [code: string], CliContext>({
  docs: { brief: 'Join the unit that printed the code: pair join CODE' },
  parameters: {
    flags: { state: stateFlag, json: jsonFlag },
    positional: {
      kind: 'tuple',
      parameters: [{ parse: String, placeholder: 'CODE', brief: 'What `tandem pair init` printed on the other unit' }],
    },
  },
  async func({ state, json }, code) {
    await conclude(this, json, async () => {
      const units = await this.pairing.join(code, stateDirectory(this, state));
      return { json: units, text: showPaired(units) };
    });
  },
});

const status = buildCommand<StateFlags, [], CliContext>({
  docs: { brief: 'Whether this unit is paired, and the certificates by which the two know each other' },
  parameters: { flags: { state: stateFlag, json: jsonFlag } },
  async func({ state, json }) {
    await conclude(this, json, async () => {
      const directory = stateDirectory(this, state);
      const units = await this.pairing.status(directory);
      if (units === null) {
        const text = `not paired (${directory}): run tandem pair init here, and tandem pair join on the other unit`;
        return { json: { paired: false }, text, failed: true };
      }
      return { json: { paired: true, ...units }, text: showPaired(units) };
    });
  },
});

function showPaired({ fingerprint, peerFingerprint }: PairedUnits): string {
  return ['paired', `  this unit  SHA-256 ${fingerprint}`, `  its peer   SHA-256 ${peerFingerprint}`].join('\n');
}

export const pairRoutes = buildRouteMap({
  docs: { brief: 'Make two units a pair whose mirror channel nobody else can read or write' },
  routes: { init, join, status },
});
