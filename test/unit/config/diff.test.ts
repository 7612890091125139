/**
 * Goal: a reload says what it changed, and what it cannot change.
 * Method: one row per change of a config; the lines, whole.
 */
import { expect, test } from 'vitest';

import { diffConfigs, formatRestartChange } from '../../../src/config/diff.js';
import { changed, loaded, validConfig } from '../../support/config_text.js';

const rows: readonly (readonly [name: string, from: string, to: string, changes: readonly string[]])[] = [
  ['a comment changes nothing', 'pools:', '# pools\npools:', []],
  [
    'a member comes',
    '10.2.0.12, port: 80 }',
    '10.2.0.12, port: 80 }\n      - { address: 10.2.0.13, port: 80 }',
    ['pool web: member 10.2.0.13:80 added'],
  ],
  ['a member goes', '      - { address: 10.2.0.12, port: 80 }\n', '', ['pool web: member 10.2.0.12:80 removed']],
  [
    'a member drains',
    '10.2.0.12, port: 80',
    '10.2.0.12, port: 80, state: draining',
    ['pool web: member 10.2.0.12:80: state: enabled -> draining'],
  ],
  [
    'a pool is scheduled otherwise',
    'monitor: { type: http, path: /health }',
    'scheduler: maglev\n    monitor: { type: http, path: /health }',
    ['pool web: scheduler: round-robin -> maglev'],
  ],
  [
    'a virtual server is mirrored no longer',
    'mirror: async',
    'mirror: off',
    ['virtual server www: mirror: async -> off'],
  ],
  [
    'a virtual server goes',
    '  www6: { address: "fd01::100", port: 80, pool: web6, trafficGroup: main }\n',
    '',
    ['virtual server www6 removed'],
  ],
  ['a priority changes', 'a: 150', 'a: 160', ['traffic group main: priority: {"a":150,"b":100} -> {"a":160,"b":100}']],
  ['the mirror is paced otherwise', 'pools:', 'mirror: { maxDelayMs: 10 }\npools:', ['mirror: maxDelayMs: 5 -> 10']],
];

test.each(rows)('%s', (_name, from, to, changes) => {
  expect(diffConfigs(loaded(), loaded(changed(from, to)), 'a')).toEqual({ changes, needRestart: [] });
});

const restarts: readonly (readonly [name: string, from: string, to: string, needRestart: readonly string[]])[] = [
  ['our interface', 'interface: a-server', 'interface: eth7', ['units.a.links: changed']],
  ['our address', '[10.2.0.2, "fd02::2"]', '[10.2.0.4, "fd02::2"]', ['units.a.links: changed']],
  ["the peer's address", '[10.2.0.3, "fd02::3"]', '[10.2.0.4, "fd02::3"]', ['units.b.links: addresses changed']],
  ['our mirror address', '10.9.0.1', '10.9.0.7', ['units.a.mirror: changed']],
  ["the peer's mirror address", '10.9.0.2', '10.9.0.7', ['units.b.mirror: changed']],
  ['the table', 'pools:', 'datapath: { connections: 5000 }\npools:', ['datapath.connections: 1000000 -> 5000']],
  ['the workers', 'pools:', 'datapath: { workers: 2 }\npools:', ['datapath.workers: 1 -> 2']],
];

test.each(restarts)('needs a restart: %s', (_name, from, to, needRestart) => {
  const diff = diffConfigs(loaded(), loaded(changed(from, to)), 'a');
  expect(diff.changes).toEqual(needRestart);
  expect(diff.needRestart.map(formatRestartChange)).toEqual(needRestart);
});

test("the peer's interface names are the peer's matter", () => {
  expect(
    diffConfigs(loaded(validConfig), loaded(changed('interface: b-server', 'interface: eth7')), 'a').needRestart,
  ).toEqual([]);
});
