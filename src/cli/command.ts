/** How every command ends: what goes to which stream, and the exit code. */

import { ControlError, DaemonUnreachable } from '../api.js';
import { formatConfigError } from '../config/faults.js';
import { coloured } from './colours.js';
import { type CliContext, EXIT } from './context.js';

/** A command's result: `json` under --json, else `text`. */
export interface Outcome {
  readonly json: unknown;
  /** `json` on one line: the last of several. */
  readonly jsonLine?: boolean;
  readonly text: string;
  /** For people, on the error stream; they are in `json`, too. */
  readonly notes?: readonly string[];
  /** Something was found wrong although the command itself worked: exit code 1. */
  readonly failed?: boolean;
}

/** The words were understood one by one, and make no command. */
export class UsageError extends Error {
  readonly mend: string;

  constructor(message: string, mend: string) {
    super(message);
    this.mend = mend;
  }
}

/** Runs a command to its outcome, or its failure to a sentence and an exit code. */
export async function conclude(context: CliContext, json: boolean, work: () => Promise<Outcome>): Promise<void> {
  const { process } = context;
  try {
    const outcome = await work();
    const words = context.colours ? coloured(outcome.text) : outcome.text;
    const text = json ? JSON.stringify(outcome.json, null, outcome.jsonLine === true ? 0 : 2) : words;
    if (text !== '') process.stdout.write(`${text}\n`);
    if (!json) for (const note of outcome.notes ?? []) process.stderr.write(`${note}\n`);
    process.exitCode = outcome.failed === true ? EXIT.failed : EXIT.done;
  } catch (error) {
    process.exitCode = exitCodeOf(error);
    if (json) process.stdout.write(`${JSON.stringify({ error: errorJson(error) }, null, 2)}\n`);
    else process.stderr.write(`${errorText(error)}\n`);
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof DaemonUnreachable) return EXIT.unreachable;
  return error instanceof UsageError ? EXIT.usage : EXIT.failed;
}

function errorJson(error: unknown): object {
  if (error instanceof ControlError) {
    const { kind, code, message, mend, configErrors } = error;
    return { kind, code, message, mend, configErrors };
  }
  if (error instanceof DaemonUnreachable)
    return { kind: 'unreachable', code: 'unreachable', message: error.message, mend: error.mend };
  if (error instanceof UsageError)
    return { kind: 'bad_request', code: 'usage', message: error.message, mend: error.mend };
  return { kind: 'failed', code: 'failed', message: messageOf(error), mend: null };
}

function errorText(error: unknown): string {
  const faults = error instanceof ControlError ? error.configErrors.map(formatConfigError) : [];
  const told = error instanceof ControlError || error instanceof DaemonUnreachable || error instanceof UsageError;
  const mend = told ? error.mend : null;
  return [`tandem: ${messageOf(error)}`, ...faults, ...(mend === null ? [] : [`  ${mend}`])].join('\n');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
