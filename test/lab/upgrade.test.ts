/**
 * Goal: a running pair is brought from one release to the next without losing a connection, unit by unit as
 * docs/upgrade.md says.
 * Method: the release before is this code with the mirror protocol and the version before: the greatest protocol
 * version that it offers is one less, so the pair speaks the old one until both units are new.
 */

import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from 'vitest';

import { VERSION_MAX, VERSION_MIN } from '../../src/mirror/state.js';
import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, isReady, type Launch, startPair, Unit } from '../support/lab/unit.js';
import { streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

const olderVersion = '0.0.9';

/** The release before, as an installation of its own. */
function installOlder(lab: Lab): Launch {
  const directory = join(lab.directory, 'older');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const folder of ['dist', 'scripts']) {
    cpSync(join(repositoryRoot, folder), join(directory, folder), { recursive: true });
  }
  for (const folder of ['build', 'node_modules']) symlinkSync(join(repositoryRoot, folder), join(directory, folder));
  const packageJson = JSON.parse(readFileSync(join(repositoryRoot, 'package.json'), 'utf8')) as object;
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ ...packageJson, version: olderVersion }));
  const state = join(directory, 'dist/mirror/state.js');
  const newer = readFileSync(state, 'utf8');
  const older = newer.replace(`VERSION_MAX = ${VERSION_MAX};`, `VERSION_MAX = ${VERSION_MAX - 1};`);
  if (older === newer) throw new Error(`${state} does not say VERSION_MAX = ${VERSION_MAX}`);
  writeFileSync(state, older);
  return (args) => [join(directory, 'scripts', 'tandem'), ...args];
}

labTest('a running pair is upgraded unit by unit and loses no connection', async (lab) => {
  expect(VERSION_MIN, 'the release before must be spoken to').toBeLessThan(VERSION_MAX);
  await startServers(lab);
  const older = await startPair(lab, { mirror: 'async' }, installOlder(lab));
  for (const unit of [older.a, older.b]) expect((await unit.status()).version).toBe(olderVersion);
  const [echo, idle] = await Promise.all([startEcho(lab), startIdle(lab, 200)]);
  await older.b.waitUntil('holding the connections', (status) => status.table.used >= 201);

  // The standby first.
  await older.b.stop();
  const b = new Unit(lab, 'b');
  b.start();
  const standby = await b.waitUntil('standby, new and in sync', (status) => isReady(status, 'standby'));
  expect(standby.version).not.toBe(olderVersion);
  await older.a.waitUntil('in sync with the new one', (status) => isReady(status, 'active'));
  // Mirror protocol 2 does not tell the peer's config.
  expect(standby.config.peer).toBeNull();
  await b.waitUntil('holding the connections', (status) => status.table.used >= 201);

  // Then the hand-over, from the old to the new.
  await older.a.tandem('standby');
  await b.waitUntil('active', (status) => hasRole(status, 'active'));
  await older.a.waitUntil('standby', (status) => hasRole(status, 'standby'));
  await pause(1_500);

  // Then the other.
  await older.a.stop();
  const a = new Unit(lab, 'a');
  a.start();
  // It is preferred, and takes its traffic group back once it holds the connections.
  await a.waitUntil('active again, new and in sync', (status) => isReady(status, 'active'));
  await b.waitUntil('standby again', (status) => isReady(status, 'standby') && status.config.peer !== null);
  await pause(1_500);
  const doneAtMs = monotonicMs();
  await pause(500);

  expect(streamOutcome(await echo.stop(), doneAtMs)).toBe('survived');
  expect(await idle.stop()).toEqual({ survived: 200, hung: 0, reset: 0 });
});
