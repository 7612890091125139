/**
 * Goal: every fault of a config is found, all at once, at its place, in words that say how to mend it.
 * Method: faults.txt, one case per fault: a valid config with one thing changed, and the errors that must come of it,
 * whole, as the operator reads them.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from 'vitest';

import { formatConfigError } from '../../../src/config/faults.js';
import { loadConfig } from '../../../src/config/load.js';
import { changed, loaded, validConfig } from '../../support/config_text.js';

function errorsOf(text: string): string[] {
  const result = loadConfig(text, 'tandem.yaml');
  return result.ok
    ? []
    : result.errors.map((error) => `${error.code} ${formatConfigError(error).replace('tandem.yaml:', '')}`);
}

describe('a valid config', () => {
  test('has its defaults filled in', () => {
    const config = loaded();
    expect(config.virtualServers[0]).toEqual({
      name: 'www',
      address: '10.1.0.100',
      port: 80,
      portLast: 80,
      protocol: 'tcp',
      pool: 'web',
      trafficGroup: 'main',
      links: ['client', 'server'],
      snat: 'automap',
      forwarding: 'nat',
      mirror: { mode: 'async', after: null, onTimeout: 'available', timeoutMs: 100 },
      unknown: 'drop',
      closed: 'drop',
      idleTimeoutS: { halfOpen: 10, established: 300, halfClosed: 60, closing: 10, udp: 30, other: 60 },
      onePacket: false,
      persistence: null,
    });
    expect(config.pools[0]).toMatchObject({ minActiveMembers: 1, slowStartS: 0, onMemberDown: 'keep' });
    expect(config.pools[0]!.members[0]).toMatchObject({ priority: 0, maxConnections: null });
    expect(config.trafficGroups[0]).toMatchObject({
      name: 'main',
      preempt: true,
      preemptDelayS: 0,
      demotion: { notInSync: 100, pools: {} },
      advertIntervalMs: 100,
      checksum: 'pseudo-header',
    });
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
    expect(config.datapath).toEqual({ workers: 1, connections: 1_000_000, device: 'auto', wait: 'poll' });
    expect(config.mirror).toEqual({
      maxDelayMs: 5,
      queueBytesMax: 8 * 1024 * 1024,
      keepaliveMs: 1000,
      plaintext: false,
    });
    expect(config.units.a.mirror).toEqual({ address: '10.9.0.1', port: 3780 });
  });

  test('says how many connections may be half-open, and what one client may open, where it does', () => {
    const text = changed('mirror: async', 'newConnectionsPerClient: { perS: 100, burst: 200 }');
    const config = loaded(`${text}datapath: { connections: 4096, halfOpen: 1000 }\n`);
    expect(config.datapath.halfOpen).toBe(1000);
    expect(config.virtualServers[0]!.newConnectionsPerClient).toEqual({ perS: 100, burst: 200 });
    expect(config.virtualServers[1]!.newConnectionsPerClient).toBeUndefined();
  });

  test('persistence: source alone has defaults, and what is said of it is kept', () => {
    const text = changed('trafficGroup: main, mirror: async', 'trafficGroup: main, persistence: { source: {} }');
    expect(loaded(text).virtualServers[0]!.persistence).toEqual({
      prefix4: 32,
      prefix6: 128,
      timeoutS: 300,
      mirror: true,
    });
    const said = text.replace('source: {}', 'source: { prefix4: 24, prefix6: 64, timeoutS: 60 }');
    expect(loaded(said).virtualServers[0]!.persistence).toEqual({
      prefix4: 24,
      prefix6: 64,
      timeoutS: 60,
      mirror: true,
    });
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
    const config = loaded(
      `${validConfig}  other: { address: 10.1.0.100, port: 81, pool: web, trafficGroup: main, closed: reset }\n`,
    );
    expect(config.virtualServers.map(({ closed }) => closed)).toEqual(['reset', 'drop', 'reset']);
  });

  test('statuses are single or ranges', () => {
    const config = loaded(changed('path: /health', 'expectStatus: [204, 300-302]'));
    expect(config.pools[0]!.monitor!.expectStatus).toEqual([
      [204, 204],
      [300, 302],
    ]);
  });

  test('a mirror mode may have what belongs to it', () => {
    const mirrorOf = (text: string) => loaded(changed('mirror: async', text)).virtualServers[0]!.mirror;
    const commit = { mode: 'commit', after: null, onTimeout: 'available', timeoutMs: 100 };
    expect(mirrorOf('mirror: commit')).toEqual(commit);
    expect(mirrorOf('mirror: { mode: commit, onTimeout: strict, timeoutMs: 20 }')).toEqual({
      ...commit,
      onTimeout: 'strict',
      timeoutMs: 20,
    });
    const late = { mode: 'async', after: { ageS: 1.5, bytes: null } };
    expect(mirrorOf('mirror: { mode: async, after: { ageS: 1.5 } }')).toMatchObject(late);
    expect(mirrorOf('protocol: udp, mirror: { mode: async, after: { ageS: 1.5 } }')).toMatchObject(late);
  });

  test("the API over TCP is where the config says, and on no address that is not the unit's", () => {
    const files = 'certificate: /etc/c.pem, key: /etc/k.pem, tokenFile: /etc/token';
    const at = (address: string, more = '') =>
      changed(
        'mirror: { address: 10.9.0.1 }',
        `mirror: { address: 10.9.0.1 }\n    api: { address: ${address}, ${files}${more} }`,
      );
    expect(loaded(validConfig).units.a.api).toBeUndefined();
    expect(loaded(at('127.0.0.1')).units.a.api).toMatchObject({ port: 8443, tokenFile: '/etc/token' });
    expect(loaded(at('10.9.0.1')).units.a.api).toMatchObject({ address: '10.9.0.1' });
    expect(errorsOf(at('10.9.0.1', ', port: 3780'))).toEqual([expect.stringMatching(/^port_in_use .*units\.a\.api/)]);
    expect(errorsOf(at('10.9.0.2'))).toEqual([expect.stringMatching(/^address_in_use /)]);
    expect(errorsOf(at('0.0.0.0'))).toEqual([expect.stringMatching(/^unusable_address /)]);
    expect(errorsOf(at('10.9.0.1').replace('/etc/token', 'token'))).toEqual([
      expect.stringContaining('units.a.api.tokenFile'),
    ]);
  });

  test('a secondary mirror address needs one at the other unit', () => {
    const first = (text: string) => changed('mirror: { address: 10.9.0.1 }', text);
    const half = first('mirror: { address: 10.9.0.1, secondary: { address: 10.8.0.1 } }');
    expect(errorsOf(half)).toEqual([expect.stringMatching(/^half_a_path 7:34 units\.a\.mirror\.secondary: /)]);
    const whole = half.replace('10.9.0.2 }', '10.9.0.2, secondary: { address: 10.8.0.2, port: 4000 } }');
    expect(loaded(whole).units.b.mirror.secondary).toEqual({ address: '10.8.0.2', port: 4000 });
    const twice = whole.replace('address: 10.8.0.2', 'address: 10.9.0.2');
    expect(errorsOf(twice)).toEqual([expect.stringContaining('units.b.mirror.secondary.address')]);
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

interface FaultCase {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly errors: readonly string[];
}

/** The cases of faults.txt, whose head says how they are written. */
function faultCases(): FaultCase[] {
  const text = readFileSync(fileURLToPath(new URL('faults.txt', import.meta.url)), 'utf8');
  const [, ...blocks] = text.trimEnd().split('\n\n');
  return blocks.map((block) => {
    const [head = '', ...lines] = block.split('\n');
    const marked = (mark: string) => lines.filter((line) => line.startsWith(mark)).map((line) => line.slice(2));
    const errors = lines.filter((line) => !/^[-+]/.test(line));
    return { name: head.slice(2), from: marked('-').join('\n'), to: marked('+').join('\n'), errors };
  });
}

describe('faults', () => {
  test.each(faultCases())('$name', ({ from, to, errors }) => {
    expect(errorsOf(changed(from, to)).toSorted()).toEqual(errors.toSorted());
  });

  test('are all told at once, in the order of their place', () => {
    let text = changed('pool: web,', 'pool: wbe,');
    text = changed('10.2.0.12', '10.2.0.12/24', text);
    text = changed('virtualRouterId: 51', 'virtualRouterId: 0', text);
    text = changed('mirror: async', 'miror: async', text);
    expect(errorsOf(text).map((error) => error.split(' ')[0])).toEqual([
      'out_of_range',
      'address_with_prefix',
      'unknown_pool',
      'unknown_key',
    ]);
  });

  test('a broken pool still counts as there, and the virtual server beside it is still checked', () => {
    const text = changed('10.2.0.12', 'x', changed('address: "fd01::100"', 'address: "ff02::1"'));
    expect(errorsOf(text).map((error) => error.split(' ')[0])).toEqual(['bad_address', 'unusable_address']);
  });
});

test('a link on which the group has no floating address of the family has no virtual router for it', () => {
  const oneFamily = changed('server: [10.2.0.1, "fd02::1"]', 'server: ["fd02::1"]');
  const [error] = errorsOf(changed('mirror: async', 'links: [server]', oneFamily));
  expect(error).toMatch(
    /^no_virtual_router 30:80 virtualServers\.www\.links\[0\]: .* no floating IPv4 address on link/,
  );
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
    expect(errorsOf(changed('  web6:', '  web:'))).toEqual([
      'yaml_duplicate_key 26:3 Map keys must be unique (give each entry a name of its own)',
    ]);
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
    const layers = Array.from(
      { length: 9 },
      (_, index) => `a${index + 1}: &a${index + 1} [${`*a${index},`.repeat(9)}]`,
    );
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
