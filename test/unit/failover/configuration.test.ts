/** Goal: what the operator wrote becomes the virtual routers that RFC 9568 wants, the same on both units. */
import { describe, expect, test } from 'vitest';

import type { Config } from '../../../src/config/model.js';
import { failoverConfiguration, groupRouter, virtualRouters } from '../../../src/failover/configuration.js';
import { formatIpAddress } from '../../../src/wire/ip_address.js';
import { clientLink, group, peerOf, serverLink } from './example.js';

const config = {
  links: ['client', 'server', 'spare'],
  units: {
    a: {
      links: {
        client: { interface: 'a-client', addresses: clientLink.addresses },
        server: { interface: 'a-server', addresses: serverLink.addresses },
      },
    },
    b: {
      links: {
        client: { interface: 'b-client', addresses: clientLink.peerAddresses },
        server: { interface: 'b-server', addresses: serverLink.peerAddresses },
      },
    },
  },
  trafficGroups: [
    {
      name: 'main',
      virtualRouterId: 51,
      priority: { a: 150, b: 100 },
      preempt: true,
      preemptDelayS: 0,
      demotion: { notInSync: 100, pools: {} },
      advertIntervalMs: 100,
      checksum: 'pseudo-header',
      floating: { client: clientLink.floating, server: serverLink.floating },
    },
  ],
  virtualServers: [
    { name: 'www', address: '10.1.0.100', trafficGroup: 'main', links: ['client'] },
    { name: 'www6', address: 'fd01::100', trafficGroup: 'main', links: ['client'] },
    // Another port of an address is no other address.
    { name: 'tls', address: '10.1.0.100', trafficGroup: 'main', links: ['client'] },
    { name: 'else', address: '10.1.0.101', trafficGroup: 'other', links: ['client'] },
  ],
} as unknown as Config;

test("unit a's part of a config, and unit b's is its mirror image", () => {
  expect(failoverConfiguration(config, 'a').groups).toEqual([group()]);
  expect(failoverConfiguration(config, 'b').groups).toEqual([peerOf(group(), 100)]);
});

describe('virtual routers', () => {
  test('one per link and family', () => {
    const { routers, faults } = virtualRouters(group());
    expect(faults).toEqual([]);
    expect(routers.map(({ link, family }) => `${link} IPv${family}`)).toEqual([
      'client IPv4',
      'client IPv6',
      'server IPv4',
      'server IPv6',
    ]);
  });

  test('adverts list floating addresses only, IPv6 ones behind the link-local address of the virtual MAC', () => {
    const listed = virtualRouters(group()).routers.map(({ addresses }) => addresses.map(formatIpAddress));
    expect(listed.slice(0, 2)).toEqual([['10.1.0.1'], ['fe80::200:5eff:fe00:233', 'fd01::1']]);
  });

  test('a floating link-local address is listed first, and no other is made up', () => {
    const link = { ...clientLink, floating: ['fd01::1', 'fe80::1'] };
    const [router] = virtualRouters(group({ links: [link] })).routers;
    expect(router!.addresses.map(formatIpAddress)).toEqual(['fe80::1', 'fd01::1']);
  });

  test('no IPv4 address of the unit: no IPv4 router there, and a fault that says so', () => {
    const { routers, faults } = virtualRouters(group({ links: [{ ...clientLink, addresses: ['fd01::2'] }] }));
    expect(routers.map(({ family }) => family)).toEqual([6]);
    expect(faults.map(({ code }) => code)).toEqual(['no_own_address']);
  });

  test('more floating addresses than an advert holds: the first are listed, and a fault says so', () => {
    const floating = Array.from({ length: 100 }, (_, index) => `fd01::${(index + 1).toString(16)}`);
    const { routers, faults } = virtualRouters(group({ links: [{ ...clientLink, floating }] }));
    expect(routers[0]!.addresses).toHaveLength(90);
    expect(faults.map(({ code }) => code)).toEqual(['too_many_floating']);
  });

  test('no floating address at all', () => {
    const { routers, faults } = virtualRouters(group({ links: [{ ...clientLink, floating: [] }] }));
    expect(routers).toEqual([]);
    expect(faults.map(({ code }) => code)).toEqual(['no_virtual_router']);
  });
});

test('a tie is decided by one address of each unit, so that exactly one wins', () => {
  const crossed = group({ links: [clientLink, { ...serverLink, addresses: ['10.2.0.9'] }] });
  expect(groupRouter(crossed).winsTie).toBe(false);
  expect(groupRouter(peerOf(crossed, 150)).winsTie).toBe(true);
});
