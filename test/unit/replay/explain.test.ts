/**
 * Goal: `tandem replay --explain` says of each frame what it is, what was decided and why, and what was changed.
 * Method: a small capture of every kind through the real datapath, against text in expected/ and in docs/replay.md;
 * then golden cases, of which each frame must be told once, with the verdict that the case has.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { showExplained } from '../../../src/cli/show_explained.js';
import { loadConfig } from '../../../src/config/load.js';
import type { Config } from '../../../src/config/model.js';
import { native } from '../../../src/io/native.js';
import type { ExplainedFrame } from '../../../src/replay/explain.js';
import { replayCapture } from '../../../src/replay.js';
import { cases } from '../../golden/cases.js';
import {
  CLIENT,
  client,
  fragments,
  icmpError,
  member,
  packet,
  query,
  question,
  quoted,
  ROUTER,
  reply,
  SNAT,
  segment,
  solicitation,
  syn,
} from '../../golden/network.js';
import { inputOf } from '../../golden/run.js';
import { echoRequest, udp } from '../../support/packets.js';

const read = loadConfig(
  readFileSync(fileURLToPath(new URL('../../golden/tandem.yaml', import.meta.url)), 'utf8'),
  'tandem.yaml',
);
if (!read.ok) throw new Error(JSON.stringify(read.errors));
const golden = read.config;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-explain-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface How {
  readonly role?: 'active' | 'standby';
  readonly mtus?: Readonly<Record<string, number>>;
  readonly with?: Config;
}

async function explain(
  capture: Uint8Array,
  { role = 'active', mtus = {}, with: config = golden }: How = {},
): Promise<ExplainedFrame[]> {
  const input = join(folder, 'in.pcap');
  writeFileSync(input, capture);
  const told: ExplainedFrame[] = [];
  const onExplained = (explained: ExplainedFrame) => told.push(explained);
  const how = { config, unit: 'a', input, output: null, role, mtus, keepMac: true, onExplained } as const;
  expect(await replayCapture(native, how)).toMatchObject({ accounted: true, damage: null });
  return told;
}

/** Each of `frames` 1 ms behind the one before. */
async function told(frames: readonly Uint8Array[], how: How = {}): Promise<string[]> {
  const steps = frames.map((frame) => ({ frame, verdict: '' }));
  return (await explain(inputOf({ name: 'told', sentence: '', steps }), how)).flatMap((each) =>
    showExplained(each).split('\n'),
  );
}

const data = { sequence: 1001, acknowledgment: 5001 } as const;
/** Written to be read: a change there is looked at line by line. */
async function expectLines(lines: readonly string[], name: string): Promise<void> {
  await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot(`expected/${name}.txt`);
}

describe('in words', () => {
  test('a TCP connection from its SYN to a RST, with an error about it', async () => {
    const backToMember = quoted('10.2.0.1', '10.2.0.11', segment(SNAT, 8080));
    const fromRouter = { from: ROUTER, source: '10.2.0.254', destination: '10.2.0.1' } as const;
    const lines = await told([
      client('10.1.0.100', syn),
      member('10.2.0.11', '10.2.0.1', { flags: 'SA' }),
      client('10.1.0.100', { flags: 'A', ...data }),
      client('10.1.0.100', { flags: 'PA', ...data, payload: 'GET / HTTP/1.0\r\n\r\n' }),
      packet(fromRouter, icmpError(4, 3, 4, 1400, backToMember)),
      client('10.1.0.100', { flags: 'RA', ...data }),
    ]);
    await expectLines(lines, 'explained_tcp');
  });

  test('what is dropped and what is left to the kernel, with the reason', async () => {
    const lines = await told([
      client('10.1.0.100', { flags: 'A', ...data }),
      client('10.1.0.100', { ...syn, destinationPort: 81 }),
      client('10.1.0.103', syn),
      client('10.1.0.100', syn, { to: '02:00:00:01:00:00' }),
      client('10.1.0.100', syn).subarray(0, 20),
      client('10.1.0.100', syn).subarray(0, 10),
    ]);
    await expectLines(lines, 'explained_drops');
  });

  test('what Tandem answers itself, with the answer', async () => {
    const lines = await told([
      question({}, '10.1.0.9', '10.1.0.100'),
      solicitation('fd01::100'),
      packet({ source: CLIENT, destination: '10.1.0.100' }, echoRequest(4)),
      client('10.1.0.101', { flags: 'A', ...data }),
      client('10.1.0.100', syn, { ttl: 1 }),
    ]);
    await expectLines(lines, 'explained_answers');
  });

  test('UDP, IPv6 and a tunnel', async () => {
    const lines = await told([
      query('10.1.0.100'),
      reply('10.2.0.11', '10.2.0.1'),
      client('fd01::100', syn),
      client('10.1.0.171', syn),
    ]);
    await expectLines(lines, 'explained_udp_ipv6');
  });

  test('fragments that came before their first are told again when it has come', async () => {
    const [first, middle, last] = fragments(
      { source: CLIENT, destination: '10.1.0.100' },
      udp({ sourcePort: 40_000, destinationPort: 53, payload: 'x'.repeat(40) }),
      [16, 32],
    );
    await expectLines(await told([last!, middle!, first!]), 'explained_fragments');
  });
});

test('the example of docs/replay.md', async () => {
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  const yaml = /```yaml\n([\s\S]*?)```/.exec(readFileSync(`${root}README.md`, 'utf8'))![1]!;
  const result = loadConfig(yaml.replaceAll(/^ {3}/gm, ''), 'README.md');
  if (!result.ok) throw new Error(JSON.stringify(result.errors));
  const lines = await told(
    [
      client('10.1.0.100', syn),
      member('10.2.0.11', '10.2.0.1', { flags: 'SA', sourcePort: 80 }),
      client('10.1.0.100', { flags: 'A', ...data, sourcePort: 40_001 }),
      client('10.1.0.100', { ...syn, destinationPort: 443 }),
    ],
    { with: result.config },
  );
  const example = /```text\n([\s\S]*?)```/.exec(readFileSync(`${root}docs/replay.md`, 'utf8'))![1]!;
  expect(example.trimEnd().split('\n')).toEqual(lines);
});

test('for programs: what a frame was, and its connection', async () => {
  const [opened] = await explain(
    inputOf({ name: '', sentence: '', steps: [{ frame: client('10.1.0.100', syn), verdict: '' }] }),
  );
  expect(opened).toMatchObject({
    number: 1,
    timeS: 0,
    link: 'client',
    verdict: 'forward',
    sentOn: 'server',
    releasedBy: null,
    why: { code: 'opened', virtualServer: 'www' },
    connection: {
      virtualServer: 'www',
      client: '198.51.100.7:40000',
      virtual: '10.1.0.100:80',
      snat: '10.2.0.1:1024',
      member: '10.2.0.11:8080',
      forwarding: 'nat',
      state: 'syn_sent',
    },
    sent: null,
  });
  expect(JSON.parse(JSON.stringify(opened))).toEqual(opened);
});

/** As the golden cases have it. */
function verdictOf({ verdict, sentOn, why }: ExplainedFrame): string {
  if (verdict === 'forward') return `forward ${sentOn}`;
  return verdict === 'drop' ? why.code : verdict;
}

/** Every fourth, for time, and all that hold fragments. */
const chosen = cases.filter(({ name }, index) => index % 4 === 0 || name.startsWith('fragments'));

test('golden cases: each frame is told once, and a held one again, in its order', { timeout: 120_000 }, async () => {
  for (const { name, role, mtus, steps } of chosen) {
    const frames = await explain(inputOf({ name, sentence: '', steps }), { role: role ?? 'active', mtus: mtus ?? {} });
    const own = frames.filter(({ releasedBy }) => releasedBy === null);
    const lines = own.map((frame) => {
      const later = frames.filter(({ releasedBy }) => releasedBy === frame.number);
      return [frame, ...later].map(verdictOf).join(', ');
    });
    expect({ name, lines }).toEqual({ name, lines: steps.map(({ verdict }) => verdict) });
    expect(own.map(({ number }) => number)).toEqual(steps.map((_, index) => index + 1));
    for (const frame of frames) {
      expect(frame.why.sentence, name).not.toBe('');
      expect(showExplained(frame), name).not.toMatch(/undefined|null|NaN/);
      // Whatever was sent was either changed or is another packet.
      expect(frame.rewritten.length > 0 || frame.sent !== null, name).toBe(frame.verdict === 'forward');
    }
  }
});
