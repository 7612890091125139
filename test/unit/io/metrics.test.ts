/**
 * Goal: /metrics tells what the API tells, named by Prometheus's rules; alerts and the dashboard ask for what is there.
 * Method: scrape a Control of made-up answers, read the text as Prometheus does, and look up every name in deploy/.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

import type { Control } from '../../../src/api.js';
import { Metrics } from '../../../src/io/metrics.js';
import { native } from '../../../src/io/native.js';
import * as stub from '../../support/control_stub.js';
import { repositoryRoot } from '../../support/lab/paths.js';

const row = ([name, sentence]: readonly [string, string], value: number) => ({ name, sentence, value });
/** Every counter that the datapath has, each with a value of its own. */
const counters = {
  counts: native.countNames.map((entry, index) => row(entry, 100 + index)),
  drops: native.dropNames.map((entry, index) => row(entry, 1_000 + index)),
};
/** Five not at all, three below 2 us, one for longer than there are buckets. */
const commitLatency = [5, 3, ...new Array<number>(stub.mirror.commitLatency.length - 3).fill(0), 1];
const control: Control = {
  ...stub.stubControl(),
  counters: async () => counters,
  mirror: async () => ({ ...stub.mirror, commitLatency }),
};
const text = await new Metrics(control).text();

/** `name{label="value"}` to value, as the text has them. */
const series = new Map(
  text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))] as const;
    }),
);
const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => [match[1]!, match[2]!]));
const own = [...types].filter(([name]) => name.startsWith('tandem_'));

describe('what is told', () => {
  test('every counter of the datapath, by its name', () => {
    for (const { name, value } of counters.counts) expect(series.get(`tandem_datapath_${name}_total`)).toBe(value);
    for (const { name, value } of counters.drops)
      expect(series.get(`tandem_datapath_drops_total{reason="${name}"}`)).toBe(value);
  });

  test('virtual servers, members, mirror and roles as the API has them', () => {
    const www = stub.virtualServers[0]!;
    expect(series.get('tandem_virtual_server_connections{virtual_server="www"}')).toBe(www.connections);
    expect(series.get('tandem_virtual_server_bytes_total{virtual_server="www",direction="out"}')).toBe(www.bytesOut);
    const named = 'tandem_member_connections{pool="web",member="10.2.0.11:80"}';
    expect(series.get(named)).toBe(stub.pools[0]!.members[0]!.connections);
    expect(series.get('tandem_member_state{pool="web",member="[fd02::12]:80",state="down"}')).toBe(1);
    expect(series.get('tandem_mirror_in_sync{side="peer"}')).toBe(1);
    expect(series.get('tandem_mirror_in_sync{side="self"}')).toBe(0);
    expect(series.get('tandem_mirror_lag_seconds')).toBeCloseTo(0.0012);
    const waited = (le: string) => series.get(`tandem_mirror_commit_handshakes_total{le="${le}"}`);
    expect(['0', '0.000002', '0.000004', '+Inf'].map(waited)).toEqual([5, 8, 8, 9]);
    expect(series.get('tandem_traffic_group_role{traffic_group="main",role="standby"}')).toBe(1);
    expect(series.get('tandem_connections_would_be_lost')).toBe(stub.survival.wouldBeLost);
    expect(series.get('process_cpu_seconds_total')).toBeGreaterThan(0);
  });

  test('is not told any more when it is gone', async () => {
    let servers = [...stub.virtualServers];
    const metrics = new Metrics({ ...control, virtualServers: async () => servers });
    expect(await metrics.text()).toMatch(/^tandem_virtual_server_connections\{/m);
    servers = [];
    expect(await metrics.text()).not.toMatch(/^tandem_virtual_server_connections\{/m);
  });

  test('a value is not added to the one of the last time', async () => {
    const metrics = new Metrics(control);
    expect(await metrics.text()).toMatch(/^tandem_table_connections 12345$/m);
    expect(await metrics.text()).toMatch(/^tandem_table_connections 12345$/m);
  });
});

describe('names', () => {
  test('a counter ends in _total, and nothing else does', () => {
    expect(own.length).toBeGreaterThan(90);
    const wrong = own.filter(([name, type]) => (type === 'counter') !== name.endsWith('_total'));
    expect(wrong).toEqual([]);
  });

  test('units are base units, in the plural', () => {
    const odd = own.filter(([name]) => /(_ms|_millis|milliseconds|_us|_kib|_percent|_second|_byte)(_|$)/.test(name));
    expect(odd).toEqual([]);
  });

  test('each has a sentence', () => {
    const helps = new Set([...text.matchAll(/^# HELP (\S+) \S/gm)].map((match) => match[1]!));
    expect(own.map(([name]) => name).filter((name) => !helps.has(name))).toEqual([]);
  });
});

interface Alerts {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert: string; readonly expr: string; readonly annotations: object }[];
  }[];
}
interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
}

describe('deploy/ asks for what is there', () => {
  const read = (name: string) => readFileSync(join(repositoryRoot, 'deploy', name), 'utf8');
  const alerts = (parse(read('prometheus/alerts.yml')) as Alerts).groups.flatMap(({ rules }) => rules);
  const dashboard = JSON.parse(read('grafana/tandem.json')) as Dashboard;
  const asked = [
    ...alerts.map(({ alert, expr }) => [alert, expr] as const),
    ...dashboard.panels.flatMap(({ title, targets }) => targets.map(({ expr }) => [title, expr] as const)),
  ];

  test.each(asked)('%s', (_name, expr) => {
    const names = [...expr.matchAll(/\b(tandem|process)_\w+/g)].map(([name]) => name);
    expect(names.filter((name) => !types.has(name))).toEqual([]);
    // A label, and where it is matched by a word, the value too.
    for (const [, name, matchers] of expr.matchAll(/\b((?:tandem|process)_\w+)\{([^}]*)\}/g)) {
      for (const [, label, value] of matchers!.matchAll(/(\w+)="([^"$]*)"/g)) {
        if (label === 'job') continue;
        const found = [...series.keys()].some(
          (key) => key.startsWith(`${name}{`) && key.includes(`${label}="${value}"`),
        );
        expect(found, `${name} with ${label}="${value}"`).toBe(true);
      }
    }
    for (const [, list] of expr.matchAll(/\bby \(([^)]*)\)/g)) {
      for (const label of list!.split(', ').filter((each) => each !== 'instance'))
        expect(
          [...series.keys()].some(
            (key) => names.some((name) => key.startsWith(`${name}{`)) && key.includes(`${label}="`),
          ),
        ).toBe(true);
    }
  });

  test('an alert for each of what must not go unseen, with what to do', () => {
    const names = alerts.map(({ alert }) => alert);
    for (const name of ['NotInSync', 'OneSidedSync', 'Flapping', 'TableNearlyFull', 'NoMember'])
      expect(names).toContain(`Tandem${name}`);
    expect(alerts.filter(({ annotations }) => !('summary' in annotations && 'description' in annotations))).toEqual([]);
  });
});
