/**
 * Goal: what other load balancers' configs say is taken over, what they cannot say is named, and the result is valid.
 * Method: realistic sources beside this file, whose configs and notes are kept and read when they change; the real
 * checker on each; wrong sources with the place where they are wrong; sources cut anywhere.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { loadConfig } from '../../../src/config/load.js';
import { type Conversion, convert } from '../../../src/convert/convert.js';

const folder = fileURLToPath(new URL('sources/', import.meta.url));
const sources = readdirSync(folder).toSorted();
const read = (name: string) => readFileSync(folder + name, 'utf8');

function converted(text: string): Extract<Conversion, { ok: true }> {
  const result = convert(text, 'f', null);
  if (!result.ok) throw new Error(`${result.error.line}:${result.error.column}: ${result.error.message}`);
  return result;
}

function config(text: string) {
  const result = loadConfig(converted(text).text, 'f');
  if (!result.ok) throw new Error(JSON.stringify(result.errors, null, 2));
  return result.config;
}

describe.each(sources)('%s', (name) => {
  test('becomes the config that is kept here, with every loss and every placeholder named', async () => {
    const { language, text, notes, placeholders } = converted(read(name));
    const lines = [
      ...notes.map(({ line, column, message }) => `${line}:${column}: ${message}`),
      ...placeholders.map((placeholder) => `placeholder: ${placeholder}`),
    ];
    await expect(`${text}\n--- ${language}\n${lines.join('\n')}\n`).toMatchFileSnapshot(`expected/${name}.txt`);
  });

  test('becomes a config that passes the checker', () => {
    expect(config(read(name)).virtualServers.length).toBeGreaterThan(0);
  });

  test('marks each line that has a placeholder, and no other', () => {
    const { text, placeholders } = converted(read(name));
    const marked = text.split('\n').filter((line) => line.endsWith('# placeholder'));
    // A link has two: its interface and its addresses.
    const places = new Set(placeholders.map((row) => row.split(':')[0]!.replace(/\.(interface|addresses)$/, '')));
    expect(marked.length).toBe(places.size);
  });
});

describe('keepalived', () => {
  test('IPVS keeps the client address: NAT without SNAT, and the pair is the way back', () => {
    const { virtualServers, trafficGroups } = config(read('nat.keepalived.conf'));
    expect(virtualServers.map(({ forwarding, snat }) => [forwarding, snat])).toEqual([
      ['nat', 'none'],
      ['nat', 'none'],
      ['nat', 'none'],
    ]);
    expect(trafficGroups[0]!.floating['eth1']).toContain('10.2.0.1');
  });

  test('a sorry server gets connections when nobody else can', () => {
    const { pools } = config(read('nat.keepalived.conf'));
    expect(pools[0]!.members.map(({ address, priority }) => [address, priority])).toEqual([
      ['10.2.0.11', 10],
      ['10.2.0.12', 10],
      ['10.2.0.99', 0],
    ]);
  });

  test('an address that a virtual server has does not float', () => {
    const { trafficGroups } = config(read('nat.keepalived.conf'));
    expect(Object.values(trafficGroups[0]!.floating).flat()).not.toContain('10.1.0.100');
  });

  test('the sync daemon of IPVS is mirroring', () => {
    const mirrored = (text: string) => config(text).virtualServers[0]!.mirror.mode;
    const server = 'virtual_server 10.1.0.100 80 {\n  real_server 10.2.0.11 80 { }\n}\n';
    expect(mirrored(server)).toBe('off');
    expect(mirrored(`global_defs {\n  lvs_sync_daemon eth0 VI_1\n}\n${server}`)).toBe('async');
  });

  test('UDP and TCP on one address and port are two virtual servers with names of their own', () => {
    const server = (protocol: string) =>
      `virtual_server 10.1.0.100 53 {\n  protocol ${protocol}\n  real_server 10.2.0.11 53 {\n  }\n}\n`;
    const { virtualServers } = config(server('TCP') + server('UDP'));
    expect(virtualServers.map(({ name }) => name)).toEqual(['vs-10.1.0.100-53', 'vs-10.1.0.100-53-udp']);
  });
});

describe('BIG-IP', () => {
  test.each([
    ['b virtual v { destination 10.1.0.100:80 pool p }\nb virtual v mirror conn enable'],
    ['create ltm virtual v destination 10.1.0.100:80 pool p mirror enabled'],
    ['ltm virtual /Common/v {\n  destination /Common/10.1.0.100:80\n  mirror enabled\n  pool /Common/p\n}'],
    ['virtual v {\n  destination 10.1.0.100:http\n  ip protocol tcp\n  mirror enable\n  pool p\n}'],
  ])('the same virtual server in four tongues: %s', (text) => {
    const [server] = config(`${text}\nb pool p { member 10.2.0.11:80 }`).virtualServers;
    expect(server).toMatchObject({ name: 'v', address: '10.1.0.100', port: 80, pool: 'p', mirror: { mode: 'async' } });
  });

  test('nPath is DSR, and members get the port that the client asked for', () => {
    const { virtualServers, pools } = config(read('bigpipe.txt'));
    expect(virtualServers.find(({ pool }) => pool === 'npath')!.forwarding).toBe('dsr');
    expect(pools.find(({ name }) => name === 'npath')!.members.map(({ port }) => port)).toEqual([0, 0]);
  });

  test('a pool named as a word of the language is a pool', () => {
    const { pools } = config('b pool ltm { member 10.2.0.11:80 }\nb virtual v { destination 10.1.0.100:80 pool ltm }');
    expect(pools.map(({ name }) => name)).toEqual(['ltm']);
  });
});

describe('a source that is wrong is told with its place', () => {
  test.each([
    ['virtual_server 10.1.0.100 80 {\n  lb_algo rr\n', 1, 30, '{ is never closed'],
    ['virtual_server 10.1.0.100 80 {\n}\n}', 3, 1, '} closes nothing'],
    ['virtual_server 10.1.0.300 80 {\n}', 1, 16, "'10.1.0.300' is no IP address"],
    ['virtual_server 10.1.0.100 80000 {\n}', 1, 27, "'80000' is no port"],
    ['virtual_server 10.1.0.100 80 {\n  lb_algo fair\n}', 2, 11, "'fair' is no scheduler of IPVS"],
    ['virtual_server 10.1.0.100 80 {\n  protocol SCTP\n}', 2, 3, 'protocol SCTP: TCP and UDP are converted'],
    ['vrrp_instance V {\n  state MASTER\n}', 1, 1, 'vrrp_instance V has no interface'],
    [
      'vrrp_instance V {\n  interface eth0\n  virtual_router_id 300\n}',
      3,
      21,
      "virtual_router_id needs a whole number from 1 to 255, found '300'",
    ],
    ['virtual_server group W {\n}', 1, 22, 'virtual_server_group W is not in this file'],
    ['b pool p { member 10.2.0.11:80 ratio many }', 1, 38, "ratio needs a whole number, found 'many'"],
    ['b pool p { members { 10.2.0.11 } }', 1, 22, "'10.2.0.11' is no member"],
    ['b pool {\n}', 1, 3, 'pool has no name'],
    ['b virtual v { destination', 1, 13, '{ is never closed'],
    ['ltm monitor http m {\n  send "GET /\n', 2, 8, 'a quoted text begins here and never ends'],
    ['listen www\n  bind :80\n', 1, 1, 'neither keepalived.conf nor b or tmsh lines are found here'],
    ['', 1, 1, 'neither keepalived.conf nor b or tmsh lines are found here'],
  ])('%j', (text, line, column, message) => {
    const result = convert(text, 'f', null);
    expect(result).toMatchObject({ ok: false, error: { line, column, message } });
  });
});

test('a source that is cut, or has its words mixed up, is converted or refused with a place in it', () => {
  const texts = sources.map(read);
  fc.assert(
    fc.property(fc.constantFrom(...texts), fc.nat(), fc.nat(), fc.nat(), (text, from, length, to) => {
      const cut = text.slice(from % text.length, (from % text.length) + (length % text.length));
      const at = to % text.length;
      const mixed = text.slice(0, at) + cut + text.slice(at);
      const result = convert(mixed, 'f', null);
      if (!result.ok) {
        const lines = mixed.split('\n');
        expect(result.error.line).toBeLessThanOrEqual(lines.length);
        expect(result.error.column).toBeLessThanOrEqual((lines[result.error.line - 1] ?? '').length + 1);
      }
    }),
    { numRuns: 300 },
  );
});
