/**
 * Goal: TAB completes commands, flags, choices and the names that the daemon knows, members with their colons too.
 * Method: the words that `tandem complete` proposes; the script itself in a real bash, with a `tandem` that answers.
 */

import { spawnSync } from 'node:child_process';

import { describe, expect, test } from 'vitest';

import { DaemonUnreachable } from '../../../src/api.js';
import { runCli } from '../../support/cli_context.js';
import { stubControl } from '../../support/control_stub.js';

async function proposed(line: string, control = stubControl()): Promise<string[]> {
  const { out } = await runCli(['complete', line], { control });
  return out.split('\n').filter((word) => word !== '');
}

test.each([
  ['tandem sho', ['show']],
  ['tandem show f', ['failover']],
  ['tandem virtual ', ['www']],
  ['tandem virtual www ', ['enable', 'disable', 'mirror']],
  ['tandem virtual www mirror conn d', ['disable']],
  ['tandem pool ', ['web', 'staged', 'none']],
  ['tandem pool web member 10.2.0.1', ['10.2.0.11:80']],
  ['tandem pool web member 10.2.0.11:80 d', ['draining', 'down']],
  ['tandem standby ma', ['main']],
  ['tandem show connections --virtual w', ['www']],
  ['tandem completion ', ['bash', 'zsh', 'fish']],
])('%s', async (line, words) => {
  expect(await proposed(line)).toEqual(words);
});

test('flags are proposed, and what only the script calls is not', async () => {
  expect(await proposed('tandem show connections --')).toEqual(expect.arrayContaining(['--client', '--json']));
  expect(await proposed('tandem comp')).toEqual(['completion']);
});

test('without a daemon names are not proposed, and that is no error', async () => {
  const away = () => Promise.reject(new DaemonUnreachable('nobody there', 'start it'));
  const control = { ...stubControl(), virtualServers: away };
  expect(await proposed('tandem virtual ', control)).toEqual([]);
});

describe('the script, in bash', () => {
  const bash = (line: string, answer: string) => {
    const script = `
eval "$SCRIPT"
tandem() { printf "%s\\n" "asked:$1:$2" >&2; printf "$ANSWER"; }
complete() { :; }
COMP_LINE=$LINE COMP_POINT=\${#LINE}
_tandem 2>&1
printf "%s\\n" "\${COMPREPLY[@]}"
`;
    return spawnSync('bash', ['--norc', '-c', script], {
      encoding: 'utf8',
      env: { ...process.env, LINE: line, ANSWER: answer, SCRIPT: text, COMP_WORDBREAKS: ' :=' },
    });
  };
  let text = '';

  test('gives bash what is proposed, and of a member what stands behind the colon', async () => {
    text = (await runCli(['completion', 'bash'])).out;
    expect(bash('tandem sh', 'show\\n')).toMatchObject({ stdout: 'show\n', status: 0 });
    expect(bash('tandem pool web member 10.2.0.11:', '10.2.0.11:80\\n10.2.0.11:81\\n').stdout).toBe('80\n81\n');
  });
});

test('the script, in zsh: asks with the line up to the cursor, and offers files if nothing is proposed', async () => {
  const script = (await runCli(['completion', 'zsh'])).out;
  const zsh = (answer: string) =>
    spawnSync(
      'zsh',
      [
        '--no-rcs',
        '-c',
        `compdef() { print "completes $2 with $1" }
eval "$SCRIPT"
tandem() { print -r "asked: $1: $2" >&2; printf "$ANSWER" }
compadd() { print -rl -- "\${(@P)2}" }
_files() { print files }
words=(tandem virtual w) CURRENT=3 PREFIX=w
eval "\${functions[_tandem]//2>/dev/null/}"`,
      ],
      { encoding: 'utf8', env: { ...process.env, ANSWER: answer, SCRIPT: script } },
    );
  expect(zsh('www\\nweb\\n')).toMatchObject({
    stdout: 'completes tandem with _tandem\nwww\nweb\n',
    stderr: 'asked: complete: tandem virtual w\n',
  });
  expect(zsh('').stdout).toBe('completes tandem with _tandem\nfiles\n');
});

test('the script, in fish: what fish makes of it', async () => {
  const script = (await runCli(['completion', 'fish'])).out;
  const fish = spawnSync(
    'fish',
    [
      '--no-config',
      '-c',
      `function tandem; echo "$argv[2]" | string replace -a " " "_"; end
printf "%s" "$SCRIPT" | source
complete -C "tandem virtual w"`,
    ],
    { encoding: 'utf8', env: { ...process.env, SCRIPT: script, HOME: '/nonexistent' } },
  );
  expect(fish.stdout).toContain('tandem_virtual_w');
});
