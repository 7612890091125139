/** Faults of a config while they are gathered, and what they become for the operator. */

import type { ConfigError } from './model.js';

export type Path = readonly (string | number)[];

/** Something wrong at a path of the config; the place in the file is found later (yaml_source.ts). */
export interface Fault {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | null;
  readonly path: Path;
  /** Whether the key itself is at fault (unknown, badly named) rather than its value. */
  readonly atKey?: boolean;
}

/** `virtualServers.www.pool`, `pools.web.members[2].address`, `pools."a b"`. */
export function formatPath(path: Path): string {
  let text = '';
  for (const segment of path) {
    if (typeof segment === 'number') text += `[${segment}]`;
    else {
      const plain = /^[A-Za-z0-9_-]+$/.test(segment) ? segment : JSON.stringify(segment);
      text += text === '' ? plain : `.${plain}`;
    }
  }
  return text;
}

/** What formatPath() made a text of. */
export function parsePath(text: string): Path {
  const segments = text.matchAll(/\[(\d+)\]|("(?:[^"\\]|\\.)*")|([^.[\]"]+)/g);
  return [...segments].map(([, index, quoted, plain]) => {
    if (index !== undefined) return Number(index);
    return quoted === undefined ? (plain ?? '') : (JSON.parse(quoted) as string);
  });
}

/** `tandem.yaml:12:5 virtualServers.www.pool: no pool 'wbe' (did you mean 'web'?)` */
export function formatConfigError(error: ConfigError): string {
  const place = `${error.file}:${error.line}:${error.column}`;
  const path = error.path === '' ? '' : ` ${error.path}:`;
  const hint = error.hint === null ? '' : ` (${error.hint})`;
  return `${place}${path} ${error.message}${hint}`;
}
