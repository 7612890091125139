/**
 * Goal: `tandem doctor` finds what is wrong with a host, and the command that it gives mends it.
 * Method: faults are planted in one unit's namespace, all at once; each command is run as it is printed, and the
 * doctor asked again.
 */

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from 'vitest';

import type { Finding } from '../../src/doctor/facts.js';
import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { pairUnits, stateDirectory, Unit, writePairConfig } from '../support/lab/unit.js';

const firewall = [
  'table inet filter {',
  '  chain input { type filter hook input priority 0; policy drop; ct state established accept; }',
  '  chain output { type filter hook output priority 0; policy accept; }',
  '}',
].join('\n');

/** A command that does harm, and what the doctor has to say of it. */
const planted: readonly { readonly harm: string; readonly check: string; readonly message: RegExp }[] = [
  { harm: 'ip address add 10.1.0.100/24 dev client', check: 'links', message: /10\.1\.0\.100 is a virtual address/ },
  { harm: 'ip address del 10.2.0.2/24 dev server', check: 'links', message: /server does not have 10\.2\.0\.2/ },
  { harm: 'sysctl -w net.ipv4.conf.client.proxy_arp=1', check: 'links', message: /the kernel may answer/ },
  { harm: 'ip link set server mtu 1400', check: 'mtu', message: /client takes 1500 octets and server 1400/ },
  { harm: 'ethtool -K client rx-udp-gro-forwarding on', check: 'offloads', message: /client .*rx-udp-gro-forwarding/ },
  { harm: 'ethtool -K server rx-gro-list on', check: 'offloads', message: /server .*rx-gro-list/ },
  { harm: `nft '${firewall}'`, check: 'firewall', message: /inet filter input .*adverts \(VRRP\)/ },
  { harm: '', check: 'firewall', message: /inet filter input .*the mirror channel \(TCP port 3780\)/ },
  { harm: '', check: 'state-folder', message: /open to others \(mode 777\)/ },
];

function doctor(lab: Lab, unit: Unit): { readonly status: number | null; readonly findings: readonly Finding[] } {
  const launcher = join(repositoryRoot, 'scripts/tandem');
  const asked = ['doctor', unit.configFile, '--unit', 'a', '--socket', unit.socket, '--state', unit.state, '--json'];
  const inside = ['netns', 'exec', lab.namespace('a'), launcher, ...asked];
  const { status, stdout, stderr } = spawnSync('ip', inside, { encoding: 'utf8' });
  expect(stderr).toBe('');
  return { status, findings: (JSON.parse(stdout) as { readonly findings: Finding[] }).findings };
}

/** What of this machine is nobody's fault here. */
const ofTheMachine = ['xdp', 'hugepages', 'clock', 'kernel', 'memory'];

function found(findings: readonly Finding[]): Finding[] {
  return findings.filter(({ state, check }) => state !== 'ok' && !ofTheMachine.includes(check));
}

function whyNot(): string | null {
  return spawnSync('ethtool', ['--version']).status === 0 ? null : 'there is no ethtool here';
}

labTest(
  'the doctor finds what was planted, and what it says mends it',
  async (lab) => {
    writePairConfig(lab, { mirror: 'async' });
    await pairUnits((unit) => stateDirectory(lab, unit));
    const a = new Unit(lab, 'a');
    const b = new Unit(lab, 'b');
    const alone = doctor(lab, a);
    expect(found(alone.findings).map(({ check, state }) => `${check} ${state}`)).toEqual(['peer warning']);
    expect(alone.status).toBe(0);
    b.start();
    await b.waitUntil('there', () => true);
    expect(found(doctor(lab, a).findings)).toEqual([]);

    mkdirSync(a.state, { recursive: true });
    chmodSync(a.state, 0o777);
    for (const { harm } of planted) if (harm !== '') lab.run('a', 'sh', ['-ec', harm]);
    const ill = doctor(lab, a);
    for (const { check, message } of planted) {
      expect(
        ill.findings.filter((finding) => finding.check === check && message.test(finding.message)),
        String(message),
      ).toHaveLength(1);
    }
    expect(ill.status).toBe(1);
    expect(found(ill.findings)).toHaveLength(planted.length);

    for (const { mend } of found(ill.findings)) {
      expect(mend).not.toBeNull();
      lab.run('a', 'sh', ['-ec', mend ?? 'false']);
    }
    const well = doctor(lab, a);
    expect(found(well.findings)).toEqual([]);
    expect(well.status).toBe(0);

    // Nobody is there at all.
    lab.cutLinks('b');
    const cut = found(doctor(lab, a).findings);
    expect(cut).toMatchObject([{ check: 'peer', state: 'fault', mend: expect.stringContaining('10.9.0.2') }]);
  },
  60_000,
  whyNot,
);
