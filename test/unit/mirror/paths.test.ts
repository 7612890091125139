/**
 * Goal: which path carries the channel at each turn, and what the other end is told of it.
 * Method: two ends as pure values; what one sends on a path is handed to the other by the test, or lost by it.
 */

import { describe, expect, test } from 'vitest';

import type { Message } from '../../../src/mirror/messages.js';
import {
  initialPaths,
  type PathIndex,
  type PathSettings,
  type PathsAction,
  type PathsInput,
  type PathsState,
  pathsDeadline,
  pathsStep,
  RETURN_MS,
  writablePath,
} from '../../../src/mirror/paths.js';

const keepaliveMs = 100;

class End {
  readonly settings: PathSettings;
  state: PathsState;
  /** What it did, in order, but for what it sent. */
  readonly done: string[] = [];

  constructor(
    readonly name: 'a' | 'b',
    readonly send: (path: PathIndex, message: Message) => void,
  ) {
    this.settings = { dials: name === 'a', paths: 2, keepaliveMs };
    this.state = initialPaths(this.settings);
  }

  give(input: PathsInput, now: number): void {
    const { state, actions } = pathsStep(this.settings, this.state, input, now);
    this.state = state;
    for (const action of actions) this.#perform(action);
  }

  #perform(action: PathsAction): void {
    if (action.type === 'send') this.send(action.path, action.message);
    else if (action.type !== 'heard') this.done.push(said(action));
  }
}

function said(action: Exclude<PathsAction, { type: 'send' | 'heard' }>): string {
  switch (action.type) {
    case 'dial':
    case 'end':
      return `${action.type} ${action.path}`;
    case 'resend':
      return `resend on ${action.path} above ${action.received}`;
    case 'received':
      return `received ${action.upTo}`;
    case 'deliver':
      return action.message.type;
    case 'closed':
      return `closed: ${action.reason}${action.byPeer ? ' (by the peer)' : ''}`;
    default:
      return action.type;
  }
}

/** Two ends and the two paths between them. */
class Ends {
  now = 1_000;
  readonly a: End;
  readonly b: End;
  readonly up = [false, false];

  constructor() {
    this.a = new End('a', (path, message) => this.deliver(this.b, path, message));
    this.b = new End('b', (path, message) => this.deliver(this.a, path, message));
  }

  deliver(to: End, path: PathIndex, message: Message): void {
    if (this.up[path] !== true) return;
    to.give({ type: 'heard', path }, this.now);
    to.give({ type: 'message', path, message }, this.now);
  }

  /** The session of one end says something. */
  say(from: End, message: Message): void {
    const path = writablePath(from.state);
    if (path !== null) this.deliver(from === this.a ? this.b : this.a, path, message);
  }

  connect(path: PathIndex): void {
    this.up[path] = true;
    this.b.give({ type: 'up', path }, this.now);
    this.a.give({ type: 'up', path }, this.now);
  }

  greet(versionMax = 3): void {
    const id = this.a.state.channel?.id ?? 0;
    this.say(this.a, hello('a', versionMax, id));
    this.say(this.b, hello('b', versionMax));
  }

  /** The kernel of `by` ends a connection: the other is told. */
  reset(path: PathIndex, byPeer: boolean): void {
    this.up[path] = false;
    for (const end of [this.a, this.b]) end.give({ type: 'down', path, reason: 'reset', byPeer }, this.now);
  }

  /** Time passes, with both ends coming back at their deadlines. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (let turn = 0; turn < 1_000 && this.now < until; turn += 1) {
      const next = Math.min(
        ...[this.a, this.b].map(({ settings, state }) => pathsDeadline(settings, state) ?? until),
        until,
      );
      this.now = Math.max(this.now, next);
      for (const end of [this.a, this.b]) end.give({ type: 'timeout' }, this.now);
    }
  }

  using(): (number | null | undefined)[] {
    return [this.a, this.b].map(({ state }) => state.channel?.using);
  }
}

function hello(unit: 'a' | 'b', versionMax: number, channel?: number): Message {
  const config = { links: [], virtualServers: [] };
  return { type: 'hello', hello: { versionMin: 2, versionMax, unit, bootId: unit, groups: [], channel, config } };
}

/** Both paths joined, the primary in use, and nothing done but that. */
function joined(): Ends {
  const ends = new Ends();
  ends.a.give({ type: 'dial', chance: 0.5 }, ends.now);
  ends.connect(0);
  ends.greet();
  ends.connect(1);
  ends.a.done.length = 0;
  ends.b.done.length = 0;
  return ends;
}

const keepalive: Message = { type: 'keepalive' };

describe('a channel', () => {
  test('opens on the primary path, and the secondary joins it', () => {
    const ends = new Ends();
    ends.a.give({ type: 'dial', chance: 0.5 }, ends.now);
    expect(ends.a.done).toEqual(['dial 0']);
    ends.connect(0);
    ends.greet();
    expect(ends.a.done).toEqual(['dial 0', 'opened', 'hello', 'dial 1']);
    expect(ends.b.done).toEqual(['opened', 'hello']);
    ends.connect(1);
    expect([ends.a, ends.b].map(({ state }) => state.paths[1])).toMatchObject([
      { name: 'up', standing: 'joined' },
      { name: 'up', standing: 'joined' },
    ]);
    expect(ends.using()).toEqual([0, 0]);
  });

  test('opens on the secondary path when the primary cannot be reached', () => {
    const ends = new Ends();
    ends.a.give({ type: 'dial', chance: 0.5 }, ends.now);
    ends.a.give({ type: 'down', path: 0, reason: 'refused', byPeer: false }, ends.now);
    ends.pass(300);
    expect(ends.a.done).toEqual(['dial 0', 'dial 1']);
    ends.connect(1);
    ends.greet();
    expect(ends.using()).toEqual([1, 1]);
  });

  test('is over when neither can be reached, once both were tried', () => {
    const ends = new Ends();
    ends.a.give({ type: 'dial', chance: 0.5 }, ends.now);
    ends.a.give({ type: 'down', path: 0, reason: 'refused', byPeer: false }, ends.now);
    ends.pass(300);
    ends.a.give({ type: 'down', path: 1, reason: 'refused', byPeer: false }, ends.now);
    expect(ends.a.done).toEqual(['dial 0', 'dial 1', 'closed: refused']);
  });

  test('with a peer of version 2 has one path, and ends with it', () => {
    const ends = new Ends();
    ends.a.give({ type: 'dial', chance: 0.5 }, ends.now);
    ends.connect(0);
    ends.greet(2);
    ends.pass(5_000);
    expect(ends.a.done).toEqual(['dial 0', 'opened', 'hello']);
    ends.reset(0, true);
    expect(ends.a.done.at(-1)).toBe('closed: reset (by the peer)');
    expect(ends.b.done.at(-1)).toBe('closed: reset (by the peer)');
  });
});

describe('the channel moves', () => {
  test('when the connection in use ends, and goes on with what the other has not received', () => {
    const ends = joined();
    for (let times = 0; times < 3; times += 1) ends.say(ends.a, keepalive);
    ends.say(ends.b, keepalive);
    ends.up[0] = false;
    // Lost on the way: sent, and never heard.
    ends.say(ends.a, keepalive);
    ends.b.give({ type: 'down', path: 0, reason: 'reset', byPeer: true }, ends.now);
    expect(ends.using()).toEqual([0, null]);
    ends.a.give({ type: 'down', path: 0, reason: 'reset', byPeer: true }, ends.now);
    expect(ends.using()).toEqual([1, 1]);
    // The hello is message 1 of each side.
    expect(ends.b.done).toEqual(['keepalive', 'keepalive', 'keepalive', 'resend on 1 above 2']);
    expect(ends.a.done).toEqual(['keepalive', 'resend on 1 above 4']);
    ends.say(ends.a, keepalive);
    expect(ends.b.done.at(-1)).toBe('keepalive');
  });

  test('when the path in use falls silent, sooner than the session would lose patience', () => {
    const ends = joined();
    ends.up[0] = false;
    ends.pass(keepaliveMs * 2 + 1);
    expect(ends.using()).toEqual([1, 1]);
    expect(ends.a.done).not.toContain('closed: the path fell silent');
  });

  test('and what still comes by the path before is not heard twice', () => {
    const ends = joined();
    ends.a.give({ type: 'down', path: 0, reason: 'reset', byPeer: false }, ends.now);
    expect(ends.using()).toEqual([1, 1]);
    const before = ends.b.done.length;
    ends.b.give({ type: 'message', path: 0, message: keepalive }, ends.now);
    expect(ends.b.done.length).toBe(before);
  });

  test('back to the primary when that has been whole for a while', () => {
    const ends = joined();
    ends.reset(0, false);
    expect(ends.using()).toEqual([1, 1]);
    ends.pass(150);
    expect(ends.a.done).toContain('dial 0');
    ends.connect(0);
    ends.pass(RETURN_MS - 10);
    expect(ends.using()).toEqual([1, 1]);
    ends.pass(20);
    expect(ends.using()).toEqual([0, 0]);
    expect([ends.a, ends.b].map(({ state }) => state.switches)).toEqual([2, 2]);
  });

  test('not at all when the path that stands by ends', () => {
    const ends = joined();
    ends.reset(1, true);
    expect(ends.using()).toEqual([0, 0]);
    expect([...ends.a.done, ...ends.b.done].filter((what) => what.startsWith('closed'))).toEqual([]);
  });
});

describe('a channel ends', () => {
  test('by the peer when its kernel has ended both connections, and not with the first', () => {
    const ends = joined();
    ends.a.give({ type: 'down', path: 0, reason: 'reset', byPeer: true }, ends.now);
    expect(ends.a.done.some((what) => what.startsWith('closed'))).toBe(false);
    ends.a.give({ type: 'down', path: 1, reason: 'reset', byPeer: true }, ends.now);
    expect(ends.a.done.at(-1)).toBe('closed: reset (by the peer)');
    ends.b.give({ type: 'down', path: 1, reason: 'reset', byPeer: true }, ends.now);
    ends.b.give({ type: 'down', path: 0, reason: 'reset', byPeer: true }, ends.now);
    expect(ends.b.done.at(-1)).toBe('closed: reset (by the peer)');
  });

  test('when the peer says hello again: it was started anew', () => {
    const ends = joined();
    ends.b.give({ type: 'down', path: 0, reason: 'replaced', byPeer: false }, ends.now);
    ends.b.give({ type: 'up', path: 0 }, ends.now);
    ends.b.give({ type: 'message', path: 0, message: hello('a', 3, 77) }, ends.now);
    expect(ends.b.done).toEqual(['end 1', 'closed: replaced by a new connection of the peer', 'opened', 'hello']);
    expect(ends.b.state.channel).toMatchObject({ id: 77, using: 0, received: 1 });
  });

  test('when the other end does not agree on a path', () => {
    const ends = joined();
    ends.b.give({ type: 'down', path: 0, reason: 'reset', byPeer: false }, ends.now);
    ends.now += keepaliveMs;
    ends.b.give({ type: 'heard', path: 1 }, ends.now);
    ends.now += keepaliveMs + 1;
    ends.b.give({ type: 'timeout' }, ends.now);
    expect(ends.b.done.at(-1)).toBe('closed: the units did not agree on a path');
  });
});

test('a join or a switch of another channel changes nothing', () => {
  const ends = joined();
  const before = ends.b.state;
  ends.b.give({ type: 'message', path: 1, message: { type: 'switch', generation: 9, sequence: 0 } }, ends.now);
  ends.b.give({ type: 'message', path: 1, message: { type: 'join', generation: 9 } }, ends.now);
  expect(ends.b.state).toEqual(before);
});

test('received messages are told of, so that they need not be kept', () => {
  const ends = joined();
  for (let times = 0; times < 40; times += 1) ends.say(ends.b, keepalive);
  expect(ends.b.done.filter((what) => what.startsWith('received'))).toEqual(['received 32']);
  ends.pass(keepaliveMs + 1);
  expect(ends.b.done.at(-1)).toBe('received 41');
});
