/**
 * What one lab has made, on disk before it is made: namespaces and processes. A run that was killed leaves the
 * journal behind, and the next run (or `scripts/lab down`) removes exactly what it lists.
 *
 * A process is named by pid and start time, so that a pid that was given to somebody else is never killed.
 */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { repositoryRoot } from './paths.js';

export interface ProcessMark {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  readonly startTicks: string;
  readonly what: string;
}

export interface JournalContent {
  readonly id: string;
  /** The process that runs the lab. */
  readonly runner: ProcessMark | null;
  readonly namespaces: readonly string[];
  readonly processes: readonly ProcessMark[];
}

export function journalPath(id: string): string {
  return join(repositoryRoot, 'out', 'lab', `${id}.json`);
}

/** Null when the lab never was, or was taken down whole. */
export function readJournal(id: string): JournalContent | null {
  try {
    return JSON.parse(readFileSync(journalPath(id), 'utf8')) as JournalContent;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new Error(`${journalPath(id)} cannot be read: ${(error as Error).message}`);
  }
}

export function writeJournal(content: JournalContent): void {
  mkdirSync(dirname(journalPath(content.id)), { recursive: true });
  writeFileSync(journalPath(content.id), `${JSON.stringify(content, null, 2)}\n`);
}

export function removeJournal(id: string): void {
  rmSync(journalPath(id), { force: true });
}

/** Null when there is no such process (any more). */
export function markProcess(pid: number, what: string): ProcessMark | null {
  const startTicks = processStat(pid)?.startTicks;
  return startTicks === undefined ? null : { pid, startTicks, what };
}

/** Whether it still runs; one that has ended and waits for its parent counts as gone. */
export function isAlive(mark: ProcessMark): boolean {
  const stat = processStat(mark.pid);
  return stat !== null && stat.startTicks === mark.startTicks && stat.state !== 'Z';
}

/** Sends SIGKILL if it is still the process that was marked. */
export function killMarked(mark: ProcessMark): void {
  if (!isAlive(mark)) return;
  try {
    process.kill(mark.pid, 'SIGKILL');
  } catch {
    // It ended between the two calls.
  }
}

function processStat(pid: number): { readonly state: string; readonly startTicks: string } | null {
  try {
    // proc(5): the command stands in parentheses and may hold spaces; fields are counted from behind it.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', startTicks: fields[19] ?? '' };
  } catch {
    return null;
  }
}
