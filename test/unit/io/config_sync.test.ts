/**
 * Goal: the driver carries out what the transactions decide: in order, with failures told and undone.
 * Method: two drivers joined by function calls, each with a store and a config that are variables.
 */

import { expect, test } from 'vitest';

import { type ApplyResult, ControlError } from '../../../src/api.js';
import { digestOf } from '../../../src/io/config_store.js';
import { ConfigSync } from '../../../src/io/config_sync.js';
import { systemTimers } from '../../../src/io/timers.js';
import type { ConfigMessage } from '../../../src/mirror/messages.js';

class Unit {
  text = 'old';
  /** In the file. */
  written = 'old';
  staged: string | null = null;
  peer: Unit | null = null;
  released = 0;
  cannot: 'stage' | 'commit' | 'put in force' | null = null;
  readonly sync: ConfigSync;

  constructor(unit: 'a' | 'b') {
    this.sync = new ConfigSync({
      unit,
      text: this.text,
      standing: { revision: null, digest: digestOf(this.text) },
      doubt: null,
      channel: {
        sendConfig: (message: ConfigMessage) => this.peer?.sync.hear(message),
        releaseBulk: () => {
          this.released += 1;
        },
      },
      store: {
        stage: async (text) => {
          if (this.cannot === 'stage') throw new Error('no space');
          this.staged = text;
        },
        commit: async () => {
          if (this.cannot === 'commit') throw new Error('no rename');
          this.written = this.staged ?? '';
          this.staged = null;
        },
        abandon: async () => {
          this.staged = null;
        },
      },
      check: async (text) => {
        if (text === 'bad') return { code: 'config_invalid', message: 'bad', mend: null, errors: [] };
        const before = this.text;
        return {
          changes: [`${before} -> ${text}`],
          putInForce: async () => {
            if (this.cannot === 'put in force') throw new Error('no memory');
            this.text = text;
          },
          takeBack: async () => {
            this.text = before;
          },
        };
      },
      timers: systemTimers,
      time: () => '2024-03-01T12:00:00Z',
      log: { info: () => {}, warn: () => {}, error: () => {} },
    });
  }

  apply(text: string, how: { local?: boolean; dryRun?: boolean } = {}): Promise<ApplyResult> {
    return this.sync.apply({ text, file: 'f', local: how.local ?? false, dryRun: how.dryRun ?? false });
  }

  get has(): readonly (string | null)[] {
    return [this.text, this.written, this.staged];
  }
}

function pair(): { readonly a: Unit; readonly b: Unit } {
  const [a, b] = [new Unit('a'), new Unit('b')];
  join(a, b);
  return { a, b };
}

function join(a: Unit, b: Unit): void {
  [a.peer, b.peer] = [b, a];
  for (const { sync } of [a, b]) sync.linkOpen(3);
}

function cut(a: Unit, b: Unit): void {
  [a.peer, b.peer] = [null, null];
  for (const { sync } of [a, b]) sync.linkLost();
}

/** Everything that follows by itself has followed. */
async function settled(...all: readonly Unit[]): Promise<void> {
  await expect.poll(() => all.some(({ sync }) => sync.busy)).toBe(false);
  await new Promise((resolve) => setImmediate(resolve));
}

async function codeOf(applying: Promise<unknown>): Promise<string> {
  const error = await applying.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ControlError);
  return (error as ControlError).code;
}

test('applied on both, from either', async () => {
  const { a, b } = pair();
  await settled(a, b);
  expect([a.released, b.released]).toEqual([1, 1]);
  expect(await a.apply('new')).toMatchObject({ outcome: 'applied', peer: 'applied', changes: ['old -> new'] });
  expect(await b.apply('newer')).toMatchObject({ revision: { number: 2, unit: 'b' } });
  await settled(a, b);
  expect([a.has, b.has]).toEqual(Array(2).fill(['newer', 'newer', null]));
  expect([a.sync.status().same, b.sync.status().same]).toEqual([true, true]);
});

test.each([
  ['a', 'stage', 'cannot_store'],
  ['b', 'stage', 'cannot_store'],
  ['a', 'put in force', 'cannot_apply'],
  ['a', 'commit', 'cannot_apply'],
] as const)('unit %s cannot %s: refused as %s, and both have what they had', async (unit, what, code) => {
  const units = pair();
  await settled(units.a, units.b);
  units[unit].cannot = what;
  expect(await codeOf(units.a.apply('new'))).toBe(code);
  await settled(units.a, units.b);
  expect([units.a.has, units.b.has]).toEqual(Array(2).fill(['old', 'old', null]));
});

test('a peer that agreed and then cannot: the operator is told, and it gets it when they meet anew', async () => {
  const { a, b } = pair();
  await settled(a, b);
  b.cannot = 'commit';
  const result = await a.apply('new');
  expect(result).toMatchObject({ outcome: 'applied', peer: 'failed' });
  expect(result.reason).toContain('no rename');
  await settled(a, b);
  expect([a.has, b.has]).toEqual([
    ['new', 'new', null],
    ['old', 'old', null],
  ]);
  for (const { sync } of [a, b]) expect(sync.status()).toMatchObject({ same: false });
  cut(a, b);
  b.cannot = null;
  join(a, b);
  await expect.poll(() => b.has).toEqual(['new', 'new', null]);
});

test('apply alone, and the peer is brought up when it comes, before its connections are announced', async () => {
  const [a, b] = [new Unit('a'), new Unit('b')];
  expect(await codeOf(a.apply('new'))).toBe('peer_absent');
  expect(await a.apply('new', { local: true })).toMatchObject({ outcome: 'applied', peer: 'absent' });
  join(a, b);
  await expect.poll(() => b.released).toBe(1);
  expect(b.text).toBe('new');
  await settled(a, b);
  expect(b.has).toEqual(['new', 'new', null]);
});

test('an invalid text and a dry run change nothing', async () => {
  const { a, b } = pair();
  await settled(a, b);
  expect(await codeOf(a.apply('bad'))).toBe('config_invalid');
  expect(await a.apply('new', { dryRun: true })).toMatchObject({ outcome: 'valid', peer: 'valid' });
  await settled(a, b);
  expect([a.has, b.has]).toEqual(Array(2).fill(['old', 'old', null]));
});
