/** Another program's config into Tandem's: the text in, a config's text and what was lost out. Pure. */

import type { ConfigError } from '../config/model.js';
import { planOfBigip } from './bigip.js';
import { completePlan } from './complete.js';
import { planOfKeepalived } from './keepalived.js';
import { type Note, SourceFault } from './source.js';

export const SOURCE_LANGUAGES = ['keepalived', 'bigip'] as const;
export type SourceLanguage = (typeof SOURCE_LANGUAGES)[number];

export type Conversion =
  | {
      readonly ok: true;
      readonly language: SourceLanguage;
      readonly text: string;
      /** In the order of their place. */
      readonly notes: readonly Note[];
      readonly placeholders: readonly string[];
    }
  | { readonly ok: false; readonly error: ConfigError };

/** `language` null: told by the text. `file` is only named. */
export function convert(text: string, file: string, language: SourceLanguage | null): Conversion {
  const source = language ?? languageOf(text);
  const fault = (message: string, hint: string | null, line: number, column: number): Conversion => ({
    ok: false,
    error: { code: 'unreadable_source', message, hint, file, path: '', line, column },
  });
  if (source === null)
    return fault('neither keepalived.conf nor b or tmsh lines are found here', 'say which with --from', 1, 1);
  try {
    const { plan, notes } = source === 'keepalived' ? planOfKeepalived(text) : planOfBigip(text);
    const { text: config, placeholders } = completePlan(plan, `${file} (${source})`);
    return { ok: true, language: source, text: config, notes, placeholders };
  } catch (error) {
    if (!(error instanceof SourceFault)) throw error;
    return fault(error.message, error.hint, error.place.line, error.place.column);
  }
}

/** By the words that only one of the two begins a line with. */
function languageOf(text: string): SourceLanguage | null {
  if (/^\s*(vrrp_instance|vrrp_sync_group|virtual_server|virtual_server_group|global_defs)\b/m.test(text))
    return 'keepalived';
  const head = /^\s*((b|bigpipe|tmsh)\s+)?((create|modify)\s+)?(\/?ltm\s+)?(virtual|pool|monitor|node)\s+\S/m;
  return head.test(text) ? 'bigip' : null;
}
