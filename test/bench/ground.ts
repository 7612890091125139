/**
 * What a run of the benchmark has made on this machine, on disk before it is made: namespaces, processes and settings
 * of the host. Everything is put back when the run ends, also by Ctrl-C; a run that was killed leaves the journal
 * behind, and the next one puts back what it lists. One run at a time on one machine.
 */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { isAlive, killMarked, markProcess, type ProcessMark } from '../support/lab/journal.js';
import { labId } from '../support/lab/lab.js';
import { listNamespaces, processesInside, run } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';

interface Journal {
  readonly runner: ProcessMark | null;
  readonly namespaces: string[];
  readonly processes: ProcessMark[];
  /** Files of /proc/sys and what stood in them before. */
  readonly settings: [path: string, before: string][];
}

export class Ground {
  /** Logs and configs. */
  readonly directory = join(repositoryRoot, 'out', 'bench', 'ground');
  /** Short: a unix socket's path holds at most 107 bytes. */
  readonly socketDirectory = `/tmp/tdm-${labId('bench')}`;
  readonly #journal: Journal;
  readonly #prefix = labId('bench');

  private constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** Puts back what a killed run left, and ends this process's run well when a signal ends it. */
  static take(): Ground {
    const before = readJournal();
    if (before?.runner && before.runner.pid !== process.pid && isAlive(before.runner)) {
      throw new Error(`the benchmark runs already, as process ${before.runner.pid}; one at a time`);
    }
    if (before !== null) new Ground(before).leave();
    const runner = markProcess(process.pid, 'scripts/bench');
    const ground = new Ground({ runner, namespaces: [], processes: [], settings: [] });
    rmSync(ground.directory, { recursive: true, force: true });
    mkdirSync(ground.directory, { recursive: true });
    mkdirSync(ground.socketDirectory, { recursive: true });
    ground.#write();
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      process.once(signal, () => {
        ground.leave();
        process.exit(code);
      });
    }
    return ground;
  }

  /** Ends every process, removes every namespace and puts the settings back. Idempotent. */
  leave(): void {
    for (const mark of this.#journal.processes) killMarked(mark);
    const standing = new Set(listNamespaces());
    for (const name of this.#journal.namespaces.filter((each) => standing.has(each))) removeNamespace(name);
    for (const [path, before] of this.#journal.settings.toReversed()) writeFileSync(path, before);
    rmSync(this.socketDirectory, { recursive: true, force: true });
    rmSync(journalPath, { force: true });
  }

  /** A fresh namespace; gives its whole name. */
  namespace(name: string): string {
    const whole = `${this.#prefix}-${name}`;
    if (!this.#journal.namespaces.includes(whole)) this.#journal.namespaces.push(whole);
    this.#write();
    run('ip', ['netns', 'add', whole]);
    return whole;
  }

  /** With everything that runs inside. */
  remove(namespaces: readonly string[]): void {
    for (const name of namespaces) removeNamespace(name);
    const left = this.#journal.namespaces.filter((name) => !namespaces.includes(name));
    this.#journal.namespaces.splice(0, Infinity, ...left);
    this.#write();
  }

  /** Starts a process, inside a namespace if one is named; what it writes goes to `log` unless `stdio` is given. */
  spawn(
    namespace: string | null,
    log: string,
    [command = '', ...args]: readonly string[],
    options: SpawnOptions = {},
  ): ChildProcess {
    const output = openSync(this.log(log), 'a');
    const inside = namespace === null ? [] : ['ip', 'netns', 'exec', namespace];
    const [first = '', ...rest] = [...inside, command, ...args];
    const child = spawn(first, rest, { stdio: ['ignore', output, output], ...options });
    closeSync(output);
    const mark = child.pid === undefined ? null : markProcess(child.pid, `${command} ${args.join(' ')}`);
    if (mark !== null) {
      const alive = this.#journal.processes.filter(isAlive);
      this.#journal.processes.splice(0, Infinity, ...alive, mark);
    }
    this.#write();
    return child;
  }

  log(name: string): string {
    return join(this.directory, name);
  }

  /** Changes a setting of the host that namespaces share, until leave(). */
  set(path: string, value: string): void {
    if (!this.#journal.settings.some(([each]) => each === path)) {
      this.#journal.settings.push([path, readFileSync(path, 'utf8')]);
    }
    this.#write();
    writeFileSync(path, value);
  }

  #write(): void {
    writeFileSync(journalPath, `${JSON.stringify(this.#journal, null, 2)}\n`);
  }
}

/** One for the machine, whatever checkout it runs from: the settings are the host's, and so are the cores. */
const journalPath = '/run/tandem-bench.json';

function readJournal(): Journal | null {
  try {
    return JSON.parse(readFileSync(journalPath, 'utf8')) as Journal;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function removeNamespace(name: string): void {
  for (const pid of processesInside(name)) {
    const mark = markProcess(pid, '');
    if (mark !== null) killMarked(mark);
  }
  run('ip', ['netns', 'delete', name]);
}

/** Resolves once it has ended: asked first, killed after 5 s. */
export function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    const limit = setTimeout(() => child.kill('SIGKILL'), 5000);
    child.once('exit', () => {
      clearTimeout(limit);
      resolve();
    });
    child.kill('SIGTERM');
  });
}
