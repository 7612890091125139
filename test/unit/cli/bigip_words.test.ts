/** Goal: BIG-IP's words become ours, what follows them stays, and our own words are left alone. */

import { expect, test } from 'vitest';

import { BIGIP_PHRASES, inOurWords } from '../../../src/cli/bigip_words.js';

test.each([
  ['show sys connection --limit 5', 'show connections --limit 5'],
  ['run sys failover standby', 'standby'],
  ['run sys failover standby traffic-group main --json', 'standby main --json'],
  ['run sys failover standby --force', 'standby --force'],
  ['modify ltm virtual www mirror enabled', 'virtual www mirror conn enable'],
  ['run sys', 'run sys'],
  ['run tandem.yaml --unit a', 'run tandem.yaml --unit a'],
  ['show connections', 'show connections'],
  ['modify ltm virtual --json mirror enabled', 'modify ltm virtual --json mirror enabled'],
])('%s', (typed, ours) => {
  expect(inOurWords(typed.split(' ')).join(' ')).toBe(ours);
});

test('no phrase hides one behind it', () => {
  for (const { theirs, ours } of BIGIP_PHRASES) expect(inOurWords(theirs)).toEqual(ours);
});
