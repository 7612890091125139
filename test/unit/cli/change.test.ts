/**
 * Goal: what may be changed while the daemon runs is asked for as typed, and said again with what it was before.
 * Method: the real command line with a Control that keeps what it was asked.
 */

import { describe, expect, test } from 'vitest';

import { ControlError } from '../../../src/api.js';
import { buildCli } from '../../../src/cli/app.js';
import { commandsOf } from '../../../src/cli/commands.js';
import { runCli } from '../../support/cli_context.js';
import { stubControl } from '../../support/control_stub.js';

async function asked(command: string) {
  const control = stubControl();
  const { out, err, code } = await runCli(command.split(' '), { control });
  return { asked: control.asked.join('\n'), out: out.trimEnd(), err: err.trimEnd(), code };
}

test.each([
  ['virtual www enable', 'setVirtualServer "www" {"enabled":true}', 'virtual server www: enabled, as it was'],
  ['virtual www disable', 'setVirtualServer "www" {"enabled":false}', 'virtual server www: enabled, as it was'],
  [
    'virtual www mirror conn commit',
    'setVirtualServer "www" {"mirror":"commit"}',
    'virtual server www: mirror async, was off',
  ],
  [
    'pool web member 10.2.0.11:80 draining',
    'setMember "web" "10.2.0.11" 80 "draining"',
    'pool web: member 10.2.0.11:80 draining, was as the config says',
  ],
  [
    'pool web member [FD02::0:11]:443 down',
    'setMember "web" "fd02::11" 443 "down"',
    'pool web: member 10.2.0.11:80 draining, was as the config says',
  ],
  [
    'modify ltm virtual www mirror disabled',
    'setVirtualServer "www" {"mirror":"off"}',
    'virtual server www: mirror async, was off',
  ],
])('tandem %s', async (command, question, answer) => {
  expect(await asked(command)).toEqual({ asked: question, out: answer, err: '', code: 0 });
});

describe('what makes no command is refused before anything is asked', () => {
  test.each([
    ['virtual www mirror', 2, 'mirror: on or off?\n  tandem virtual www mirror conn enable|commit|disable'],
    ['virtual www mirror conn', 2, 'mirror: on or off?\n  tandem virtual www mirror conn enable|commit|disable'],
    ['virtual www enable conn', 2, 'nothing may stand behind enable\n  tandem virtual www enable'],
    ['virtual www enabel', -4, "did you mean 'enable'?"],
    ['pool web member 10.2.0.300:80 up', -4, "'10.2.0.300:80' is no address and port"],
    ['pool web member 10.2.0.11:80 gone', -4, 'expected up, draining, down'],
    ['show connections --client nobody', -4, "'nobody' is no address and port"],
  ])('tandem %s', async (command, code, words) => {
    const result = await asked(command);
    expect(result.err).toContain(words);
    expect({ code: result.code, asked: result.asked }).toEqual({ code, asked: '' });
  });
});

test('connections of a client and to a member are asked for by address and port', async () => {
  const { asked: questions } = await asked('show connections --client 198.51.100.7 --member 10.2.0.11:80 --limit 1');
  expect(questions).toBe('connections null 0 1 {"address":"198.51.100.7","port":0} {"address":"10.2.0.11","port":80}');
});

test('a name that the daemon does not know is answered with the one that was meant', async () => {
  const refusal = new ControlError('not_found', 'unknown_virtual_server', "no virtual server 'wwv'", 'there are: www');
  const control = { ...stubControl(), setVirtualServer: () => Promise.reject(refusal) };
  const { err, code } = await runCli(['virtual', 'wwv', 'disable'], { control });
  expect({ err, code }).toEqual({ err: "tandem: no virtual server 'wwv'\n  did you mean 'www'?\n", code: 1 });
});

test.each([['show survival'], ['show costs']])('tandem %s', async (command) => {
  const { out, code } = await asked(command);
  await expect(`${out}\n`).toMatchFileSnapshot(`expected/${command.replace(' ', '_')}.txt`);
  expect(code).toBe(0);
});

test('costs that were never measured are said to be none', async () => {
  const control = { ...stubControl(), costs: () => Promise.resolve(null) };
  expect((await runCli(['show', 'costs'], { control })).out).toBe('never measured here: scripts/bench measures it\n');
});

test('every command that has an answer gives it as JSON when asked to', () => {
  const { commands } = commandsOf(buildCli('0.1.0'));
  const without = commands.filter(({ flags }) => !flags.some(({ name }) => name === '--json'));
  // One runs until it is stopped, the other prints a script.
  expect(without.map(({ words }) => words.join(' '))).toEqual(['run', 'completion']);
});

test.each([
  ['show virtual www', 'virtualServer "www"'],
  ['show pool web', 'pool "web"'],
  ['show ltm virtual www', 'virtualServer "www"'],
  ['show virtual', 'virtualServers'],
])('tandem %s asks for no more than was named', async (command, question) => {
  expect(await asked(command)).toMatchObject({ asked: question, code: 0 });
});

test('every command that prints an answer prints JSON, too', async () => {
  for (const command of [
    'status',
    'show survival',
    'show costs',
    'virtual www enable',
    'pool web member 10.2.0.1 up',
  ]) {
    const { out } = await asked(`${command} --json`);
    expect(JSON.parse(out), command).toBeTypeOf('object');
  }
});
