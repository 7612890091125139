/** `tandem apply`: a config on both units at once. */

import { buildCommand, type FlagParametersForType } from '@stricli/core';

import { type ApplyResult, CONFIG_TEXT_BYTES_MAX, ControlError } from '../api.js';
import { conclude } from './command.js';
import type { CliContext } from './context.js';

interface ApplyFlags {
  readonly local: boolean;
  readonly dryRun: boolean;
}

interface AskingFlags {
  readonly socket?: string;
  readonly json: boolean;
}

/** `asking`: the flags of every command that asks the daemon; `socketPath` finds it by them. */
export function applyCommand(
  asking: FlagParametersForType<AskingFlags, CliContext>,
  socketPath: (context: CliContext, flag: string | undefined) => string,
) {
  return buildCommand<AskingFlags & ApplyFlags, [file: string], CliContext>({
    docs: {
      brief: 'Put a config in force on both units: apply FILE',
      fullDescription: [
        'Both units check the config, each with its own links, and write it down; then both put it in force and in the',
        'place of their config file (the one before is kept as FILE.previous). Connections go on. Refused whole, with',
        'every error and its place, if either unit cannot have it. It gets a revision; when the units meet after one',
        'was away, the higher revision is taken over by the other.',
      ].join('\n'),
    },
    parameters: {
      flags: {
        ...asking,
        local: {
          kind: 'boolean',
          default: false,
          withNegated: false,
          brief: 'On this unit alone, while the peer is away; it is offered the config when it is back',
        },
        dryRun: { kind: 'boolean', default: false, withNegated: false, brief: 'Only check, on both units' },
      },
      positional: {
        kind: 'tuple',
        parameters: [{ parse: String, placeholder: 'FILE', brief: 'The config, for both units' }],
      },
    },
    async func({ socket, json, local, dryRun }, file) {
      await conclude(this, json, async () => {
        const text = readText(this, file);
        const result = await this.connect(socketPath(this, socket)).apply({ text, file, local, dryRun });
        const failed = result.peer === 'in-doubt' || result.peer === 'failed';
        return { json: result, text: showApplied(result), failed };
      });
    },
  });
}

function readText({ readConfigText }: CliContext, file: string): string {
  const read = readConfigText(file);
  if (!read.ok) throw new ControlError('bad_request', 'unreadable', `${file} cannot be applied`, null, read.errors);
  const bytes = new TextEncoder().encode(read.text).length;
  if (bytes <= CONFIG_TEXT_BYTES_MAX) return read.text;
  throw new ControlError(
    'bad_request',
    'too_large',
    `${file} has ${bytes} bytes; at most ${CONFIG_TEXT_BYTES_MAX} are applied on both units at once`,
    'copy the file to both hosts and use tandem reload on each',
  );
}

export function showApplied({ outcome, revision, changes, peer, reason }: ApplyResult): string {
  const name = revision === null ? '' : `: revision ${revision.number} (${revision.digest.slice(0, 8)})`;
  const lines = (head: string) => [head, ...changes.map((change) => `  ${change}`)];
  const where = peer === 'applied' || peer === 'valid' ? 'on both units' : 'on this unit';
  switch (outcome) {
    case 'unchanged':
      return `nothing to do: in force ${where} already${name}`;
    case 'valid': {
      const asked = peer === 'valid' ? '' : `, and the peer ${PEER_WORDS[peer]}`;
      return lines(`valid ${where}${asked}; ${changes.length === 0 ? 'it changes nothing' : 'it changes:'}`).join('\n');
    }
    case 'applied': {
      const rest = { absent: ABSENT, 'too-old': ABSENT, failed: FAILED, 'in-doubt': FAILED, applied: '', valid: '' }[
        peer
      ];
      const why = reason === null ? [] : [`! ${reason}`];
      return [...lines(`applied ${where}${name}${rest}`), ...why].join('\n');
    }
  }
}

const ABSENT = '; the peer is offered it when it is back';
const FAILED = '; NOT KNOWN TO BE on the peer, which is offered it when it connects anew';
const PEER_WORDS = {
  absent: 'is not connected',
  'too-old': 'is too old to be asked',
  applied: 'has it',
  'in-doubt': 'did not answer',
  failed: 'failed',
} as const;
