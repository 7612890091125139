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
import { FailoverLab, type FailoverUnit } from '../support/failover_lab.js';
import { whyNoLab } from '../support/lab/lab.js';
import { run } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { clientLink, group, peerOf, serverLink } from '../unit/failover/example.js';

/** Three intervals of 100 ms and the skew of priority 100, and what a busy machine adds. */
const ACTIVE_DOWN_MS = 361 + 300;
/** The skew alone. */
const RESIGNED_MS = 61 + 150;

let lab: FailoverLab;
const why = whyNoLab();

beforeEach((context) => {
  if (why !== null) return context.skip(why);
  lab = FailoverLab.up();
});
afterEach(async () => {
  if (why === null) await lab.down();
});

async function until(what: string, holds: () => boolean, timeoutMs: number): Promise<number> {
  const began = performance.now();
  while (!holds()) {
    if (performance.now() - began > timeoutMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await delay(2);
  }
  return performance.now() - began;
}

const serves = (unit: FailoverUnit, role: RoleName) => () => unit.serves === role;

/** Both units up and in sync, a active. */
async function settled(settings: GroupSettings = group()): Promise<void> {
  lab.start(settings, peerOf(settings, 100));
  await until('a active', serves(lab.a, 'active'), 5_000);
  lab.a.inSync();
  lab.b.inSync();
  await until('a heard by b', () => lab.b.reports.length > 0, 1_000);
  lab.b.child.termSeen('main', lab.a.group.term, true);
  await delay(300);
  expect([lab.a.serves, lab.b.serves]).toEqual(['active', 'standby']);
}

describe('failover process', () => {
  test('adverts and announcements are what tshark expects, without a warning', async () => {
    const folder = join(repositoryRoot, 'out', 'lab');
    mkdirSync(folder, { recursive: true });
    const file = join(folder, 'failover.pcap');
    const capture = lab.capture('client', file);
    await delay(300);
    await settled();
    await delay(1_000);
    await until('counters', () => lab.b.child.counts['adverts_received'] !== undefined, 3_000);
    capture.kill('SIGTERM');
    await once(capture, 'exit');

    const read = (filter: string, ...fields: string[]) =>
      run('tshark', ['-r', file, '-Y', filter, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])])
        .split('\n')
        .filter((line) => line !== '');
    expect(
      new Set(read('vrrp && ip', 'ip.src', 'ip.dst', 'ip.ttl', 'vrrp.virt_rtr_id', 'vrrp.checksum.status')),
    ).toEqual(new Set(['10.1.0.2\t224.0.0.18\t255\t51\t1']));
    expect(new Set(read('vrrp && ipv6', 'ipv6.dst', 'ipv6.hlim', 'vrrp.checksum.status', 'vrrp.ipv6_addr'))).toEqual(
      new Set(['ff02::12\t255\t1\tfe80::200:5eff:fe00:233,fd01::1']),
    );
    expect(new Set(read('arp.isannouncement', 'eth.src', 'arp.src.proto_ipv4'))).toEqual(
      new Set(['00:00:5e:00:01:33\t10.1.0.1', '00:00:5e:00:01:33\t10.1.0.100']),
    );
    expect(new Set(read('icmpv6.type == 136 && eth.src == 00:00:5e:00:02:33', 'icmpv6.nd.na.target_address'))).toEqual(
      new Set(['fd01::1', 'fd01::100']),
    );
    const ours = '(vrrp || eth.src == 00:00:5e:00:01:33 || eth.src == 00:00:5e:00:02:33)';
    expect(read(`${ours} && _ws.expert.severity >= warning`, 'frame.number', '_ws.expert.message')).toEqual([]);
    const drops = Object.entries(lab.b.child.counts).filter(([name, count]) => name.startsWith('drop_') && count > 0);
    expect(drops).toEqual([]);
    expect(lab.a.child.counts['send_errors']).toBe(0);
  });

  test('kill -9 of the active process: the peer takes over; the next process is backup, and preempts once in sync', async () => {
    await settled();
    const term = lab.a.group.term;
    process.kill(lab.a.child.pid!, 'SIGKILL');
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    expect(lab.a.serves).toBe('standby');
    expect(lab.b.group.term).toBe(term + 1);
    const ready = lab.a.reports.length;
    await until('a is back as backup', () => lab.a.reports.length > ready, 3_000);
    await delay(1_000);
    expect([lab.a.serves, lab.b.serves]).toEqual(['standby', 'active']);
    lab.a.inSync();
    await until('a active', serves(lab.a, 'active'), 2_000);
    await until('b standby', serves(lab.b, 'standby'), 200);
    expect(lab.b.reports.at(-1)?.reason).toBe('outranked');
  });

  test('the daemon is gone: the process resigns at once and exits', async () => {
    await settled();
    const pid = lab.a.child.pid!;
    lab.a.child.disconnect();
    const took = await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    expect(lab.b.reports.at(-1)?.reason).toBe('peer_resigned');
    expect(took).toBeLessThan(RESIGNED_MS);
    expect(lab.a.serves).toBe('standby');
    await until('the process is gone', () => !isRunning(pid), 1_000);
  });

  test("the workers' hearts stop: the process resigns", async () => {
    await settled();
    lab.a.beating = false;
    await until('b active', serves(lab.b, 'active'), 2_000);
    expect(lab.a.reports.at(-1)).toMatchObject({ reason: 'workers_stopped', state: 'initialize' });
    lab.a.beating = true;
    await until('a backup', () => lab.a.reports.at(-1)?.state === 'backup', 2_000);
  });

  test('stopped and continued: the lease is lost, and the unit comes back as backup', async () => {
    await settled();
    const pid = lab.a.child.pid!;
    process.kill(pid, 'SIGSTOP');
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    expect(lab.a.serves).toBe('standby');
    process.kill(pid, 'SIGCONT');
    await until('a knows', () => lab.a.reports.some(({ reason }) => reason === 'lease_lost'), 1_000);
    await delay(1_000);
    expect([lab.a.serves, lab.b.serves]).toEqual(['standby', 'active']);
  });

  test('hand-over on purpose: active there at once, known connections here for a second', async () => {
    await settled();
    const seen = lab.a.child.handOver('main');
    lab.b.child.takeOver('main');
    await until('b active', serves(lab.b, 'active'), 100);
    expect(lab.a.serves).toBe('handing-over');
    expect(await seen).toBe(true);
    await until('a standby', serves(lab.a, 'standby'), 1_200);
    await delay(500);
    lab.a.child.release('main');
    await until('a active', serves(lab.a, 'active'), 2_000);
  });

  test('all links cut at one instant: both know without a word; back again, it is backup', async () => {
    await settled();
    lab.setLink('a', 'client', 'down');
    lab.setLink('a', 'server', 'down');
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    expect(lab.a.serves).toBe('standby');
    expect(lab.a.reports.at(-1)?.state).toBe('initialize');
    lab.setLink('a', 'client', 'up');
    lab.setLink('a', 'server', 'up');
    await until('a backup', () => lab.a.reports.at(-1)?.state === 'backup', 2_000);
    await delay(500);
    expect([lab.a.serves, lab.b.serves]).toEqual(['standby', 'active']);
  });

  test('an interface that vanishes and comes back is used again', async () => {
    await settled(group({ links: [clientLink] }));
    lab.removeInterface('a', 'client');
    await until('b active', serves(lab.b, 'active'), ACTIVE_DOWN_MS);
    lab.addInterface('a', 'client');
    await until('a backup', () => lab.a.reports.at(-1)?.state === 'backup', 3_000);
    lab.a.inSync();
    await until('a active', serves(lab.a, 'active'), 3_000);
    await until('b standby', serves(lab.b, 'standby'), 500);
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
    expect(lab.b.reports.at(-1)?.reason).toBe('peer_resigned');
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
