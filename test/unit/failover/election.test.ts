/**
 * Goal: every row of RFC 9568 section 6.4, and of what a mirrored pair adds to it, one table entry each.
 * Method: put the group in a state, give it one input at one time, compare the whole outcome (state,
 * condition, term, and actions in order), so that an action too many fails as surely as one too few.
 */
import { describe, expect, test } from 'vitest';

import { type Condition, type GroupRouter, initialCondition } from '../../../src/failover/condition.js';
import {
  type Action,
  deadline,
  type Election,
  type Input,
  initialElection,
  type RoleReason,
  type State,
  step,
} from '../../../src/failover/election.js';

const now = 10_000;
const router: GroupRouter = {
  priority: 100,
  preempt: true,
  preemptDelayMs: 0,
  advertIntervalMs: 1_000,
  winsTie: false,
};
/** (256 - 100) / 256 of an interval. */
const SKEW = 609.375;
const TERM = 7;

const ready: Condition = { ...initialCondition, running: true, workersAlive: true, links: 'all', inSync: true };

type Backup = Extract<State, { name: 'backup' }>;
const initialize: State = { name: 'initialize' };
const backup: Backup = {
  name: 'backup',
  activeDownAt: now + 500,
  activeAdvertIntervalMs: 1_000,
  peerResigned: false,
  preemptAt: null,
};
const active: Extract<State, { name: 'active' }> = {
  name: 'active',
  advertAt: now + 500,
  leaseUntil: now + 2_500,
  announceAgainAt: now,
  contestedAt: null,
};
const handingOver: State = { name: 'handing-over', until: now + 1_000, peerSeen: false };
/** A backup that begins to wait at `now`. */
const freshBackup: Backup = { ...backup, activeDownAt: now + 3_000 + SKEW };

const advertise: Action = { type: 'send-advert', priority: 100 };
const resign: Action = { type: 'send-advert', priority: 0 };
const announce: Action = { type: 'announce' };
const standby = (reason: RoleReason, term = TERM): Action => ({
  type: 'set-role',
  role: 'standby',
  term,
  leaseMs: 0,
  reason,
});
const activate = (reason: RoleReason, term = TERM + 1): Action => ({
  type: 'set-role',
  role: 'active',
  term,
  leaseMs: 3_000,
  reason,
});
const freshActive: State = {
  name: 'active',
  advertAt: now + 1_000,
  leaseUntil: now + 3_000,
  announceAgainAt: now,
  contestedAt: null,
};

interface Row {
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

const rows: Readonly<Record<string, readonly Row[]>> = {
  initialize: [
    {
      name: 'startup waits as backup for 3 intervals and the skew of its priority',
      condition: { running: false },
      state: initialize,
      input: { type: 'startup' },
      next: freshBackup,
      nextCondition: { running: true },
      actions: [standby('able')],
    },
    {
      name: 'startup without carrier waits for it',
      condition: { running: false, links: 'none' },
      state: initialize,
      input: { type: 'startup' },
      next: initialize,
      nextCondition: { running: true },
    },
    {
      name: 'carrier is back: backup, not active',
      condition: { links: 'none' },
      state: initialize,
      input: { type: 'links', links: 'all' },
      next: freshBackup,
      nextCondition: { links: 'all' },
      actions: [standby('able')],
    },
    {
      name: 'workers move again: backup',
      condition: { workersAlive: false },
      state: initialize,
      input: { type: 'workers', alive: true },
      next: freshBackup,
      nextCondition: { workersAlive: true },
      actions: [standby('able')],
    },
    {
      name: 'with one link left it waits while the peer can serve',
      condition: { links: 'none', peerCanServe: true },
      state: initialize,
      input: { type: 'links', links: 'some' },
      next: initialize,
      nextCondition: { links: 'some' },
    },
    {
      name: 'with one link left it joins in when the peer no longer can',
      condition: { links: 'some', peerCanServe: true },
      state: initialize,
      input: { type: 'condition', demotion: 0, inSync: false, peerCanServe: false },
      next: freshBackup,
      nextCondition: { peerCanServe: false, inSync: false },
      actions: [standby('able')],
    },
    { name: 'adverts are nothing to it', state: initialize, input: advert(1), next: initialize },
    {
      name: 'a take-over is refused',
      state: initialize,
      input: { type: 'take-over' },
      next: initialize,
      actions: [{ type: 'report', event: 'take-over-refused' }],
    },
    { name: 'a timeout is nothing to it', state: initialize, input: { type: 'timeout' }, next: initialize },
  ],

  backup: [
    {
      name: 'becomes active when the active unit is silent, forwarding before advertising before announcing',
      state: backup,
      input: { type: 'timeout' },
      at: now + 500,
      next: {
        ...freshActive,
        advertAt: now + 1_500,
        leaseUntil: now + 3_500,
        announceAgainAt: now + 500,
      },
      term: TERM + 1,
      actions: [activate('peer_silent'), advertise, announce],
    },
    {
      name: 'takes over from a silent peer although it is not in sync',
      condition: { inSync: false },
      state: backup,
      input: { type: 'timeout' },
      at: now + 500,
      next: { ...freshActive, advertAt: now + 1_500, leaseUntil: now + 3_500, announceAgainAt: now + 500 },
      term: TERM + 1,
      actions: [activate('peer_silent'), advertise, announce],
    },
    { name: 'an early timeout is ignored', state: backup, input: { type: 'timeout' }, next: backup },
    {
      name: 'a resigning active unit leaves only the skew to wait',
      state: freshBackup,
      input: advert(0),
      next: { ...freshBackup, activeDownAt: now + SKEW, peerResigned: true },
    },
    {
      name: 'further copies of the resignation do not start the skew again',
      state: { ...backup, peerResigned: true },
      input: advert(0),
      next: { ...backup, peerResigned: true },
    },
    {
      name: 'after a resignation it says so',
      state: { ...backup, activeDownAt: now, peerResigned: true },
      input: { type: 'timeout' },
      next: freshActive,
      term: TERM + 1,
      actions: [activate('peer_resigned'), advertise, announce],
    },
    {
      name: 'an equal unit keeps it waiting, at its interval',
      state: backup,
      input: advert(100, 2_000),
      next: { ...freshBackup, activeDownAt: now + 6_000 + 2 * SKEW, activeAdvertIntervalMs: 2_000 },
    },
    {
      name: 'an advert after a resignation is a unit that goes on',
      state: { ...backup, peerResigned: true },
      input: advert(200),
      next: freshBackup,
    },
    {
      name: 'a lesser unit does not stop the timer',
      state: backup,
      input: advert(99),
      next: { ...backup, preemptAt: now },
    },
    {
      name: 'without preempt even a lesser unit is followed',
      router: { preempt: false },
      state: backup,
      input: advert(99),
      next: freshBackup,
    },
    {
      name: 'not in sync, even a lesser unit is followed',
      condition: { inSync: false },
      state: backup,
      input: advert(99),
      next: freshBackup,
    },
    {
      name: 'a preempt delay begins with the first lesser advert, which is followed',
      router: { preemptDelayMs: 5_000 },
      state: backup,
      input: advert(99),
      next: { ...freshBackup, preemptAt: now + 5_000 },
    },
    {
      name: 'a running preempt delay is not prolonged by later adverts',
      router: { preemptDelayMs: 5_000 },
      state: { ...backup, preemptAt: now + 1 },
      input: advert(99),
      next: { ...freshBackup, preemptAt: now + 1 },
    },
    {
      name: 'after the preempt delay lesser adverts no longer stop the timer',
      router: { preemptDelayMs: 5_000 },
      state: { ...backup, preemptAt: now },
      input: advert(99),
      next: { ...backup, preemptAt: now },
    },
    {
      name: 'falling out of sync ends a running preempt delay',
      router: { preemptDelayMs: 5_000 },
      condition: { inSync: false },
      state: { ...backup, preemptAt: now + 1 },
      input: advert(99),
      next: freshBackup,
    },
    {
      name: 'demotions count: a unit of 99 is followed by one of 100 - 10',
      condition: { demotion: 10 },
      state: backup,
      input: advert(99),
      next: { ...freshBackup, activeDownAt: now + 3_000 + (166 / 256) * 1_000 },
    },
    {
      name: 'standing by on request, it follows a unit of priority 1',
      condition: { forcedStandby: true },
      state: backup,
      input: advert(1),
      next: { ...freshBackup, activeDownAt: now + 3_000 + (255 / 256) * 1_000 },
    },
    {
      name: 'standing by on request ends when the peer is gone',
      condition: { forcedStandby: true },
      state: backup,
      input: { type: 'timeout' },
      at: now + 500,
      next: { ...freshActive, advertAt: now + 1_500, leaseUntil: now + 3_500, announceAgainAt: now + 500 },
      nextCondition: { forcedStandby: false },
      term: TERM + 1,
      actions: [activate('peer_silent'), advertise, announce],
    },
    {
      name: 'release: its own priority counts again',
      condition: { forcedStandby: true },
      state: backup,
      input: { type: 'release' },
      next: backup,
      nextCondition: { forcedStandby: false },
    },
    {
      name: 'hand-over asked of a backup keeps it from coming back',
      state: backup,
      input: { type: 'hand-over' },
      next: backup,
      nextCondition: { forcedStandby: true },
    },
    {
      name: 'take-over: active at once',
      condition: { inSync: false },
      state: backup,
      input: { type: 'take-over' },
      next: freshActive,
      term: TERM + 1,
      actions: [activate('take_over_requested'), advertise, announce],
    },
    { name: 'a higher term is remembered', state: backup, input: termSeen(9, true), next: backup, term: 9 },
    { name: 'a lower term is not', state: backup, input: termSeen(3, true), next: backup },
    {
      name: 'shutdown sends nothing',
      state: backup,
      input: { type: 'shutdown' },
      next: initialize,
      nextCondition: { running: false, inSync: false },
      actions: [standby('shutdown')],
    },
    {
      name: 'losing one link while the peer can serve: initialize',
      condition: { peerCanServe: true },
      state: backup,
      input: { type: 'links', links: 'some' },
      next: initialize,
      nextCondition: { links: 'some', inSync: false },
      actions: [standby('link_lost')],
    },
  ],

  active: [
    {
      name: 'advertises on time, extending the lease with each advert',
      state: active,
      input: { type: 'timeout' },
      at: now + 500,
      next: { ...active, advertAt: now + 1_500, leaseUntil: now + 3_500 },
      actions: [{ type: 'extend-lease', leaseMs: 3_000 }, advertise],
    },
    {
      name: 'a late timer does not make the interval longer',
      state: active,
      input: { type: 'timeout' },
      at: now + 520,
      next: { ...active, advertAt: now + 1_500, leaseUntil: now + 3_520 },
      actions: [{ type: 'extend-lease', leaseMs: 3_000 }, advertise],
    },
    {
      name: 'a missed advert is not made up for by two',
      state: active,
      input: { type: 'timeout' },
      at: now + 1_600,
      next: { ...active, advertAt: now + 2_600, leaseUntil: now + 4_600 },
      actions: [{ type: 'extend-lease', leaseMs: 3_000 }, advertise],
    },
    { name: 'an early timeout is ignored', state: active, input: { type: 'timeout' }, next: active },
    {
      name: 'yields to a higher priority',
      state: active,
      input: advert(101),
      next: freshBackup,
      actions: [standby('outranked')],
    },
    {
      name: 'between equals yields if its address is the lesser',
      state: active,
      input: advert(100),
      next: freshBackup,
      actions: [standby('outranked')],
    },
    {
      name: 'between equals stays if its address is the greater',
      router: { winsTie: true },
      state: active,
      input: advert(100),
      next: { ...active, contestedAt: now, announceAgainAt: now + 1_000 },
      actions: [advertise, announce],
    },
    {
      name: 'answers a lesser advert at once, announces again, and leaves its own timer alone',
      state: active,
      input: advert(99),
      next: { ...active, contestedAt: now, announceAgainAt: now + 1_000 },
      actions: [advertise, announce],
    },
    {
      name: 'announces again at most once a second',
      state: { ...active, announceAgainAt: now + 1 },
      input: advert(99),
      next: { ...active, announceAgainAt: now + 1, contestedAt: now },
      actions: [advertise],
    },
    {
      name: 'tells at once that it is there when another unit leaves',
      state: active,
      input: advert(0),
      next: active,
      actions: [advertise],
    },
    {
      name: 'demoted below the peer it yields to its advert',
      condition: { demotion: 20 },
      state: active,
      input: advert(90),
      next: { ...freshBackup, activeDownAt: now + 3_000 + (176 / 256) * 1_000 },
      actions: [standby('outranked')],
    },
    {
      name: 'shutdown resigns before it stops forwarding',
      state: active,
      input: { type: 'shutdown' },
      next: initialize,
      nextCondition: { running: false, inSync: false },
      actions: [resign, standby('shutdown')],
    },
    {
      name: 'workers stopped: resigns',
      state: active,
      input: { type: 'workers', alive: false },
      next: initialize,
      nextCondition: { workersAlive: false, inSync: false },
      actions: [resign, standby('workers_stopped')],
    },
    {
      name: 'one link lost and the peer can serve: resigns',
      condition: { peerCanServe: true },
      state: active,
      input: { type: 'links', links: 'some' },
      next: initialize,
      nextCondition: { links: 'some', inSync: false },
      actions: [resign, standby('link_lost')],
    },
    {
      name: 'one link lost and the peer cannot serve: serves on with what is left',
      state: active,
      input: { type: 'links', links: 'some' },
      next: active,
      nextCondition: { links: 'some' },
    },
    {
      name: 'one link lost, and now the peer can serve: resigns',
      condition: { links: 'some' },
      state: active,
      input: { type: 'condition', demotion: 0, inSync: true, peerCanServe: true },
      next: initialize,
      nextCondition: { peerCanServe: true, inSync: false },
      actions: [resign, standby('link_lost')],
    },
    {
      name: 'all links lost: gives the role up whoever can serve',
      state: active,
      input: { type: 'links', links: 'none' },
      next: initialize,
      nextCondition: { links: 'none', inSync: false },
      actions: [resign, standby('all_links_lost')],
    },
    {
      name: 'a tracked failure resigns if the peer can serve, preempt or not',
      router: { preempt: false },
      condition: { peerCanServe: true },
      state: active,
      input: { type: 'condition', demotion: 10, inSync: true, peerCanServe: true },
      next: { ...freshBackup, activeDownAt: now + 3_000 + (166 / 256) * 1_000 },
      nextCondition: { demotion: 10 },
      actions: [resign, standby('tracked_failure')],
    },
    {
      name: 'a tracked failure of both units changes nothing',
      state: active,
      input: { type: 'condition', demotion: 10, inSync: true, peerCanServe: false },
      next: active,
      nextCondition: { demotion: 10 },
    },
    {
      name: 'a unit that took over in spite of its failure keeps the role while nothing gets worse',
      condition: { demotion: 10, peerCanServe: true },
      state: active,
      input: { type: 'condition', demotion: 10, inSync: true, peerCanServe: true },
      next: active,
    },
    {
      name: 'falling out of sync is nothing to an active unit',
      condition: { peerCanServe: true },
      state: active,
      input: { type: 'condition', demotion: 0, inSync: false, peerCanServe: true },
      next: active,
      nextCondition: { inSync: false },
    },
    {
      name: 'hand-over: forwards on from its own MAC for up to 1 s, and resigns',
      state: active,
      input: { type: 'hand-over' },
      next: handingOver,
      nextCondition: { forcedStandby: true },
      actions: [
        { type: 'set-role', role: 'handing-over', term: TERM, leaseMs: 1_000, reason: 'hand_over_requested' },
        resign,
      ],
    },
    { name: 'take-over finds it active already', state: active, input: { type: 'take-over' }, next: active },
  ],

  'active, lease and terms': [
    {
      name: 'a lease that ran out is not extended: backup, and not in sync',
      state: active,
      input: { type: 'timeout' },
      at: now + 2_500,
      next: { ...freshBackup, activeDownAt: now + 2_500 + 3_000 + SKEW },
      nextCondition: { inSync: false },
      actions: [resign, standby('lease_lost')],
    },
    {
      name: "after a pause the peer's advert finds a backup, which follows it",
      state: { ...active, leaseUntil: now },
      input: advert(50),
      next: freshBackup,
      nextCondition: { inSync: false },
      actions: [resign, standby('lease_lost')],
    },
    {
      name: 'after a pause a shutdown is still a shutdown',
      state: { ...active, leaseUntil: now },
      input: { type: 'shutdown' },
      next: initialize,
      nextCondition: { running: false, inSync: false },
      actions: [resign, standby('lease_lost'), standby('shutdown')],
    },
    {
      name: 'both active and heard: the lower term yields',
      state: { ...active, contestedAt: now - 100 },
      input: termSeen(9, true),
      next: freshBackup,
      nextCondition: { inSync: false },
      term: 9,
      actions: [standby('peer_has_higher_term', 9)],
    },
    {
      name: 'both active and heard: the higher term stays',
      state: { ...active, contestedAt: now - 100 },
      input: termSeen(6, true),
      next: { ...active, contestedAt: now - 100 },
    },
    {
      name: 'both active without hearing each other: yielding would help nobody',
      state: active,
      input: termSeen(9, true),
      next: active,
    },
    {
      name: 'both active, last heard long ago',
      state: { ...active, contestedAt: now - 3_000 },
      input: termSeen(9, true),
      next: { ...active, contestedAt: now - 3_000 },
    },
    {
      name: 'the peer yielded with a higher term: ours is raised above it',
      state: { ...active, contestedAt: now - 100 },
      input: termSeen(9, false),
      next: active,
      term: 10,
      actions: [{ type: 'set-role', role: 'active', term: 10, leaseMs: 2_500, reason: 'term_raised' }],
    },
    {
      name: 'the peer yielded with our own term: it is raised too',
      state: { ...active, contestedAt: now - 100 },
      input: termSeen(TERM, false),
      next: active,
      term: 8,
      actions: [{ type: 'set-role', role: 'active', term: 8, leaseMs: 2_500, reason: 'term_raised' }],
    },
    {
      name: 'a standby that merely knows our term changes nothing',
      state: active,
      input: termSeen(TERM, false),
      next: active,
    },
  ],

  'handing over': [
    {
      name: 'reports the peer once, and forwards on',
      condition: { forcedStandby: true },
      state: handingOver,
      input: advert(50),
      next: { ...handingOver, peerSeen: true },
      actions: [{ type: 'report', event: 'peer-took-over' }],
    },
    {
      name: 'further adverts are nothing new',
      condition: { forcedStandby: true },
      state: { ...handingOver, peerSeen: true },
      input: advert(50),
      next: { ...handingOver, peerSeen: true },
    },
    {
      name: 'ends after 1 s as a backup of priority 1',
      condition: { forcedStandby: true },
      state: handingOver,
      input: { type: 'timeout' },
      at: now + 1_000,
      next: { ...freshBackup, activeDownAt: now + 4_000 + (255 / 256) * 1_000 },
      actions: [standby('handed_over')],
    },
    { name: 'an early timeout is ignored', state: handingOver, input: { type: 'timeout' }, next: handingOver },
    {
      name: 'the peer resigns in the middle of it: only the skew is waited',
      condition: { forcedStandby: true },
      state: handingOver,
      input: advert(0),
      next: { ...freshBackup, activeDownAt: now + (255 / 256) * 1_000, peerResigned: true },
      actions: [standby('handed_over')],
    },
    {
      name: 'the peer hands it back',
      condition: { forcedStandby: true },
      state: handingOver,
      input: { type: 'take-over' },
      next: freshActive,
      nextCondition: { forcedStandby: false },
      term: TERM + 1,
      actions: [activate('take_over_requested'), advertise, announce],
    },
    {
      name: 'shutdown ends it',
      condition: { forcedStandby: true },
      state: handingOver,
      input: { type: 'shutdown' },
      next: initialize,
      nextCondition: { running: false, inSync: false },
      actions: [resign, standby('shutdown')],
    },
  ],
};

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

test('a deadline belongs to its state', () => {
  const at = (state: State) => deadline({ ...initialElection(0), state });
  expect(at(initialize)).toBeNull();
  expect(at(backup)).toBe(now + 500);
  expect(at(active)).toBe(now + 500);
  expect(at(handingOver)).toBe(now + 1_000);
});

function advert(priority: number, advertIntervalMs = 1_000): Input {
  return { type: 'advert', priority, advertIntervalMs };
}

function termSeen(term: number, peerActive: boolean): Input {
  return { type: 'term-seen', term, peerActive };
}
