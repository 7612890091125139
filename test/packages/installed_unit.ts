/** What an installed package has to do, whoever runs it: check a config, refuse to start, start, answer, stop. */

import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';

import { expect } from 'vitest';

import type { Lab } from '../support/lab/lab.js';
import { pairUnits, stateDirectory, Unit, writePairConfig } from '../support/lab/unit.js';

export const twoCapabilities = ['--inh-caps', '+net_raw,+net_admin', '--ambient-caps', '+net_raw,+net_admin'];

/** setpriv's arguments for an ordinary user of this host. */
export function becoming(uid: number, gid: number): string[] {
  return [
    '--reuid',
    String(uid),
    '--regid',
    String(gid),
    '--clear-groups',
    '--bounding-set',
    '-all,+net_raw,+net_admin',
  ];
}

export interface Installation {
  readonly version: string;
  readonly uid: number;
  readonly gid: number;
  /** The command that runs the installed `tandem` as that user, with or without the two capabilities. */
  command(args: readonly string[], withCapabilities: boolean): readonly [command: string, ...args: string[]];
}

/** Leaves the unit running. */
export async function expectRuns(lab: Lab, installed: Installation): Promise<Unit> {
  const ask = (...args: string[]) => {
    const [command, ...rest] = installed.command(args, false);
    return spawnSync(command, rest, { encoding: 'utf8', cwd: '/' });
  };
  expect(ask('--version')).toMatchObject({ status: 0, stdout: `${installed.version}\n` });

  writePairConfig(lab, { mirror: 'async' });
  const a = new Unit(lab, 'a', (args) => installed.command(args, true));
  await pairUnits((unit) => stateDirectory(lab, unit));
  chmodSync(lab.socketDirectory, 0o777);
  mkdirSync(a.state, { recursive: true });
  for (const path of [a.state, ...filesIn(a.state), a.configFile]) chownSync(path, installed.uid, installed.gid);

  expect(ask('check', a.configFile)).toMatchObject({ status: 0, stderr: '' });
  const refused = ask('run', a.configFile, '--unit', 'a', '--socket', a.socket, '--state', a.state);
  expect(refused.status, refused.stdout).toBe(1);
  expect(refused.stderr).toMatch(/^tandem: tandem needs CAP_NET_RAW and CAP_NET_ADMIN/);

  a.start();
  const status = await a.waitUntil('active', ({ trafficGroups }) => trafficGroups[0]?.role === 'active');
  expect(status.version).toBe(installed.version);
  expect(uidOf(status.pid)).toBe(installed.uid);
  const script = /src="(\/assets\/[\w.-]+\.js)"/.exec(await served(a.socket, '/'))?.[1];
  expect(await served(a.socket, script!)).toContain('Virtual servers');
  return a;
}

function served(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve(text));
    });
    asked.on('error', reject).end();
  });
}

export function uidOf(pid: number): number {
  return Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** Why an ordinary user of this host cannot run this node, or null. */
export function whyNoNode(): string | null {
  const { status } = spawnSync('setpriv', [...becoming(65_534, 65_534), 'node', '--version'], { cwd: '/' });
  return status === 0 ? null : `an ordinary user cannot run ${process.execPath}`;
}

function filesIn(directory: string): string[] {
  return execFileSync('find', [directory, '-type', 'f'], { encoding: 'utf8' }).split('\n').filter(Boolean);
}
