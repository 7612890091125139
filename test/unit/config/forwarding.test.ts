/**
 * Goal: what an operator writes of forwarding modes reaches the datapath as it was meant.
 * Method: a valid config with a virtual server changed; the policy that is built of it, and the fault that needs more
 * than one change to make.
 */
import { expect, test } from 'vitest';

import { loadConfig } from '../../../src/config/load.js';
import { buildPolicy } from '../../../src/config/policy.js';
import { changed, loaded, validConfig } from '../../support/config_text.js';

function policyOf(virtualServer: string) {
  const config = loaded(changed('pool: web, trafficGroup: main, mirror: async', virtualServer));
  const [server] = buildPolicy(config, {
    memberStates: new Map(),
    memberDevices: new Map(),
    mirrorOverrides: new Map(),
  }).virtualServers;
  return server;
}

test('nat is the default, with the floating addresses as SNAT addresses', () => {
  expect(policyOf('pool: web, trafficGroup: main')).toMatchObject({
    forwarding: 'nat',
    snatAddresses: ['10.1.0.1', '10.2.0.1'],
  });
});

test.each([
  ['dsr', { forwarding: 'dsr' }],
  ['{ tunnel: ipip }', { forwarding: 'ipip' }],
  ['{ tunnel: gue }', { forwarding: 'gue', guePort: 6080 }],
  ['{ tunnel: gue, port: 6081 }', { forwarding: 'gue', guePort: 6081 }],
])('forwarding: %s translates nothing', (written, policy) => {
  expect(policyOf(`pool: web, trafficGroup: main, forwarding: ${written}`)).toMatchObject({
    ...policy,
    snatAddresses: [],
  });
});

test("a tunnel begins at a floating address of its members' family that is not link-local", () => {
  const v4Only = changed(
    'client: [10.1.0.1, "fd01::1"]\n      server: [10.2.0.1, "fd02::1"]',
    'client: [10.1.0.1, "fe80::1"]\n      server: [10.2.0.1]',
  );
  const result = loadConfig(
    changed(
      'pool: web, trafficGroup: main, mirror: async',
      'pool: web6, trafficGroup: main, forwarding: { tunnel: ipip }',
      v4Only,
    ),
    'tandem.yaml',
  );
  expect(result).toMatchObject({ ok: false });
  expect(result.ok ? [] : result.errors.filter(({ path }) => path === 'virtualServers.www.forwarding')).toMatchObject([
    { code: 'no_tunnel_source', hint: "add one to trafficGroups.main.floating on the members' link" },
  ]);
  expect(loadConfig(validConfig, 'tandem.yaml').ok).toBe(true);
});
