/** Goal: on a terminal what is well, what is ill and what to look at stand out; the words are the same without. */

import { expect, test } from 'vitest';

import { coloured } from '../../../src/cli/colours.js';
import { runCli } from '../../support/cli_context.js';

const ESCAPES = new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, 'g');

test.each([
  ['! pool web has no member that is up', '\x1b[33m! pool web has no member that is up\x1b[0m'],
  ['MEMBER  STATE', '\x1b[1mMEMBER  STATE\x1b[0m'],
  ['10.2.0.11:80  up    1h', '10.2.0.11:80  \x1b[32mup\x1b[0m    1h'],
  ['10.2.0.12:80  down  1h', '10.2.0.12:80  \x1b[31mdown\x1b[0m  1h'],
  ['mirror channel  up, not in sync', 'mirror channel  \x1b[32mup\x1b[0m, \x1b[31mnot in sync\x1b[0m'],
  ['startup  downtown', 'startup  downtown'],
])('%s', (plain, shown) => {
  expect(coloured(plain)).toBe(shown);
});

test('colours change no word, and are there only when asked for', async () => {
  for (const command of ['status', 'show pool', 'show mirror', 'show failover', 'show virtual']) {
    const plain = (await runCli(command.split(' '))).out;
    const painted = (await runCli(command.split(' '), { colours: true })).out;
    expect(painted.replaceAll(ESCAPES, ''), command).toBe(plain);
    expect(painted, command).not.toBe(plain);
    expect(plain, command).not.toMatch(ESCAPES);
  }
});

test('JSON is never coloured', async () => {
  const { out } = await runCli(['status', '--json'], { colours: true });
  expect(() => JSON.parse(out) as unknown).not.toThrow();
});
