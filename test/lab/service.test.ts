/**
 * Goal: a service manager hears from the daemon itself: that it serves, lives, reloads and stops.
 * Method: one unit in the lab with the environment that systemd gives, and a real socket.
 */

import { join } from 'node:path';

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { pairUnits, Unit, writePairConfig } from '../support/lab/unit.js';
import { NotifySocket } from '../support/systemd/notify_socket.js';

const WATCHDOG_US = 2_000_000;

labTest('a service manager hears that the unit serves, lives, reloads and stops', async (lab) => {
  writePairConfig(lab, { mirror: 'async' });
  const path = join(lab.socketDirectory, 'notify');
  const socket = await NotifySocket.open(path);
  try {
    const a = new Unit(lab, 'a', (args) => [
      'env',
      `NOTIFY_SOCKET=${path}`,
      `WATCHDOG_USEC=${WATCHDOG_US}`,
      join(repositoryRoot, 'scripts', 'tandem'),
      ...args,
    ]);
    await pairUnits((unit) => (unit === 'a' ? a.state : join(lab.directory, 'state-b')));
    a.start();
    await socket.until('ready', (messages) => messages.includes('READY=1'));
    // Ready means that it answers.
    expect((await a.status()).unit).toBe('a');
    await socket.until('alive', (messages) => messages.filter((each) => each === 'WATCHDOG=1').length >= 3);
    await socket.until('telling its role', (messages) =>
      messages.some((each) => each.startsWith('STATUS=main active')),
    );

    const heard = socket.messages.length;
    a.reloadBySignal();
    await socket.until('ready again', (messages) => messages.slice(heard).includes('READY=1'));
    const since = socket.messages.slice(heard).map((message) => message.split('\n')[0]);
    expect(since.indexOf('RELOADING=1')).toBeGreaterThanOrEqual(0);
    expect(since.indexOf('RELOADING=1')).toBeLessThan(since.indexOf('READY=1'));

    await a.stop();
    await socket.until('stopping', (messages) => messages.at(-1)?.startsWith('STOPPING=1') === true);
  } finally {
    socket.close();
  }
});
