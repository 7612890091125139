/** A traffic program that runs inside a host: started, waited for, asked for its report. */

import type { ChildProcess } from 'node:child_process';

import type { FromProgram, ToProgram } from '../traffic/messages.js';
import type { Lab } from './lab.js';
import type { HostName } from './topology.js';

const readyTimeoutMs = 10_000;
const reportTimeoutMs = 10_000;

export class TrafficProgram<Report> {
  readonly #name: string;
  readonly #child: ChildProcess;
  #failure: string | null = null;

  private constructor(lab: Lab, host: HostName, name: string, args: readonly (string | number)[]) {
    this.#name = `${name} in ${host}`;
    this.#child = lab.spawnProgram(host, name, args.map(String));
    this.#child.on('message', (message: FromProgram<Report>) => {
      if (message.type === 'failed') this.#failure = message.message;
    });
  }

  /** Resolves when the program is ready: a server listens, a stream is open. */
  static async start<Report>(lab: Lab, host: HostName, name: string, ...args: (string | number)[]) {
    const program = new TrafficProgram<Report>(lab, host, name, args);
    await program.#next('ready', readyTimeoutMs);
    return program;
  }

  /** Tells it to stop, and returns what it saw. */
  async stop(): Promise<Report> {
    const report = this.#next('report', reportTimeoutMs);
    this.#child.send({ type: 'stop' } satisfies ToProgram);
    return (await report).report;
  }

  /** Without a report; the kernel resets what it had open. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #next<Type extends 'ready' | 'report'>(
    type: Type,
    timeoutMs: number,
  ): Promise<Extract<FromProgram<Report>, { readonly type: Type }>> {
    return new Promise((resolve, reject) => {
      const give = (why: string) => {
        stopWaiting();
        reject(new Error(`${this.#name}: ${why}`));
      };
      const onMessage = (message: FromProgram<Report>) => {
        if (message.type === 'failed') give(message.message);
        if (message.type !== type) return;
        stopWaiting();
        resolve(message as Extract<FromProgram<Report>, { readonly type: Type }>);
      };
      const onExit = (code: number | null, signal: string | null) => give(`ended (${signal ?? `exit code ${code}`})`);
      const onError = (error: Error) => give(error.message);
      const timer = setTimeout(() => give(`no ${type} within ${timeoutMs} ms`), timeoutMs);
      const stopWaiting = () => {
        clearTimeout(timer);
        this.#child.off('message', onMessage).off('exit', onExit).off('error', onError);
      };
      this.#child.on('message', onMessage).on('exit', onExit).on('error', onError);
      if (this.#failure !== null) give(this.#failure);
    });
  }
}
