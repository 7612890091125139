/**
 * Goal: the program gives its terminal back however it ends, and a reader that goes away early is no failure.
 * Method: the built program behind a pseudo-terminal of Python's, with `stty` before and after; there is no daemon, and
 * the view says so and goes on.
 */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const tandem = join(root, 'scripts/tandem');
const isBuilt = existsSync(join(root, 'dist/cli.js')) && spawnSync('python3', ['--version']).status === 0;

/** Runs a shell command on a terminal; types or signals once the view has been drawn. Prints what the terminal got. */
const PYTHON = `
import os, pty, signal, sys
command, end = sys.argv[1], sys.argv[2]
child, terminal = pty.fork()
if child == 0:
    os.execvp('bash', ['bash', '--norc', '-c', command])
seen = b''
acted = False
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    seen += more
    if not acted and b'asking again' in seen:
        acted = True
        if end == 'q':
            os.write(terminal, b'q')
        elif end == 'ctrl-c':
            os.write(terminal, b'\\x03')
        else:
            pid = int(seen.split(b'pid=')[1].split()[0])
            os.kill(pid, getattr(signal, end))
os.waitpid(child, 0)
sys.stdout.buffer.write(seen)
`;

function onTerminal(command: string, end: string): string {
  const { stdout, stderr, status } = spawnSync('python3', ['-c', PYTHON, command, end], {
    encoding: 'utf8',
    timeout: 25_000,
    env: { ...process.env, TERM: 'xterm', NO_COLOR: '', TANDEM_SOCKET: '/nonexistent/tandem.sock' },
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

// What is not built yet, or has no Python to make a terminal, cannot be tried.
describe.skipIf(!isBuilt)('on a terminal', () => {
  test.each(['q', 'ctrl-c', 'SIGTERM', 'SIGINT', 'SIGHUP'])('watch ends by %s and gives it back', (end) => {
    const node = `(echo pid=$BASHPID; exec ${tandem} watch)`;
    const seen = onTerminal(`stty -g; ${node}; echo "code=$?"; stty -g`, end);
    const [before, ...after] = seen.split('\x1b[?1049h');
    expect(after.length).toBe(1);
    const [view = '', rest = ''] = after[0]!.split('\x1b[?1049l');
    expect(view).toContain('no daemon listens on /nonexistent/tandem.sock');
    // The cursor is shown again, and the terminal is set as before.
    expect(view.endsWith('\x1b[?25h')).toBe(true);
    const settings = before!.split(/\r?\n/)[0];
    expect(rest).toContain('code=0');
    expect(rest.trim().split(/\r?\n/).at(-1)).toBe(settings);
  });
});

test.skipIf(!isBuilt)('a reader that goes away early ends the program without a word', () => {
  const { stdout, stderr, status } = spawnSync(
    'bash',
    ['-c', `set -o pipefail; ${tandem} schema | head -c 1 >/dev/null; echo "\${PIPESTATUS[0]}"`],
    { encoding: 'utf8', timeout: 25_000 },
  );
  expect({ stdout: stdout.trim(), stderr, status }).toEqual({ stdout: '0', stderr: '', status: 0 });
});
