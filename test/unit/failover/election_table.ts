/**
 * The table that the election's tests are written in: put the group in a state, give it one input at one
 * time, compare the whole outcome (state, condition, term, and actions in order), so that an action too many
 * fails as surely as one too few.
 */
import { describe, expect, test } from 'vitest';

import { type Condition, type GroupRouter, initialCondition } from '../../../src/failover/condition.js';
import { type Election, type State, step } from '../../../src/failover/election.js';
import type { Action, Input, RoleReason } from '../../../src/failover/signals.js';

export const now = 10_000;
export const router: GroupRouter = {
  priority: 100,
  preempt: true,
  preemptDelayMs: 0,
  advertIntervalMs: 1_000,
  notInSyncDemotion: 0,
  winsTie: false,
};
/** (256 - 100) / 256 of an interval. */
export const SKEW = 609.375;
export const TERM = 7;

export const ready: Condition = { ...initialCondition, running: true, workersAlive: true, links: 'all', inSync: true };

export type Backup = Extract<State, { name: 'backup' }>;
export const initialize: State = { name: 'initialize' };
export const backup: Backup = {
  name: 'backup',
  activeDownAt: now + 500,
  activeAdvertIntervalMs: 1_000,
  peerHeard: false,
  peerResigned: false,
  preemptAt: null,
  forwardsUntil: null,
};
export const active: Extract<State, { name: 'active' }> = {
  name: 'active',
  advertAt: now + 500,
  leaseUntil: now + 2_500,
  announceAgainAt: now,
  contestedAt: null,
};
export const handingOver: Extract<State, { name: 'handing-over' }> = {
  name: 'handing-over',
  until: now + 1_000,
  peerSeen: false,
};
/** A backup that begins to wait at `now`. */
export const freshBackup: Backup = { ...backup, activeDownAt: now + 3_000 + SKEW };
/** The same, having heard the peer just now. */
export const followed: Backup = { ...freshBackup, peerHeard: true };

export const advertise: Action = { type: 'send-advert', priority: 100 };
export const resign: Action = { type: 'send-advert', priority: 0 };
export const announce: Action = { type: 'announce' };
export const askActive: Action = { type: 'ask-active' };
export const standby = (reason: RoleReason, term = TERM): Action => ({
  type: 'set-role',
  role: 'standby',
  term,
  leaseMs: 0,
  reason,
});
/** Outranked: known connections are forwarded for a second more. */
export const yieldForASecond: Action = {
  type: 'set-role',
  role: 'handing-over',
  term: TERM,
  leaseMs: 1_000,
  reason: 'outranked',
};
export const activate = (reason: RoleReason, term = TERM + 1): Action => ({
  type: 'set-role',
  role: 'active',
  term,
  leaseMs: 3_000,
  reason,
});
export const freshActive: Extract<State, { name: 'active' }> = {
  name: 'active',
  advertAt: now + 1_000,
  leaseUntil: now + 3_000,
  announceAgainAt: now,
  contestedAt: null,
};

export interface Row {
  readonly name: string;
  readonly router?: Partial<GroupRouter>;
  readonly condition?: Partial<Condition>;
  readonly state: State;
  readonly input: Input;
  readonly at?: number;
  readonly next: State;
  /** What changed in the condition. */
  readonly nextCondition?: Partial<Condition>;
  /** If it changed. */
  readonly term?: number;
  readonly actions?: readonly Action[];
}

export function check(rows: Readonly<Record<string, readonly Row[]>>): void {
  for (const [state, table] of Object.entries(rows)) {
    describe(state, () => {
      for (const row of table) {
        test(row.name, () => {
          const condition = { ...ready, ...row.condition };
          const election: Election = { state: row.state, condition, term: TERM };
          const outcome = step({ ...router, ...row.router }, election, row.input, row.at ?? now);
          expect(outcome).toEqual({
            election: {
              state: row.next,
              condition: { ...condition, ...row.nextCondition },
              term: row.term ?? TERM,
            },
            actions: row.actions ?? [],
          });
        });
      }
    });
  }
}

export function advert(priority: number, advertIntervalMs = 1_000): Input {
  return { type: 'advert', priority, advertIntervalMs };
}

export function termSeen(term: number, peerActive: boolean): Input {
  return { type: 'term-seen', term, peerActive };
}
