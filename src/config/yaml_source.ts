/**
 * The config file's text as YAML: its plain value, and where each part of it stands.
 *
 * What a hostile or broken file may cost is bounded: its size, its aliases (a "billion laughs" is a few
 * lines long) and its depth. Duplicate keys are errors, never "the last one wins".
 */

import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml';

import type { Path } from './faults.js';

/** A config for 4096 virtual servers and 16384 members fits; anything larger is not a config. */
export const CONFIG_BYTES_MAX = 4 * 1024 * 1024;
const ALIASES_MAX = 100;

/** 1-based. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface SyntaxFault extends Place {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

export interface YamlSource {
  /** Plain objects, arrays and scalars. */
  readonly value: unknown;
  readonly faults: readonly SyntaxFault[];
  /** Where the value (or the key) at `path` stands; the nearest part that exists, when it does not. */
  place(path: Path, atKey: boolean): Place;
}

export function parseYaml(text: string): YamlSource {
  if (text.length > CONFIG_BYTES_MAX) {
    return unreadable('too_large', `the file is larger than ${CONFIG_BYTES_MAX} bytes`);
  }
  const lines = new LineCounter();
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  try {
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, version: '1.2', merge: false });
    const faults = document.errors.map((error) => ({
      ...at(error.pos[0]),
      code: `yaml_${error.code.toLowerCase()}`,
      message: firstLine(error.message),
      hint: yamlHint(error.code),
    }));
    // A value with syntax errors is a guess of the parser's; only its faults are worth telling.
    const value: unknown = faults.length > 0 ? null : document.toJS({ maxAliasCount: ALIASES_MAX });
    const root = document.contents;
    const resolve = (node: unknown): unknown => (isAlias(node) ? node.resolve(document) : node);
    return { value, faults, place: (path, atKey) => findPlace(root, path, atKey, at, resolve) };
  } catch (error) {
    if (error instanceof ReferenceError) {
      return unreadable(
        'yaml_aliases',
        `aliases (*name) make the file expand too much or name nothing: ${error.message}`,
      );
    }
    // The parser recurses once per level: thousands of opening brackets overflow the stack.
    if (error instanceof RangeError) return unreadable('yaml_depth', 'the file is nested too deeply');
    throw error;
  }
}

function unreadable(code: string, message: string): YamlSource {
  const place = { line: 1, column: 1 };
  return { value: null, faults: [{ ...place, code, message, hint: null }], place: () => place };
}

function findPlace(
  root: unknown,
  path: Path,
  atKey: boolean,
  at: (offset: number) => Place,
  resolve: (node: unknown) => unknown,
): Place {
  let node = resolve(root);
  let offset = start(node) ?? 0;
  for (const [depth, segment] of path.entries()) {
    const last = depth === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find((item) => keyText(item) === String(segment));
      if (pair === undefined) break;
      const valueStart = start(pair.value);
      // A section is named by its key: that is what the operator looks for, and where it begins.
      const named = isMap(resolve(pair.value)) || valueStart === null || (last && atKey);
      offset = (named ? start(pair.key) : valueStart) ?? offset;
      node = resolve(pair.value);
    } else if (isSeq(node) && typeof segment === 'number') {
      const item: unknown = node.items[segment];
      offset = start(item) ?? offset;
      node = resolve(item);
    } else break;
  }
  return at(offset);
}

function keyText(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

function start(node: unknown): number | null {
  return (node as Node | null)?.range?.[0] ?? null;
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0]!;
}

function yamlHint(code: string): string | null {
  switch (code) {
    case 'DUPLICATE_KEY':
      return 'give each entry a name of its own';
    case 'TAB_AS_INDENT':
      return 'indent with spaces';
    case 'MULTIPLE_DOCS':
      return 'one file holds one config; remove the line ---';
    default:
      return null;
  }
}
