/** Goal: what is typed is what is asked for, and what cannot be is refused before the daemon is asked. */

import { expect, test } from 'vitest';

import type { CaptureRequest } from '../../../src/api.js';
import { runCli } from '../../support/cli_context.js';

async function capture(words: string, missed = 0) {
  const asked: (readonly [file: string, request: CaptureRequest])[] = [];
  const world = {
    capture: async (_socket: string, file: string, request: CaptureRequest) => {
      asked.push([file, request]);
      return { frames: 12, missed };
    },
  };
  return { asked, ...(await runCli(['capture', ...words.split(' ')], world)) };
}

test('flags are the request; what is not said has its default', async () => {
  const { asked, out, code } = await capture(
    '--virtual www --client 2001:DB8::/64 -o f.pcapng --packets 5 --seconds 7',
    3,
  );
  expect(asked).toEqual([
    [
      'f.pcapng',
      {
        virtualServer: 'www',
        client: { address: '2001:db8::', prefixBits: 64 },
        packets: 5,
        seconds: 7,
        snaplenBytes: 65_554,
      },
    ],
  ]);
  expect([out, code]).toEqual(['12 frames in f.pcapng, 3 missed\n', 0]);
  const [, request] = (await capture('-o f')).asked[0]!;
  expect(request).toEqual({ virtualServer: null, client: null, packets: 100_000, seconds: 60, snaplenBytes: 65_554 });
});

test('an address alone is its own prefix', async () => {
  const client = async (text: string) => (await capture(`-o f --client ${text}`)).asked[0]![1].client;
  expect(await client('192.0.2.7')).toEqual({ address: '192.0.2.7', prefixBits: 32 });
  expect(await client('192.0.2.7/0')).toEqual({ address: '192.0.2.7', prefixBits: 0 });
  expect(await client('2001:db8::7')).toEqual({ address: '2001:db8::7', prefixBits: 128 });
});

test('on the standard output the last word goes to the error stream', async () => {
  const { out, err } = await capture('-o -');
  expect([out, err]).toEqual(['', '12 frames, 0 missed\n']);
  const both = await capture('-o - --json');
  expect([both.asked, both.code]).toEqual([[], 2]);
  expect(JSON.parse((await capture('-o f --json')).out)).toEqual({ file: 'f', frames: 12, missed: 0 });
});

test.each([
  '--client 192.0.2.0/33',
  '--client nobody',
  '--packets 0',
  '--seconds 3601',
  '--snaplen 63',
  '--packets 1.5',
])('%s is refused', async (words) => {
  const { asked, err } = await capture(`-o f ${words}`);
  expect(asked).toEqual([]);
  expect(err).toContain(words.split(' ')[1]);
});
