/**
 * Goal: every command asks what its words say, prints what came back for people and for programs, and ends with the
 * exit code that tells.
 * Method: the real command line with streams that are kept and a Control of made-up answers.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { run } from '@stricli/core';
import { describe, expect, test } from 'vitest';

import {
  type ApplyResult,
  CONFIG_TEXT_BYTES_MAX,
  type Control,
  ControlError,
  DaemonUnreachable,
} from '../../../src/api.js';
import { buildCli } from '../../../src/cli/app.js';
import type { CliContext, ConfigText, RunOptions } from '../../../src/cli/context.js';
import { loadConfig } from '../../../src/config/load.js';
import type { ReplayOptions, ReplaySummary } from '../../../src/replay.js';
import { noTerminal } from '../../support/cli_context.js';
import { changed, validConfig } from '../../support/config_text.js';
import { applied, mirror, NOW, status, stubControl } from '../../support/control_stub.js';

interface Ran {
  readonly out: string;
  readonly err: string;
  readonly code: number;
  /** Sockets asked for, in order. */
  readonly sockets: readonly string[];
  readonly daemons: readonly RunOptions[];
  readonly replays: readonly ReplayOptions[];
}

const summary: ReplaySummary = {
  read: 3,
  forwarded: 1,
  punted: 1,
  dropped: [{ name: 'unknown', value: 1, sentence: 'why' }],
  accounted: true,
  damage: null,
};

const units = { fingerprint: 'aa11', peerFingerprint: 'bb22' };

interface World {
  readonly control?: Control;
  readonly config?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly summary?: ReplaySummary;
  readonly runDaemon?: () => Promise<void>;
}

async function tandem(words: string, world: World = {}): Promise<Ran> {
  let [out, err] = ['', ''];
  const sockets: string[] = [];
  const daemons: RunOptions[] = [];
  const replays: ReplayOptions[] = [];
  const context: CliContext = {
    process: {
      stdout: { write: (text) => (out += text) },
      stderr: { write: (text) => (err += text) },
      env: world.env ?? {},
    },
    now: () => NOW,
    colours: false,
    terminal: noTerminal,
    connect: (path) => {
      sockets.push(path);
      return world.control ?? stubControl();
    },
    readConfig: (file) => loadConfig(world.config ?? validConfig, file),
    readConfigText: (file) => readTextOf(file, world.config ?? validConfig),
    runDaemon: async (options) => {
      daemons.push(options);
      await world.runDaemon?.();
    },
    pairing: {
      invite: async (options) => ({ code: `CODE-${options.address}-${options.port}`, paired: Promise.resolve(units) }),
      join: async (code) => {
        if (code !== 'CODE') throw new Error('that is not a code');
        return units;
      },
      status: async (directory) => (directory === '/paired' ? units : null),
    },
    readHostFacts: () => Promise.reject(new Error('this test looks at no host')),
    capture: () => Promise.reject(new Error('this test captures nothing')),
    replay: async (options) => {
      replays.push(options);
      return world.summary ?? summary;
    },
  };
  await run(buildCli('0.1.0'), words === '' ? [] : words.split(' '), context);
  return { out, err, code: Number(context.process.exitCode ?? 0), sockets, daemons, replays };
}

const failing = (error: Error): Control => {
  const fail = () => Promise.reject(error);
  return { ...stubControl(), status: fail, reload: fail, standby: fail, setVirtualServer: fail };
};

/** Only FILE is there. */
function readTextOf(file: string, text: string): ConfigText {
  if (file === 'FILE') return { ok: true, text };
  const error = { code: 'unreadable', message: 'cannot be opened', hint: null, file, path: '', line: 1, column: 1 };
  return { ok: false, errors: [error] };
}

/** What people see, kept beside this file: read it when it changes. */
function expected(name: string): string {
  return readFileSync(fileURLToPath(new URL(`expected/${name}.txt`, import.meta.url)), 'utf8');
}

describe('for people', () => {
  test.each([
    ['status', 'status'],
    ['show virtual', 'show_virtual'],
    ['show pool', 'show_pool'],
    ['show connections --limit 2', 'show_connections'],
    ['show mirror', 'show_mirror'],
    ['show failover', 'show_failover'],
    ['show counters', 'show_counters'],
    ['show counters --all', 'show_counters_all'],
    ['reload', 'reload'],
    ['apply FILE', 'apply'],
    ['standby', 'standby'],
    ['virtual www mirror conn enable', 'virtual_mirror'],
    ['replay --config f.yaml in.pcap out.pcap', 'replay'],
  ])('tandem %s', async (words, name) => {
    const { out, err, code } = await tandem(words);
    await expect(out).toMatchFileSnapshot(`expected/${name}.txt`);
    expect({ err, code }).toEqual({ err: '', code: 0 });
  });

  test('tables of everyday size fit into 80 columns', () => {
    for (const name of ['status', 'show_pool', 'show_mirror', 'standby', 'reload', 'apply']) {
      expect(
        Math.max(
          ...expected(name)
            .split('\n')
            .map((line) => line.length),
        ),
        name,
      ).toBeLessThanOrEqual(80);
    }
  });
});

describe('for programs', () => {
  test.each([
    ['status', status],
    ['show mirror', mirror],
  ])('%s --json is what the daemon answered', async (words, answer) => {
    const { out } = await tandem(`${words} --json`);
    expect(JSON.parse(out)).toEqual(answer);
  });

  test('a refusal is JSON too, on stdout, with its exit code', async () => {
    const control = failing(new ControlError('refused', 'peer_not_in_sync', 'no', 'wait'));
    const { out, err, code } = await tandem('standby --json', { control });
    expect(JSON.parse(out)).toEqual({
      error: { kind: 'refused', code: 'peer_not_in_sync', message: 'no', mend: 'wait', configErrors: [] },
    });
    expect({ err, code }).toEqual({ err: '', code: 1 });
  });

  test('no daemon', async () => {
    const { out, code } = await tandem('status --json', {
      control: failing(new DaemonUnreachable('nobody', 'start it')),
    });
    expect(JSON.parse(out).error).toMatchObject({ kind: 'unreachable', message: 'nobody', mend: 'start it' });
    expect(code).toBe(3);
  });
});

describe('what is asked', () => {
  test.each([
    ['standby', 'standby null false'],
    ['apply FILE', 'apply {"text":"pools: 5","file":"FILE","local":false,"dryRun":false}'],
    ['apply FILE --local', 'apply {"text":"pools: 5","file":"FILE","local":true,"dryRun":false}'],
    ['apply FILE --dry-run', 'apply {"text":"pools: 5","file":"FILE","local":false,"dryRun":true}'],
    ['standby main --force', 'standby "main" true'],
    ['standby --release', 'releaseStandby null'],
    ['standby main --release', 'releaseStandby "main"'],
    ['virtual www mirror conn enable', 'setVirtualServer "www" {"mirror":"async"}'],
    ['virtual www mirror conn disable', 'setVirtualServer "www" {"mirror":"off"}'],
    ['show connections --virtual www --limit 5', 'connections "www" 0 5'],
  ])('tandem %s', async (words, asked) => {
    const control = stubControl();
    await tandem(words, { control, config: 'pools: 5' });
    expect(control.asked).toEqual([asked]);
  });

  test('a file to apply that cannot be read, or is too large, asks nothing', async () => {
    const control = stubControl();
    expect(await tandem('apply other', { control })).toMatchObject({
      err: 'tandem: other cannot be applied\nother:1:1 cannot be opened\n',
      code: 1,
    });
    const large = await tandem('apply FILE', { control, config: '#'.repeat(CONFIG_TEXT_BYTES_MAX + 1) });
    expect(large.err).toContain('at most 1048576 are applied');
    expect(control.asked).toEqual([]);
  });

  test('connections page by page, up to the limit', async () => {
    const control = stubControl(2500);
    const { out } = await tandem('show connections --limit 2200 --json', { control });
    expect(control.asked).toEqual([
      'connections null 0 1000',
      'connections null 1000 1000',
      'connections null 2000 200',
    ]);
    expect(JSON.parse(out).rows).toHaveLength(2200);
  });

  test('the socket: flag, then environment, then the usual place', async () => {
    const env = { TANDEM_SOCKET: '/from/env' };
    expect((await tandem('status --socket /from/flag', { env })).sockets).toEqual(['/from/flag']);
    expect((await tandem('status', { env })).sockets).toEqual(['/from/env']);
    expect((await tandem('status')).sockets).toEqual(['/run/tandem/tandem.sock']);
  });

  test('the daemon to run', async () => {
    const { daemons } = await tandem('run tandem.yaml --unit b --socket /s --state /d --log-level debug');
    expect(daemons).toEqual([{ file: 'tandem.yaml', unit: 'b', socket: '/s', state: '/d', logLevel: 'debug' }]);
    const byEnvironment = await tandem('run tandem.yaml --unit b', { env: { STATE_DIRECTORY: '/var/lib/t:/other' } });
    expect(byEnvironment.daemons[0]).toMatchObject({ state: '/var/lib/t' });
    expect((await tandem('run tandem.yaml --unit a')).daemons[0]).toMatchObject({
      socket: '/run/tandem/tandem.sock',
      logLevel: 'info',
    });
  });

  test('two units to pair', async () => {
    const begun = await tandem('pair init tandem.yaml --unit b');
    expect(begun.out).toContain('tandem pair join CODE-10.9.0.2-3781\n');
    expect(begun.out).toContain('aa11');
    expect(await tandem('pair join CODE')).toMatchObject({ code: 0, err: '' });
    expect(await tandem('pair join EDOC')).toMatchObject({ code: 1, err: 'tandem: that is not a code\n' });
    expect(await tandem('pair status')).toMatchObject({ code: 1 });
    expect((await tandem('pair status --state /paired')).out).toContain('its peer   SHA-256 bb22');
  });

  test('the capture to replay', async () => {
    const { replays } = await tandem('replay --config f --unit b --standby --keep-mac in out');
    expect(replays[0]).toMatchObject({ unit: 'b', input: 'in', output: 'out', role: 'standby', keepMac: true });
    expect((await tandem('replay --config f in out')).replays[0]).toMatchObject({
      unit: 'a',
      role: 'active',
      keepMac: false,
    });
  });

  test('explanations instead of a capture to write', async () => {
    const { replays } = await tandem('replay --config f --explain in');
    expect(replays[0]).toMatchObject({ input: 'in', output: null });
    expect(replays[0]!.onExplained).toBeTypeOf('function');
    expect((await tandem('replay --config f in out')).replays[0]!.onExplained).toBeUndefined();
    // Lines of JSON, the last one the summary.
    const { out } = await tandem('replay --config f --explain --json in');
    expect(out).toBe(`${JSON.stringify(summary)}\n`);
  });
});

describe('what became of an apply', () => {
  const rows: readonly (readonly [Partial<ApplyResult>, code: number, out: string])[] = [
    [
      { peer: 'absent' },
      0,
      'applied on this unit: revision 7 (3f2a91c0); the peer is offered it when it is back\n' +
        '  virtual server www added\n',
    ],
    [
      { peer: 'in-doubt', reason: 'silence' },
      1,
      'applied on this unit: revision 7 (3f2a91c0); NOT KNOWN TO BE on the peer, which is offered it when it ' +
        'connects anew\n  virtual server www added\n! silence\n',
    ],
    [
      { outcome: 'unchanged', changes: [] },
      0,
      'nothing to do: in force on both units already: revision 7 (3f2a91c0)\n',
    ],
    [{ outcome: 'valid', peer: 'valid' }, 0, 'valid on both units; it changes:\n  virtual server www added\n'],
    [
      { outcome: 'valid', peer: 'absent', changes: [] },
      0,
      'valid on this unit, and the peer is not connected; it changes nothing\n',
    ],
  ];

  test.each(rows)('%o', async (result, code, out) => {
    const control = { ...stubControl(), apply: async () => ({ ...applied, ...result }) };
    expect(await tandem('apply FILE', { control })).toMatchObject({ out, err: '', code });
  });
});

describe('exit codes', () => {
  test('1: refused, with what helps', async () => {
    const errors = [
      { code: 'missing', message: 'is missing', hint: null, file: 'f.yaml', path: 'links', line: 1, column: 2 },
    ];
    const control = failing(new ControlError('refused', 'config_invalid', 'f.yaml is not valid', 'mend it', errors));
    const { out, err, code } = await tandem('reload', { control });
    expect({ out, err, code }).toEqual({
      out: '',
      err: 'tandem: f.yaml is not valid\nf.yaml:1:2 links: is missing\n  mend it\n',
      code: 1,
    });
  });

  test('1: the daemon could not start', async () => {
    const runDaemon = () => Promise.reject(new Error('no capability'));
    expect(await tandem('run f --unit a', { runDaemon })).toMatchObject({ err: 'tandem: no capability\n', code: 1 });
  });

  test.each([
    'staus',
    'show mirro',
    'virtual www',
    'virtual www mirror conn on',
    'virtual www mirrors conn enable',
    'run f',
    'run f --unit c',
    'standby a b',
    'show connections --limit 0',
    'status --nonsense',
    'replay in out',
  ])('2: not understood: %s', async (words) => {
    // stricli's own negative codes; src/cli.ts makes them 2.
    expect((await tandem(words)).code).toBeLessThan(0);
  });

  test('2: a replay that neither writes nor explains', async () => {
    const { err, code, replays } = await tandem('replay --config f in');
    expect({ code, replays }).toEqual({ code: 2, replays: [] });
    expect(err).toContain('--explain');
  });

  test('3: no daemon answers, with what helps', async () => {
    const { err, code } = await tandem('status', {
      control: failing(new DaemonUnreachable('nobody listens', 'start it')),
    });
    expect({ err, code }).toEqual({ err: 'tandem: nobody listens\n  start it\n', code: 3 });
  });

  test.each([
    ['a frame is lost', { ...summary, accounted: false }],
    ['the capture is damaged', { ...summary, damage: 'in ends within frame 4' }],
  ])('1: replay, when %s', async (_name, wrong) => {
    const { out, code } = await tandem('replay --config f in out', { summary: wrong });
    expect(out).toContain('! ');
    expect(code).toBe(1);
  });
});

describe('check', () => {
  test('a valid file', async () => {
    expect(await tandem('check f.yaml')).toMatchObject({
      out: 'f.yaml is valid: 1 traffic group(s), 2 virtual server(s), 2 pool(s), 3 member(s)\n',
      code: 0,
    });
  });

  test('every error of a file, each on its line', async () => {
    const config = changed('pool: web,', 'pool: wbe,', changed('virtualRouterId: 51', 'virtualRouterId: 0'));
    expect(await tandem('check f.yaml', { config })).toMatchObject({
      out: [
        'f.yaml:15:22 trafficGroups.main.virtualRouterId: must be at least 1, is 0',
        "f.yaml:30:47 virtualServers.www.pool: no pool 'wbe' (did you mean 'web'?)",
        '2 errors\n',
      ].join('\n'),
      code: 1,
    });
  });

  test('as JSON', async () => {
    const { out, code } = await tandem('check --json f.yaml', { config: changed('pool: web,', 'pool: wbe,') });
    expect(JSON.parse(out)).toEqual({
      ok: false,
      errors: [
        {
          code: 'unknown_pool',
          message: "no pool 'wbe'",
          hint: "did you mean 'web'?",
          file: 'f.yaml',
          path: 'virtualServers.www.pool',
          line: 30,
          column: 47,
        },
      ],
    });
    expect(code).toBe(1);
  });

  test('replay with a file that is not valid says why', async () => {
    const { err, code, replays } = await tandem('replay --config f in out', { config: 'links: 3' });
    expect(err).toContain('f:1:8 links: expected a list, found 3');
    expect({ code, replays }).toEqual({ code: 1, replays: [] });
  });
});

test('the JSON Schema describes the file', async () => {
  const schema = JSON.parse((await tandem('schema')).out) as { properties: object; required: string[] };
  expect(Object.keys(schema.properties)).toEqual([
    '$schema',
    'links',
    'units',
    'trafficGroups',
    'pools',
    'virtualServers',
    'datapath',
    'mirror',
  ]);
  expect(schema.required).toEqual(['links', 'units', 'trafficGroups']);
});

test('--help tells the exit codes and every command', async () => {
  const { out, code } = await tandem('--help');
  for (const word of [
    'run',
    'check',
    'status',
    'show',
    'standby',
    'reload',
    'virtual',
    'replay',
    'Exit codes: 0 done',
    'TANDEM_SOCKET',
  ])
    expect(out).toContain(word);
  expect(code).toBe(0);
});
