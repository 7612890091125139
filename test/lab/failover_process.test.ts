/**
 * Goal: the failover process does on real sockets, with real deaths, what the elections promise.
 * Method: two processes in two namespaces, each with a shared state in which a worker's heart beats. What the
 * workers would do is read from there. tshark looks at every advert and announcement.
 */
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { RoleName } from '../../src/datapath.js';
import type { GroupSettings } from '../../src/failover/messages.js';
import type { RoleReason } from '../../src/failover/signals.js';
import { FailoverLab, type FailoverUnit } from '../support/failover_lab.js';
import { whyNoLab } from '../support/lab/lab.js';
import { run } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { clientLink, group, peerOf, serverLink } from '../unit/failover/example.js';

/**
 * Three intervals of 100 ms and the skew of priority 100, and what a busy machine adds. The intervals themselves are
 * claimed by the elections' tests, on a clock of their own; here a takeover that does not come must not pass for one.
 */
const ACTIVE_DOWN_MS = 361 + 2_000;
/** How long a thing is waited for that no test claims to be quick. */
const PATIENCE_MS = 10_000;

let lab: FailoverLab;
const why = whyNoLab();

beforeEach((context) => {
  if (why !== null) return context.skip(why);
  lab = FailoverLab.up();
});
afterEach(async () => {
  if (why === null) await lab.down();
});

async function until(what: string, holds: () => boolean, timeoutMs = PATIENCE_MS): Promise<void> {
  const began = performance.now();
  while (!holds()) {
    if (performance.now() - began > timeoutMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await delay(2);
  }
}

const serves = (unit: FailoverUnit, role: RoleName) => () => unit.serves === role;

/** The last report; it comes through the process's channel, behind the shared state. */
const reported = (unit: FailoverUnit, reason: RoleReason) =>
  until(`${unit.name}: ${reason}`, () => unit.reports.at(-1)?.reason === reason);

/** What tshark says of a frame; a field that the frame does not have is empty. */
const fields = {
  protocols: 'frame.protocols',
  source: 'eth.src',
  ip: 'ip.dst',
  ttl: 'ip.ttl',
  ipv6: 'ipv6.dst',
  hopLimit: 'ipv6.hlim',
  vrid: 'vrrp.virt_rtr_id',
  vrrpChecksum: 'vrrp.checksum.status',
  ipv6Listed: 'vrrp.ipv6_addr',
  arpAnnouncement: 'arp.isannouncement',
  arpAddress: 'arp.src.proto_ipv4',
  icmpv6Type: 'icmpv6.type',
  naTarget: 'icmpv6.nd.na.target_address',
  severity: '_ws.expert.severity',
  complaint: '_ws.expert.message',
} as const;
type Frame = Record<keyof typeof fields, string> & { isVrrp: boolean };
const SEVERITY_WARNING = 0x600000;
const virtualMacs = ['00:00:5e:00:01:33', '00:00:5e:00:02:33'];

function dissect(file: string): Frame[] {
  const text = run('tshark', ['-r', file, '-T', 'fields', ...Object.values(fields).flatMap((field) => ['-e', field])]);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const values = line.split('\t');
      const frame = Object.fromEntries(Object.keys(fields).map((name, index) => [name, values[index] ?? '']));
      return { ...frame, isVrrp: frame['protocols']!.endsWith(':vrrp') } as Frame;
    });
}

/** How long both must have kept their roles to count as settled: the second of a hand-over is no role to keep. */
const SETTLED_MS = 300;

/**
 * Both units up and in sync, a active: by preemption if b was up first. Both may have been active for a moment, and
 * then the terms decide: as a mirror channel does, each is told the other's again and again.
 */
async function settled(settings: GroupSettings = group()): Promise<void> {
  lab.start(settings, peerOf(settings, 100));
  await until('both up', () => lab.a.reports.length > 0 && lab.b.reports.length > 0);
  lab.a.inSync();
  lab.b.inSync();
  const began = performance.now();
  let since = began;
  while (performance.now() - since < SETTLED_MS) {
    const now = performance.now();
    if (lab.a.serves !== 'active' || lab.b.serves !== 'standby') since = now;
    if (now - began > PATIENCE_MS) throw new Error(`settled: a ${lab.a.serves}, b ${lab.b.serves}`);
    lab.a.child.termSeen('main', lab.b.group.term, lab.b.serves === 'active');
    lab.b.child.termSeen('main', lab.a.group.term, lab.a.serves === 'active');
    await delay(20);
  }
}

describe('failover process', () => {
  test('adverts and announcements are what tshark expects, without a warning', async () => {
    const folder = join(repositoryRoot, 'out', 'lab');
    mkdirSync(folder, { recursive: true });
    const file = join(folder, 'failover.pcap');
    const capture = await lab.capture('client', file);
    await settled();
    await delay(1_000);
    await until('counters', () => lab.b.child.counts['adverts_received'] !== undefined);
    capture.kill('SIGTERM');
    await once(capture, 'exit');

    const frames = dissect(file);
    const ours = frames.filter(({ isVrrp, source }) => isVrrp || virtualMacs.includes(source));
    const lines = (chosen: (frame: Frame) => boolean, ...names: (keyof Frame)[]) =>
      new Set(ours.filter(chosen).map((frame) => names.map((name) => frame[name]).join(' ')));
    expect(lines(({ isVrrp, ttl }) => isVrrp && ttl !== '', 'ip', 'ttl', 'vrid', 'vrrpChecksum')).toEqual(
      new Set(['224.0.0.18 255 51 1']),
    );
    expect(
      lines(({ isVrrp, hopLimit }) => isVrrp && hopLimit !== '', 'ipv6', 'hopLimit', 'vrrpChecksum', 'ipv6Listed'),
    ).toEqual(new Set(['ff02::12 255 1 fe80::200:5eff:fe00:233,fd01::1']));
    expect(lines(({ arpAnnouncement }) => arpAnnouncement === '1', 'source', 'arpAddress')).toEqual(
      new Set(['00:00:5e:00:01:33 10.1.0.1', '00:00:5e:00:01:33 10.1.0.100']),
    );
    expect(lines(({ icmpv6Type }) => icmpv6Type === '136', 'source', 'naTarget')).toEqual(
      new Set(['00:00:5e:00:02:33 fd01::1', '00:00:5e:00:02:33 fd01::100']),
    );
    expect(lines(({ icmpv6Type }) => icmpv6Type === '143', 'source', 'ipv6')).toEqual(
      new Set(['00:00:5e:00:02:33 ff02::16']),
    );
    expect(lines(({ severity }) => Number(severity) >= SEVERITY_WARNING, 'source', 'complaint')).toEqual(new Set());
    const drops = Object.entries(lab.b.child.counts).filter(([name, count]) => name.startsWith('drop_') && count > 0);
    expect(drops).toEqual([]);
    expect(lab.a.child.counts['send_errors']).toBe(0);
    expect(lab.a.child.counts['adverts_sent']).toBeGreaterThan(0);
  });

  test('kill -9 of the active process: the peer takes over; the next one preempts, but only once in sync', async () => {
    await settled();
    const term = lab.a.group.term;
    const ready = lab.a.reports.length;
    // Its lease is extended when an advert is due, a moment before the kernel has it: that advert goes out first.
    await delay(20);
    process.kill(lab.a.child.pid!, 'SIGKILL');
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    expect(lab.a.serves).toBe('standby');
    expect(lab.b.group.term).toBe(term + 1);
    await until('a is back as backup', () => lab.a.reports.length > ready);
    await delay(1_000);
    expect([lab.a.serves, lab.b.serves]).toEqual(['standby', 'active']);
    lab.a.inSync();
    await until('a active', serves(lab.a, 'active'));
    await reported(lab.b, 'outranked');
    await until('b standby', serves(lab.b, 'standby'));
  });

  test('the daemon is gone: the process resigns at once and exits', async () => {
    await settled();
    const pid = lab.a.child.pid!;
    lab.a.child.disconnect();
    // "At once" is that it heard priority 0, and did not wait for silence.
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    await reported(lab.b, 'peer_resigned');
    expect(lab.a.serves).toBe('standby');
    await until('the process is gone', () => !isRunning(pid));
  });

  test("the workers' hearts stop: the process resigns", async () => {
    await settled();
    lab.a.beating = false;
    await until('b active', serves(lab.b, 'active'));
    await reported(lab.a, 'workers_stopped');
    lab.a.beating = true;
    await until('a backup', () => lab.a.reports.at(-1)?.state === 'backup');
  });

  test('stopped and continued: the lease is lost, and the unit comes back as backup', async () => {
    await settled();
    const pid = lab.a.child.pid!;
    process.kill(pid, 'SIGSTOP');
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    expect(lab.a.serves).toBe('standby');
    process.kill(pid, 'SIGCONT');
    await until('a knows', () => lab.a.reports.some(({ reason }) => reason === 'lease_lost'));
    await delay(1_000);
    expect([lab.a.serves, lab.b.serves]).toEqual(['standby', 'active']);
  });

  test('hand-over on purpose: active there at once, known connections here for a second', async () => {
    await settled();
    const seen = lab.a.child.handOver('main');
    lab.b.child.takeOver('main');
    // By silence it would be active after ours has ended.
    await until('b active', serves(lab.b, 'active'), 900);
    expect(lab.a.serves).toBe('handing-over');
    expect(await seen).toBe(true);
    await until('a standby', serves(lab.a, 'standby'));
    await delay(500);
    lab.a.child.release('main');
    await until('a active', serves(lab.a, 'active'));
  });

  test('all links cut at one instant: both know without a word; back again, it is backup', async () => {
    await settled();
    lab.setLink('a', 'client', 'down');
    lab.setLink('a', 'server', 'down');
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    expect(lab.a.serves).toBe('standby');
    await until('a cannot serve', () => lab.a.reports.at(-1)?.state === 'initialize');
    lab.setLink('a', 'client', 'up');
    lab.setLink('a', 'server', 'up');
    await until('a backup', () => lab.a.reports.at(-1)?.state === 'backup');
    await delay(500);
    expect([lab.a.serves, lab.b.serves]).toEqual(['standby', 'active']);
  });

  test('an interface that vanishes and comes back is used again', async () => {
    await settled(group({ links: [clientLink] }));
    lab.removeInterface('a', 'client');
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    lab.addInterface('a', 'client');
    await until('a backup', () => lab.a.reports.at(-1)?.state === 'backup');
    lab.a.inSync();
    await until('a active', serves(lab.a, 'active'));
    await until('b standby', serves(lab.b, 'standby'));
  });

  test('an interface that is set down and up again is used again', async () => {
    await settled(group({ links: [clientLink] }));
    lab.setInterface('b', 'client', 'down');
    await until('b cannot serve', () => lab.b.reports.at(-1)?.state === 'initialize');
    lab.setInterface('b', 'client', 'up');
    await until('b backup', () => lab.b.reports.at(-1)?.state === 'backup');
    // It hears again, or it would take over; and it is heard, or nobody would wait for it.
    await delay(1_000);
    expect([lab.a.serves, lab.b.serves]).toEqual(['active', 'standby']);
    lab.a.child.disconnect();
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    await reported(lab.b, 'peer_resigned');
  });

  test('a group with IPv6 only', async () => {
    const only6 = (addresses: readonly string[]) => addresses.filter((address) => address.includes(':'));
    const links = [clientLink, serverLink].map((link) => ({
      ...link,
      floating: only6(link.floating),
      announced: only6(link.announced),
    }));
    await settled(group({ links }));
    lab.a.child.disconnect();
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    await reported(lab.b, 'peer_resigned');
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
