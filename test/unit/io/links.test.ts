/** Goal: everything wrong with the unit's links is said at once, with its place in the config and how to mend it. */
import { expect, test } from 'vitest';

import type { LinkFault } from '../../../src/balancer/ports.js';
import type { Config } from '../../../src/config/model.js';
import { checkLinks, type KernelLinks } from '../../../src/io/links.js';

const config = {
  links: ['client', 'server'],
  units: {
    a: {
      links: {
        client: { interface: 'eth1', addresses: ['10.1.0.2', 'fd01::2'] },
        server: { interface: 'eth2', addresses: ['10.2.0.2'] },
      },
      mirror: { address: '10.9.0.1', port: 3780 },
    },
    b: { links: {}, mirror: { address: '10.9.0.2', port: 3780 } },
  },
  trafficGroups: [{ name: 'main', floating: { server: ['10.2.0.1'] } }],
  pools: [{ name: 'web', members: [{ address: '10.2.0.11', port: 80 }] }],
  virtualServers: [{ name: 'www', address: '10.1.0.100' }],
} as unknown as Config;

const link = { mac: '02:00:00:00:00:01', up: true, carrier: true };
const healthy: KernelLinks = {
  links: [
    { index: 1, name: 'lo', ...link },
    { index: 2, name: 'eth1', ...link },
    { index: 3, name: 'eth2', ...link },
  ],
  addresses: [
    { interfaceIndex: 2, address: '10.1.0.2', prefixLength: 24, duplicate: false },
    { interfaceIndex: 2, address: 'fd01::2', prefixLength: 64, duplicate: false },
    { interfaceIndex: 3, address: '10.2.0.2', prefixLength: 24, duplicate: false },
  ],
};

function check(changes: Partial<KernelLinks>, sysctl: Readonly<Record<string, string>> = {}): LinkFault[] {
  return checkLinks(config, 'a', { ...healthy, ...changes }, (name) => sysctl[name] ?? null);
}

function changeLink(name: string, change: Partial<KernelLinks['links'][number]>): Partial<KernelLinks> {
  return {
    links: healthy.links.map((candidate) => (candidate.name === name ? { ...candidate, ...change } : candidate)),
  };
}

test('links that are as the config says have no fault', () => expect(check({})).toEqual([]));

test('an interface that does not exist: those that do are named', () => {
  expect(check({ links: healthy.links.filter(({ name }) => name !== 'eth2') })).toEqual([
    {
      severity: 'error',
      code: 'no_interface',
      path: 'units.a.links.server.interface',
      message: 'interface eth2 does not exist here; there are: eth1',
    },
  ]);
});

test('an interface that is down is an error, one without carrier a warning', () => {
  expect(check(changeLink('eth1', { up: false, carrier: false }))).toEqual([
    {
      severity: 'error',
      code: 'interface_down',
      path: 'units.a.links.client.interface',
      message: 'eth1 is down: ip link set eth1 up',
      mend: 'ip link set eth1 up',
    },
  ]);
  expect(check(changeLink('eth1', { carrier: false }))).toMatchObject([{ severity: 'warning', code: 'no_carrier' }]);
});

test('an interface that is not Ethernet cannot be forwarded on', () => {
  expect(check(changeLink('eth1', { mac: null }))).toMatchObject([{ severity: 'error', code: 'not_ethernet' }]);
});

test('an address that is missing, and one that is on the wrong interface', () => {
  const [missing] = check({ addresses: healthy.addresses.slice(1) });
  expect(missing).toMatchObject({ severity: 'error', code: 'no_address', path: 'units.a.links.client.addresses[0]' });
  expect(missing?.message).toContain('ip address add 10.1.0.2/24 dev eth1');
  const moved = healthy.addresses.map((address, index) => (index === 1 ? { ...address, interfaceIndex: 3 } : address));
  expect(check({ addresses: moved })[0]?.message).toContain('eth1 does not have fd01::2 but eth2 does');
});

test('an address that another host has too', () => {
  const addresses = healthy.addresses.map((address) => ({ ...address, duplicate: address.address === 'fd01::2' }));
  expect(check({ addresses })).toMatchObject([
    { code: 'duplicate_address', path: 'units.a.links.client.addresses[1]' },
  ]);
});

test('a virtual or floating address on an interface is an error: the kernel would answer for it', () => {
  const extra = ['10.1.0.100', '10.2.0.1'].map((address) => ({ ...healthy.addresses[0]!, address }));
  const faults = check({ addresses: [...healthy.addresses, ...extra] });
  expect(faults.map(({ code, path }) => [code, path])).toEqual([
    ['address_on_interface', 'trafficGroups.main.floating.server[0]'],
    ['address_on_interface', 'virtualServers.www.address'],
  ]);
  expect(faults[1]?.message).toContain('ip address del 10.1.0.100/24 dev eth1');
});

test('sysctls that make the kernel answer for others, or keep too few neighbours, are warned of', () => {
  expect(check({}, { 'net.ipv4.conf.eth2.proxy_arp': '1' })).toMatchObject([
    { severity: 'warning', code: 'kernel_answers', path: 'units.a.links.server.interface' },
  ]);
  expect(check({}, { 'net.ipv4.neigh.default.gc_thresh3': '1' })).toMatchObject([
    { severity: 'warning', code: 'neighbour_table_small' },
  ]);
  expect(check({}, { 'net.ipv4.neigh.default.gc_thresh3': '1024' })).toEqual([]);
});
