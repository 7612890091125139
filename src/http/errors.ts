/** Refusals as HTTP has them: `{ error: { kind, code, message, mend, configErrors, path } }`. */

import type { Context } from 'hono';
import type { z } from 'zod';

import { ControlError, type ControlErrorBody, type ControlErrorKind } from '../api.js';

const HTTP_STATUS = {
  bad_request: 400,
  not_found: 404,
  refused: 409,
  failed: 500,
} as const satisfies Readonly<Record<ControlErrorKind, number>>;

export function errorAnswer(
  context: Context,
  error: unknown,
  onInternalError: (route: string, error: unknown) => void,
): Response {
  if (!(error instanceof ControlError)) onInternalError(`${context.req.method} ${context.req.path}`, error);
  const told =
    error instanceof ControlError
      ? error
      : new ControlError('failed', 'internal', 'the daemon could not answer', "the daemon's log says why");
  return context.json({ error: errorBody(told) }, HTTP_STATUS[told.kind]);
}

export function errorBody({ kind, code, message, mend, configErrors, path }: ControlError): ControlErrorBody {
  return { kind, code, message, mend, configErrors, path };
}

/** The first fault that a schema found in a request. */
export function requestFault(issue: z.core.$ZodIssue, value: unknown): ControlError {
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const path = [...issue.path, ...(unknown === undefined ? [] : [unknown])].join('.');
  const refuse = (code: string, message: string) =>
    new ControlError('bad_request', code, `${path} ${message}`, 'see /v1/openapi.json', [], path);
  if (unknown !== undefined) return refuse('unknown_key', 'is nothing that this request has');
  const given = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], value);
  if (given === undefined) return refuse('missing', 'is missing');
  if (issue.code === 'custom') return refuse(String(issue.params?.['code'] ?? 'bad_value'), issue.message);
  if (issue.code === 'invalid_value') return refuse('bad_value', `must be ${issue.values.join(', ')}`);
  return refuse('bad_value', `is wrong: ${issue.message}`);
}
