/** Runs commands, in this namespace or inside another one. Knows iproute2 and nothing of the lab. */

import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';

/** Runs `command` to its end; throws with what it printed. */
export function run(command: string, args: readonly string[], input = ''): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'pipe'] });
  } catch (error) {
    const { stderr, message } = error as Error & { readonly stderr?: string };
    throw new Error(`${command} ${args.join(' ')}: ${stderr?.trim() || message}`);
  }
}

/** Many `ip` commands in one process; stops at the first that fails. */
export function ipBatch(namespace: string | null, commands: readonly string[]): void {
  const inside = namespace === null ? [] : ['-n', namespace];
  run('ip', [...inside, '-batch', '-'], `${commands.join('\n')}\n`);
}

export function runInside(namespace: string, command: string, args: readonly string[], input = ''): string {
  return run('ip', ['netns', 'exec', namespace, command, ...args], input);
}

/** `ip netns exec` becomes the command, so the child's pid is the command's own. */
export function spawnInside(
  namespace: string,
  command: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  return spawn('ip', ['netns', 'exec', namespace, command, ...args], options);
}

export function namespaceExists(namespace: string): boolean {
  return listNamespaces().includes(namespace);
}

export function listNamespaces(): string[] {
  const text = run('ip', ['-json', 'netns', 'list']).trim();
  if (text === '') return [];
  return (JSON.parse(text) as { readonly name: string }[]).map((entry) => entry.name);
}

/** Pids of all processes inside. */
export function processesInside(namespace: string): number[] {
  return run('ip', ['netns', 'pids', namespace])
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}
