/**
 * Goal: each fact about a host leads to the finding that an operator needs, and a sound host to none.
 * Method: a sound host, one fact changed at a time.
 */

import { expect, test } from 'vitest';

import { loadConfig } from '../../../src/config/load.js';
import { examine, type Subject } from '../../../src/doctor/examine.js';
import type { Finding, HostFacts } from '../../../src/doctor/facts.js';
import { pairConfig } from '../../support/lab/pair_config.js';

const loaded = loadConfig(pairConfig({ mirror: 'async' }), 'tandem.yaml');
if (!loaded.ok) throw new Error('the config of the lab is not valid');
const subject: Subject = { config: loaded.config, file: 'tandem.yaml', unit: 'a' };

const sound: HostFacts = {
  node: { version: 'v20.19.0', addonFault: null },
  release: '6.1.0-18-amd64',
  user: 'tandem',
  capabilities: ['CAP_NET_RAW', 'CAP_NET_ADMIN', 'CAP_BPF'],
  lockableBytes: 64 * 1024 * 1024,
  hasAfXdp: true,
  xdpDropIn: '/usr/lib/tandem/deploy/systemd/xdp.conf',
  firewall: { chains: [], why: null },
  memory: { availableBytes: 1e9, hugePagesFree: 0, transparent: 'madvise' },
  clockSynchronized: true,
  folders: [
    { purpose: 'socket', path: '/run/tandem', exists: true, writable: true, mode: 0o750 },
    { purpose: 'state', path: '/var/lib/tandem', exists: true, writable: true, mode: 0o700 },
    { purpose: 'config', path: '/etc/tandem', exists: true, writable: true, mode: 0o750 },
  ],
  interfaces: [
    { link: 'client', name: 'eth1', mtu: 1500, driver: 'ixgbe', queues: 1, featuresOn: ['generic-receive-offload'] },
    { link: 'server', name: 'eth2', mtu: 1500, driver: 'ixgbe', queues: 1, featuresOn: [] },
  ],
  linkFaults: [],
  peer: [{ address: '10.9.0.2', port: 3780, from: '10.9.0.1', outcome: 'answers' }],
  pairing: 'paired',
};

function found(change: Partial<HostFacts>, about: Subject | null = subject): Finding[] {
  return examine({ ...sound, ...change }, about).filter(({ state }) => state !== 'ok');
}

const [client, server] = sound.interfaces;
const [socketFolder, stateFolder, configFolder] = sound.folders;
const dropping = { family: 'ip', table: 'filter', name: 'INPUT', hook: 'input', policy: 'drop', rules: '[]' } as const;

test('a sound host has nothing to mend, and says what was looked at', () => {
  expect(found({})).toEqual([]);
  const checks = new Set(examine(sound, subject).map(({ check }) => check));
  expect(checks.size).toBeGreaterThan(12);
});

test('workers need queues, unless the device is packet', () => {
  const withWorkers = (device: 'auto' | 'packet', count: number): Subject => ({
    ...subject,
    config: { ...subject.config, datapath: { ...subject.config.datapath, device, workers: count } },
  });
  const interfaces = [
    { ...client!, driver: 'veth' },
    { ...server!, queues: 2 },
  ];
  expect(found({ interfaces }, withWorkers('auto', 3)).map(({ check, state, mend }) => [check, state, mend])).toEqual([
    ['queues', 'warning', 'ethtool -L eth1 rx 3 tx 3'],
    ['queues', 'warning', 'ethtool -L eth2 combined 3'],
  ]);
  expect(found({ interfaces }, withWorkers('auto', 2))).toHaveLength(1);
  expect(found({ interfaces }, withWorkers('packet', 3))).toEqual([]);
});

test('without a config the host alone is looked at', () => {
  expect(found({ linkFaults: [], pairing: null }, null)).toEqual([]);
  expect(examine(sound, null).some(({ check }) => check === 'links' || check === 'peer')).toBe(false);
});

test.each<[what: string, change: Partial<HostFacts>, check: string, state: string, mend: RegExp | null]>([
  ['an old node', { node: { version: 'v18.20.0', addonFault: null } }, 'node', 'fault', null],
  ['no addon', { node: { version: 'v20.19.0', addonFault: 'not built' } }, 'addon', 'fault', null],
  ['an old kernel', { release: '4.19.0' }, 'kernel', 'warning', null],
  ['one capability short', { capabilities: ['CAP_NET_RAW', 'CAP_BPF'] }, 'capabilities', 'fault', /^setpriv .*tandem/],
  ['no CAP_BPF', { capabilities: ['CAP_NET_RAW', 'CAP_NET_ADMIN'] }, 'xdp', 'warning', /lib\/tandem.*xdp\.conf/],
  ['nothing to lock', { lockableBytes: 65_536 }, 'xdp', 'warning', /xdp\.conf/],
  ['a kernel without AF_XDP', { hasAfXdp: false }, 'xdp', 'warning', null],
  ['no memory', { memory: { availableBytes: 1e6, hugePagesFree: 0, transparent: 'always' } }, 'memory', 'fault', null],
  [
    'no huge pages',
    { memory: { availableBytes: 1e9, hugePagesFree: 1, transparent: 'never' } },
    'hugepages',
    'warning',
    /^sysctl -w vm\.nr_hugepages=4$/,
  ],
  ['a clock of its own', { clockSynchronized: false }, 'clock', 'warning', /^timedatectl/],
  [
    'no folder for the socket',
    { folders: [{ ...socketFolder!, exists: false, writable: false }, stateFolder!] },
    'socket-folder',
    'fault',
    /^install -d -o tandem .* \/run\/tandem$/,
  ],
  [
    'keys open to all',
    { folders: [{ ...stateFolder!, mode: 0o755 }] },
    'state-folder',
    'warning',
    /^chmod 700 \/var\/lib\/tandem$/,
  ],
  [
    'a config that cannot be replaced',
    { folders: [{ ...configFolder!, writable: false }] },
    'config-folder',
    'warning',
    /\/etc\/tandem$/,
  ],
  [
    'a firewall that lets the channel in and no adverts',
    { firewall: { chains: [{ ...dropping, rules: '{"right":3780}' }], why: null } },
    'firewall',
    'fault',
    /^nft 'insert rule ip filter INPUT meta l4proto 112 accept'$/,
  ],
  [
    'a firewall that lets adverts in and no channel',
    { firewall: { chains: [{ ...dropping, rules: '{"right":"vrrp"}' }], why: null } },
    'firewall',
    'fault',
    /th dport 3780 accept; insert rule ip filter INPUT .* th sport 3780 accept'$/,
  ],
  [
    'joined segments',
    { interfaces: [{ ...client!, featuresOn: ['large-receive-offload'] }, server!] },
    'offloads',
    'warning',
    /^ethtool -K eth1 lro off$/,
  ],
  ['no ethtool', { interfaces: [{ ...client!, featuresOn: null }] }, 'offloads', 'warning', /ethtool$/],
  ['a macvlan', { interfaces: [{ ...client!, driver: 'macvlan' }] }, 'virtual-mac', 'fault', null],
  ['a virtual machine', { interfaces: [{ ...client!, driver: 'vmxnet3' }] }, 'virtual-mac', 'warning', null],
  [
    'a wider link',
    { interfaces: [{ ...client!, mtu: 9000 }, server!] },
    'mtu',
    'warning',
    /^ip link set eth1 mtu 1500$/,
  ],
  ['a unit that is not paired', { pairing: 'unpaired' }, 'pairing', 'fault', /^tandem pair init tandem\.yaml --unit a/],
  ['a plain channel', { pairing: 'plaintext' }, 'pairing', 'warning', /^tandem pair init/],
  ['a damaged key', { pairing: { fault: 'no key' } }, 'pairing', 'fault', /^tandem pair init/],
  ['a peer that does not run', { peer: [{ ...sound.peer[0]!, outcome: 'refused' }] }, 'peer', 'warning', null],
  ['a peer that is silent', { peer: [{ ...sound.peer[0]!, outcome: 'silent' }] }, 'peer', 'fault', /10\.9\.0\.2/],
  ['a mirror address of nobody', { peer: [{ ...sound.peer[0]!, outcome: 'no-address' }] }, 'peer', 'fault', null],
])('%s is found, and nothing else', (_what, change, check, state, mend) => {
  const findings = found(change);
  expect(findings).toMatchObject([{ check, state }]);
  if (mend === null) expect(findings[0]?.mend).toBeNull();
  else expect(findings[0]?.mend).toMatch(mend);
});

test('a link that is not right is told without the command that stands beside it', () => {
  const mend = 'ip link set eth1 up';
  const linkFaults = [
    { severity: 'error', code: 'interface_down', path: 'units.a.links.client', message: `eth1 is down: ${mend}`, mend },
  ] as const;
  expect(found({ linkFaults })).toEqual([
    { check: 'links', state: 'fault', message: 'units.a.links.client: eth1 is down', mend },
  ]);
});

test('AF_XDP that is asked for and cannot be had is a fault, and none where it is not wanted', () => {
  const withDevice = (device: 'xdp' | 'packet'): Subject => ({
    ...subject,
    config: { ...subject.config, datapath: { ...subject.config.datapath, device } },
  });
  expect(found({ hasAfXdp: false }, withDevice('xdp'))).toMatchObject([{ check: 'xdp', state: 'fault' }]);
  expect(found({ hasAfXdp: false }, withDevice('packet'))).toEqual([]);
});
