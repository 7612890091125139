/** Goal: a name that another site can make lead to a forwarded socket is refused. Method: names, and what is said. */

import { expect, test } from 'vitest';

import { hostFault } from '../../../src/http/host.js';

test.each([undefined, '', 'localhost', 'localhost:8080', 'tandem', 'unit-a.localhost:1', '127.0.0.1:8080', '[::1]:80'])(
  '%s is answered to',
  (host) => {
    expect(hostFault(host)).toBe(null);
  },
);

test.each(['evil.example', 'evil.example:8080', '127.0.0.1.evil.example', 'localhost.evil', 'a b', '[::1].example'])(
  '%s is not',
  (host) => {
    expect(hostFault(host)).toMatchObject({ code: 'other_host', message: expect.stringContaining(host) });
  },
);
