/** The other half of pair.test.ts, beside it: both cores are used. */

import { test } from 'vitest';

import { expectRest, seeds, TIMEOUT_MS } from './run_pairs.js';

const drawn = seeds([]);

test(`${drawn.length} more simulated pairs`, { timeout: TIMEOUT_MS }, () => expectRest(drawn));
