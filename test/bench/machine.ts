/** What a figure was measured on: without it, it says nothing. */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly commit: string;
  /** Of the last minute before the run; above 0.5 per core the figures are somebody else's too. */
  readonly load: number;
  /** Share of CPU time that the hypervisor gave to others since boot. */
  readonly stolen: number;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    commit: commit(),
    load: loadavg()[0] ?? 0,
    stolen: stolenShare(readFileSync('/proc/stat', 'utf8')),
  };
}

/** proc_stat(5): user nice system idle iowait irq softirq steal. */
export function stolenShare(stat: string): number {
  const times = (stat.split('\n')[0] ?? '').trim().split(/\s+/).slice(1, 9).map(Number);
  const all = times.reduce((sum, time) => sum + time, 0);
  return all === 0 ? 0 : (times[7] ?? 0) / all;
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const changed = git('status', '--porcelain', '--untracked-files=no').trim() !== '';
    return git('rev-parse', '--short', 'HEAD').trim() + (changed ? ' with changes' : '');
  } catch {
    return 'not a git checkout';
  }
}
