/**
 * The far ends of a survival run: native programs that play the clients and the servers of up to a million connections,
 * told what to do by lines. Their own heads (native/clients.cc, native/servers.cc) say what they do.
 */

import type { ChildProcess } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import type { Lab } from '../lab/lab.js';
import { repositoryRoot } from '../lab/paths.js';
import type { HostName } from '../lab/topology.js';

export type Words = Readonly<Record<string, string | number>>;

/** One of them, inside a host. One question at a time. */
export class FarEnd {
  readonly #name: string;
  readonly #child: ChildProcess;
  #waiting: Waiting | null = null;

  private constructor(lab: Lab, host: HostName, name: string, words: Words) {
    this.#name = `${name} in ${host}`;
    const program = join(repositoryRoot, 'out', 'survival-native', name);
    if (!existsSync(program)) throw new Error(`${program} is missing: run scripts/build-lab`);
    const log = `${host}-${name}.log`;
    const errors = openSync(join(lab.directory, log), 'a');
    this.#child = lab.spawn(host, log, program, spelled(words), { stdio: ['pipe', 'pipe', errors] });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#settle((waiting) => waiting.give(line)));
    this.#child.once('exit', () => {
      this.#settle((waiting) => waiting.fail(new Error(`${this.#name} ended; see ${log}`)));
    });
    // A line to one that has just ended: its exit says so.
    this.#child.stdin!.on('error', () => undefined);
  }

  /** Resolves when the program is ready. */
  static async start(lab: Lab, host: HostName, name: 'clients' | 'servers', words: Words): Promise<FarEnd> {
    const end = new FarEnd(lab, host, name, words);
    await end.#answer(10_000);
    return end;
  }

  async ask<Answer>(command: string, words: Words, timeoutMs: number): Promise<Answer> {
    const answer = this.#answer(timeoutMs);
    this.#child.stdin!.write(`${[command, ...spelled(words)].join(' ')}\n`);
    const parsed = JSON.parse(await answer) as Answer & { readonly error?: string };
    if (parsed.error !== undefined) throw new Error(`${this.#name}: ${command}: ${parsed.error}`);
    return parsed;
  }

  end(): void {
    this.#child.stdin!.end();
  }

  #answer(timeoutMs: number): Promise<string> {
    if (this.#waiting !== null) throw new Error(`${this.#name} is asked two things at once`);
    return new Promise((give, fail) => {
      const tooLate = () =>
        this.#settle((waiting) => waiting.fail(new Error(`${this.#name}: no answer in ${timeoutMs} ms`)));
      this.#waiting = { give, fail, timer: setTimeout(tooLate, timeoutMs) };
    });
  }

  #settle(how: (waiting: Waiting) => void): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    this.#waiting = null;
    clearTimeout(waiting.timer);
    how(waiting);
  }
}

interface Waiting {
  readonly give: (line: string) => void;
  readonly fail: (why: Error) => void;
  readonly timer: NodeJS.Timeout;
}

function spelled(words: Words): string[] {
  return Object.entries(words).map(([name, value]) => `${name}=${value}`);
}

/**
 * `notAcked`: the SYN-ACK had arrived, the client's ACK had not left. `unanswered`: nothing had come back behind the
 * ACK, so it may have been lost before the pair. Ages count from the ACK.
 */
export const ageNames = ['notAcked', 'unanswered', 'below1Ms', 'below2Ms', 'below10Ms', 'below100Ms', 'older'] as const;
export type AgeName = (typeof ageNames)[number];

/** Since the mark; times on CLOCK_MONOTONIC. `silentFromNs` 0: nothing arrived since. */
export interface SilenceReport {
  readonly silenceMs: number;
  readonly silentFromNs: number;
  readonly streams: readonly {
    readonly sent: number;
    readonly lost: number;
    readonly silenceMs: number;
    readonly silentFromNs: number;
  }[];
}

export interface VerifyReport extends SilenceReport {
  readonly established: number;
  readonly established6: number;
  readonly survived: number;
  readonly hung: number;
  readonly reset: number;
  readonly lost6: number;
  readonly corrupt: number;
  readonly synAcksLast10Ms: number;
  readonly oldestLostMs: number;
  readonly ages: Readonly<Record<AgeName, { readonly established: number; readonly lost: number }>>;
  readonly newOpened: number;
  readonly newEstablished: number;
  /** 0: none. */
  readonly firstNewAtNs: number;
  readonly rstsOfUnits: number;
  readonly rstsOfMembers: number;
  readonly unexpected: number;
  readonly badChecksums: number;
  readonly probes: number;
  readonly probesLost: number;
  readonly lostFrames: number;
}

export interface ServersReport {
  readonly syns: number;
  readonly data: number;
  readonly fins: number;
  readonly rstsReceived: number;
  readonly rstsSent: number;
  readonly badChecksums: number;
  readonly lostFrames: number;
}
