/** A test that has a lab of its own; skipped, with the reason, where no lab can be made. */

import { join } from 'node:path';

import { test } from 'vitest';

import { Lab, whyNoLab } from './lab.js';
import { repositoryRoot } from './paths.js';

const why = whyNoLab();

/**
 * Logs, configs and captures stay in out/lab/ under the test's name. `whyNot` looks at the lab first: a reason that it
 * cannot be tested here skips the test.
 */
export function labTest(
  name: string,
  body: (lab: Lab) => Promise<void>,
  timeoutMs = 60_000,
  whyNot: (lab: Lab) => string | null = () => null,
): void {
  test(
    name,
    async (context) => {
      if (why !== null) return context.skip(why);
      const lab = Lab.up('test', join(repositoryRoot, 'out', 'lab', name.replace(/[^a-z0-9]+/gi, '-').slice(0, 60)));
      try {
        const reason = whyNot(lab);
        if (reason !== null) return context.skip(reason);
        await body(lab);
      } finally {
        lab.down();
      }
    },
    timeoutMs,
  );
}
