/** zod's issues in the operator's words: what is wrong, what was found, what may stand there. */

import * as z from 'zod';

import type { Fault, Path } from './faults.js';
import { didYouMean } from './suggest.js';

type Issue = z.core.$ZodIssue;

/** `raw` is the whole config as parsed; issues' paths lead into it. */
export function shapeFaults(schema: z.ZodType, raw: unknown, issues: readonly Issue[]): Fault[] {
  return issues.flatMap((issue) => faultsOf(schema, raw, issue, issue.path as Path));
}

function faultsOf(schema: z.ZodType, raw: unknown, issue: Issue, path: Path): Fault[] {
  const found = valueAt(raw, path);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = keysAt(schema, path);
      return issue.keys.map((key) => ({
        code: 'unknown_key',
        message: 'no such key here',
        hint: didYouMean(key, known) ?? `known are ${known.join(', ')}`,
        path: [...path, key],
        atKey: true,
      }));
    }
    case 'invalid_key':
      return issue.issues.map((inner) => ({ ...customFault(inner, path), atKey: true }));
    case 'invalid_union':
      return unionFaults(schema, raw, issue, path);
    case 'invalid_value':
      if (found === undefined) return [missing(path)];
      return [oneOf(path, found, issue.values.map(String))];
    case 'invalid_type':
      if (found === undefined) return [missing(path)];
      return [
        {
          code: 'wrong_type',
          message: `expected ${kindName(issue.expected)}, found ${shown(found)}`,
          hint: typeHint(found, issue.expected),
          path,
        },
      ];
    case 'too_small':
      return [{ code: 'out_of_range', message: range(issue.origin, 'at least', issue.minimum, found), path }];
    case 'too_big':
      return [{ code: 'out_of_range', message: range(issue.origin, 'at most', issue.maximum, found), path }];
    case 'not_multiple_of':
      return [{ code: 'out_of_range', message: `must be a multiple of ${issue.divisor}, is ${shown(found)}`, path }];
    case 'custom':
      return [customFault(issue, path)];
    case 'invalid_format':
      return [{ code: 'bad_text', message: `${shown(found)} cannot stand here`, hint: formatHint(path), path }];
    default:
      return [{ code: 'invalid', message: issue.message, path }];
  }
}

/** A union here is a few words or a list: judge by what was written, so that one fault is told, not one per branch. */
function unionFaults(schema: z.ZodType, raw: unknown, issue: z.core.$ZodIssueInvalidUnion, path: Path): Fault[] {
  const found = valueAt(raw, path);
  const words = issue.errors
    .flat()
    .filter((inner) => inner.path.length === 0)
    .flatMap((inner) => (inner.code === 'invalid_value' ? inner.values.map(String) : []));
  if (typeof found === 'object' && found !== null) {
    const kind = Array.isArray(found) ? 'array' : 'object';
    const inside = issue.errors.find((branch) => branch.every((inner) => !isOfAnotherKind(inner)));
    if (inside !== undefined && expectsIn(schema, path, kind))
      return inside.flatMap((inner) => faultsOf(schema, raw, inner, [...path, ...(inner.path as Path)]));
  }
  if (words.length === 0)
    return [{ code: 'bad_text', message: `${shown(found)} cannot stand here`, hint: formatHint(path), path }];
  const other = expectsIn(schema, path, 'object') ? 'a section' : 'a list';
  return [oneOf(path, found, [...words, other])];
}

/** What a branch says of a value that it is not for at all. */
function isOfAnotherKind(issue: Issue): boolean {
  return issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value');
}

/** Whether the union at `path` has a branch for lists, or for sections. */
function expectsIn(schema: z.ZodType, path: Path, kind: 'array' | 'object'): boolean {
  const union = schemaAt(schema, path);
  if (!(union instanceof z.ZodUnion)) return kind === 'array';
  return union.options.some((option) => option instanceof (kind === 'array' ? z.ZodArray : z.ZodObject));
}

function oneOf(path: Path, found: unknown, words: readonly string[]): Fault {
  const hint = typeof found === 'string' ? didYouMean(found, words) : null;
  return { code: 'not_one_of', message: `must be ${orList(words)}, is ${shown(found)}`, hint, path };
}

function customFault(issue: Issue, path: Path): Fault {
  const params = issue.code === 'custom' ? (issue.params ?? {}) : {};
  const code = typeof params['code'] === 'string' ? params['code'] : 'invalid';
  const hint = typeof params['hint'] === 'string' ? params['hint'] : null;
  return { code, message: issue.message, hint, path };
}

function missing(path: Path): Fault {
  return { code: 'missing', message: 'is missing', path };
}

function range(origin: string, bound: string, limit: number | bigint, found: unknown): string {
  if (origin === 'array')
    return `must have ${bound} ${limit} ${limit === 1 ? 'entry' : 'entries'}, has ${(found as unknown[]).length}`;
  if (origin === 'string') return `must have ${bound} ${limit} characters`;
  return `must be ${bound} ${limit}, is ${shown(found)}`;
}

function kindName(expected: string): string {
  switch (expected) {
    case 'int':
      return 'a whole number';
    case 'object':
    case 'record':
      return 'a section (key: value)';
    case 'array':
      return 'a list';
    case 'string':
      return 'text';
    case 'boolean':
      return 'true or false';
    default:
      return `a ${expected}`;
  }
}

function typeHint(found: unknown, expected: string): string | null {
  if (expected === 'string' && typeof found === 'number') return 'put it in quotes';
  if (typeof found !== 'string') return null;
  if (expected === 'boolean' && /^(yes|no|on|off)$/i.test(found))
    return `write ${/^(yes|on)$/i.test(found) ? 'true' : 'false'}`;
  if ((expected === 'int' || expected === 'number') && /^[\d_.]+$/.test(found))
    return 'write digits without quotes or underscores';
  return null;
}

function formatHint(path: Path): string | null {
  switch (path.at(-1)) {
    case 'path':
      return 'an absolute path without spaces, /health';
    case 'host':
      return 'a host name without spaces';
    default:
      return path.includes('expectStatus') ? '200, or 200-299' : null;
  }
}

/** The value as the operator wrote it, cut short. */
function shown(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a section';
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
  const cut = text.length > 40 ? `${text.slice(0, 40)}...` : text;
  return typeof value === 'string' ? `'${cut}'` : cut;
}

function orList(words: readonly string[]): string {
  return words.length === 1 ? words[0]! : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

function valueAt(raw: unknown, path: Path): unknown {
  let value = raw;
  for (const segment of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, segment)) return undefined;
    value = (value as Record<string | number, unknown>)[segment];
  }
  return value;
}

/** Keys of the section at `path`, by walking the schema beside it. */
function keysAt(schema: z.ZodType, path: Path): string[] {
  const at = schemaAt(schema, path);
  const section = at instanceof z.ZodUnion ? at.options.find((option) => option instanceof z.ZodObject) : at;
  // $schema is for editors: nobody looks for it here.
  return section instanceof z.ZodObject ? Object.keys(section.shape).filter((key) => !key.startsWith('$')) : [];
}

function schemaAt(schema: z.ZodType, path: Path): z.core.$ZodType | undefined {
  let at: z.core.$ZodType | undefined = schema;
  for (const segment of path) {
    at = unwrap(at);
    if (at instanceof z.ZodObject) at = at.shape[String(segment)] as z.core.$ZodType | undefined;
    else if (at instanceof z.ZodRecord) at = at.valueType;
    else if (at instanceof z.ZodArray) at = at.element;
    else return undefined;
  }
  return unwrap(at);
}

function unwrap(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  let inner = schema;
  while (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault || inner instanceof z.ZodOptional)
    inner = inner.unwrap();
  return inner;
}
