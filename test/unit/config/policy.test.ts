/**
 * Goal: the policy says to the datapath what the config says to the operator.
 * Method: whole descriptions and their parts from one config and hand-made run-time findings.
 */
import { describe, expect, test } from 'vitest';

import { buildPolicy, memberKey, type PolicyInputs } from '../../../src/config/policy.js';
import { changed, loaded, validConfig } from '../../support/config_text.js';

const inputs: PolicyInputs = {
  memberStates: new Map(),
  memberDevices: new Map([
    ['10.2.0.11', 1],
    ['10.2.0.12', 1],
    ['fd02::11', 1],
  ]),
  mirrorOverrides: new Map(),
};

const policy = (text = validConfig, overrides: Partial<PolicyInputs> = {}) =>
  buildPolicy(loaded(text), { ...inputs, ...overrides });

describe('addresses', () => {
  test('virtual addresses are answered on their links, floating ones on theirs', () => {
    expect(policy().addresses).toEqual([
      { address: '10.1.0.100', group: 0, devices: [0, 1], closed: 'drop' },
      { address: 'fd01::100', group: 0, devices: [0, 1], closed: 'drop' },
      { address: '10.1.0.1', group: 0, devices: [0], closed: 'drop' },
      { address: 'fd01::1', group: 0, devices: [0], closed: 'drop' },
      { address: '10.2.0.1', group: 0, devices: [1], closed: 'drop' },
      { address: 'fd02::1', group: 0, devices: [1], closed: 'drop' },
    ]);
  });

  test('links: narrows a virtual address, and closed: goes with it', () => {
    const { addresses } = policy(changed('mirror: async', 'links: [client], closed: reset'));
    expect(addresses[0]).toEqual({ address: '10.1.0.100', group: 0, devices: [0], closed: 'reset' });
  });

  test('a SNAT address is answered on every link of the group, for members ask for it where they are', () => {
    const { addresses, virtualServers } = policy(
      changed('mirror: async', 'links: [client], snat: [10.2.0.200, 10.2.0.1]'),
    );
    expect(addresses).toContainEqual({ address: '10.2.0.200', group: 0, devices: [0, 1], closed: 'drop' });
    expect(addresses.filter(({ address }) => address === '10.2.0.1')).toEqual([
      { address: '10.2.0.1', group: 0, devices: [1], closed: 'drop' },
    ]);
    expect(virtualServers[0]!.snatAddresses).toEqual(['10.2.0.200', '10.2.0.1']);
  });
});

describe('groups', () => {
  test('have a virtual router on each link where they have a floating address', () => {
    expect(policy().groups).toEqual([
      {
        name: 'main',
        vrids: [51, 51],
        floating: [
          ['10.1.0.1', 'fd01::1'],
          ['10.2.0.1', 'fd02::1'],
        ],
      },
    ]);
    const oneLink = changed('      server: [10.2.0.1, "fd02::1"]\n', '');
    expect(policy(oneLink).groups).toEqual([{ name: 'main', vrids: [51, 0], floating: [['10.1.0.1', 'fd01::1'], []] }]);
  });
});

describe('virtual servers', () => {
  test('automap takes every floating address of the family, link-local ones aside', () => {
    const text = changed('client: [10.1.0.1, "fd01::1"]', 'client: ["fe80::1", 10.1.0.1, "fd01::1"]');
    expect(policy(text).virtualServers.map(({ snatAddresses }) => snatAddresses)).toEqual([
      ['10.1.0.1', '10.2.0.1'],
      ['fd01::1', 'fd02::1'],
    ]);
  });

  test('snat: none leaves the client its address', () => {
    expect(policy(changed('mirror: async', 'snat: none')).virtualServers[0]!.snatAddresses).toEqual([]);
  });

  test('mirroring follows the config, and what was switched at run time comes first', () => {
    const mirrored = (overrides: PolicyInputs['mirrorOverrides']) =>
      policy(validConfig, { mirrorOverrides: overrides }).virtualServers.map(({ mirror }) => mirror.mode);
    expect(mirrored(new Map())).toEqual(['async', 'off']);
    expect(
      mirrored(
        new Map([
          ['www', 'off'],
          ['www6', 'commit'],
        ]),
      ),
    ).toEqual(['off', 'commit']);
  });

  test('name their pool and group by index', () => {
    expect(policy().virtualServers.map(({ pool, group }) => [pool, group])).toEqual([
      [0, 0],
      [1, 0],
    ]);
  });
});

describe('members', () => {
  const up = (text = validConfig, overrides: Partial<PolicyInputs> = {}) =>
    policy(text, overrides).pools[0]!.members.map((member) => member.up);

  test('are up until a monitor says otherwise', () => {
    expect(up()).toEqual([true, true]);
    expect(up(validConfig, { memberStates: new Map([[memberKey('web', '10.2.0.12', 80), 'down']]) })).toEqual([
      true,
      false,
    ]);
  });

  test('are down where the config says so, whatever the monitor says', () => {
    const text = changed('10.2.0.12, port: 80', '10.2.0.12, port: 80, state: down');
    expect(up(text, { memberStates: new Map([[memberKey('web', '10.2.0.12', 80), 'up']]) })).toEqual([true, false]);
  });

  test('that no link reaches get no connection', () => {
    expect(up(validConfig, { memberDevices: new Map([['10.2.0.12', 1]]) })).toEqual([false, true]);
  });

  test('that no link reaches are not down: what is open there waits for the link', () => {
    const members = policy(validConfig, { memberDevices: new Map() }).pools[0]!.members;
    expect(members.map(({ up, down }) => [up, down])).toEqual([
      [false, false],
      [false, false],
    ]);
  });

  test('have their limit and priority, the pool its rules', () => {
    const text = changed('10.2.0.12, port: 80', '10.2.0.12, port: 80, priority: 7, maxConnections: 100').replace(
      '    members:\n',
      '    minActiveMembers: 2\n    slowStartS: 30\n    onMemberDown: reselect\n    members:\n',
    );
    const [web] = policy(text).pools;
    expect(web).toMatchObject({ minActiveMembers: 2, slowStartS: 30, onMemberDown: 'reselect' });
    expect(web!.members.map(({ priority, maxConnections }) => [priority, maxConnections])).toEqual([
      [0, 0],
      [7, 100],
    ]);
  });

  test('that did not change keep their pool the same object, and the others do not', () => {
    const config = loaded(validConfig);
    const before = buildPolicy(config, inputs);
    const same = buildPolicy(config, inputs, before);
    expect(same.pools.map((pool, index) => pool === before.pools[index])).toEqual([true, true]);
    const memberStates = new Map([[memberKey('web', '10.2.0.12', 80), 'down' as const]]);
    const after = buildPolicy(config, { ...inputs, memberStates }, before);
    expect(after.pools.map((pool, index) => pool === before.pools[index])).toEqual([false, true]);
    expect(after).toEqual(buildPolicy(config, { ...inputs, memberStates }));
  });

  test('drain by weight 0', () => {
    const [, draining] = policy(changed('10.2.0.12, port: 80', '10.2.0.12, port: 80, weight: 5, state: draining'))
      .pools[0]!.members;
    expect(draining).toMatchObject({ address: '10.2.0.12', port: 80, weight: 0, up: true, down: false, device: 1 });
  });
});
