/**
 * Goal: what the session does at each turn, without a socket or a datapath.
 * Method: put the session in a state by the inputs that lead there, give it one more, and compare the whole list of
 * actions, so that one too many fails as surely as one too few. test/sim covers what two of them do together.
 */

import { describe, expect, test } from 'vitest';

import type { RoleName } from '../../../src/datapath.js';
import { inSync } from '../../../src/mirror/agreement.js';
import type { GroupRole, Hello, Message } from '../../../src/mirror/messages.js';
import { deadline, initial, step } from '../../../src/mirror/session.js';
import {
  type Action,
  GREETING_MS,
  type Input,
  NARROW_BYTES_MIN,
  type Settings,
  STALL_MS,
  type State,
  UNACKED_BATCHES_MAX,
  VERSION_MAX,
  VERSION_MIN,
  VERSION_NACK,
} from '../../../src/mirror/state.js';

const settings: Settings = {
  unit: 'a',
  dials: true,
  bootId: 'boot',
  maxDelayMs: 5,
  queueBytesMax: 1_000,
  keepaliveMs: 100,
  batchBytes: 400,
  bulkBytes: 200,
  bulkHoldMs: 0,
};
const dictionary = { virtualServers: [{ id: 1, name: 'www' }], devices: ['client'] };
const config = { links: ['client'], virtualServers: ['www'] };
const none = { applied: 0, stale: 0, refusedFull: 0, unknown: 0 };

function group(role: RoleName, term: number): readonly GroupRole[] {
  return [{ name: 'main', role, term }];
}

function helloOf(unit: 'a' | 'b', groups: readonly GroupRole[], versions: Partial<Hello> = {}): Message {
  return {
    type: 'hello',
    hello: { versionMin: VERSION_MIN, versionMax: VERSION_MAX, unit, bootId: 'peer', groups, config, ...versions },
  };
}

/** A session in the hands of a test. */
class Session {
  state: State;
  now = 1_000;

  constructor(groups: readonly GroupRole[]) {
    this.state = initial(dictionary, config, groups);
  }

  give(input: Input): readonly Action[] {
    const { state, actions } = step(settings, this.state, input, this.now);
    this.state = withoutDigests(state);
    return actions.filter(({ type }) => type !== 'restart-digests');
  }

  hear(message: Message): readonly Action[] {
    return this.give({ type: 'message', message });
  }

  taken(bytes: number, more: Partial<Extract<Input, { type: 'taken' }>> = {}): readonly Action[] {
    const rest = { lastRecord: 0, full: false, bulkRunning: false, bulkAnnounced: 0, writable: true, groups: null };
    return this.give({ type: 'taken', bytes, records: Math.ceil(bytes / 46), ...rest, ...more });
  }

  /** Comes back at the deadline, as the channel does. */
  wait(): readonly Action[] {
    this.now = deadline(settings, this.state) ?? this.now;
    return this.give({ type: 'timeout' });
  }
}

/** They have a test of their own, and go by the clock. */
function withoutDigests(state: State): State {
  if (state.link.name !== 'open') return state;
  return { ...state, link: { ...state.link, digesting: { sweepAt: null, tellAt: null, suspected: [] } } };
}

/** Connected to a peer with the given role; the bulk has begun and its first take is asked for. */
function opened(own: readonly GroupRole[], peers: readonly GroupRole[]): Session {
  const session = new Session(own);
  session.give({ type: 'start' });
  session.give({ type: 'timeout' });
  session.give({ type: 'connected' });
  session.hear(helloOf('b', peers));
  session.hear({ type: 'dictionary', dictionary });
  session.give({ type: 'timeout' });
  return session;
}

/** The active unit, in sync, nothing pending. */
function atRest(): Session {
  const session = opened(group('active', 1), group('standby', 0));
  session.taken(0);
  session.hear({ type: 'bulk-ack', generation: 1, count: 0 });
  return session;
}

/** The standby, in sync with an active peer. */
function standingBy(): Session {
  const session = opened(group('standby', 0), group('active', 1));
  session.taken(0);
  session.hear({ type: 'bulk-begin', generation: 7 });
  session.hear({ type: 'bulk-end', generation: 7, sequence: 0, count: 0 });
  session.give({ type: 'dropped', done: true, closed: 0 });
  return session;
}

describe('a link', () => {
  test('unit a dials at once, both sides speak first, and the hello opens it', () => {
    const session = new Session(group('active', 1));
    expect(session.give({ type: 'start' })).toEqual([]);
    expect(session.wait()).toEqual([{ type: 'dial' }]);
    expect(session.give({ type: 'connected' })).toMatchObject([{ type: 'send', message: { type: 'hello' } }]);
    expect(session.hear(helloOf('b', group('standby', 0)))).toMatchObject([
      { type: 'peer' },
      { type: 'send', message: { type: 'dictionary', dictionary } },
      { type: 'send', message: { type: 'terms' } },
      { type: 'set-wanted', on: true, confirms: true },
      { type: 'start-bulk', offers: false },
      { type: 'send', message: { type: 'bulk-begin', generation: 1 } },
    ]);
  });

  test('a peer without a hello in time is given up', () => {
    const session = new Session(group('active', 1));
    session.give({ type: 'start' });
    session.wait();
    session.give({ type: 'connected' });
    const before = session.now;
    expect(session.wait()).toMatchObject([{ type: 'fault' }, { type: 'close', reason: 'no_hello' }]);
    expect(session.now - before).toBe(GREETING_MS);
  });

  const refusals: readonly (readonly [string, Message, string])[] = [
    ['this very unit', helloOf('a', []), 'wrong_unit'],
    [
      'a peer that is too new',
      helloOf('b', [], { versionMin: VERSION_MAX + 1, versionMax: VERSION_MAX + 2 }),
      'no_common_version',
    ],
    ['a peer that is too old', helloOf('b', [], { versionMin: 0, versionMax: 0 }), 'no_common_version'],
    ['a peer that does not say hello', { type: 'keepalive' }, 'no_hello'],
  ];
  for (const [who, message, fault] of refusals) {
    test(`${who} is told why, and closed`, () => {
      const session = new Session(group('active', 1));
      session.give({ type: 'start' });
      session.wait();
      session.give({ type: 'connected' });
      expect(session.hear(message)).toMatchObject([
        { type: 'send', message: { type: 'goodbye', reason: fault } },
        { type: 'fault', fault: { name: fault } },
        { type: 'close', reason: fault },
      ]);
      expect(session.state.faults).toEqual({ [fault]: 1 });
    });
  }

  test('attempts come 100 ms apart, then twice as far, up to 2 s, less up to half', () => {
    const session = new Session(group('active', 1));
    session.give({ type: 'start' });
    const waits = [0, 1, 2, 3, 4, 5, 6].map((attempt) => {
      session.wait();
      session.give({ type: 'closed', reason: 'refused', chance: attempt === 6 ? 0.999 : 0 });
      return (deadline(settings, session.state) ?? 0) - session.now;
    });
    expect(waits.slice(0, 6)).toEqual([200, 400, 800, 1_600, 2_000, 2_000]);
    expect(waits[6]).toBeCloseTo(1_001);
  });

  test('a lost link: nothing is wanted, nobody waits, not in sync, at once', () => {
    const session = atRest();
    session.give({ type: 'flush', token: 5 });
    session.give({ type: 'hand-over', group: 'main', term: 1, forced: false });
    expect(session.give({ type: 'closed', reason: 'cut', chance: 0 })).toEqual([
      { type: 'set-wanted', on: false, confirms: false },
      { type: 'flushed', token: 5, failure: 'cut' },
      { type: 'hand-over-answered', group: 'main', refusal: 'cut' },
      { type: 'peer-gone', reason: 'cut' },
      { type: 'in-sync', inSync: { self: true, peer: false } },
    ]);
  });

  test('three keepalives without a byte, and the peer is given up', () => {
    const session = atRest();
    const began = session.now;
    for (let turn = 0; turn < 2; turn += 1) {
      expect(session.wait()).toEqual([{ type: 'send', message: { type: 'keepalive' } }]);
    }
    expect(session.wait()).toEqual([{ type: 'close', reason: 'the peer fell silent' }]);
    expect(session.now - began).toBe(300);
  });

  test('a pause of this process itself is no silence of the peer', () => {
    const session = atRest();
    session.now += 5_000;
    expect(session.give({ type: 'timeout' })).toEqual([{ type: 'send', message: { type: 'keepalive' } }]);
    session.give({ type: 'heard' });
    expect(session.wait()).toEqual([{ type: 'send', message: { type: 'keepalive' } }]);
  });
});

describe('sending', () => {
  test('an idle channel takes a change at once', () => {
    const session = atRest();
    session.now += 50;
    expect(session.give({ type: 'pending' })).toEqual([
      { type: 'take', bytes: 400, generation: 1, sequence: 1, liveOnly: false },
    ]);
    expect(session.taken(92)).toEqual([]);
    session.now += 1;
    expect(session.give({ type: 'timeout' })).toMatchObject([{ type: 'take', sequence: 2 }]);
    expect(session.taken(0)).toEqual([{ type: 'arm' }]);
  });

  test('under load takes are a millisecond apart', () => {
    const session = atRest();
    session.now += 50;
    session.give({ type: 'pending' });
    session.taken(92);
    expect(session.give({ type: 'pending' })).toEqual([]);
    expect(deadline(settings, session.state)).toBe(session.now + 1);
  });

  test('what a handshake waits for is taken at once whatever the pace, and leaves the pace as it was', () => {
    const session = atRest();
    session.give({ type: 'pending' });
    session.taken(92);
    const paced = deadline(settings, session.state);
    session.now += 0.25;
    expect(session.give({ type: 'pending', urgent: true })).toMatchObject([
      { type: 'take', sequence: 2, liveOnly: true },
    ]);
    expect(session.taken(46)).toEqual([]);
    expect(deadline(settings, session.state)).toBe(paced);
    session.now += 0.75;
    expect(session.give({ type: 'timeout' })).toMatchObject([{ type: 'take', sequence: 3, liveOnly: false }]);
  });

  test('what a handshake waits for takes nothing of a bulk with it', () => {
    const session = opened(group('active', 1), group('standby', 0));
    session.taken(184, { full: true, bulkRunning: true });
    expect(session.give({ type: 'pending', urgent: true })).toMatchObject([{ type: 'take', liveOnly: true }]);
    expect(session.taken(46, { bulkRunning: true })).toEqual([]);
    expect(deadline(settings, session.state)).toBe(session.now + 1);
  });

  test('what a handshake waits for waits for room, and no longer', () => {
    const session = atRest();
    session.give({ type: 'pending' });
    session.taken(92, { writable: false });
    expect(session.give({ type: 'pending', urgent: true })).toEqual([]);
    expect(session.give({ type: 'drained' })).toMatchObject([{ type: 'take', liveOnly: true }]);
  });

  test('an ack confirms the records of its batches, and a nack before it names those refused', () => {
    const session = atRest();
    session.give({ type: 'pending' });
    session.taken(92, { lastRecord: 7 });
    const refused = Uint32Array.of(6);
    expect(session.hear({ type: 'nack', sequence: 1, refused })).toEqual([{ type: 'refuse', records: refused }]);
    expect(session.state.counters.peer_nacked).toBe(1);
    expect(session.hear({ type: 'ack', sequence: 1, counts: none })).toEqual([{ type: 'confirm', lastRecord: 7 }]);
  });

  for (const [what, sequence] of [
    ['that is acked', 1],
    ['that was not sent', 3],
  ] as const) {
    test(`a nack of a batch ${what} ends the link`, () => {
      const session = atRest();
      session.give({ type: 'pending' });
      session.taken(92);
      session.hear({ type: 'ack', sequence: 1, counts: none });
      session.wait();
      session.taken(92);
      expect(session.hear({ type: 'nack', sequence, refused: Uint32Array.of(1) })).toMatchObject([
        { type: 'send' },
        { type: 'fault', fault: { name: 'bad_sequence' } },
        { type: 'close' },
      ]);
    });
  }

  test('a peer of the version before is not waited for: it could not say what it refuses', () => {
    const session = new Session(group('active', 1));
    session.give({ type: 'start' });
    session.give({ type: 'timeout' });
    session.give({ type: 'connected' });
    const actions = session.hear(helloOf('b', group('standby', 0), { versionMax: VERSION_NACK - 1 }));
    expect(actions).toContainEqual({ type: 'set-wanted', on: true, confirms: false });
    session.hear({ type: 'dictionary', dictionary });
    session.give({ type: 'timeout' });
    session.taken(92, { lastRecord: 7 });
    expect(session.hear({ type: 'ack', sequence: 1, counts: none })).not.toContainEqual({
      type: 'confirm',
      lastRecord: 7,
    });
  });

  test('a full batch is followed in the next turn', () => {
    const session = atRest();
    session.now += 50;
    session.give({ type: 'pending' });
    session.taken(350, { full: true });
    expect(deadline(settings, session.state)).toBe(session.now);
  });

  test('nothing is taken while too much is unacked, and an ack ends that', () => {
    const session = atRest();
    session.now += 50;
    session.give({ type: 'pending' });
    session.taken(368, { full: true });
    session.wait();
    session.taken(368, { full: true });
    // 264 bytes of room are not worth a batch.
    expect(deadline(settings, session.state)).toBeGreaterThan(session.now + 10);
    expect(session.give({ type: 'timeout' })).toEqual([]);
    expect(session.hear({ type: 'ack', sequence: 1, counts: none })).toEqual([
      { type: 'confirm', lastRecord: 0 },
      { type: 'take', bytes: 400, generation: 1, sequence: 3, liveOnly: false },
    ]);
  });

  test('nothing is taken while too many batches are unacked', () => {
    const session = atRest();
    session.now += 50;
    for (let batch = 0; batch < UNACKED_BATCHES_MAX; batch += 1) {
      session.give(batch === 0 ? { type: 'pending' } : { type: 'timeout' });
      session.taken(1, { full: true });
    }
    expect(session.give({ type: 'timeout' }).filter(({ type }) => type === 'take')).toEqual([]);
    expect(session.hear({ type: 'ack', sequence: 1, counts: none })).toMatchObject([
      { type: 'confirm' },
      { type: 'take' },
    ]);
  });

  test('on a channel that acks late little is taken, and only what was acked makes room', () => {
    const session = atRest();
    session.now += 50;
    session.give({ type: 'pending' });
    session.taken(390, { full: true });
    session.now += STALL_MS;
    session.give({ type: 'heard' });
    expect(session.give({ type: 'timeout' }).filter(({ type }) => type === 'take')).toEqual([]);
    session.now += 39 * STALL_MS;
    session.give({ type: 'heard' });
    // 390 bytes in 40 times STALL_MS: less than the least.
    const acked = session.hear({ type: 'ack', sequence: 1, counts: none });
    expect(acked.filter(({ type }) => type === 'take')).toMatchObject([{ bytes: 400 }]);
    session.taken(10, { full: true });
    expect(session.state.link).toMatchObject({ send: { windowBytes: NARROW_BYTES_MIN } });
    session.hear({ type: 'ack', sequence: 2, counts: none });
    expect(session.state.link).toMatchObject({ send: { windowBytes: 2 * NARROW_BYTES_MIN } });
  });

  test('a full socket stops taking until it has drained', () => {
    const session = atRest();
    session.now += 50;
    session.give({ type: 'pending' });
    session.taken(350, { full: true, writable: false });
    expect(session.give({ type: 'timeout' })).toEqual([]);
    expect(session.give({ type: 'drained' })).toMatchObject([{ type: 'take', sequence: 2 }]);
  });

  test('an ack of what was not sent ends the link', () => {
    const session = atRest();
    expect(session.hear({ type: 'ack', sequence: 1, counts: none })).toMatchObject([
      { type: 'send', message: { type: 'goodbye' } },
      { type: 'fault', fault: { name: 'bad_sequence' } },
      { type: 'close' },
    ]);
  });

  test('what the peer refuses is counted once', () => {
    const session = atRest();
    session.now += 50;
    session.give({ type: 'pending' });
    session.taken(92);
    session.hear({ type: 'ack', sequence: 1, counts: { ...none, refusedFull: 2 } });
    session.hear({ type: 'ack', sequence: 1, counts: { ...none, refusedFull: 2 } });
    expect(session.state.counters).toMatchObject({ records_acked: 2, peer_refused_full: 2 });
  });

  test('a flush takes at once, and is done when what was pending is acked', () => {
    const session = atRest();
    session.now += 50;
    session.give({ type: 'pending' });
    session.taken(92);
    expect(session.give({ type: 'flush', token: 9 })).toMatchObject([{ type: 'take', sequence: 2 }]);
    session.taken(350, { full: true });
    session.wait();
    session.taken(46);
    expect(session.hear({ type: 'ack', sequence: 2, counts: none })).toEqual([{ type: 'confirm', lastRecord: 0 }]);
    expect(session.hear({ type: 'ack', sequence: 3, counts: none })).toMatchObject([
      { type: 'confirm' },
      { type: 'flushed', token: 9, failure: null },
    ]);
  });
});

describe('our bulk', () => {
  test('goes in small parts a millisecond apart and ends with a marker', () => {
    const session = opened(group('active', 1), group('standby', 0));
    expect(session.taken(184, { full: true, bulkRunning: true })).toEqual([]);
    expect(deadline(settings, session.state)).toBe(session.now + 1);
    expect(session.wait()).toEqual([{ type: 'take', bytes: 200, generation: 1, sequence: 2, liveOnly: false }]);
    expect(session.taken(46, { bulkAnnounced: 5, groups: group('active', 1) })).toEqual([
      { type: 'send', message: { type: 'bulk-end', generation: 1, sequence: 2, count: 5 } },
    ]);
    expect(session.hear({ type: 'bulk-ack', generation: 1, count: 0 })).toEqual([
      { type: 'in-sync', inSync: { self: true, peer: true } },
    ]);
  });

  test('under roles that changed on its way it ends without a marker and begins anew', () => {
    const session = opened(group('active', 1), group('standby', 0));
    const actions = session.taken(46, { groups: group('standby', 1) });
    expect(actions).toMatchObject([
      { type: 'send', message: { type: 'terms' } },
      { type: 'start-bulk', offers: true },
      { type: 'send', message: { type: 'bulk-begin', generation: 2 } },
      { type: 'in-sync', inSync: { self: false, peer: false } },
    ]);
  });

  test('begins anew when a group becomes active here, when the peer yields one, and when it is asked for', () => {
    for (const cause of ['takeover', 'yield', 'request', 'resync'] as const) {
      const session = cause === 'takeover' ? standingBy() : atRest();
      if (cause === 'yield') session.hear({ type: 'terms', groups: group('active', 2) });
      const actions = {
        takeover: () => session.give({ type: 'groups', groups: group('active', 2) }),
        yield: () => session.hear({ type: 'terms', groups: group('standby', 2) }),
        request: () => session.hear({ type: 'bulk-request' }),
        resync: () => session.give({ type: 'resync' }),
      }[cause]();
      expect(actions.map(({ type }) => type)).toContain('start-bulk');
    }
  });

  test('an ack of a bulk that was begun anew means nothing', () => {
    const session = opened(group('active', 1), group('standby', 0));
    session.taken(0);
    session.give({ type: 'resync' });
    session.hear({ type: 'bulk-ack', generation: 1, count: 0 });
    expect(inSync(session.state).peer).toBe(false);
  });

  test('while both units are active, the peer is not in sync whatever it acked', () => {
    const session = atRest();
    expect(session.hear({ type: 'terms', groups: group('active', 2) })).toMatchObject([
      { type: 'peer' },
      { type: 'in-sync', inSync: { self: true, peer: false } },
    ]);
  });
});

describe("the peer's bulk", () => {
  test('is acked after what it did not announce was dropped, part by part', () => {
    const session = opened(group('standby', 0), group('active', 1));
    session.hear({ type: 'bulk-begin', generation: 7 });
    const { stamp } = session.state;
    expect(session.hear({ type: 'bulk-end', generation: 7, sequence: 0, count: 0 })).toEqual([
      { type: 'drop-unannounced', stamp, restart: true },
    ]);
    expect(session.give({ type: 'dropped', done: false, closed: 2 })).toEqual([]);
    expect(session.wait()).toEqual([{ type: 'drop-unannounced', stamp, restart: false }]);
    expect(session.give({ type: 'dropped', done: true, closed: 1 })).toEqual([
      { type: 'send', message: { type: 'bulk-ack', generation: 7, count: 3 } },
      { type: 'in-sync', inSync: { self: true, peer: false } },
    ]);
  });

  test('of a peer that is active for nothing drops nothing', () => {
    const session = opened(group('standby', 0), group('standby', 0));
    session.hear({ type: 'bulk-begin', generation: 7 });
    expect(session.hear({ type: 'bulk-end', generation: 7, sequence: 0, count: 0 })).toEqual([]);
    expect(session.give({ type: 'groups', groups: group('active', 1) }).map(({ type }) => type)).not.toContain(
      'drop-unannounced',
    );
  });

  test('while both units are active drops nothing', () => {
    const session = opened(group('active', 1), group('active', 2));
    session.hear({ type: 'bulk-begin', generation: 7 });
    expect(session.hear({ type: 'bulk-end', generation: 7, sequence: 0, count: 0 })).toEqual([]);
  });

  test('made before this unit yielded proves nothing', () => {
    const session = opened(group('active', 1), group('active', 2));
    session.hear({ type: 'bulk-begin', generation: 7 });
    session.give({ type: 'groups', groups: group('standby', 1) });
    expect(session.hear({ type: 'bulk-end', generation: 7, sequence: 0, count: 0 })).toEqual([]);
    expect(inSync(session.state).self).toBe(false);
  });

  test('is held when this unit takes over while it drops', () => {
    const session = opened(group('standby', 0), group('active', 1));
    session.hear({ type: 'bulk-begin', generation: 7 });
    session.hear({ type: 'bulk-end', generation: 7, sequence: 0, count: 0 });
    session.give({ type: 'dropped', done: false, closed: 0 });
    session.give({ type: 'groups', groups: group('active', 2) });
    expect(session.give({ type: 'timeout' }).map(({ type }) => type)).not.toContain('drop-unannounced');
  });

  test('stays good when the peer resigns, so that this unit may take over in sync', () => {
    const session = standingBy();
    session.hear({ type: 'terms', groups: group('standby', 1) });
    expect(inSync(session.state).self).toBe(true);
  });

  test('of a peer that was started again drops nothing until it has raised its term', () => {
    const session = standingBy();
    session.give({ type: 'closed', reason: 'cut', chance: 0 });
    session.wait();
    session.give({ type: 'connected' });
    const hello = helloOf('b', group('active', 1), { bootId: 'another life' });
    expect(session.hear(hello)).toContainEqual({
      type: 'send',
      message: { type: 'terms', groups: group('standby', 2) },
    });
    session.hear({ type: 'dictionary', dictionary });
    session.hear({ type: 'bulk-begin', generation: 1 });
    expect(session.hear({ type: 'bulk-end', generation: 1, sequence: 0, count: 0 })).toEqual([]);
    // What it had of ours went with its former life: ours is offered first, and its bulk asked for behind that.
    session.wait();
    expect(session.taken(0)).toContainEqual({ type: 'send', message: { type: 'bulk-request' } });
    session.hear({ type: 'terms', groups: group('active', 3) });
    session.hear({ type: 'bulk-begin', generation: 2 });
    expect(session.hear({ type: 'bulk-end', generation: 2, sequence: 0, count: 0 })).toMatchObject([
      { type: 'drop-unannounced', restart: true },
    ]);
  });

  test('gets a stamp of this unit, whatever the peer counts', () => {
    const session = standingBy();
    const { stamp } = session.state;
    session.hear({ type: 'bulk-begin', generation: 7 });
    expect(session.state.stamp).toBe(stamp + 1);
  });
});

describe('receiving', () => {
  const records = new Uint8Array(46);
  const refused = new Uint32Array(0);

  test('a batch is applied with the stamp of the bulk, and acked after that', () => {
    const session = standingBy();
    const { stamp } = session.state;
    expect(session.hear({ type: 'batch', generation: 7, sequence: 1, count: 1, records })).toEqual([
      { type: 'apply', sequence: 1, records, stamp },
    ]);
    const counts = { applied: 0, stale: 0, refusedFull: 1, unknown: 0 };
    const named = Uint32Array.of(17);
    const applied: Input = { type: 'applied', sequence: 1, counts: { ...counts, malformed: false, refused: named } };
    expect(session.give(applied)).toEqual([
      { type: 'send', message: { type: 'nack', sequence: 1, refused: named } },
      { type: 'send', message: { type: 'ack', sequence: 1, counts } },
    ]);
  });

  const wrong: readonly (readonly [string, Partial<Extract<Message, { type: 'batch' }>>, string])[] = [
    ['twice the same', { sequence: 0 }, 'bad_sequence'],
    ['one left out', { sequence: 2 }, 'bad_sequence'],
    ['of another generation', { generation: 6 }, 'out_of_order'],
  ];
  for (const [what, part, fault] of wrong) {
    test(`a batch ${what} is not applied and ends the link`, () => {
      const session = standingBy();
      const actions = session.hear({ type: 'batch', generation: 7, sequence: 1, count: 1, records, ...part });
      expect(actions).toMatchObject([{ type: 'send' }, { type: 'fault', fault: { name: fault } }, { type: 'close' }]);
    });
  }

  test('records that are not whole end the link', () => {
    const session = standingBy();
    session.hear({ type: 'batch', generation: 7, sequence: 1, count: 1, records });
    expect(session.give({ type: 'applied', sequence: 1, counts: { ...none, malformed: true, refused } })).toMatchObject(
      [{ type: 'send' }, { type: 'fault', fault: { name: 'malformed_records' } }, { type: 'close' }],
    );
  });

  test('a new config here tells our names, looks the peer’s up anew, and asks again for what was unknown', () => {
    const session = standingBy();
    session.hear({ type: 'batch', generation: 7, sequence: 1, count: 1, records });
    session.give({ type: 'applied', sequence: 1, counts: { ...none, unknown: 1, malformed: false, refused } });
    const reload: Input = { type: 'dictionary', dictionary, config };
    expect(session.give(reload)).toEqual([
      { type: 'send', message: { type: 'dictionary', dictionary } },
      { type: 'set-dictionary', dictionary },
      { type: 'send', message: { type: 'bulk-request' } },
    ]);
    expect(session.give(reload)).toHaveLength(2);
  });
});

describe('a hand-over', () => {
  test('is not asked of a peer that is not in sync, unless forced', () => {
    const session = opened(group('active', 1), group('standby', 0));
    const ask: Input = { type: 'hand-over', group: 'main', term: 1, forced: false };
    const refusal = 'the peer is not in sync';
    expect(session.give(ask)).toEqual([{ type: 'hand-over-answered', group: 'main', refusal }]);
    expect(session.give({ ...ask, forced: true })).toMatchObject([{ type: 'send', message: { type: 'hand-over' } }]);
  });

  test('that the peer does not answer is answered here', () => {
    const session = atRest();
    session.give({ type: 'hand-over', group: 'main', term: 1, forced: false });
    const answers: Action[] = [];
    for (let turn = 0; turn < 30; turn += 1) {
      session.give({ type: 'heard' });
      answers.push(...session.wait().filter(({ type }) => type === 'hand-over-answered'));
    }
    expect(answers).toEqual([{ type: 'hand-over-answered', group: 'main', refusal: 'the peer did not answer' }]);
  });

  test('is refused by a unit that is not in sync, without asking anyone', () => {
    const session = opened(group('standby', 0), group('active', 1));
    expect(session.hear({ type: 'hand-over', group: 'main', term: 1, forced: false })).toEqual([
      { type: 'send', message: { type: 'take-over', group: 'main', term: 1, refusal: 'not in sync' } },
    ]);
  });
});

test('a peer that becomes active under a term that is over is told so', () => {
  const session = opened(group('standby', 0), group('active', 2));
  session.hear({ type: 'terms', groups: group('standby', 5) });
  const told = session.hear({ type: 'terms', groups: group('active', 3) });
  expect(told).toContainEqual({ type: 'send', message: { type: 'terms', groups: group('standby', 5) } });
  const current = session.hear({ type: 'terms', groups: group('active', 5) });
  expect(current.filter(({ type }) => type === 'send')).toEqual([]);
});

test('what was offered to a peer that was lost before it judged it is offered again', () => {
  const session = opened(group('active', 2), group('active', 3));
  session.give({ type: 'groups', groups: group('standby', 2) });
  expect(session.state.offers).toBe(true);
  session.give({ type: 'timeout' });
  session.taken(46);
  // Its bulk has ended: the offer is made, and a bulk of the peer is asked for.
  expect(session.state.offers).toBe(false);
  session.give({ type: 'closed', reason: 'lost', chance: 0 });
  expect(session.state.offers).toBe(true);
});

describe('a bulk that waits for the configs to be equal', () => {
  const patient: Settings = { ...settings, bulkHoldMs: 250 };

  /** Connected under a version of the protocol, with a unit that waits. */
  function met(versionMax: number): { state: State; actions: readonly Action[] } {
    let state = initial(dictionary, config, group('active', 1));
    let actions: readonly Action[] = [];
    const inputs: readonly Input[] = [
      { type: 'start' },
      { type: 'timeout' },
      { type: 'connected' },
      { type: 'message', message: helloOf('b', group('standby', 0), { versionMax }) },
    ];
    for (const input of inputs) ({ state, actions } = step(patient, state, input, 1_000));
    return { state, actions };
  }

  const types = (actions: readonly Action[]) =>
    actions.map((action) => (action.type === 'send' ? action.message.type : action.type));
  const offer: Input = {
    type: 'config',
    message: { type: 'config-offer', standing: { revision: null, digest: 'd' } },
  };

  test('what is said of configs goes before it; nothing is taken meanwhile', () => {
    const { state, actions } = met(VERSION_MAX);
    expect(types(actions)).toEqual(['peer', 'dictionary', 'terms', 'set-wanted']);
    const said = step(patient, state, offer, 1_001);
    expect(types(said.actions)).toEqual(['config-offer']);
    expect(step(patient, said.state, { type: 'pending' }, 1_002).actions).toEqual([]);
    expect(step(patient, said.state, { type: 'resync' }, 1_002).actions).toEqual([]);
    const released = step(patient, said.state, { type: 'release-bulk' }, 1_003);
    expect(types(released.actions)).toEqual(['start-bulk', 'bulk-begin']);
    expect(step(patient, released.state, { type: 'release-bulk' }, 1_004).actions).toEqual([]);
  });

  test('it waits no longer than it may', () => {
    const { state } = met(VERSION_MAX);
    const at = 1_000 + patient.bulkHoldMs;
    // A keepalive is due before.
    const kept = step(patient, state, { type: 'timeout' }, 1_000 + patient.keepaliveMs).state;
    const heard = step(patient, kept, { type: 'heard' }, 1_200).state;
    expect(deadline(patient, step(patient, heard, { type: 'timeout' }, 1_200).state)).toBe(at);
    expect(types(step(patient, heard, { type: 'timeout' }, at).actions)).toContain('bulk-begin');
  });

  test('a peer that is too old for it gets its bulk at once, and is told nothing of configs', () => {
    const { state, actions } = met(2);
    expect(types(actions)).toContain('bulk-begin');
    expect(step(patient, state, offer, 1_001).actions).toEqual([]);
    const message: Message = { type: 'config-commit', id: 1 };
    expect(types(step(patient, state, { type: 'message', message }, 1_002).actions)).toContain('close');
  });
});
