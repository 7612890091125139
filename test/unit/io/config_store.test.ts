/**
 * Goal: after a crash at any moment of an apply the file is a whole old or a whole new text, and its revision is known.
 * Method: a directory of its own; a store does part of an apply and is forgotten, and another one reads what is there.
 */

import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import type { ConfigRevision } from '../../../src/config/model.js';
import { ConfigStore, digestOf } from '../../../src/io/config_store.js';

let directory: string;
let file: string;
let state: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tandem-config-'));
  file = join(directory, 'tandem.yaml');
  state = join(directory, 'state');
  writeFileSync(file, 'old');
});

afterEach(() => rmSync(directory, { recursive: true }));

function revisionOf(text: string, number: number): ConfigRevision {
  return { number, digest: digestOf(text), unit: 'a', appliedAt: '2024-03-01T12:00:00Z' };
}

function opened(): { store: ConfigStore; remembered: ReturnType<ConfigStore['remember']> } {
  const store = new ConfigStore(file, state);
  return { store, remembered: store.remember(store.read().text) };
}

async function applied(text: string, number: number): Promise<void> {
  const { store } = opened();
  await store.stage(text, revisionOf(text, number));
  await store.commit();
}

test('a unit where nothing was applied knows no revision, and nothing is written for it', () => {
  const { remembered } = opened();
  expect(remembered).toEqual({ standing: { revision: null, digest: digestOf('old') }, doubt: null, fault: null });
  expect(existsSync(state)).toBe(false);
});

test('what was applied is in the file and known after a restart; the one before is kept beside it', async () => {
  chmodSync(file, 0o640);
  await applied('new', 1);
  expect(readFileSync(file, 'utf8')).toBe('new');
  expect(statSync(file).mode & 0o777).toBe(0o640);
  expect(readFileSync(`${file}.previous`, 'utf8')).toBe('old');
  const { remembered } = opened();
  expect(remembered).toMatchObject({ standing: { revision: revisionOf('new', 1) }, doubt: null, fault: null });
  expect(readdirSync(directory).toSorted()).toEqual(['state', 'tandem.yaml', 'tandem.yaml.previous']);
});

test('a unit that ended after it had prepared is in doubt, with the old text and nothing left behind', async () => {
  await applied('old', 4);
  const { store } = opened();
  await store.stage('new', revisionOf('new', 5));
  const { remembered } = opened();
  expect(remembered.standing).toEqual({ revision: revisionOf('old', 4), digest: digestOf('old') });
  expect(remembered.doubt).toEqual(revisionOf('new', 5));
  expect(existsSync(`${file}.prepared`)).toBe(false);
});

test('a unit that ended between the rename and the note of it has the new revision', async () => {
  await applied('old', 4);
  const { store } = opened();
  await store.stage('new', revisionOf('new', 5));
  writeFileSync(file, 'new');
  expect(opened().remembered).toMatchObject({ standing: { revision: revisionOf('new', 5) }, doubt: null });
});

test('a doubt outlives restarts until it is resolved', async () => {
  const first = opened().store;
  await first.stage('new', revisionOf('new', 1));
  await first.abandon(true);
  const second = opened();
  expect(second.remembered.doubt?.number).toBe(1);
  await second.store.abandon(false);
  expect(opened().remembered.doubt).toBeNull();
});

test('a file that was changed by hand has another digest than its revision', async () => {
  await applied('new', 1);
  writeFileSync(file, 'by hand');
  expect(opened().remembered.standing).toEqual({ revision: revisionOf('new', 1), digest: digestOf('by hand') });
});

test('a link to the file stays a link', async () => {
  const target = join(directory, 'target.yaml');
  writeFileSync(target, 'old');
  rmSync(file);
  symlinkSync(target, file);
  await applied('new', 1);
  expect(readFileSync(target, 'utf8')).toBe('new');
  expect(readFileSync(file, 'utf8')).toBe('new');
});

test('a damaged note of the revision is said to be, and nothing is taken from it', async () => {
  await applied('new', 1);
  for (const damage of ['{', '{"revision": 5}', 'x'.repeat(10_000)]) {
    writeFileSync(join(state, 'config-revision.json'), damage);
    const { remembered } = opened();
    expect(remembered.standing.revision).toBeNull();
    expect(remembered.fault).toMatch(/config-revision.json: .* not known/);
  }
});

test('what cannot be written is refused before anything is promised', async () => {
  const { store } = opened();
  writeFileSync(state, 'a file where the directory should be');
  await expect(store.stage('new', revisionOf('new', 1))).rejects.toThrow(/EEXIST|ENOTDIR/);
  expect(readFileSync(file, 'utf8')).toBe('old');
});
