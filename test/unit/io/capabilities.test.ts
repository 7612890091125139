/** Goal: exactly the capabilities that are missing are named, and the line says how to give them. */
import { expect, test } from 'vitest';

import { capabilityAdvice, missingCapabilities } from '../../../src/io/capabilities.js';

const status = (effective: string) => `Name:\tnode\nCapPrm:\tffffffffffffffff\nCapEff:\t${effective}\nCapBnd:\t0\n`;

test.each([
  ['everything', '000001ffffffffff', []],
  ['exactly the two', '0000000000003000', []],
  ['nothing', '0000000000000000', ['CAP_NET_RAW', 'CAP_NET_ADMIN']],
  ['only CAP_NET_RAW', '0000000000002000', ['CAP_NET_ADMIN']],
  ['only CAP_NET_ADMIN', '0000000000001000', ['CAP_NET_RAW']],
])('with %s', (_, effective, missing) => expect(missingCapabilities(status(effective))).toEqual(missing));

test('a status without CapEff is not taken for having none or all', () => {
  expect(() => missingCapabilities('Name:\tnode\n')).toThrow('CapEff');
});

test('the advice is one line and names what is missing', () => {
  const advice = capabilityAdvice(['CAP_NET_ADMIN']);
  expect(advice).toMatch(/^tandem needs CAP_NET_ADMIN: /);
  expect(advice).toContain('AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN');
  expect(advice).not.toContain('\n');
});
