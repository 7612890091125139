/**
 * Goal: the whole pair runs as an ordinary user with CAP_NET_RAW and CAP_NET_ADMIN and nothing else.
 * Method: both daemons as `nobody`, every other capability taken from their bounding set; then a takeover.
 */

import { chmodSync, chownSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { becomeNobody, boundFolders, boundNode, boundPath } from '../support/lab/ordinary_user.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { startEcho, startServers } from '../support/lab/traffic.js';
import { hasRole, type Launch, startPair, stateDirectory } from '../support/lab/unit.js';
import { streamOutcome } from '../support/traffic/outcome.js';
import { pause } from '../support/traffic/time.js';

const privileges =
  '--inh-caps +net_raw,+net_admin --ambient-caps +net_raw,+net_admin --bounding-set -all,+net_raw,+net_admin';

const asNobody: Launch = (args) => [
  ...(['unshare', '--mount', '--propagation', 'private', 'bash', '-ec', becomeNobody, 'bash'] as const),
  ...boundFolders,
  ...privileges.split(' '),
  boundNode,
  boundPath(join(repositoryRoot, 'dist/cli.js')),
  ...args.map((arg) => (arg.startsWith(repositoryRoot) ? boundPath(arg) : arg)),
];

const NOBODY = 65_534;
/** CAP_NET_ADMIN is 12, CAP_NET_RAW 13 (capability.h). */
const theTwo = '0000000000003000';

labTest('a pair of an ordinary user with two capabilities keeps a connection', async (lab) => {
  await startServers(lab);
  chmodSync(lab.socketDirectory, 0o777);
  for (const unit of ['a', 'b'] as const) {
    const state = stateDirectory(lab, unit);
    mkdirSync(state);
    chownSync(state, NOBODY, NOBODY);
  }
  const pair = await startPair(lab, { mirror: 'async' }, asNobody);
  const { pid, failoverPid } = await pair.a.status();
  for (const each of [pid, failoverPid]) {
    const status = readFileSync(`/proc/${each}/status`, 'utf8');
    expect(/^Uid:\s+(\d+)/m.exec(status)?.[1]).toBe(String(NOBODY));
    expect(/^CapEff:\s+(\w+)/m.exec(status)?.[1]).toBe(theTwo);
  }
  const echo = await startEcho(lab);
  await pair.b.waitUntil('holding the connection', (status) => status.table.used >= 1);
  const killedAtMs = pair.a.kill();
  await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
  await pause(1_500);
  expect(streamOutcome(await echo.stop(), killedAtMs)).toBe('survived');
});
