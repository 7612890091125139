/**
 * Goal: a policy or option that cannot be honoured is refused whole, with the place and the reason.
 * Method: one fault each, put into a description that is otherwise right; the policy before stays in force.
 */

import { describe, expect, test } from 'vitest';

import type { DatapathOptions, PolicyDescription } from '../../../src/datapath.js';
import { native } from '../../../src/io/native.js';
import { MemoryDatapath, policy, virtualServer } from '../../support/memory_datapath.js';

const [pool] = policy.pools;
const [member] = pool!.members;

/** What JavaScript can pass and TypeScript would not. */
type Loose = Record<string, unknown>;
const withServer = (fault: Loose): unknown => ({ ...policy, virtualServers: [{ ...virtualServer, ...fault }] });
const withMember = (fault: Loose): unknown => ({
  ...policy,
  pools: [{ ...pool, members: [{ ...member, ...fault }] }],
});

const rows: readonly (readonly [fault: string, description: unknown, sentence: string | RegExp])[] = [
  ['no object', null, 'setPolicy: policy: is null, not an object'],
  ['no groups', { ...policy, groups: undefined }, 'setPolicy: groups: is undefined, not an array'],
  ['17 groups', { ...policy, groups: new Array(17).fill(policy.groups[0]) }, /groups: 17 traffic groups; at most 16/],
  [
    'too few VRIDs',
    { ...policy, groups: [{ name: 'main', vrids: [1], floating: [[], []] }] },
    /groups\[0\].vrids: 1 entries, and there are 2 devices/,
  ],
  [
    'a VRID of 256',
    { ...policy, groups: [{ name: 'main', vrids: [1, 256], floating: [[], []] }] },
    /groups\[0\].vrids\[1\]: 256 is out of range/,
  ],
  [
    'floating addresses of one device',
    { ...policy, groups: [{ name: 'main', vrids: [1, 1], floating: [[]] }] },
    /groups\[0\].floating: 1 entries, and there are 2 devices/,
  ],
  [
    'a floating address that is none',
    { ...policy, groups: [{ name: 'main', vrids: [1, 1], floating: [['10.1.0'], []] }] },
    /groups\[0\].floating\[0\]\[0\]: "10.1.0" is neither an IPv4 nor/,
  ],
  ['a group that is not there', withServer({ group: 1 }), /virtualServers\[0\].group: 1 is out of range \(0 to 0\)/],
  ['a pool that is not there', withServer({ pool: 3 }), /virtualServers\[0\].pool: 3 is out of range \(0 to 0\)/],
  ['no address', withServer({ address: '10.1.0' }), /virtualServers\[0\].address: "10.1.0" is neither an IPv4 nor/],
  ['a SNAT address that is none', withServer({ snatAddresses: ['x'] }), /virtualServers\[0\].snatAddresses\[0\]: "x"/],
  ['port 0', withServer({ port: 0 }), /virtual server 0: has port 0/],
  ['port 80.5', withServer({ port: 80.5 }), /virtualServers\[0\].port: 80.5.* is no integer/],
  [
    'a protocol that is none',
    withServer({ protocol: 'sctp' }),
    /virtualServers\[0\].protocol: "sctp" is none of any, tcp, udp/,
  ],
  ['an empty name', withServer({ name: '' }), /virtualServers\[0\].name: is empty/],
  [
    'a timeout of 0',
    withServer({ idleTimeoutS: { ...virtualServer.idleTimeoutS, closing: 0 } }),
    /idleTimeoutS.closing: 0 is out of range/,
  ],
  [
    'no timeouts',
    withServer({ idleTimeoutS: undefined }),
    /virtualServers\[0\].idleTimeoutS: is undefined, not an object/,
  ],
  [
    "a client's limit of nothing",
    withServer({ newConnectionsPerClient: { perS: 0, burst: 1 } }),
    /virtualServers\[0\].newConnectionsPerClient.perS: 0 is out of range \(1 to 100000\)/,
  ],
  [
    'a burst of more than an hour',
    withServer({ newConnectionsPerClient: { perS: 1, burst: 3601 } }),
    /virtualServers\[0\].newConnectionsPerClient.burst: 3601 is out of range \(1 to 3600\)/,
  ],
  [
    'an unknown scheduler',
    { ...policy, pools: [{ ...pool, scheduler: 'random' }] },
    /pools\[0\].scheduler: "random" is none of round-robin, /,
  ],
  ['a weight of -1', withMember({ weight: -1 }), /pools\[0\].members\[0\].weight: -1 is out of range/],
  ['a priority of -1', withMember({ priority: -1 }), /pools\[0\].members\[0\].priority: -1 is out of range/],
  ['half a limit', withMember({ maxConnections: 0.5 }), /members\[0\].maxConnections: 0.5\d* is no integer/],
  [
    'an unknown onMemberDown',
    { ...policy, pools: [{ ...pool, onMemberDown: 'panic' }] },
    /pools\[0\].onMemberDown: "panic" is none of keep, reset, reselect/,
  ],
  [
    'nobody active',
    { ...policy, pools: [{ ...pool, minActiveMembers: 0 }] },
    /pools\[0\].minActiveMembers: 0 is out of range/,
  ],
  [
    'a prefix of 33',
    withServer({ persistence: { prefix4: 33, prefix6: 64, timeoutS: 1 } }),
    /virtualServers\[0\].persistence.prefix4: 33 is out of range/,
  ],
  [
    'persistence without a timeout',
    withServer({ persistence: { prefix4: 32, prefix6: 64 } }),
    /timeoutS: is undefined/,
  ],
  ['up: "yes"', withMember({ up: 'yes' }), /pools\[0\].members\[0\].up: is a string, not a boolean/],
  [
    'a device that is not there',
    withMember({ device: 2 }),
    /pools\[0\].members\[0\].device: 2 is out of range \(0 to 1\)/,
  ],
  [
    'two virtual servers of one name',
    { ...policy, virtualServers: [virtualServer, { ...virtualServer, port: 81 }] },
    /virtualServers\[1\].name: "www" is the name of two/,
  ],
  [
    'two virtual servers in one place',
    { ...policy, virtualServers: [virtualServer, { ...virtualServer, name: 'again' }] },
    /same address, protocol and port/,
  ],
  ['an address given twice', { ...policy, addresses: [...policy.addresses, policy.addresses[0]] }, /given twice/],
  [
    'a virtual address nobody answers for',
    withServer({ address: '10.1.0.200' }),
    /not among the addresses answered for/,
  ],
];

describe('a policy is refused', () => {
  test.each(rows)('%s', (_, description, sentence) => {
    const { datapath } = new MemoryDatapath().activate();
    expect(() => datapath.setPolicy(description as PolicyDescription)).toThrow(sentence);
    expect(datapath.virtualServerCounts().map(({ name }) => name)).toEqual(['www']);
    expect(datapath.setMirror('www', { mode: 'off' })).toBe(true);
  });

  test('that names more virtual servers than there are ids', () => {
    const { datapath } = new MemoryDatapath().activate();
    const servers = Array.from({ length: 4097 }, (_, index) => ({
      ...virtualServer,
      name: `s${index}`,
      port: index + 1,
    }));
    expect(() => datapath.setPolicy({ ...policy, virtualServers: servers })).toThrow(/more than 4096 virtual servers/);
    expect(datapath.mirrorDictionary().virtualServers.map(({ name }) => name)).toContain('www');
    // What the refused policy named is not held against the next one.
    datapath.setPolicy({ ...policy, virtualServers: servers.slice(0, 4000) });
    expect(datapath.virtualServerCounts()).toHaveLength(4000);
  });
});

describe('ids', () => {
  test('a virtual server keeps its id across policies, and a name that comes back finds nothing of the old', () => {
    const { datapath } = new MemoryDatapath().activate();
    const idOf = (name: string) => datapath.mirrorDictionary().virtualServers.find((each) => each.name === name)?.id;
    const id = idOf('www');
    datapath.setPolicy({ ...policy, virtualServers: [{ ...virtualServer, name: 'first', port: 79 }, virtualServer] });
    expect(idOf('www')).toBe(id);
    datapath.setPolicy({ ...policy, virtualServers: [] });
    expect(datapath.virtualServerCounts()).toEqual([]);
    datapath.setPolicy(policy);
    expect(datapath.setMirror('first', { mode: 'async' })).toBe(false);
  });
});

describe('options are refused', () => {
  const good: DatapathOptions = {
    kind: 'memory',
    devices: [{ name: 'client', interface: 'none', mac: '02:00:00:00:00:01' }],
    workers: 1,
    connections: 64,
    unit: 0,
    sharedState: new native.SharedState(),
  };
  test.each([
    ['a kind that is none', { kind: 'dpdk' }, 'Datapath: kind: "dpdk" is none of auto, xdp, packet, memory'],
    ['no device', { devices: [] }, /devices: 0 devices; 1 to 16/],
    [
      'a MAC address that is none',
      { devices: [{ name: 'c', interface: 'x', mac: '02:00' }] },
      /devices\[0\].mac: "02:00" is no MAC/,
    ],
    ['17 workers', { workers: 17 }, /workers: 17 is out of range \(1 to 16\)/],
    ['no connections', { connections: 0 }, /connections: 0 is out of range/],
    ['unit 2', { unit: 2 }, /unit: 2 is out of range/],
    ['no shared state', { sharedState: undefined }, /sharedState: is undefined, not an object/],
    ['a descriptor of nothing', { sharedState: { fd: 1_000_000 } }, /EBADF/],
  ])('%s', (_, fault, sentence) => {
    expect(() => new native.Datapath({ ...good, ...(fault as object) })).toThrow(sentence);
  });

  test('an interface that is not there is named with the place in the config', () => {
    const options = { ...good, kind: 'packet', devices: [{ name: 'client', interface: 'nosuch0' }] } as const;
    const datapath = new native.Datapath(options);
    expect(() => datapath.start()).toThrow(/interface nosuch0 .*ENODEV.*units\.a\.links\.client\.interface/);
    datapath.stop();
  });
});

test('setNextHops names the hop that is wrong and changes none', () => {
  const { datapath } = new MemoryDatapath().activate();
  const hop = { address: '10.2.0.11', port: 8080, device: 1, mac: null, vlan: 0 };
  expect(() => datapath.setNextHops([hop, { ...hop, mac: 'zz' }])).toThrow(/hops\[1\].mac: "zz" is no MAC address/);
  expect(() => datapath.setNextHops([{ ...hop, vlan: 4095 }])).toThrow(/hops\[0\].vlan: 4095 is out of range/);
});

test('readCounters wants room for exactly every counter', () => {
  const { datapath } = new MemoryDatapath();
  const all = native.dropNames.length + native.countNames.length;
  expect(() => datapath.readCounters(new BigUint64Array(all - 1))).toThrow(`there are ${all} counters`);
  expect(() => datapath.readCounters(new Uint8Array(8) as never)).toThrow(/not a BigUint64Array/);
});
