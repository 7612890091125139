/**
 * Goal: digests are told and compared only where they prove something, and what differs is put right by a bulk of it
 * alone, and by no more of them than help.
 * Method: the session's rules without a socket or a datapath; test/property/agreement.test.ts has two of them and both
 * tables.
 */

import { describe, expect, test } from 'vitest';

import type { Digest, RoleName } from '../../../src/datapath.js';
import type { GroupRole, Message } from '../../../src/mirror/messages.js';
import { deadline, initial, step } from '../../../src/mirror/session.js';
import {
  type Action,
  type Input,
  REPAIR_MIN_MS,
  type Settings,
  type State,
  TELL_MS,
} from '../../../src/mirror/state.js';

const settings: Settings = {
  unit: 'a',
  dials: true,
  bootId: 'boot',
  maxDelayMs: 5,
  queueBytesMax: 1_000,
  keepaliveMs: 1_000_000,
  batchBytes: 400,
  bulkBytes: 200,
  bulkHoldMs: 0,
};
const dictionary = {
  virtualServers: [
    { id: 1, name: 'www' },
    { id: 2, name: 'dns' },
  ],
  devices: ['client'],
};
const config = { links: ['client'], virtualServers: ['www', 'dns'] };
const groups = (role: RoleName): readonly GroupRole[] => [{ name: 'main', role, term: role === 'active' ? 1 : 0 }];

class Session {
  state: State;
  now = 1_000;

  constructor(role: RoleName, version: number) {
    const other = role === 'active' ? 'standby' : 'active';
    this.state = initial(dictionary, config, groups(role));
    this.give({ type: 'start' });
    this.give({ type: 'timeout' });
    this.give({ type: 'connected' });
    const hello = {
      versionMin: 2,
      versionMax: version,
      unit: 'b',
      bootId: 'peer',
      groups: groups(other),
      config,
    } as const;
    this.hear({ type: 'hello', hello });
    this.hear({ type: 'dictionary', dictionary });
    this.give({ type: 'timeout' });
    this.taken();
  }

  give(input: Input): readonly Action[] {
    const { state, actions } = step(settings, this.state, input, this.now);
    this.state = state;
    return actions;
  }

  hear(message: Message): readonly Action[] {
    return this.give({ type: 'message', message });
  }

  taken(more: Partial<Extract<Input, { type: 'taken' }>> = {}): readonly Action[] {
    const nothing = {
      bytes: 0,
      records: 0,
      lastRecord: 0,
      full: false,
      bulkRunning: false,
      bulkAnnounced: 0,
      writable: true,
    };
    return this.give({ type: 'taken', ...nothing, groups: null, ...more });
  }

  /** What is asked for within so long, each sweep of a whole lap. */
  wait(ms: number): Action[] {
    const until = this.now + ms;
    const actions: Action[] = [];
    for (let at = deadline(settings, this.state); at !== null && at <= until; at = deadline(settings, this.state)) {
      this.now = Math.max(this.now, at);
      const now = this.give({ type: 'timeout' });
      actions.push(...now);
      if (now.some(({ type }) => type === 'sweep-digests')) this.give({ type: 'swept', share: 1 });
      if (now.some(({ type }) => type === 'take')) actions.push(...this.taken());
    }
    this.now = until;
    return actions;
  }

  /** A digest of the peer's, and ours of the same moment. */
  compare(sums: readonly Digest[], heard: readonly Digest[] | null, unsummed: string[] = []): readonly Action[] {
    const told = { sums, unsummed };
    const asked = this.hear({ type: 'digest', generation: 7, sequence: 0, ...told });
    expect(asked).toEqual([{ type: 'compare-digests', told }]);
    return this.give({ type: 'compared', told, heard: heard && { sums: heard, unsummed: [] } });
  }
}

const kinds = (actions: readonly Action[]): string[] =>
  actions
    .filter(({ type }) => type !== 'in-sync')
    .map((action) => (action.type === 'send' ? action.message.type : action.type));
const sum = (name: string, connections: number, identities: bigint): Digest => ({ name, connections, identities });
const www = sum('www', 1, 5n);
const other = sum('www', 1, 6n);

function active(version = 3): Session {
  const session = new Session('active', version);
  session.hear({ type: 'bulk-ack', generation: 1, count: 0 });
  return session;
}

function standby(version = 3): Session {
  const session = new Session('standby', version);
  session.hear({ type: 'bulk-begin', generation: 7 });
  session.hear({ type: 'bulk-end', generation: 7, sequence: 0, count: 0 });
  session.give({ type: 'dropped', done: true, closed: 0 });
  return session;
}

describe('the sender', () => {
  test('tells behind a take that left nothing pending, once a second, and sweeps meanwhile', () => {
    const session = active();
    const actions = session.wait(2.5 * TELL_MS);
    expect(kinds(actions).filter((kind) => kind === 'tell-digests')).toHaveLength(2);
    expect(kinds(actions)).toContain('sweep-digests');
    expect(kinds(actions)[kinds(actions).indexOf('tell-digests') - 2]).toBe('take');
  });

  test('tells nothing before its bulk is acked, nor to a peer that knows no digests', () => {
    expect(kinds(new Session('active', 3).wait(5 * TELL_MS))).not.toContain('tell-digests');
    expect(kinds(active(2).wait(5 * TELL_MS))).toEqual([]);
  });

  test('tells nothing behind a take that was full: more is pending', () => {
    const session = active();
    session.now += 2 * TELL_MS;
    session.give({ type: 'pending' });
    expect(kinds(session.taken({ bytes: 400, records: 8, full: true }))).not.toContain('tell-digests');
    session.give({ type: 'timeout' });
    expect(kinds(session.taken({ bytes: 46, records: 1 }))).toContain('tell-digests');
  });

  test('announces the virtual servers asked for, between markers that name their batches', () => {
    const session = active();
    expect(session.hear({ type: 'server-bulk-request', virtualServers: ['dns', 'none'] })).toEqual([
      { type: 'start-bulk', virtualServers: ['dns'] },
      { type: 'send', message: { type: 'server-bulk-begin', number: 1, sequence: 0, virtualServers: ['dns'] } },
    ]);
    expect(kinds(session.hear({ type: 'server-bulk-request', virtualServers: ['www'] }))).toEqual([]);
    session.give({ type: 'timeout' });
    expect(kinds(session.taken({ bytes: 46, records: 1, bulkRunning: true }))).toEqual([]);
    session.now += 10;
    session.give({ type: 'timeout' });
    const [end, ...next] = session.taken({ bytes: 46, records: 1 }).filter(({ type }) => type !== 'arm');
    expect(end).toEqual({ type: 'send', message: { type: 'server-bulk-end', number: 1, sequence: 2 } });
    expect(kinds(next)).toEqual(['start-bulk', 'server-bulk-begin']);
  });

  test('lost closes cost a bulk of their virtual servers; with an older peer, of all', () => {
    const lost = { type: 'closes-lost', virtualServers: ['www'] } as const;
    const [restart, ...bulk] = active().give(lost);
    expect(restart).toEqual({ type: 'restart-digests', virtualServers: ['www'] });
    expect(kinds(bulk)).toEqual(['start-bulk', 'server-bulk-begin']);
    expect(kinds(active(2).give(lost))).toEqual(['start-bulk', 'bulk-begin']);
  });

  test('goes on telling of the others while it announces one', () => {
    const session = active();
    session.hear({ type: 'server-bulk-request', virtualServers: ['dns'] });
    session.now += 2 * TELL_MS;
    session.give({ type: 'timeout' });
    const tell = session.taken({ bulkRunning: true }).filter(({ type }) => type === 'tell-digests');
    expect(tell).toEqual([expect.objectContaining({ except: ['dns'] })]);
  });

  test('a bulk of all takes the place of one that is running', () => {
    const session = active();
    session.hear({ type: 'server-bulk-request', virtualServers: ['dns'] });
    session.give({ type: 'timeout' });
    expect(kinds(session.give({ type: 'resync' }))).toEqual(['start-bulk', 'bulk-begin']);
    expect(kinds(session.taken())).toContain('bulk-end');
    expect(kinds(session.wait(1_000))).not.toContain('server-bulk-end');
  });

  test('shows what the peer answers', () => {
    const session = active();
    const answer = { type: 'digest-answer', suspected: [], differing: ['dns'], uncompared: [] } as const;
    expect(session.hear(answer)).toEqual([{ type: 'differs', virtualServer: 'dns', side: 'told' }]);
    expect(session.state.agreements.told).toMatchObject({ www: { is: 'agrees' }, dns: { is: 'differs' } });
    expect(session.hear({ ...answer, differing: [], uncompared: ['dns'] })).toEqual([]);
    expect(session.state.agreements.told).toMatchObject({ www: { is: 'agrees' }, dns: { is: 'differs' } });
  });
});

describe('the receiver', () => {
  test('a difference is believed the second time, and a bulk of that virtual server asked for', () => {
    const session = standby();
    expect(session.compare([www], [other])).toEqual([
      { type: 'send', message: { type: 'digest-answer', suspected: ['www'], differing: [], uncompared: [] } },
    ]);
    expect(session.state.agreements.heard).toMatchObject({ dns: { is: 'agrees' } });
    expect(session.compare([www], [other])).toEqual([
      { type: 'differs', virtualServer: 'www', side: 'heard' },
      { type: 'send', message: { type: 'digest-answer', suspected: [], differing: ['www'], uncompared: [] } },
      { type: 'send', message: { type: 'server-bulk-request', virtualServers: ['www'] } },
    ]);
  });

  test('one that is gone at the next digest was none', () => {
    const session = standby();
    session.compare([www], [other]);
    session.compare([www], [www]);
    session.compare([www], [other]);
    expect(session.state.agreements.heard).toMatchObject({ www: { is: 'agrees', differences: 0 } });
  });

  test('what was not summed is not compared, and that is answered', () => {
    const session = standby();
    session.compare([www], [other]);
    expect(session.compare([www], [other], ['www'])).toEqual([
      { type: 'send', message: { type: 'digest-answer', suspected: [], differing: [], uncompared: ['www'] } },
    ]);
    expect(session.state.agreements.heard).not.toHaveProperty('www');
    expect(kinds(session.compare([www], [other]))).toEqual(['digest-answer']);
    expect(kinds(session.compare([www], [other]))).toContain('differs');
  });

  test('what only one unit has differs, too', () => {
    for (const [told, heard] of [
      [[www], []],
      [[], [www]],
    ] as const) {
      const session = standby();
      session.compare(told, heard);
      expect(kinds(session.compare(told, heard))).toContain('server-bulk-request');
    }
  });

  test('nothing is compared at another place of the stream, in a bulk, or before a lap', () => {
    const session = standby();
    expect(session.hear({ type: 'digest', generation: 7, sequence: 1, sums: [www], unsummed: [] })).toEqual([]);
    expect(session.hear({ type: 'digest', generation: 6, sequence: 0, sums: [www], unsummed: [] })).toEqual([]);
    expect(session.compare([www], null)).toEqual([]);
    session.hear({ type: 'bulk-begin', generation: 8 });
    expect(session.hear({ type: 'digest', generation: 8, sequence: 0, sums: [www], unsummed: [] })).toEqual([]);
  });

  test('is in sync while it drops what a bulk of one virtual server did not announce, and counts the repair', () => {
    const session = standby();
    session.compare([www], [other]);
    session.compare([www], [other]);
    session.hear({ type: 'server-bulk-begin', number: 4, sequence: 0, virtualServers: ['www'] });
    const { stamp } = session.state;
    expect(session.compare([www], [other]).filter(({ type }) => type === 'differs')).toEqual([]);
    expect(session.hear({ type: 'server-bulk-end', number: 4, sequence: 0 })).toEqual([
      { type: 'drop-unannounced', stamp, restart: true, virtualServers: ['www'] },
    ]);
    session.give({ type: 'dropped', done: false, closed: 1 });
    expect(session.wait(0)).toContainEqual({
      type: 'drop-unannounced',
      stamp,
      restart: false,
      virtualServers: ['www'],
    });
    expect(session.give({ type: 'dropped', done: true, closed: 2 })).toEqual([
      { type: 'repaired', virtualServer: 'www' },
    ]);
    session.compare([www], [www]);
    expect(session.state.agreements.heard['www']).toMatchObject({ is: 'agrees', differences: 1, repairs: 1 });
    expect(session.state.counters).toMatchObject({ connections_dropped: 3, server_bulks_received: 1 });
  });

  test('a bulk of no avail is asked for again later and later', () => {
    const session = standby();
    const requests = (): number => {
      const all = [...session.compare([www], [other]), ...session.compare([www], [other])];
      return kinds(all).filter((kind) => kind === 'server-bulk-request').length;
    };
    expect(requests()).toBe(1);
    session.now += REPAIR_MIN_MS;
    expect(requests()).toBe(1);
    session.now += REPAIR_MIN_MS;
    expect(requests()).toBe(0);
    session.now += REPAIR_MIN_MS;
    expect(requests()).toBe(1);
  });

  test('markers that are not where they say end nothing', () => {
    const session = standby();
    session.hear({ type: 'server-bulk-begin', number: 4, sequence: 3, virtualServers: ['www'] });
    expect(session.hear({ type: 'server-bulk-end', number: 4, sequence: 0 })).toEqual([]);
    session.hear({ type: 'server-bulk-begin', number: 5, sequence: 0, virtualServers: ['www'] });
    expect(session.hear({ type: 'server-bulk-end', number: 4, sequence: 0 })).toEqual([]);
    session.hear({ type: 'bulk-begin', generation: 8 });
    expect(session.hear({ type: 'server-bulk-end', number: 5, sequence: 0 })).toEqual([]);
  });

  test('nothing is compared while both units are active', () => {
    const session = standby();
    session.give({ type: 'groups', groups: [{ name: 'main', role: 'active', term: 2 }] });
    expect(session.hear({ type: 'digest', generation: 7, sequence: 0, sums: [www], unsummed: [] })).toEqual([]);
  });

  test('a change of roles makes everything unknown', () => {
    const session = standby();
    session.compare([www], [www]);
    session.give({ type: 'groups', groups: groups('active') });
    expect(session.state.agreements.heard['www']).toMatchObject({ is: 'unknown' });
  });
});
