/**
 * Goal: Tandem and keepalived agree on who is active, whoever is better, in IPv4 and in IPv6.
 * Method: keepalived stands in unit b's place on the client link. Who is active is what both say, and what a capture
 * of the link shows: whose adverts there are, and who announced the address last.
 */
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { GroupSettings } from '../../src/failover/messages.js';
import type { RoleReason } from '../../src/failover/signals.js';
import { FailoverLab } from '../support/failover_lab.js';
import { Keepalived, whyNoKeepalived } from '../support/interop/keepalived.js';
import { type SeenFrame, seen } from '../support/interop/seen.js';
import { whyNoLab } from '../support/lab/lab.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { clientLink, group, serverLink } from '../unit/failover/example.js';

const why = whyNoLab() ?? whyNoKeepalived();
const folder = join(repositoryRoot, 'out', 'lab', 'interop');
const PATIENCE_MS = 8_000;
/** Six advert intervals: who is active now stays so. */
const STAYS_MS = 600;

const families = [
  {
    name: 'IPv4',
    family: 4,
    addresses: ['10.1.0.1'],
    floating: '10.1.0.1',
    mac: '00:00:5e:00:01:33',
  },
  {
    name: 'IPv6',
    family: 6,
    // RFC 9568 section 5.2.9: the virtual router's link-local address comes first.
    addresses: ['fe80::200:5eff:fe00:233', 'fd01::1'],
    floating: 'fd01::1',
    mac: '00:00:5e:00:02:33',
  },
] as const;

let lab: FailoverLab;
let keepalived: Keepalived;
let endCapture: () => Promise<SeenFrame[]>;

beforeEach(async (context) => {
  if (why !== null) return context.skip(why);
  mkdirSync(folder, { recursive: true });
  lab = FailoverLab.up();
  keepalived = new Keepalived(lab, join(folder, 'keepalived'));
  const file = join(folder, 'client.pcap');
  const capture = await lab.capture('client', file);
  endCapture = async () => {
    if (capture.exitCode === null && capture.signalCode === null) {
      capture.kill('SIGTERM');
      await once(capture, 'exit');
    }
    return seen(file);
  };
});
afterEach(async () => {
  if (why !== null) return;
  await endCapture();
  await keepalived.stop();
  await lab.down();
});

async function until(what: string, holds: () => boolean): Promise<void> {
  const began = performance.now();
  while (!holds()) {
    if (performance.now() - began > PATIENCE_MS) throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
    await delay(2);
  }
}

describe.each(families)('$name', ({ family, addresses, floating, mac }) => {
  const only = (all: readonly string[]) => all.filter((address) => address.includes(':') === (family === 6));
  /** Floating addresses, hence adverts, of this family and on the client link alone. */
  const settings = (changes: Partial<GroupSettings> = {}) =>
    group({
      links: [
        { ...clientLink, floating: only(clientLink.floating), announced: [] },
        { ...serverLink, floating: [], announced: [] },
      ],
      ...changes,
    });
  const instance = { family, virtualRouterId: 51, addresses, preempt: true } as const;

  const tandemIs = (role: 'active' | 'standby') => until(`Tandem ${role}`, () => lab.a.serves === role);
  const reasonOf = (reason: RoleReason) =>
    until(`Tandem: ${reason}`, () => lab.a.reports.some((report) => report.reason === reason));
  function startTandem(changes: Partial<GroupSettings> = {}): void {
    lab.a.start(settings(changes));
    lab.a.inSync();
  }

  /** The end of a test: nothing more changes, one advertises, it announced last, and nobody objects to our adverts. */
  async function settledOn(who: 'Tandem' | 'keepalived'): Promise<void> {
    await delay(STAYS_MS / 2);
    const since = Date.now() / 1_000;
    await delay(STAYS_MS);
    expect(lab.a.serves).toBe(who === 'Tandem' ? 'active' : 'standby');
    expect(keepalived.log).not.toMatch(/invalid|mismatch|checksum|ignoring|[Ww]arning: .*advert/);
    const drops = Object.entries(lab.a.child.counts).filter(([name, count]) => name.startsWith('drop_') && count > 0);
    expect(drops).toEqual([]);

    const frames = await endCapture();
    const isOurs = ({ from, mac: source }: SeenFrame) => source === lab.mac('a', 'client') || from === '10.1.0.2';
    const last = frames.filter(({ at, priority }) => priority !== null && at >= since);
    expect(last.length).toBeGreaterThan(0);
    expect(new Set(last.map((frame) => (isOurs(frame) ? 'Tandem' : 'keepalived')))).toEqual(new Set([who]));
    const announcer = frames.findLast(({ announced }) => announced === floating)?.mac;
    if (who === 'Tandem') expect(announcer).toBe(mac);
    else expect(announcer).toBe(lab.mac('b', 'client'));
    const ours = frames.filter((frame) => frame.priority !== null && isOurs(frame));
    expect(ours.map(({ complaint }) => complaint).filter((complaint) => complaint !== '')).toEqual([]);
  }

  test('keepalived as backup follows a resignation, and is preempted', async () => {
    startTandem();
    keepalived.start({ ...instance, priority: 100 });
    await tandemIs('active');
    await keepalived.enters('BACKUP');
    lab.a.child.disconnect();
    await keepalived.enters('MASTER');
    expect(keepalived.log).toMatch(/received priority 0/);
    expect(keepalived.holds(floating)).toBe(true);
    await until('the failover process is gone', () => lab.a.child.pid === null);
    lab.a.child.start();
    await tandemIs('active');
    await keepalived.enters('BACKUP');
    expect(keepalived.holds(floating)).toBe(false);
    await settledOn('Tandem');
  });

  test('keepalived as active: its resignation, its return and its death', async () => {
    keepalived.start({ ...instance, priority: 200 });
    await keepalived.enters('MASTER');
    startTandem({ priority: 100 });
    await until('Tandem is up', () => lab.a.reports.length > 0);
    await delay(STAYS_MS);
    expect(lab.a.serves).toBe('standby');
    await keepalived.stop();
    await reasonOf('peer_resigned');
    keepalived.start({ ...instance, priority: 200 });
    await reasonOf('outranked');
    await keepalived.enters('MASTER');
    await keepalived.kill();
    await reasonOf('peer_silent');
    // Nobody took its addresses off its kernel; a new one does.
    keepalived.start({ ...instance, priority: 50 });
    await keepalived.enters('BACKUP');
    await settledOn('Tandem');
  });

  test('without preemption the better one waits, on either side', async () => {
    keepalived.start({ ...instance, priority: 100 });
    await keepalived.enters('MASTER');
    startTandem({ priority: 150, preempt: false });
    await until('Tandem is up', () => lab.a.reports.length > 0);
    await delay(STAYS_MS);
    expect([lab.a.serves, keepalived.state]).toEqual(['standby', 'MASTER']);
    await keepalived.stop();
    await tandemIs('active');
    keepalived.start({ ...instance, priority: 200, preempt: false });
    await keepalived.enters('BACKUP');
    await settledOn('Tandem');
    expect(keepalived.state).toBe('BACKUP');
  });

  test('priorities that change: a tracked interface there, the settings and a lost link here', async () => {
    keepalived.start({ ...instance, priority: 200, trackedWeight: -100 });
    await keepalived.enters('MASTER');
    startTandem({ priority: 150 });
    lab.setInterface('b', 'server', 'down');
    await tandemIs('active');
    await keepalived.enters('BACKUP');
    lab.a.child.configure({ groups: [settings({ priority: 90 })], heartbeatTimeoutMs: 500 });
    await keepalived.enters('MASTER');
    await tandemIs('standby');
    lab.a.child.configure({ groups: [settings({ priority: 150 })], heartbeatTimeoutMs: 500 });
    await tandemIs('active');
    lab.setLink('a', 'server', 'down');
    await reasonOf('link_lost');
    await keepalived.enters('MASTER');
    await settledOn('keepalived');
  });
});
