/**
 * Goal: each member is probed by its pool's monitor, a reload keeps what is known, and probes are bounded.
 * Method: probes that answer what the test says; time is real but short.
 */
import { afterEach, expect, test, vi } from 'vitest';

import type { MonitorConfig, PoolConfig } from '../../../src/config/model.js';
import { type MemberHealth, MonitorRunner } from '../../../src/io/monitor_runner.js';
import type { Probe, ProbeAnswer } from '../../../src/io/probe.js';

const monitor: MonitorConfig = {
  type: 'tcp',
  intervalMs: 20,
  timeoutMs: 500,
  rise: 2,
  fall: 2,
  port: null,
  path: '/',
  host: null,
  expectStatus: [[200, 399]],
};

const runners: MonitorRunner[] = [];
afterEach(() => {
  for (const runner of runners.splice(0)) runner.stop();
});

function pool(fields: Partial<PoolConfig> = {}, count = 1): PoolConfig {
  const members = Array.from({ length: count }, (_, index) => ({
    address: `10.2.${index >> 8}.${index & 255}`,
    port: 80,
    weight: 1,
    state: 'enabled' as const,
    priority: 0,
    maxConnections: null,
  }));
  return {
    name: 'web',
    scheduler: 'round-robin',
    members,
    monitor,
    minActiveMembers: 1,
    slowStartS: 0,
    onMemberDown: 'keep',
    ...fields,
  };
}

function runnerWith(probe: Probe): { runner: MonitorRunner; events: MemberHealth[] } {
  const runner = new MonitorRunner({ tcp: probe, http: probe, icmp: probe });
  runners.push(runner);
  const events: MemberHealth[] = [];
  runner.on('member', (member) => events.push(member));
  return { runner, events };
}

/** As long as a busy machine may take; no test here claims to be quick. */
const waitFor = (condition: () => void): Promise<void> => vi.waitFor(condition, { timeout: 15_000 });
const well: ProbeAnswer = { ok: true, reason: 'TCP connected' };
const ill: ProbeAnswer = { ok: false, reason: 'connection refused' };

test('a member is unknown, then up, then down with the reason, then up again', async () => {
  let answer = well;
  const { runner, events } = runnerWith(async () => answer);
  runner.start([pool()]);
  expect(runner.states()).toMatchObject([{ up: false, health: 'unknown', reason: 'not probed yet' }]);
  await waitFor(() => expect(events).toHaveLength(1));
  answer = ill;
  await waitFor(() => expect(events).toHaveLength(2));
  answer = well;
  await waitFor(() => expect(events).toHaveLength(3));
  expect(events.map(({ up, reason }) => [up, reason])).toEqual([
    [true, 'TCP connected'],
    [false, 'connection refused'],
    [true, 'TCP connected'],
  ]);
});

test('a member without a monitor is up, one that is down by config is not', () => {
  const { runner, events } = runnerWith(() => Promise.reject(new Error('must not be probed')));
  const down = pool().members.map((member) => ({ ...member, state: 'down' as const }));
  runner.start([pool({ monitor: null }), pool({ name: 'closed', members: down })]);
  expect(runner.states().map(({ pool: name, up, reason }) => [name, up, reason])).toEqual([
    ['web', true, 'no monitor'],
    ['closed', false, 'down by config'],
  ]);
  expect(events).toEqual([]);
});

test("the monitor's port is probed when it names one", async () => {
  const ports: number[] = [];
  const { runner } = runnerWith(async ({ port }) => {
    ports.push(port);
    return well;
  });
  runner.start([pool({ monitor: { ...monitor, port: 8080 } })]);
  await waitFor(() => expect(ports[0]).toBe(8080));
});

test('a probe without an answer is cancelled, and the member goes down in time', async () => {
  const signals: AbortSignal[] = [];
  const { runner, events } = runnerWith((_, signal) => {
    signals.push(signal);
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve({ ok: true, reason: 'too late' })));
  });
  runner.start([pool({ monitor: { ...monitor, timeoutMs: 30 } })]);
  const down = { up: false, health: 'down', reason: 'no answer within 30 ms' };
  await waitFor(() => expect(events).toMatchObject([down]));
  expect(runner.states()).toMatchObject([down]);
  expect(signals[0]?.aborted).toBe(true);
});

test('an answer that comes after its probe was cancelled is not taken for the next one', async () => {
  const answers: ((answer: ProbeAnswer) => void)[] = [];
  const { runner } = runnerWith(() => new Promise((resolve) => answers.push(resolve)));
  runner.start([pool({ monitor: { ...monitor, timeoutMs: 200, fall: 100 } })]);
  await waitFor(() => expect(answers).toHaveLength(2));
  answers[0]?.(well);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(runner.states()).toMatchObject([{ health: 'unknown', reason: 'no answer within 200 ms' }]);
});

test('a probe that throws is a failure of the member, not of the unit', async () => {
  const { runner } = runnerWith(() => Promise.reject(new TypeError('Request path contains unescaped characters')));
  runner.start([pool()]);
  await waitFor(() =>
    expect(runner.states()[0]).toMatchObject({ health: 'down', reason: 'Request path contains unescaped characters' }),
  );
});

test('a reload keeps members that stay, forgets those that go, and probes those that come', async () => {
  const probed = new Set<string>();
  const { runner, events } = runnerWith(async ({ address }) => {
    probed.add(address);
    return well;
  });
  runner.start([pool({}, 2)]);
  await waitFor(() => expect(events).toHaveLength(2));
  const [first, , third] = pool({}, 3).members;
  probed.clear();
  runner.update([pool({ members: [first!, third!] })]);
  expect(runner.states().map(({ address, up }) => [address, up])).toEqual([
    ['10.2.0.0', true],
    ['10.2.0.2', false],
  ]);
  await waitFor(() => expect(probed).toEqual(new Set(['10.2.0.0', '10.2.0.2'])));
});

test('a changed, added or removed monitor takes no working member out', async () => {
  let answer = well;
  const { runner, events } = runnerWith(async () => answer);
  runner.start([pool()]);
  await waitFor(() => expect(runner.states()[0]?.up).toBe(true));
  events.length = 0;
  runner.update([pool({ monitor: { ...monitor, type: 'icmp' } })]);
  runner.update([pool({ monitor: null })]);
  runner.update([pool({ monitor: { ...monitor, intervalMs: 25 } })]);
  expect(runner.states()[0]).toMatchObject({ up: true, health: 'up' });
  expect(events).toEqual([]);
  answer = ill;
  await waitFor(() => expect(events).toMatchObject([{ up: false }]));
});

test('a member that the config takes down goes down at once, and back up only when its monitor says so', async () => {
  const { runner, events } = runnerWith(async () => well);
  const closed = pool().members.map((member) => ({ ...member, state: 'down' as const }));
  runner.start([pool()]);
  await waitFor(() => expect(events).toHaveLength(1));
  runner.update([pool({ members: closed })]);
  expect(events[1]).toMatchObject({ up: false, reason: 'down by config' });
  runner.update([pool()]);
  expect(events).toHaveLength(2);
  await waitFor(() => expect(events[2]).toMatchObject({ up: true }));
});

test('a thousand members: never more than 256 probes at once, all probed, late ones counted', async () => {
  let running = 0;
  let most = 0;
  const probed = new Set<string>();
  const { runner } = runnerWith(async ({ address }) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 30));
    running--;
    probed.add(address);
    return well;
  });
  runner.start([pool({}, 1_000)]);
  await waitFor(() => expect(probed.size).toBe(1_000));
  expect(most).toBe(256);
  expect(runner.lateCount).toBeGreaterThan(0);
});

test('stopped: nothing is probed any more, running probes are cancelled', async () => {
  const signals: AbortSignal[] = [];
  const { runner } = runnerWith((_, signal) => {
    signals.push(signal);
    return new Promise(() => {});
  });
  runner.start([pool()]);
  await waitFor(() => expect(signals).toHaveLength(1));
  runner.stop();
  expect(signals[0]?.aborted).toBe(true);
  expect(runner.states()).toEqual([]);
});
