/**
 * Goal: `tandem apply` puts one config in force on both units or on neither, and no connection notices.
 * Method: two daemons with a file each; apply under traffic, with faults, without a peer, and with a peer that dies
 * between prepare and commit.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from 'vitest';
import { parse, stringify } from 'yaml';

import type { ApplyResult, Status } from '../../src/api.js';
import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { type PairOptions, pairConfig } from '../support/lab/pair_config.js';
import { virtualAddress } from '../support/lab/topology.js';
import { startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, isReady, startPair, type Unit } from '../support/lab/unit.js';
import { streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

const options: PairOptions = { mirror: 'async' };

interface Draft {
  virtualServers: Record<string, object>;
  datapath: { workers: number };
}

/** A file for `tandem apply`: the pair's config with what `change` does to it. */
function proposal(lab: Lab, name: string, change: (draft: Draft) => void, of = options): string {
  const draft = parse(pairConfig(of)) as Draft;
  change(draft);
  const file = join(lab.directory, name);
  writeFileSync(file, stringify(draft));
  return file;
}

function withEcho(name: string, port: number): (draft: Draft) => void {
  return (draft) => {
    const echo = draft.virtualServers['direct'];
    draft.virtualServers[name] = { ...echo, port, snat: 'automap' };
  };
}

async function apply(unit: Unit, ...words: string[]): Promise<ApplyResult> {
  return JSON.parse(await unit.tandem('apply', ...words, '--json')) as ApplyResult;
}

/** The refusal of an apply, as programs see it. */
async function refusal(unit: Unit, ...words: string[]): Promise<{ code: string; configErrors: object[] }> {
  const failed = await unit.tandem('apply', ...words, '--json').then(
    () => null,
    (error: { stdout: string }) => error,
  );
  if (failed === null) throw new Error(`tandem apply ${words.join(' ')} was not refused`);
  return (JSON.parse(failed.stdout) as { error: { code: string; configErrors: object[] } }).error;
}

const runsTheSame = (number: number) => (status: Status) =>
  status.config.same === true && status.config.revision?.number === number && status.config.inDoubt === null;

labTest('a virtual server comes on both units under traffic, and no connection is lost', async (lab) => {
  await startServers(lab);
  const { a, b } = await startPair(lab, options);
  const [stream, idle] = await Promise.all([startEcho(lab), startIdle(lab, 60)]);

  const first = proposal(lab, 'first.yaml', withEcho('echo-more', 1107));
  expect(await apply(a, first, '--dry-run')).toMatchObject({ outcome: 'valid', peer: 'valid', revision: null });
  expect((await a.status()).config.revision).toBeNull();
  const applied = await apply(b, first);
  expect(applied).toMatchObject({ outcome: 'applied', peer: 'applied', revision: { number: 1, unit: 'b' } });
  expect(applied.changes).toEqual(['virtual server echo-more added']);
  const appliedAtMs = monotonicMs();
  for (const unit of [a, b]) await unit.waitUntil('in sync on revision 1', runsTheSame(1));
  const more = await startEcho(lab, virtualAddress.ipv4, 1107);
  expect((await apply(a, first)).outcome).toBe('unchanged');

  const killedAtMs = a.kill();
  await b.waitUntil('active', (status) => hasRole(status, 'active'));
  await pause(1_000);
  expect(streamOutcome(await more.stop(), killedAtMs)).toBe('survived');
  expect(streamOutcome(await stream.stop(), appliedAtMs)).toBe('survived');
  expect(await idle.stop()).toEqual({ survived: 60, hung: 0, reset: 0 });

  // The killed unit comes back with what it wrote down.
  a.start();
  await a.waitUntil('on revision 1', runsTheSame(1));
  expect(readFileSync(a.configFile, 'utf8')).toBe(readFileSync(first, 'utf8'));
  expect(readFileSync(`${a.configFile}.previous`, 'utf8')).toBe(pairConfig(options));
});

labTest('what either unit cannot have is refused on both, with every place', async (lab) => {
  await startServers(lab);
  const { a, b } = await startPair(lab, options);
  const before = readFileSync(a.configFile, 'utf8');

  const invalid = proposal(lab, 'invalid.yaml', (draft) => {
    draft.virtualServers['x'] = { address: '10.1.0.101', port: 1, pool: 'ecoh', trafficGroup: 'main' };
    draft.virtualServers['y'] = { address: '10.1.0.102', port: 0, pool: 'echo', trafficGroup: 'main' };
  });
  const faults = await refusal(a, invalid);
  expect(faults.code).toBe('config_invalid');
  expect(faults.configErrors).toMatchObject([
    { code: 'unknown_pool', path: 'virtualServers.x.pool', line: expect.any(Number) as number },
    { path: 'virtualServers.y.port', line: expect.any(Number) as number },
  ]);

  const restart = proposal(lab, 'restart.yaml', (draft) => {
    draft.datapath.workers = 2;
  });
  expect(await refusal(a, restart)).toMatchObject({
    code: 'needs_restart',
    configErrors: [{ code: 'needs_restart', path: 'datapath.workers' }],
  });

  // Only unit b has it on an interface, so only unit b can know.
  lab.run('b', 'ip', ['address', 'add', '10.1.0.109/32', 'dev', 'lo']);
  const taken = proposal(lab, 'taken.yaml', (draft) => {
    draft.virtualServers['taken'] = { address: '10.1.0.109', port: 80, pool: 'http', trafficGroup: 'main' };
  });
  const seen = await refusal(a, taken);
  expect(seen).toMatchObject({
    code: 'links_unfit',
    configErrors: [{ code: 'address_on_interface', path: 'virtualServers.taken.address' }],
  });

  writeFileSync(b.configFile, readFileSync(proposal(lab, 'hand.yaml', withEcho('by-hand', 1108))));
  await b.tandem('reload');
  await a.waitUntil('aware that the units differ', ({ warnings }) => /different configs/.test(warnings.join()));

  for (const unit of [a, b]) expect((await unit.status()).config.revision).toBeNull();
  expect(readFileSync(a.configFile, 'utf8')).toBe(before);
  lab.run('b', 'ip', ['address', 'del', '10.1.0.109/32', 'dev', 'lo']);
  expect(await apply(a, taken)).toMatchObject({ peer: 'applied', revision: { number: 1 } });
  for (const unit of [a, b]) await unit.waitUntil('on revision 1', runsTheSame(1));
});

labTest('without the peer: refused, or --local and offered when it is back', async (lab) => {
  await startServers(lab);
  const { a, b } = await startPair(lab, options);
  const stream = await startEcho(lab);
  const first = proposal(lab, 'first.yaml', withEcho('echo-more', 1107));
  expect(await refusal(a, first, '--local')).toMatchObject({ code: 'peer_present' });

  b.kill();
  await a.waitUntil('alone', ({ mirror }) => mirror.channel !== 'up');
  expect(await refusal(a, first)).toMatchObject({ code: 'peer_absent' });
  expect(await apply(a, first, '--local')).toMatchObject({ outcome: 'applied', peer: 'absent' });
  const appliedAtMs = monotonicMs();
  const more = await startEcho(lab, virtualAddress.ipv4, 1107);

  b.start();
  await b.waitUntil('on revision 1, in sync', (status) => runsTheSame(1)(status) && isReady(status, 'standby'));
  const mirror = await b.show('mirror');
  // Had connections been announced before the config was, this one's virtual server would have been unknown.
  expect(mirror.receiving.unknown).toBe(0);
  const killedAtMs = a.kill();
  await b.waitUntil('active', (status) => hasRole(status, 'active'));
  await pause(1_000);
  expect(streamOutcome(await more.stop(), killedAtMs)).toBe('survived');
  expect(streamOutcome(await stream.stop(), appliedAtMs)).toBe('survived');
});

labTest(
  'a unit that dies between prepare and commit keeps the old config, says so, and is out of doubt again',
  async (lab) => {
    await startServers(lab);
    // Long enough that the channel is not given up while the command starts.
    const patient = { ...options, keepaliveMs: 10_000 };
    const { a, b } = await startPair(lab, patient);
    const first = proposal(lab, 'first.yaml', withEcho('echo-more', 1107), patient);
    const before = readFileSync(b.configFile, 'utf8');

    // b hears what a asks, and a does not hear that b has prepared.
    const rule = 'table bridge mute { chain c { type filter hook forward priority 0; iifname "mirror-b" drop; }; }';
    lab.run('switch', 'nft', ['-f', '-'], `${rule}\n`);
    const refused = refusal(a, first);
    await waitForFile(`${b.configFile}.prepared`);
    await waitForText(join(b.state, 'config-revision.json'), '"number": 1');
    b.kill();
    expect((await refused).code).toBe('peer_lost');
    expect((await a.status()).config.revision).toBeNull();

    b.start();
    const doubtful = await b.waitUntil('in doubt', ({ config }) => config.inDoubt !== null);
    expect(doubtful.warnings.join()).toMatch(/revision 1 .* not known: this unit keeps what it had/);
    expect(readFileSync(b.configFile, 'utf8')).toBe(before);
    lab.run('switch', 'nft', ['delete', 'table', 'bridge', 'mute']);
    await b.waitUntil('out of doubt', ({ config }) => config.inDoubt === null && config.same === true);
    expect(await apply(a, first)).toMatchObject({ outcome: 'applied', peer: 'applied', revision: { number: 1 } });
    for (const unit of [a, b]) await unit.waitUntil('on revision 1', runsTheSame(1));
  },
);

async function waitForFile(file: string): Promise<void> {
  const until = monotonicMs() + 10_000;
  while (!existsSync(file)) {
    if (monotonicMs() > until) throw new Error(`${file} did not come`);
    await pause(5);
  }
}

async function waitForText(file: string, text: string): Promise<void> {
  await waitForFile(file);
  const until = monotonicMs() + 10_000;
  while (!readFileSync(file, 'utf8').includes(text)) {
    if (monotonicMs() > until) throw new Error(`${file} never said ${text}`);
    await pause(5);
  }
}
