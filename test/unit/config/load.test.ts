/**
 * Goal: every fault of a config is found, all at once, at its place, in words that say how to mend it.
 * Method: one row per fault: a valid config with one thing changed, and the one error that must come of it,
 * whole, as the operator reads it.
 */
import { describe, expect, test } from 'vitest';

import { formatConfigError } from '../../../src/config/faults.js';
import { loadConfig } from '../../../src/config/load.js';
import { changed, loaded, validConfig } from '../../support/config_text.js';

function errorsOf(text: string): string[] {
  const result = loadConfig(text, 'tandem.yaml');
  return result.ok ? [] : result.errors.map((error) => `${error.code} ${formatConfigError(error).replace('tandem.yaml:', '')}`);
}

describe('a valid config', () => {
  test('has its defaults filled in', () => {
    const config = loaded();
    expect(config.virtualServers[0]).toEqual({
      name: 'www',
      address: '10.1.0.100',
      port: 80,
      protocol: 'tcp',
      pool: 'web',
      trafficGroup: 'main',
      links: ['client', 'server'],
      snat: 'automap',
      mirror: 'async',
      unknown: 'drop',
      closed: 'drop',
      idleTimeoutS: { halfOpen: 10, established: 300, halfClosed: 60, closing: 10, udp: 30 },
    });
    expect(config.trafficGroups[0]).toMatchObject({ name: 'main', preempt: true, preemptDelayS: 0, advertIntervalMs: 100, checksum: 'pseudo-header' });
    expect(config.pools[0]!.monitor).toEqual({
      type: 'http',
      intervalMs: 1000,
      timeoutMs: 1000,
      rise: 2,
      fall: 3,
      port: null,
      path: '/health',
      host: null,
      expectStatus: [[200, 399]],
    });
    expect(config.pools[1]!.monitor).toBeNull();
    expect(config.datapath).toEqual({ workers: 1, connections: 1_000_000 });
    expect(config.mirror).toEqual({ maxDelayMs: 5, queueBytesMax: 8 * 1024 * 1024, keepaliveMs: 1000 });
    expect(config.units.a.mirror).toEqual({ address: '10.9.0.1', port: 3780 });
  });

  test('has canonical addresses', () => {
    const config = loaded(changed('address: "fd01::100"', 'address: "FD01:0:0:0:0:0:0:100"'));
    expect(config.virtualServers[1]!.address).toBe('fd01::100');
  });

  test('a virtual server is answered on the links where its group has a floating address of its family', () => {
    const config = loaded(changed('server: [10.2.0.1, "fd02::1"]', 'server: [10.2.0.1]'));
    expect(config.virtualServers.map(({ links }) => links)).toEqual([['client', 'server'], ['client']]);
  });

  test('closed: said once for an address holds for all its virtual servers', () => {
    const config = loaded(`${validConfig}  other: { address: 10.1.0.100, port: 81, pool: web, trafficGroup: main, closed: reset }\n`);
    expect(config.virtualServers.map(({ closed }) => closed)).toEqual(['reset', 'drop', 'reset']);
  });

  test('statuses are single or ranges', () => {
    const config = loaded(changed('path: /health', 'expectStatus: [204, 300-302]'));
    expect(config.pools[0]!.monitor!.expectStatus).toEqual([
      [204, 204],
      [300, 302],
    ]);
  });

  test('the mirror address may be an address of a link', () => {
    expect(errorsOf(changed('mirror: { address: 10.9.0.1 }', 'mirror: { address: 10.2.0.2 }'))).toEqual([]);
  });

  test('a SNAT list may name floating addresses of its group', () => {
    const config = loaded(changed('mirror: async }', 'snat: [10.2.0.1, 10.2.0.200] }'));
    expect(config.virtualServers[0]!.snat).toEqual(['10.2.0.1', '10.2.0.200']);
  });

  test('pools and virtual servers may be absent', () => {
    expect(errorsOf(validConfig.slice(0, validConfig.indexOf('pools:')))).toEqual([]);
  });
});

/** [what is replaced, by what, the errors]. */
const rows: readonly (readonly [name: string, from: string, to: string, errors: readonly string[]])[] = [
  // ---- names
  ['a pool that is not there', 'pool: web,', 'pool: wbe,', ["unknown_pool 30:47 virtualServers.www.pool: no pool 'wbe' (did you mean 'web'?)"]],
  ['a pool unlike any', 'pool: web,', 'pool: database,', ["unknown_pool 30:47 virtualServers.www.pool: no pool 'database' (known are web, web6)"]],
  ['a group that is not there', 'web, trafficGroup: main', 'web, trafficGroup: mian', ["unknown_traffic_group 30:66 virtualServers.www.trafficGroup: no traffic group 'mian' (did you mean 'main'?)"]],
  ['a floating link that is not there', '      server: [10.2.0.1', '      sever: [10.2.0.1', ["unknown_link 19:7 trafficGroups.main.floating.sever: no link 'sever' (did you mean 'server'?)"]],
  ['a unit without a link', '      server: { interface: b-server, addresses: [10.2.0.3, "fd02::3"] }\n', '', ["missing_link 9:5 units.b.links: unit b has no interface on link 'server' (both units need one on every link)"]],
  ['a link of a virtual server', 'mirror: async', 'links: [clint]', ["unknown_link 30:80 virtualServers.www.links[0]: no link 'clint' (did you mean 'client'?)"]],
  // ---- shape
  ['an unknown key', 'mirror: async', 'miror: async', ["unknown_key 30:72 virtualServers.www.miror: no such key here (did you mean 'mirror'?)"]],
  ['an unknown key unlike any', 'links: [client', 'colour: red\nlinks: [client', ['unknown_key 1:1 colour: no such key here (known are links, units, trafficGroups, pools, virtualServers, datapath, mirror)']],
  ['a missing key', 'virtualRouterId: 51', 'preempt: true', ['missing 14:3 trafficGroups.main.virtualRouterId: is missing']],
  ['text for a number', 'virtualRouterId: 51', 'virtualRouterId: "51"', ["wrong_type 15:22 trafficGroups.main.virtualRouterId: expected a number, found '51' (write digits without quotes or underscores)"]],
  ['a number out of range', 'virtualRouterId: 51', 'virtualRouterId: 256', ['out_of_range 15:22 trafficGroups.main.virtualRouterId: must be at most 255, is 256']],
  ['priority 255 is the address owner', 'a: 150', 'a: 255', ['out_of_range 16:20 trafficGroups.main.priority.a: must be at most 254, is 255']],
  ['a weight out of range', '10.2.0.12, port: 80', '10.2.0.12, port: 80, weight: 257', ['out_of_range 25:49 pools.web.members[1].weight: must be at most 256, is 257']],
  ['port 0', '10.2.0.12, port: 80', '10.2.0.12, port: 0', ['out_of_range 25:37 pools.web.members[1].port: must be at least 1, is 0']],
  ['an interval between centiseconds', 'virtualRouterId: 51', 'virtualRouterId: 51\n    advertIntervalMs: 15', ['out_of_range 16:23 trafficGroups.main.advertIntervalMs: must be a multiple of 10, is 15']],
  ['a word that is not one of those', 'mirror: async', 'mirror: asinc', ["not_one_of 30:80 virtualServers.www.mirror: must be off or async, is 'asinc' (did you mean 'async'?)"]],
  ['snat: neither word nor list', 'mirror: async', 'snat: autmap', ["not_one_of 30:78 virtualServers.www.snat: must be automap, none or a list, is 'autmap' (did you mean 'automap'?)"]],
  ['snat: a list with a bad address', 'mirror: async', 'snat: [10.1]', ["wrong_type 30:79 virtualServers.www.snat[0]: expected text, found 10.1 (put it in quotes)"]],
  ['snat: an empty list', 'mirror: async', 'snat: []', ['out_of_range 30:78 virtualServers.www.snat: must have at least 1 entry, has 0']],
  ['a status that is none', 'path: /health', 'expectStatus: [600]', ['out_of_range 22:43 pools.web.monitor.expectStatus[0]: must be at most 599, is 600']],
  ['statuses the wrong way round', 'path: /health', 'expectStatus: [299-200]', ['bad_range 22:43 pools.web.monitor.expectStatus[0]: 299-200 ends before it begins']],
  ['a name with a space', '  web6:', '  "web 6":', ['bad_name 26:3 pools."web 6": not a usable name (names are 1 to 63 letters, digits, dots, dashes and underscores, and begin with a letter or digit)', "unknown_pool 31:49 virtualServers.www6.pool: no pool 'web6' (did you mean 'web'?)"]],
  ['a name that every object has', '  web6:', '  constructor:', ['bad_name 26:3 pools.constructor: not a usable name (names are 1 to 63 letters, digits, dots, dashes and underscores, and begin with a letter or digit)', "unknown_pool 31:49 virtualServers.www6.pool: no pool 'web6' (did you mean 'web'?)"]],
  ['an interface name that is too long', 'interface: a-server', 'interface: a-server-long-name', ['bad_interface 6:28 units.a.links.server.interface: not an interface name (1 to 15 characters, as ip link shows it)']],
  // ---- addresses
  ['a prefix length', '10.2.0.12', '10.2.0.12/24', ["address_with_prefix 25:20 pools.web.members[1].address: '10.2.0.12/24' has a prefix length; an address stands here alone (write 10.2.0.12)"]],
  ['a zone id', '"fd02::11"', '"fe80::11%eth0"', ["address_with_zone 28:20 pools.web6.members[0].address: 'fe80::11%eth0' has a zone id; the link says which interface is meant (write fe80::11)"]],
  ['an IPv4-mapped address', '"fd02::11"', '"::ffff:10.2.0.11"', ["address_mapped 28:20 pools.web6.members[0].address: '::ffff:10.2.0.11' is an IPv4 address in IPv6 clothes (write 10.2.0.11)"]],
  ['a leading zero', '10.2.0.12', '10.2.0.012', ["address_leading_zero 25:20 pools.web.members[1].address: '10.2.0.012' has a leading zero, which some programs read as octal (write each octet without leading zeros)"]],
  ['a name for an address', '10.2.0.12', 'server-2', ["bad_address 25:20 pools.web.members[1].address: 'server-2' is no IP address (for example 10.1.0.2 or fd01::2; names are not looked up)"]],
  ['a multicast member', '10.2.0.12', '224.0.0.5', ['unusable_address 25:20 pools.web.members[1].address: 224.0.0.5 is a multicast address and cannot stand here']],
  ['an unspecified virtual address', '10.1.0.100', '0.0.0.0', ['unusable_address 30:19 virtualServers.www.address: 0.0.0.0 is an unspecified address and cannot stand here']],
  ['a loopback member', '"fd02::11"', '"::1"', ['unusable_address 28:20 pools.web6.members[0].address: ::1 is a loopback address and cannot stand here']],
  ['a link-local virtual address', '"fd01::100"', '"fe80::100"', ['unusable_address 31:20 virtualServers.www6.address: fe80::100 is a link-local address and cannot stand here']],
  ['the same address on both units', '[10.1.0.3, "fd01::3"]', '[10.1.0.2, "fd01::3"]', ["address_in_use 10:50 units.b.links.client.addresses[0]: 10.1.0.2 is unit a's own on link 'client' already"]],
  ['a floating address that a unit has', 'client: [10.1.0.1, "fd01::1"]', 'client: [10.1.0.2, "fd01::1"]', ["address_in_use 18:16 trafficGroups.main.floating.client[0]: 10.1.0.2 is unit a's own on link 'client' already"]],
  ['a virtual address that floats', 'www: { address: 10.1.0.100', 'www: { address: 10.1.0.1', ["address_in_use 30:19 virtualServers.www.address: 10.1.0.1 is a floating address of traffic group 'main' already (give the virtual server an address of its own)"]],
  ['a member that is a virtual address', '10.2.0.12', '10.1.0.100', ["address_in_use 25:20 pools.web.members[1].address: 10.1.0.100 is the address of virtual server 'www' already"]],
  ['both units mirror to one address', '10.9.0.2', '10.9.0.1', ["address_in_use 12:24 units.b.mirror.address: 10.9.0.1 is unit a's mirror address already"]],
  // ---- rules
  ['a link named twice', 'links: [client, server]', 'links: [client, server, client]', ["duplicate_link 1:25 links[2]: 'client' is named twice"]],
  ['one interface for two links', 'interface: a-server', 'interface: a-client', ["duplicate_interface 6:28 units.a.links.server.interface: interface 'a-client' is link 'client' already"]],
  ['a member twice', '10.2.0.12', '10.2.0.11', ['duplicate_member 25:9 pools.web.members[1]: 10.2.0.11 port 80 is in this pool already']],
  ['a family that does not fit', 'pool: web,', 'pool: web6,', ["family_mismatch 30:47 virtualServers.www.pool: the virtual server is IPv4, and pool 'web6' has the member fd02::11 (use one pool per address family)"]],
  ['a probe longer than its interval', 'path: /health', 'intervalMs: 200, timeoutMs: 300', ['timeout_over_interval 22:56 pools.web.monitor.timeoutMs: 300 ms is longer than the interval of 200 ms (a probe ends before the next begins)']],
  ['a path for a TCP monitor', 'type: http, path: /health', 'type: tcp, path: /health', ['wrong_monitor 22:27 pools.web.monitor.path: means nothing to a monitor of type tcp']],
  ['UDP with mirroring', 'mirror: async', 'mirror: async, protocol: udp', ['udp_mirror 30:80 virtualServers.www.mirror: UDP is not mirrored (write mirror: off)']],
  ['adverts without an own address', 'a-client, addresses: [10.1.0.2, "fd01::2"]', 'a-client, addresses: [10.1.0.2]', ["no_own_address 18:15 trafficGroups.main.floating.client: floating IPv6 addresses need an IPv6 address of unit a on link 'client', which has none (add one to units.a.links.client.addresses)"]],
  ['no floating address at all', '      client: [10.1.0.1, "fd01::1"]\n      server: [10.2.0.1, "fd02::1"]', '      {}', [
    'no_floating 17:5 trafficGroups.main.floating: a traffic group needs a floating address on at least one link',
    "no_virtual_router 29:19 virtualServers.www.address: traffic group 'main' has no floating IPv4 address on any link",
    "no_automap_address 29:3 virtualServers.www.snat: automap needs a floating IPv4 address in traffic group 'main', which has none (link-local ones aside) (add one on the members' link, or use snat: none)",
    "no_virtual_router 30:20 virtualServers.www6.address: traffic group 'main' has no floating IPv6 address on any link",
    "no_automap_address 30:3 virtualServers.www6.snat: automap needs a floating IPv6 address in traffic group 'main', which has none (link-local ones aside) (add one on the members' link, or use snat: none)",
  ]],
  ['a link without a virtual router of the family', 'server: [10.2.0.1, "fd02::1"]', 'server: ["fd02::1"]', []],
];

describe('faults', () => {
  test.each(rows)('%s', (_name, from, to, errors) => {
    expect([...errorsOf(changed(from, to))].sort()).toEqual([...errors].sort());
  });

  test('are all told at once, in the order of their place', () => {
    let text = changed('pool: web,', 'pool: wbe,');
    text = changed('10.2.0.12', '10.2.0.12/24', text);
    text = changed('virtualRouterId: 51', 'virtualRouterId: 0', text);
    text = changed('mirror: async', 'miror: async', text);
    expect(errorsOf(text).map((error) => error.split(' ')[0])).toEqual(['out_of_range', 'address_with_prefix', 'unknown_pool', 'unknown_key']);
  });

  test('a broken pool still counts as there, and the virtual server beside it is still checked', () => {
    const text = changed('10.2.0.12', 'x', changed('address: "fd01::100"', 'address: "ff02::1"'));
    expect(errorsOf(text).map((error) => error.split(' ')[0])).toEqual(['bad_address', 'unusable_address']);
  });

  test('VRIDs are unique on each link', () => {
    const second = '  second: { virtualRouterId: 51, priority: {a: 1, b: 2}, floating: { client: [10.1.0.9] } }\npools:';
    expect(errorsOf(changed('pools:', second))).toEqual([
      "duplicate_vrid 20:30 trafficGroups.second.virtualRouterId: 51 is traffic group 'main' on link 'client' already (each group on a link needs a VRID of its own)",
    ]);
  });

  test('address, port and protocol are one virtual server', () => {
    const twin = `${validConfig}  twin: { address: 10.1.0.100, port: 80, pool: web, trafficGroup: main }\n`;
    expect(errorsOf(twin)).toEqual(["duplicate_virtual_server 32:3 virtualServers.twin: 10.1.0.100 port 80/tcp is virtual server 'www' already"]);
    expect(errorsOf(twin.replace('twin: {', 'twin: { protocol: udp,'))).toEqual([]);
  });

  test('virtual servers of one address agree on what goes by address', () => {
    const sibling = `${changed('mirror: async', 'closed: drop')}  other: { address: 10.1.0.100, port: 81, pool: web, trafficGroup: main, closed: reset }\n`;
    expect(errorsOf(sibling)).toEqual([
      "address_disagrees 32:82 virtualServers.other.closed: 'reset' here, but 'drop' in virtual server 'www', which has the same address",
    ]);
  });

  test('a link where the group has no address of the family', () => {
    const text = changed('server: [10.2.0.1, "fd02::1"]', 'server: ["fd02::1"]', changed('mirror: async', 'links: [server]'));
    expect(errorsOf(text)).toEqual([
      "no_virtual_router 30:80 virtualServers.www.links[0]: traffic group 'main' has no floating IPv4 address on link 'server' (add an IPv4 address to trafficGroups.main.floating there)",
    ]);
  });
});

test('a place is where the value begins, or the key when that is at fault', () => {
  const text = changed('mirror: async', 'miror: asink');
  const result = loadConfig(text, 'tandem.yaml');
  if (result.ok) throw new Error('must not be valid');
  const { line, column } = result.errors[0]!;
  expect(text.split('\n')[line - 1]!.slice(column - 1)).toMatch(/^miror: asink/);
  const other = changed('pool: web,', 'pool: wbe,');
  const wrong = loadConfig(other, 'tandem.yaml');
  if (wrong.ok) throw new Error('must not be valid');
  expect(other.split('\n')[wrong.errors[0]!.line - 1]!.slice(wrong.errors[0]!.column - 1)).toMatch(/^wbe,/);
});

describe('YAML', () => {
  test('a duplicate key is an error', () => {
    expect(errorsOf(changed('  web6:', '  web:'))).toEqual(['yaml_duplicate_key 26:3 Map keys must be unique (give each entry a name of its own)']);
  });

  test('an empty file is no config', () => {
    expect(errorsOf('')).toEqual(['wrong_type 1:1 expected a section (key: value), found nothing']);
  });

  test.each(['[]', '42', 'text', '- a', 'null'])('%s is no config', (text) => {
    expect(errorsOf(text)).toHaveLength(1);
  });

  test('broken syntax is told with its place', () => {
    expect(errorsOf('links: [client\nunits: 3\n')[0]).toMatch(/^yaml_\w+ [12]:\d+ /);
  });

  test('a file that expands too much is refused', () => {
    const layers = Array.from({ length: 9 }, (_, index) => `a${index + 1}: &a${index + 1} [${`*a${index},`.repeat(9)}]`);
    expect(errorsOf(['a0: &a0 [x]', ...layers].join('\n'))[0]).toMatch(/^yaml_aliases 1:1 /);
  });

  test('an alias of nothing is told', () => {
    expect(errorsOf('a: *nowhere\n')).toHaveLength(1);
  });

  test('a file nested too deeply is refused', () => {
    expect(errorsOf('['.repeat(200_000)).length).toBeGreaterThan(0);
    expect(errorsOf('- '.repeat(100_000)).length).toBeGreaterThan(0);
  });

  test('a file that is too large is refused', () => {
    expect(errorsOf(`# ${'x'.repeat(4 * 1024 * 1024)}`)[0]).toMatch(/^too_large /);
  });

  test('two documents are refused', () => {
    expect(errorsOf(`${validConfig}---\n${validConfig}`)[0]).toMatch(/^yaml_multiple_docs /);
  });

  test('anchors may be used', () => {
    expect(errorsOf(changed('priority: { a: 150, b: 100 }', 'priority: &p { a: 150, b: 100 }'))).toEqual([]);
  });
});
