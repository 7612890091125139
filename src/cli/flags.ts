/** Flags that several commands have. */

import { DEFAULT_STATE_DIRECTORY } from '../api.js';
import type { CliContext } from './context.js';

export const jsonFlag = {
  kind: 'boolean',
  brief: 'Print JSON, for programs',
  default: false,
  withNegated: false,
} as const;
export const stateFlag = {
  kind: 'parsed',
  parse: String,
  optional: true,
  placeholder: 'dir',
  brief: `What outlives the daemon; else $STATE_DIRECTORY, else ${DEFAULT_STATE_DIRECTORY}`,
} as const;
export const unitFlag = {
  kind: 'enum',
  values: ['a', 'b'],
  brief: 'Which unit of the pair this host is',
} as const;

/** systemd names every directory of the unit, with colons between them; the first is ours. */
export function stateDirectory(context: CliContext, flag: string | undefined): string {
  return flag ?? (context.process.env?.['STATE_DIRECTORY']?.split(':')[0] || DEFAULT_STATE_DIRECTORY);
}
