/** `tandem doctor`: what of this host keeps a unit from working well, and the command that mends it. */

import { buildCommand } from '@stricli/core';

import { formatConfigError } from '../config/faults.js';
import { examine, type Subject } from '../doctor/examine.js';
import type { Finding } from '../doctor/facts.js';
import { socketFlag, socketPath } from './asking.js';
import { conclude } from './command.js';
import type { CliContext } from './context.js';
import { jsonFlag, stateDirectory, stateFlag, unitFlag } from './flags.js';
import { left, table } from './table.js';

interface DoctorFlags {
  readonly unit?: 'a' | 'b';
  readonly socket?: string;
  readonly state?: string;
  readonly json: boolean;
}

export const doctor = buildCommand<DoctorFlags, [file?: string], CliContext>({
  docs: {
    brief: 'What of this host keeps a unit from working, and how to mend it: doctor FILE --unit a',
    fullDescription: [
      'Looks at this host: node, capabilities, AF_XDP, memory, folders, firewall; and with a config at its links,',
      'what interfaces do to frames, and the peer. Run it as the user that runs the daemon. Changes nothing; each',
      'finding comes with the command that mends it, where there is one. Exit code 1 if there is a fault.',
    ].join('\n'),
  },
  parameters: {
    flags: { unit: { ...unitFlag, optional: true }, socket: socketFlag, state: stateFlag, json: jsonFlag },
    positional: {
      kind: 'tuple',
      parameters: [{ parse: String, optional: true, placeholder: 'FILE', brief: 'The config' }],
    },
  },
  async func({ unit, socket, state, json }, file) {
    await conclude(this, json, async () => {
      const subject = subjectOf(this, file, unit);
      const where = { socket: socketPath(this, socket), state: stateDirectory(this, state) };
      const findings = examine(await this.readHostFacts({ subject, ...where }), subject);
      const faults = findings.filter((finding) => finding.state === 'fault').length;
      return { json: { faults, findings }, text: showFindings(findings), failed: faults > 0 };
    });
  },
});

function subjectOf(context: CliContext, file: string | undefined, unit: 'a' | 'b' | undefined): Subject | null {
  if (file === undefined) return null;
  if (unit === undefined) throw new Error('which unit of the pair is this host? add --unit a or --unit b');
  const result = context.readConfig(file);
  if (!result.ok) throw new Error([`${file} is not valid`, ...result.errors.map(formatConfigError)].join('\n'));
  return { config: result.config, file, unit };
}

const MARK = { ok: 'ok', warning: 'WARNING', fault: 'FAULT' } as const;

function showFindings(findings: readonly Finding[]): string {
  const rows = findings.map(({ check, state, message }) => [MARK[state], check, message]);
  const mending = findings.flatMap(({ mend }) => (mend === null ? [] : [`  ${mend}`]));
  const count = (state: Finding['state']) => findings.filter((finding) => finding.state === state).length;
  const sum = `${count('ok')} ok, ${count('warning')} to look at, ${count('fault')} to mend`;
  const commands = mending.length === 0 ? [] : ['', 'What mends them, as root:', ...new Set(mending)];
  return [table([left('STATE'), left('CHECK'), left('')], rows), '', sum, ...commands].join('\n');
}
