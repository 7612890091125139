/**
 * Goal: watch and top show what a look and the one before say; the terminal is given back whatever ends them.
 * Method: pictures kept beside this file; the loop with a terminal whose keys and waits the test decides; the real
 * program behind a pseudo-terminal is test/lab's matter.
 */

import { describe, expect, test } from 'vitest';

import { type Control, ControlError } from '../../../src/api.js';
import { frame } from '../../../src/cli/live.js';
import { type ConnectionSample, ratesOf, topLines } from '../../../src/cli/live_screen.js';
import type { Terminal } from '../../../src/io/terminal.js';
import { runCli } from '../../support/cli_context.js';
import { connection, NOW, pools, stubControl, virtualServers } from '../../support/control_stub.js';

const www = virtualServers[0]!;

/** Two seconds pass between two looks; `www` opens 10 and carries 4000 octets a second meanwhile. */
function busyControl(): { control: Control; now: () => number } {
  const control = stubControl(3);
  let looks = 0;
  const answer = () => {
    const grown = { opened: www.opened + 20 * looks, bytesIn: www.bytesIn + 8000 * looks };
    looks++;
    return Promise.resolve([{ ...www, ...grown, packetsIn: www.packetsIn + 40 * looks }]);
  };
  return { control: { ...control, virtualServers: answer }, now: () => NOW + Math.max(looks - 1, 0) * 2000 };
}

test.each(['watch', 'top'])('tandem %s without a terminal prints one look, with rates from two', async (command) => {
  const { out, code } = await runCli([command, '--once'], busyControl());
  await expect(out).toMatchFileSnapshot(`expected/${command}.txt`);
  expect(code).toBe(0);
});

test.each(['watch', 'top'])('tandem %s --json is one object with the same rates', async (command) => {
  const { out } = await runCli([command, '--json'], busyControl());
  const value = JSON.parse(out) as { rates?: { virtualServers: unknown[] }; virtualServers?: unknown[] };
  const [server] = value.rates?.virtualServers ?? value.virtualServers ?? [];
  expect(server).toMatchObject({ name: 'www', opensPerS: 10, bytesPerS: 4000, packetsPerS: 20 });
});

describe('rates', () => {
  const at = (ms: number, opened: number) => ({ at: ms, virtualServers: [{ ...www, opened }], pools });

  test('are not known at the first look', () => {
    expect(ratesOf(at(1000, 5), null).virtualServers[0]!.opensPerS).toBeNull();
  });

  test('are per second, however long it was', () => {
    expect(ratesOf(at(5000, 45), at(1000, 5)).virtualServers[0]!.opensPerS).toBe(10);
  });

  test('are not known of what was counted anew, or is new', () => {
    expect(ratesOf(at(2000, 3), at(1000, 5)).virtualServers[0]!.opensPerS).toBeNull();
    expect(ratesOf(at(2000, 3), { at: 1000, virtualServers: [], pools: [] }).members[0]!.opensPerS).toBeNull();
  });
});

test('top says why the busiest connections are not known, and shows the rest', async () => {
  const { control, now } = busyControl();
  const message = 'a capture asked for by root is running';
  const busiest = () => Promise.reject(new ControlError('refused', 'capture_running', message, 'wait'));
  const { out, code } = await runCli(['top', '--once'], { control: { ...control, busiest }, now });
  expect(out).toContain(`busiest connections: ${message}`);
  expect(out).toContain('www');
  expect(code).toBe(0);
});

test('top says how much of the traffic the rates of connections are from', () => {
  const sample = { at: 0, virtualServers: [], pools: [], connections: [], used: 0 };
  const rows = [{ ...connection, packetsPerS: 1, bytesPerS: 60 }];
  const shown = (seen: number, of = rows) =>
    topLines({ ...sample, busiest: { at: '', forMs: 203.7, seen, rows: of } }, null).join('\n');
  expect(shown(1)).toContain('connections: of 204 ms\n');
  expect(shown(0.897)).toContain('connections: of 204 ms, 89% of the frames\n');
  expect(shown(1, [])).toContain('none carried anything in 204 ms');
});

test('top puts the busiest first, and counts connections by client, not by port', () => {
  const quiet = { ...www, name: 'quiet' };
  const sample = (ms: number, bytesIn: number, clients: readonly string[]): ConnectionSample => ({
    at: ms,
    virtualServers: [quiet, { ...www, bytesIn }],
    pools: [],
    busiest: 'not asked',
    connections: clients.map((client) => ({ ...connection, client })),
    used: clients.length,
  });
  const before = sample(0, 0, ['10.0.0.1:1', '10.0.0.2:1', '10.0.0.2:2']);
  const now = sample(1000, 1000, ['10.0.0.1:1', '10.0.0.1:2', '10.0.0.1:3', '10.0.0.2:1', '[fd00::1]:5']);
  const lines = topLines(now, before).map((line) => line.trim().split(/ {2,}/));
  const column = (title: string) => lines.slice(lines.findIndex(([first]) => first === title) + 1).slice(0, 3);
  expect(
    column('VIRTUAL SERVER')
      .map(([name]) => name)
      .slice(0, 2),
  ).toEqual(['www', 'quiet']);
  expect(column('CLIENT').map((row) => row.slice(0, 3))).toEqual([
    ['10.0.0.1', '3', '+2'],
    ['10.0.0.2', '1', '-1'],
    ['fd00::1', '1', '+1'],
  ]);
});

describe('a picture', () => {
  test('fits into the terminal, and covers the one before', () => {
    const picture = frame(['12345', 'b', 'c', 'd'], { columns: 3, rows: 3 }, false);
    expect(picture).toBe('\x1b[H123\x1b[K\r\nb\x1b[K\r\n...\x1b[K\x1b[J');
  });
});

describe('the live view', () => {
  /** Ends after so many pictures, by a key or a signal. */
  function terminalOf(pictures: number, end: 'q' | '\x03' | 'signal') {
    const calls: string[] = [];
    let waits = 0;
    let press = (_key: string) => {};
    let signal = () => {};
    const terminal: Terminal = {
      isTerminal: true,
      size: () => ({ columns: 80, rows: 24 }),
      takeOver: (onKey, onSignal) => {
        calls.push('taken over');
        [press, signal] = [onKey, onSignal];
        return () => calls.push('given back');
      },
      wait: () => {
        waits++;
        if (waits > 100) throw new Error('it does not end');
        if (waits >= pictures && end === 'signal') signal();
        else if (waits >= pictures) press(end);
        return Promise.resolve();
      },
    };
    return { terminal, calls };
  }

  test.each(['q', '\x03', 'signal'] as const)('ends with %j, and the terminal is given back', async (end) => {
    const { terminal, calls } = terminalOf(3, end);
    const { out } = await runCli(['watch'], { ...busyControl(), terminal });
    expect(out.split('\x1b[H').length - 1).toBe(3);
    expect(calls).toEqual(['taken over', 'given back']);
  });

  test('a daemon that is away is said to be, and asked again', async () => {
    const { terminal } = terminalOf(2, 'q');
    const control = stubControl();
    let asked = 0;
    const status = () => (asked++ === 0 ? Promise.reject(new Error('nobody there')) : control.status());
    const { out } = await runCli(['watch'], { control: { ...control, status }, terminal });
    const [, first = '', second = ''] = out.split('\x1b[H');
    expect(first).toContain('! nobody there');
    expect(second).toContain('unit a');
  });

  test('the terminal is given back when drawing fails', async () => {
    const { terminal, calls } = terminalOf(1, 'q');
    const broken = {
      ...terminal,
      size: () => {
        throw new Error('no size');
      },
    };
    await runCli(['watch'], { ...busyControl(), terminal: broken });
    expect(calls).toEqual(['taken over', 'given back']);
  });
});
