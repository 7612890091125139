/**
 * Goal: a code survives how people copy, and a mistyped one is known as such.
 * Method: round trips, and every single change.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { formatPairCode, PAIR_SECRET_BYTES, parsePairCode } from '../../../src/wire/pair_code.js';

const secret = Uint8Array.from({ length: PAIR_SECRET_BYTES }, (_, index) => index * 17);
const code = formatPairCode({ secret, address: '10.9.0.1', port: 3781 });

test('a code says where to connect to and carries the secret', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: PAIR_SECRET_BYTES, maxLength: PAIR_SECRET_BYTES }),
      fc.constantFrom('10.9.0.1', '255.255.255.254', 'fd09::1'),
      fc.integer({ min: 1, max: 65535 }),
      (bytes, address, port) => {
        const parsed = parsePairCode(formatPairCode({ secret: bytes, address, port }));
        expect(parsed).toEqual({ secret: bytes, address, port });
      },
    ),
  );
});

test('case, spaces, hyphens and letters that look like digits do not matter', () => {
  const copied = ` ${code.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l')} `;
  expect(parsePairCode(copied)).toEqual(parsePairCode(code));
});

test('any one letter that is wrong, or two that changed places, are found', () => {
  const letters = code.replaceAll('-', '');
  for (let at = 0; at < letters.length - 1; at += 1) {
    const [here, next] = [letters[at] as string, letters[at + 1] as string];
    const wrong = here === 'X' ? 'Y' : 'X';
    expect(parsePairCode(letters.slice(0, at) + wrong + letters.slice(at + 1)), `letter ${at}`).toBeNull();
    if (here === next) continue;
    expect(parsePairCode(letters.slice(0, at) + next + here + letters.slice(at + 2)), `letters from ${at}`).toBeNull();
  }
});

test('what is no code is none', () => {
  for (const text of ['', '-', 'CODE', code.slice(0, -6), `${code}-00000`, 'U'.repeat(39)]) {
    expect(parsePairCode(text), text).toBeNull();
  }
});
