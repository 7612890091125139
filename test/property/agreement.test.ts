/**
 * Goal: while connections come and go, a table that was altered is found and put right, nothing else is touched, and
 * no digest of the others differs.
 * Method: two native datapaths, the real channel; entries of the standby are deleted, altered and added, also while
 * closes are said to be lost all the time, so that bulks of one virtual server follow each other. How long this may
 * take is for `scripts/soak --agreement`, which has the machine to itself; here only that it comes.
 */

import { afterEach, expect, test, vi } from 'vitest';

import { ALTERED_SEQUENCE, ChurningPair, type Name, names } from '../support/churning_pair.js';

let pair: ChurningPair | null = null;

afterEach(() => pair?.stop());

/** A condition that never comes is what fails. */
const waitFor = (condition: () => void): Promise<void> => vi.waitFor(condition, { timeout: 60_000, interval: 50 });

test.each([
  ['amid churn', [] as readonly Name[]],
  ['while closes of another virtual server are lost all the time', ['churning'] as const],
])(
  'a deleted, an altered and an added entry are each found and put right %s, and no other',
  async (_when, lost) => {
    pair = new ChurningPair(lost);
    const { a, b } = pair;
    const compared = names.filter((name) => !lost.includes(name));
    await pair.start();
    pair.churn(4_000);
    await waitFor(() => expect(a.channel.inSync.peer).toBe(true));
    await waitFor(() => {
      for (const name of compared) expect(pair?.agreement(name)?.is, name).toBe('agrees');
    });
    await waitFor(() => expect(a.channel.status().counters.records_sent).toBeGreaterThan(2 * ALTERED_SEQUENCE));
    const generation = a.channel.status().generation;
    const before = pair.quietTables();
    expect(before.b).toEqual(before.a);

    pair.alter();
    const altered = pair.quietTables();
    expect(altered.b).not.toEqual(altered.a);
    for (const name of ['deleted', 'altered', 'added'] as const)
      await waitFor(() =>
        expect(pair?.agreement(name), name).toMatchObject({ is: 'agrees', differences: 1, repairs: 1 }),
      );
    expect(pair.quietTables()).toEqual(before);
    // Both units show it, the other one when it has the answer; and in sync they were all the while.
    await waitFor(() =>
      expect(a.channel.status().agreements.told['altered']).toMatchObject({ is: 'agrees', differences: 1 }),
    );
    expect(a.channel.status().generation).toBe(generation);
    expect(b.channel.status().counters.bulks_received).toBe(1);
    for (const name of ['untouched', 'churning'] as const)
      if (compared.includes(name)) expect(pair.agreement(name), name).toMatchObject({ differences: 0 });
    // What differs needs three at most; those of lost closes go on beside them.
    expect(a.channel.status().counters.server_bulks_sent > 3).toBe(lost.length > 0);
  },
  200_000,
);
