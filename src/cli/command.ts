/** How every command ends: what goes to which stream, and the exit code. */

import { ControlError, DaemonUnreachable } from '../api.js';
import { formatConfigError } from '../config/faults.js';
import { type CliContext, EXIT } from './context.js';

/** A command's result: `json` under --json, else `text`. */
export interface Outcome {
  readonly json: unknown;
  readonly text: string;
  /** For people, on the error stream; they are in `json`, too. */
  readonly notes?: readonly string[];
  /** Something was found wrong although the command itself worked: exit code 1. */
  readonly failed?: boolean;
}

/** Runs a command to its outcome, or its failure to a sentence and an exit code. */
export async function conclude(context: CliContext, json: boolean, work: () => Promise<Outcome>): Promise<void> {
  const { process } = context;
  try {
    const outcome = await work();
    const text = json ? JSON.stringify(outcome.json, null, 2) : outcome.text;
    if (text !== '') process.stdout.write(`${text}\n`);
    if (!json) for (const note of outcome.notes ?? []) process.stderr.write(`${note}\n`);
    process.exitCode = outcome.failed === true ? EXIT.failed : EXIT.done;
  } catch (error) {
    process.exitCode = error instanceof DaemonUnreachable ? EXIT.unreachable : EXIT.failed;
    if (json) process.stdout.write(`${JSON.stringify({ error: errorJson(error) }, null, 2)}\n`);
    else process.stderr.write(`${errorText(error)}\n`);
  }
}

function errorJson(error: unknown): object {
  if (error instanceof ControlError) {
    const { kind, code, message, mend, configErrors } = error;
    return { kind, code, message, mend, configErrors };
  }
  if (error instanceof DaemonUnreachable)
    return { kind: 'unreachable', code: 'unreachable', message: error.message, mend: error.mend };
  return { kind: 'failed', code: 'failed', message: messageOf(error), mend: null };
}

function errorText(error: unknown): string {
  const faults = error instanceof ControlError ? error.configErrors.map(formatConfigError) : [];
  const mend = error instanceof ControlError || error instanceof DaemonUnreachable ? error.mend : null;
  return [`tandem: ${messageOf(error)}`, ...faults, ...(mend === null ? [] : [`  ${mend}`])].join('\n');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
