/** `tandem convert`: a keepalived.conf, or BIG-IP's virtual servers and pools, as a config for Tandem. */

import { buildCommand } from '@stricli/core';

import { ControlError } from '../api.js';
import { formatConfigError } from '../config/faults.js';
import { loadConfig } from '../config/load.js';
import { convert, SOURCE_LANGUAGES, type SourceLanguage } from '../convert/convert.js';
import { conclude, type Outcome } from './command.js';
import type { CliContext } from './context.js';
import { jsonFlag } from './flags.js';

interface ConvertFlags {
  readonly from?: SourceLanguage;
  readonly json: boolean;
}

export const convertCommand = buildCommand<ConvertFlags, [file: string], CliContext>({
  docs: {
    brief: "A config made of a keepalived.conf, or of BIG-IP's virtual servers and pools: convert FILE",
    fullDescription: [
      'Reads keepalived.conf (virtual_server, vrrp_instance), lines of bigpipe (b virtual, b pool) and tmsh,',
      'and bigip.conf, and prints a config. What has no counterpart is named on the error stream, with its line; so is',
      'what the source cannot know: the config has a placeholder there, and passes tandem check with it.',
    ].join('\n'),
  },
  parameters: {
    flags: {
      from: {
        kind: 'enum',
        values: SOURCE_LANGUAGES,
        optional: true,
        brief: 'What the file is; default: told by its words',
      },
      json: jsonFlag,
    },
    positional: { kind: 'tuple', parameters: [{ parse: String, placeholder: 'FILE', brief: 'The file to convert' }] },
  },
  async func({ from, json }, file) {
    await conclude(this, json, async () => {
      const read = this.readConfigText(file);
      if (!read.ok) throw new ControlError('bad_request', 'unreadable', `${file} cannot be read`, null, read.errors);
      return converted(read.text, file, from ?? null);
    });
  },
});

function converted(text: string, file: string, language: SourceLanguage | null): Outcome {
  const result = convert(text, file, language);
  if (!result.ok)
    throw new ControlError('bad_request', 'unreadable_source', `${file} is not converted`, null, [result.error]);
  const check = loadConfig(result.text, 'the config made of it');
  const errors = check.ok ? [] : check.errors;
  const { notes, placeholders } = result;
  return {
    json: { language: result.language, config: result.text, notes, placeholders, errors },
    text: result.text.trimEnd(),
    notes: [
      ...notes.map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`),
      ...placeholders.map((placeholder) => `placeholder: ${placeholder}`),
      ...errors.map(formatConfigError),
    ],
    failed: errors.length > 0,
  };
}
