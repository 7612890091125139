/**
 * Goal: an ordinary user with CAP_NET_RAW and CAP_NET_ADMIN can do all that a unit does, its forked child too; and
 * without them the operator gets the line that says how to give them.
 * Method: one program that does each thing once, in a network namespace of its own, as `nobody`. The checkout is
 * bound into a mount namespace, since it may lie where nobody may look.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from 'vitest';

import { whyNoLab } from '../support/lab/lab.js';
import { run } from '../support/lab/namespaces.js';
import { becomeNobody, boundFolders, boundNode, boundPath } from '../support/lab/ordinary_user.js';
import { repositoryRoot } from '../support/lab/paths.js';
import type { CapabilitiesReport } from './programs/capabilities_program.js';

const reason = whyNoLab();
const program = join(repositoryRoot, 'out/lab-programs/test/lab/programs/capabilities_program.js');

const insideOwnNamespaces = `
set -e
ip link set lo up
ip link add veth type veth peer name peer
ip link set veth up
${becomeNobody}`;

/** The options of setpriv beside the user are the test's. */
function reportAsNobody(...setpriv: string[]): CapabilitiesReport {
  const command = [boundNode, boundPath(program)];
  const namespaces = ['--net', '--mount', '--propagation', 'private', 'bash', '-c', insideOwnNamespaces, 'bash'];
  const text = execFileSync('unshare', [...namespaces, ...boundFolders, ...setpriv, ...command], {
    encoding: 'utf8',
    cwd: '/',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(text) as CapabilitiesReport;
}

const bothAmbient = ['--inh-caps', '+net_raw,+net_admin', '--ambient-caps', '+net_raw,+net_admin'];

describe.skipIf(reason !== null)(`capabilities${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  beforeAll(() => {
    run(join(repositoryRoot, 'node_modules/.bin/tsc'), ['-p', join(repositoryRoot, 'test/lab/programs')]);
  });

  test('an ordinary user with exactly the two does everything, and its child inherits them', () => {
    const report = reportAsNobody(...bothAmbient, '--bounding-set', '-all,+net_raw,+net_admin');
    const works = { missing: [], advice: null, rawSocketIpv4: 'ok', rawSocketIpv6: 'ok', netlink: 'ok' };
    expect(report.uid).not.toBe(0);
    expect(report).toMatchObject({ ...works, child: works });
    expect(report).toMatchObject({ frameSender: 'ok', datapath: 'ok', child: { uid: report.uid, frameSender: 'ok' } });
  });

  test('without them, each is refused and the line says what is missing and how to give it', () => {
    const report = reportAsNobody();
    expect(report.missing).toEqual(['CAP_NET_RAW', 'CAP_NET_ADMIN']);
    expect(report.advice).toMatch(/^tandem needs CAP_NET_RAW and CAP_NET_ADMIN: run it as a service with Ambient/);
    expect(report.rawSocketIpv4).toContain('Operation not permitted');
    expect(report.netlink).toContain('EPERM');
    for (const refused of [report.frameSender, report.datapath]) expect(refused).toMatch(/CAP_NET_RAW|not permitted/);
  });

  test('with one of them, the other is named', () => {
    const report = reportAsNobody('--inh-caps', '+net_raw', '--ambient-caps', '+net_raw');
    expect(report.missing).toEqual(['CAP_NET_ADMIN']);
    expect(report).toMatchObject({ rawSocketIpv4: 'ok', netlink: 'the kernel refused: EPERM' });
  });

  test('the command that the line gives is one that works', () => {
    const [, options = ''] = /--init-groups (.*) tandem run/.exec(reportAsNobody().advice ?? '') ?? [];
    expect(reportAsNobody(...options.split(' ')).missing).toEqual([]);
  });
});
