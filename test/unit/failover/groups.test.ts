/**
 * Goal: two units never serve a group together, and one of them always does as soon as it may.
 * Method: both units' groups on one simulated clock, joined by links that a test can cut; what their workers
 * would do is counted each millisecond.
 */
import { describe, expect, test } from 'vitest';

import { clientLink, group } from './example.js';
import { Pair } from './pair.js';

/** 3 intervals of 100 ms and the skew of priority 100, and a millisecond of rounding. */
const ACTIVE_DOWN_MS = 300 + 61;
/** The skew of priority 100. */
const SKEW_MS = 61;
/** A resignation is followed in the millisecond of its advert. */
const AT_ONCE_MS = 0;

describe('election', () => {
  test('the higher priority becomes active, once', () => {
    const pair = new Pair();
    pair.run(2_000);
    expect([pair.a.serves, pair.b.serves]).toEqual(['active', 'standby']);
    expect(pair.a.reports.map(({ reason }) => reason)).toEqual(['able', 'peer_silent']);
    expect(pair.b.reports.map(({ reason }) => reason)).toEqual(['able']);
    expect(pair.bothMs).toBe(0);
  });

  test('it stays so', () => {
    const pair = Pair.settled();
    pair.run(60_000);
    expect([pair.bothMs, pair.neitherMs]).toEqual([0, 0]);
    expect(pair.a.groups.counts.leases_lost).toBe(0);
  });

  test('equal priorities, both active after a partition: the greater address stays, on every link', () => {
    const pair = new Pair({ priority: 100 });
    pair.cut.add('client').add('server');
    pair.run(2_000);
    expect([pair.a.serves, pair.b.serves]).toEqual(['active', 'active']);
    pair.cut.clear();
    pair.run(200);
    expect([pair.a.serves, pair.b.serves]).toEqual(['handing-over', 'active']);
    pair.bothMs = 0;
    pair.neitherMs = 0;
    pair.run(5_000);
    expect([pair.bothMs, pair.neitherMs]).toEqual([0, 0]);
  });

  test('no worker: never active', () => {
    const pair = new Pair();
    pair.a.heartbeats = [0n];
    pair.a.beating = false;
    pair.kill(pair.b);
    pair.run(5_000);
    expect(pair.a.serves).toBe('standby');
  });

  test('no virtual router: never active, for nobody would hear it', () => {
    const pair = new Pair({ links: [{ ...clientLink, floating: [] }] });
    pair.run(5_000);
    expect([pair.a.serves, pair.b.serves]).toEqual(['standby', 'standby']);
    expect(pair.a.told).toContainEqual(expect.objectContaining({ type: 'fault', code: 'no_virtual_router' }));
  });

  test('adverts on one link of four virtual routers are enough', () => {
    const pair = Pair.settled();
    pair.cut.add('client');
    pair.run(5_000);
    expect([pair.bothMs, pair.neitherMs]).toEqual([0, 0]);
  });
});

describe('takeover', () => {
  test('a killed unit is followed after three intervals and the skew, its workers stopped before', () => {
    const pair = Pair.settled();
    pair.kill(pair.a);
    pair.run(1_000);
    expect(pair.b.serves).toBe('active');
    expect(pair.b.term).toBe(pair.a.term + 1);
    expect(pair.bothMs).toBe(0);
    // The lease of the dead unit covers three of the four parts of the wait.
    expect(pair.neitherMs).toBeGreaterThan(0);
    expect(pair.neitherMs).toBeLessThanOrEqual(SKEW_MS + 1);
    // The last advert may have been sent up to an interval before.
    expect(pair.b.lastSilenceMs).toBeGreaterThanOrEqual(ACTIVE_DOWN_MS);
    expect(pair.b.lastSilenceMs).toBeLessThanOrEqual(ACTIVE_DOWN_MS + 1);
  });

  test('a stopped daemon resigns: the peer follows at once', () => {
    const pair = Pair.settled();
    pair.a.groups.stop();
    pair.run(1_000);
    expect(pair.b.serves).toBe('active');
    expect(pair.b.lastReason).toBe('peer_resigned');
    expect(pair.b.lastSilenceMs).toBe(AT_ONCE_MS);
    expect([pair.bothMs, pair.neitherMs]).toEqual([0, AT_ONCE_MS]);
  });

  test('stopped workers: the unit resigns although its process lives', () => {
    const pair = Pair.settled();
    pair.a.beating = false;
    pair.run(1_000);
    expect(pair.a.lastReason).toBe('workers_stopped');
    expect(pair.b.serves).toBe('active');
    expect(pair.bothMs).toBe(0);
    expect(pair.neitherMs).toBe(AT_ONCE_MS);
  });

  test("the daemon's end, told by its kernel, is followed as soon as the peer has not answered", () => {
    const pair = Pair.settled();
    pair.kill(pair.a);
    pair.b.tellIt({ type: 'peer-closed', group: 'main' });
    pair.run(24);
    expect(pair.b.serves).toBe('standby');
    pair.run(3);
    expect(pair.b.serves).toBe('active');
    expect(pair.b.groups.counts.peer_asked).toBe(1);
  });

  test('a peer that lives answers, and nothing happens', () => {
    const pair = Pair.settled();
    for (let times = 0; times < 100; times++) {
      pair.b.tellIt({ type: 'peer-closed', group: 'main' });
      pair.run(37);
    }
    expect([pair.bothMs, pair.neitherMs]).toEqual([0, 0]);
    expect(pair.b.reports.map(({ role }) => role)).not.toContain('active');
  });

  test('announcements: five rounds of every frame', () => {
    const pair = Pair.settled();
    pair.kill(pair.a);
    pair.run(ACTIVE_DOWN_MS + 1_600);
    expect(pair.b.frames).toBe(5 * 8);
  });
});

describe('a process that was stopped and continued', () => {
  test('active: its lease is lost, it comes back as backup and not in sync, and both never serve', () => {
    const pair = Pair.settled();
    pair.a.stopped = true;
    pair.run(2_000);
    expect(pair.b.serves).toBe('active');
    pair.a.stopped = false;
    pair.run(5_000);
    expect([pair.a.serves, pair.b.serves]).toEqual(['standby', 'active']);
    expect(pair.a.reports.find(({ reason }) => reason === 'lease_lost')).toMatchObject({
      inSync: false,
      role: 'standby',
    });
    expect(pair.a.groups.counts.leases_lost).toBe(1);
    expect(pair.bothMs).toBe(0);
    pair.a.condition();
    pair.run(2_000);
    expect([pair.a.serves, pair.b.serves]).toEqual(['active', 'standby']);
  });

  test('its silence is counted from the end of its lease, and not from an advert before it was active', () => {
    const pair = Pair.settled();
    pair.kill(pair.b);
    pair.run(60_000);
    pair.a.stopped = true;
    pair.run(2_000);
    pair.a.stopped = false;
    pair.run(1_000);
    expect(pair.a.serves).toBe('active');
    expect(pair.a.lastSilenceMs).toBeGreaterThan(1_500);
    expect(pair.a.lastSilenceMs).toBeLessThan(3_000);
  });

  test('active, but for less than the lease: nothing happens', () => {
    const pair = Pair.settled();
    pair.a.stopped = true;
    pair.run(180);
    pair.a.stopped = false;
    pair.run(2_000);
    expect([pair.bothMs, pair.neitherMs]).toEqual([0, 0]);
  });

  test('backup: adverts that waited in its sockets count before the silence does', () => {
    const pair = Pair.settled();
    pair.b.stopped = true;
    pair.run(10_000);
    pair.b.stopped = false;
    pair.run(2_000);
    expect(pair.b.reports.map(({ role }) => role)).not.toContain('active');
  });
});

describe('preemption', () => {
  function restartOfA(changes: Parameters<typeof Pair.settled>[0] = {}): Pair {
    const pair = Pair.settled(changes);
    pair.a.groups.carrier('a-client', false);
    pair.a.groups.carrier('a-server', false);
    pair.run(1_000);
    expect(pair.b.serves).toBe('active');
    pair.a.groups.carrier('a-client', true);
    pair.a.groups.carrier('a-server', true);
    return pair;
  }

  test('not before it is in sync', () => {
    const pair = restartOfA();
    pair.run(30_000);
    expect(pair.b.serves).toBe('active');
    pair.a.condition();
    pair.run(500);
    // What was on its way to the old unit is forwarded, for a second.
    expect([pair.a.serves, pair.b.serves]).toEqual(['active', 'handing-over']);
    expect(pair.b.lastReason).toBe('outranked');
    pair.run(1_000);
    expect(pair.b.serves).toBe('standby');
    expect(pair.bothMs).toBe(0);
  });

  test('not without preempt', () => {
    const pair = restartOfA({ preempt: false });
    pair.a.condition();
    pair.run(30_000);
    expect(pair.b.serves).toBe('active');
  });

  test('not before the preempt delay is over', () => {
    const pair = restartOfA({ preemptDelayMs: 10_000 });
    pair.a.condition();
    pair.run(9_900);
    expect(pair.b.serves).toBe('active');
    pair.run(1_000);
    expect(pair.a.serves).toBe('active');
  });

  test('a unit out of sync still takes over when the peer dies', () => {
    const pair = restartOfA();
    pair.kill(pair.b);
    pair.run(1_000);
    expect(pair.a.serves).toBe('active');
  });
});

describe('demotion', () => {
  test('a tracked failure hands the group to a peer that can serve, and its end takes it back', () => {
    const pair = Pair.settled({ preempt: true });
    pair.a.condition({ demotion: 60 });
    pair.run(500);
    expect([pair.a.serves, pair.b.serves, pair.neitherMs]).toEqual(['standby', 'active', AT_ONCE_MS]);
    expect(pair.a.lastReason).toBe('tracked_failure');
    pair.run(5_000);
    expect(pair.b.serves).toBe('active');
    pair.a.condition({ demotion: 0 });
    pair.run(2_000);
    expect([pair.a.serves, pair.b.serves]).toEqual(['active', 'standby']);
  });

  test('one that moves no role is told all the same', () => {
    const pair = Pair.settled();
    pair.a.condition({ demotion: 20, peerCanServe: false });
    expect(pair.a.reports.at(-1)).toMatchObject({ role: 'active', effectivePriority: 130 });
  });
});

describe('links', () => {
  test('all links lost at one instant: the unit gives the role up by itself', () => {
    const pair = Pair.settled();
    pair.a.condition({ peerCanServe: false });
    pair.cut.add('client').add('server');
    pair.a.groups.carrier('a-client', false);
    pair.a.groups.carrier('a-server', false);
    expect(pair.a.serves).toBe('standby');
    expect(pair.a.lastReason).toBe('all_links_lost');
    pair.run(1_000);
    expect(pair.b.serves).toBe('active');
    expect(pair.bothMs).toBe(0);
  });

  test('one link lost: the unit resigns to a peer that can serve', () => {
    const pair = Pair.settled();
    pair.a.groups.carrier('a-client', false);
    pair.run(1_000);
    expect(pair.a.lastReason).toBe('link_lost');
    expect([pair.b.serves, pair.neitherMs]).toEqual(['active', AT_ONCE_MS]);
  });

  test('one link lost: the unit serves on with the other while the peer cannot', () => {
    const pair = Pair.settled();
    pair.a.condition({ peerCanServe: false });
    pair.a.groups.carrier('a-client', false);
    pair.run(1_000);
    expect([pair.a.serves, pair.neitherMs]).toEqual(['active', 0]);
  });

  test('carrier changes are told by link', () => {
    const pair = Pair.settled();
    pair.a.groups.carrier('a-client', false);
    expect(pair.a.told).toContainEqual({ type: 'carrier', link: 'client', up: false });
  });

  test('after a partition the higher priority stays, announces again, and raises its term above what it hears', () => {
    const pair = Pair.settled();
    pair.cut.add('client').add('server');
    pair.run(5_000);
    expect([pair.a.serves, pair.b.serves]).toEqual(['active', 'active']);
    const framesBefore = pair.a.frames;
    const higher = pair.b.term;
    pair.cut.clear();
    pair.run(200);
    expect([pair.a.serves, pair.b.serves]).toEqual(['active', 'handing-over']);
    expect(pair.a.frames).toBeGreaterThan(framesBefore);
    pair.a.tellIt({ type: 'term-seen', group: 'main', term: higher, peerActive: false });
    expect(pair.a.term).toBe(higher + 1);
    expect(pair.a.lastReason).toBe('term_raised');
  });
});

describe('hand-over on purpose', () => {
  test('the peer is active at once; the old unit forwards known connections for a second', () => {
    const pair = Pair.settled();
    pair.a.tellIt({ type: 'hand-over', group: 'main' });
    pair.b.tellIt({ type: 'take-over', group: 'main' });
    expect([pair.a.serves, pair.b.serves]).toEqual(['handing-over', 'active']);
    expect(pair.a.told).toContainEqual({ type: 'peer-took-over', group: 'main' });
    pair.run(1_100);
    expect(pair.b.lastSilenceMs).toBe(AT_ONCE_MS);
    expect([pair.a.serves, pair.neitherMs]).toEqual(['standby', 0]);
  });

  test('it stays standby although its priority is higher, until released', () => {
    const pair = Pair.settled();
    pair.a.tellIt({ type: 'hand-over', group: 'main' });
    pair.run(30_000);
    expect([pair.a.serves, pair.b.serves]).toEqual(['standby', 'active']);
    pair.a.tellIt({ type: 'release', group: 'main' });
    pair.run(2_000);
    expect([pair.a.serves, pair.b.serves]).toEqual(['active', 'standby']);
    expect(pair.bothMs).toBe(0);
  });

  test('it takes over again when the peer is gone', () => {
    const pair = Pair.settled();
    pair.a.tellIt({ type: 'hand-over', group: 'main' });
    pair.run(3_000);
    pair.kill(pair.b);
    pair.run(1_000);
    expect(pair.a.serves).toBe('active');
  });
});

describe('reconfiguration', () => {
  const configure = (pair: Pair, ...groups: ReturnType<typeof group>[]) =>
    pair.a.tellIt({ type: 'configure', configuration: { groups, heartbeatTimeoutMs: null } });

  test('a group that is still there keeps its state, and announces what it has now', () => {
    const pair = Pair.settled();
    pair.run(3_000);
    const { frames, reports } = pair.a;
    const before = reports.length;
    configure(pair, group({ preemptDelayMs: 5_000 }));
    pair.run(200);
    expect(pair.a.serves).toBe('active');
    expect(reports.length).toBe(before);
    expect(pair.a.frames).toBeGreaterThan(frames);
    expect(pair.neitherMs).toBe(0);
  });

  test('a group that is gone resigns', () => {
    const pair = Pair.settled();
    configure(pair);
    pair.run(200);
    expect([pair.a.serves, pair.b.serves]).toEqual(['standby', 'active']);
  });

  test('a message for a group that is gone is ignored', () => {
    const pair = Pair.settled();
    configure(pair);
    expect(() => pair.a.tellIt({ type: 'hand-over', group: 'main' })).not.toThrow();
  });
});

test('an MLD query is answered within a second, where the group is active', () => {
  const pair = Pair.settled();
  pair.run(3_000);
  const [a, b] = [pair.a.frames, pair.b.frames];
  pair.a.mldQueries = 1n;
  pair.b.mldQueries = 1n;
  pair.run(1_000);
  expect([pair.a.frames - a, pair.b.frames - b]).toEqual([1, 0]);
});

test('adverts that are not for us are counted by reason', () => {
  const pair = Pair.settled();
  const { groups } = pair.a;
  const message = new Uint8Array(12);
  groups.receiveAdvert('a-client', {
    family: 4,
    message,
    source: Uint8Array.of(10, 1, 0, 3),
    destination: Uint8Array.of(224, 0, 0, 18),
    hopLimit: 64,
  });
  expect(groups.counts.drop_wrong_hop_limit).toBe(1);
});
