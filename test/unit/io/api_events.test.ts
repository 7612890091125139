/**
 * Goal: whoever listens hears a state at once, changes, rates and failovers; who does not read is cut off; nothing is
 * looked at while nobody listens.
 * Method: the real events and the real client over a unix socket, and a Control whose answers the test changes.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import type { ApiEvent, Control, FailoverStatus, Status } from '../../../src/api.js';
import { DaemonUnreachable } from '../../../src/api.js';
import { ApiClient } from '../../../src/io/api_client.js';
import { ApiEvents } from '../../../src/io/api_events.js';
import { type ApiServer, startApiServer } from '../../../src/io/api_server.js';
import * as stub from '../../support/control_stub.js';
import { memoryCaptures } from '../../support/memory_captures.js';

let folder: string;
let server: ApiServer | null = null;
const world = { status: stub.status, failover: stub.failover, asked: 0, opened: 0 };

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-events-'));
  Object.assign(world, { status: stub.status, failover: stub.failover, asked: 0, opened: 1_000 });
});
afterEach(async () => {
  await server?.close();
  server = null;
  rmSync(folder, { recursive: true });
});

const control: Control = {
  ...stub.stubControl(),
  status: async (): Promise<Status> => {
    world.asked += 1;
    return world.status;
  },
  failover: async (): Promise<FailoverStatus> => world.failover,
  virtualServers: async () => {
    world.opened += 100;
    return stub.virtualServers.map((each) => ({ ...each, opened: world.opened }));
  },
};

async function serve(): Promise<ApiClient> {
  const socketPath = join(folder, 'tandem.sock');
  server = await startApiServer({
    socketPath,
    control,
    captures: memoryCaptures(),
    version: '0.1.0',
    onInternalError: (route, error) => expect.fail(`${route}: ${String(error)}`),
    onChange: () => {},
    eventsEachMs: 10,
  });
  return new ApiClient(socketPath);
}

/** The first one that is as wanted. */
async function heard(client: ApiClient, wanted: (event: ApiEvent) => boolean, then = () => {}): Promise<ApiEvent> {
  const stop = new AbortController();
  for await (const event of client.events(stop.signal)) {
    then();
    if (wanted(event)) {
      stop.abort();
      return event;
    }
  }
  throw new Error('not heard');
}

test('a state at once', async () => {
  const event = await heard(await serve(), () => true);
  expect(event).toEqual({ event: 'state', data: { status: stub.status, survival: stub.survival } });
});

test('a state when it has changed', async () => {
  const client = await serve();
  const changed = { ...stub.status, warnings: ['look at this'] };
  const event = await heard(
    client,
    ({ event: name, data }) => name === 'state' && data.status.warnings[0] === 'look at this',
    () => {
      world.status = changed;
    },
  );
  expect(event).toMatchObject({ data: { status: changed } });
});

test('rates, of counters that grow', async () => {
  const event = await heard(await serve(), ({ event: name }) => name === 'rates');
  if (event.event !== 'rates') throw new Error('no rates');
  expect(event.data.virtualServers[0]!.opensPerS).toBeGreaterThan(0);
  expect(event.data.virtualServers[0]!.packetsPerS).toBe(0);
  expect(event.data.members[0]).toMatchObject({ pool: 'web', address: '10.2.0.11', connections: 5 });
});

test('each role change once, in its order', async () => {
  const client = await serve();
  const [group] = stub.failover.trafficGroups;
  const transitions = [
    { at: '2024-03-01T12:00:02Z', role: 'active', reason: 'peer_silent', silenceMs: 312.5 },
    { at: '2024-03-01T12:00:01Z', role: 'standby', reason: 'lease_lost', silenceMs: null },
    ...group!.transitions,
  ] as const;
  const changed = { ...stub.failover, trafficGroups: [{ ...group!, transitionCount: 3, transitions }] };
  const told: ApiEvent[] = [];
  await heard(client, (event) => {
    if (event.event === 'failover') told.push(event);
    // The first rates are behind the first look.
    if (event.event === 'rates') world.failover = changed;
    return told.length === 2;
  });
  expect(told.map(({ data }) => data)).toEqual([
    { ...transitions[1], trafficGroup: 'main' },
    { ...transitions[0], trafficGroup: 'main' },
  ]);
});

test('the end, when the daemon goes', async () => {
  const client = await serve();
  const stop = new AbortController();
  const listening = (async () => {
    for await (const _event of client.events(stop.signal)) await server?.close();
  })();
  await expect(listening).rejects.toBeInstanceOf(DaemonUnreachable);
});

test('nobody listens: nothing is looked at; too many: refused', async () => {
  const events = new ApiEvents({ control, onInternalError: () => {}, lookMs: 1 });
  const streams = Array.from({ length: 16 }, () => events.response());
  expect(() => events.response()).toThrow(/listen to events already/);
  for (const stream of streams) await stream.body!.cancel();
  expect(events.listeners).toBe(0);
  // What was asked before may still be answered.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const asked = world.asked;
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(world.asked).toBe(asked);
});

test('a listener that does not read is cut off', async () => {
  world.status = { ...stub.status, warnings: ['x'.repeat(1024 * 1024)] };
  const events = new ApiEvents({ control, onInternalError: () => {}, lookMs: 1 });
  const { body } = events.response();
  while (events.listeners > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await expect(body!.getReader().closed).rejects.toThrow(/does not read/);
});
