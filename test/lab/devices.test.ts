/**
 * Goal: the same traffic goes through `packet` and `xdp`, whatever the queues and workers; XDP leaves to the kernel
 * what is the kernel's, and leaves nothing behind.
 * Method: client, unit and server in a row on veth, offloads as the kernel has them (so checksums arrive unfinished);
 * the servers' kernels check every checksum that the unit wrote.
 */

import { once } from 'node:events';
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from 'vitest';

import {
  DeviceLab,
  type DeviceUnit,
  type DeviceUnitSettings,
  deviceAddress,
  echoPort,
  virtualMac,
} from '../support/lab/device_lab.js';
import { whyNoLab } from '../support/lab/lab.js';
import { run } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { pause } from '../support/traffic/time.js';
import type { Held } from './programs/device_traffic_program.js';

const reason = whyNoLab();
/** Not an address of the datapath's: what stands for SSH. */
const ownPort = 2_222;
/** What the kernel does after the call that asked for it. */
const patiently = { timeout: 10_000, interval: 50 };

const cases: readonly (readonly [name: string, queues: number, settings: DeviceUnitSettings, mode: string])[] = [
  ['packet, one worker', 1, { kind: 'packet' }, 'packet'],
  ['packet, two workers', 2, { kind: 'packet', workers: 2 }, 'packet'],
  ['xdp, one worker, one queue', 1, { kind: 'xdp' }, 'xdp-native'],
  ['xdp, one worker, three queues', 3, { kind: 'xdp' }, 'xdp-native'],
  ['xdp, two workers, two queues', 2, { kind: 'xdp', workers: 2 }, 'xdp-native'],
  ['xdp, two workers, three queues, busy polling', 3, { kind: 'xdp', workers: 2, wait: 'busy-poll' }, 'xdp-native'],
  ['xdp, spinning', 1, { kind: 'xdp', wait: 'spin' }, 'xdp-native'],
];

async function withLab(
  name: string,
  queues: number,
  body: (lab: DeviceLab) => Promise<void>,
  peerQueues = queues,
): Promise<void> {
  const lab = new DeviceLab(name, queues, peerQueues);
  try {
    await body(lab);
  } finally {
    lab.down();
  }
}

function pingLoss(lab: DeviceLab, address: string): string {
  return (
    /(\d+)% packet loss/.exec(lab.run('client', 'ping', '-c', '3', '-i', '0.05', '-W', '2', address))?.[1] ?? 'none'
  );
}

/** Everything that a virtual server is for, and none of it lost on the way. */
async function expectService(lab: DeviceLab, unit: DeviceUnit): Promise<void> {
  lab.run('client', 'ip', 'neigh', 'flush', 'dev', 'c0');
  for (const address of Object.values(deviceAddress.virtual)) {
    expect(pingLoss(lab, address), `ping ${address}`).toBe('0');
    expect(lab.traffic('client', 'tcp', address, echoPort, 16, 150_000), `TCP ${address}`).toBe(16);
    expect(lab.traffic('client', 'udp', address, echoPort, 100), `UDP ${address}`).toBe(100);
  }
  const { counters } = await unit.counts();
  expect(counters).toMatchObject({ arp_replies: expect.any(Number), neighbour_advertisements: expect.any(Number) });
  for (const name of ['device_dropped', 'device_full', 'oversized', 'bad_header', 'truncated', 'standby']) {
    expect(counters[name] ?? 0, name).toBe(0);
  }
}

describe.skipIf(reason !== null)(`devices${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  beforeAll(() => {
    run(join(repositoryRoot, 'node_modules/.bin/tsc'), ['-p', join(repositoryRoot, 'test/lab/programs')]);
  });

  test.each(cases)('%s: TCP, UDP, ping, ARP and ND of both families', async (_name, queues, settings, mode) => {
    await withLab('traffic', queues, async (lab) => {
      await lab.start('server', 'serve', echoPort);
      const unit = await lab.startUnit(settings);
      expect(unit.started).toMatchObject({ type: 'started', report: { workers: settings.workers ?? 1 } });
      expect(unit.modes).toEqual([mode, mode]);
      await expectService(lab, unit);
      const neighbours = lab.run('client', 'ip', 'neigh', 'show', 'dev', 'c0');
      expect(neighbours).toContain(`${deviceAddress.virtual.ipv4} lladdr ${virtualMac.ipv4}`);
      expect(neighbours).toContain(`${deviceAddress.virtual.ipv6} lladdr ${virtualMac.ipv6}`);
      await unit.end('stop');
      expect(lab.interfacesWithXdp()).toEqual([]);
    });
  });

  test("XDP leaves the host's own traffic to the kernel, from before it starts until after SIGKILL", async () => {
    await withLab('own', 1, async (lab) => {
      await lab.start('server', 'serve', echoPort);
      await lab.start('unit', 'serve', ownPort);
      const held = await lab.start('client', 'hold', deviceAddress.unit.ipv4, ownPort);
      const unit = await lab.startUnit({ kind: 'xdp' });
      expect(lab.interfacesWithXdp().toSorted()).toEqual(['u0', 'u1']);
      for (const address of Object.values(deviceAddress.unit)) {
        lab.run('client', 'ip', 'neigh', 'flush', 'dev', 'c0');
        expect(pingLoss(lab, address), `ping ${address}`).toBe('0');
        expect(lab.traffic('client', 'tcp', address, ownPort, 8, 300_000), `TCP ${address}`).toBe(8);
        expect(lab.traffic('client', 'udp', address, ownPort, 20), `UDP ${address}`).toBe(20);
      }
      await expectService(lab, unit);
      await unit.end('SIGKILL');
      await expect.poll(() => lab.interfacesWithXdp(), patiently).toEqual([]);
      expect(pingLoss(lab, deviceAddress.unit.ipv4)).toBe('0');
      await pause(200);
      held.send('stop');
      const [report] = (await once(held, 'message')) as [Held];
      expect(report.failure).toBeNull();
      expect(report.echoes).toBeGreaterThan(30);
      expect(report.longestGapMs).toBeLessThan(2_000);
    });
  });

  test('an MLD query reaches the kernel and is counted for the failover process', async () => {
    await withLab('mld', 2, async (lab) => {
      const unit = await lab.startUnit({ kind: 'xdp', workers: 2 });
      const kernels = () =>
        Number(/Icmp6InGroupMembQueries\s+(\d+)/.exec(lab.run('unit', 'cat', '/proc/net/snmp6'))?.[1]);
      const before = kernels();
      const source = lab.run('client', 'cat', '/sys/class/net/c0/address').trim();
      for (let count = 0; count < 3; count++) lab.traffic('client', 'send', 'c0', mldQuery(source));
      await expect.poll(async () => (await unit.counts()).mldQueries.slice(0, 2), patiently).toEqual([3, 0]);
      await expect.poll(() => kernels() - before, patiently).toBe(3);
      await unit.end('stop');
    });
  });

  test('it goes on when a link goes down and comes back, and with the others when one is deleted', async () => {
    await withLab('links', 1, async (lab) => {
      await lab.start('server', 'serve', echoPort);
      const unit = await lab.startUnit({ kind: 'xdp' });
      await expectService(lab, unit);
      lab.run('unit', 'ip', 'link', 'set', 'u1', 'down');
      expect(lab.traffic('client', 'udp', deviceAddress.virtual.ipv4, echoPort, 20)).toBe(0);
      expect(pingLoss(lab, deviceAddress.virtual.ipv4)).toBe('0');
      lab.run('unit', 'ip', 'link', 'set', 'u1', 'up');
      expect(lab.traffic('client', 'tcp', deviceAddress.virtual.ipv4, echoPort, 4, 10_000)).toBe(4);
      lab.run('unit', 'ip', 'link', 'delete', 'u1');
      expect(lab.traffic('client', 'udp', deviceAddress.virtual.ipv4, echoPort, 20)).toBe(0);
      expect(pingLoss(lab, deviceAddress.virtual.ipv4)).toBe('0');
      expect((await unit.counts()).counters['device_gone']).toBeGreaterThan(0);
      await unit.end('stop');
    });
  });

  test('idle, it costs next to nothing', async () => {
    await withLab('idle', 1, async (lab) => {
      const unit = await lab.startUnit({ kind: 'xdp', wait: 'busy-poll' });
      await pause(500);
      const before = (await unit.counts()).cpuMs;
      await pause(2_000);
      expect((await unit.counts()).cpuMs - before).toBeLessThan(100);
      await unit.end('stop');
    });
  });

  test('more workers than queues: those without one are not started', async () => {
    await withLab('workers', 2, async (lab) => {
      await lab.start('server', 'serve', echoPort);
      const unit = await lab.startUnit({ kind: 'xdp', workers: 4 });
      expect(unit.started).toMatchObject({ report: { workers: 2 } });
      await expectService(lab, unit);
      await unit.end('stop');
    });
  });

  test('where native XDP is refused, `xdp` takes the generic one and `auto` what loses no joined frames', async () => {
    const body = async (lab: DeviceLab) => {
      await lab.start('server', 'serve', echoPort);
      const auto = await lab.startUnit({ kind: 'auto' });
      expect(auto.started).toMatchObject({
        report: { devices: [{ mode: 'packet', reason: expect.stringMatching(/no XDP: u0: native XDP: ENOSPC/) }, {}] },
      });
      await auto.end('stop');
      // Generic XDP is given the joined frames of this host's senders as they are.
      for (const [host, link] of [
        ['client', 'c0'],
        ['server', 's0'],
      ] as const)
        lab.run(host, 'ip', 'link', 'set', 'dev', link, 'gso_max_segs', '1');
      const unit = await lab.startUnit({ kind: 'xdp' });
      expect(unit.modes, JSON.stringify(unit.started)).toEqual(['xdp-generic', 'xdp-generic']);
      await expectService(lab, unit);
      await unit.end('SIGKILL');
      await expect.poll(() => lab.interfacesWithXdp(), patiently).toEqual([]);
    };
    await withLab('generic', 1, body, 2);
  });

  test('what keeps XDP from working is said; `auto` falls back to packets and serves', async () => {
    await withLab('fallback', 1, async (lab) => {
      await lab.start('server', 'serve', echoPort);
      // Another user, whose locked memory is its own; it may read this checkout wherever that lies.
      const withOnly = (capabilities: string) => {
        const all = `${capabilities},+dac_read_search`;
        return ['setpriv', '--reuid', '65534', '--clear-groups', '--inh-caps', all, '--ambient-caps', all];
      };
      const plain = withOnly('+net_raw,+net_admin');
      const refused = await lab.startUnit({ kind: 'xdp', through: plain });
      expect(refused.started).toMatchObject({
        type: 'refused',
        message: expect.stringMatching(/u0: BPF map.*EPERM.*CAP_BPF/),
      });
      await refused.end('stop');
      const auto = await lab.startUnit({ kind: 'auto', through: plain });
      expect(auto.started).toMatchObject({
        report: {
          devices: [{ mode: 'packet', reason: expect.stringMatching(/^no XDP: .*CAP_BPF/) }, { mode: 'packet' }],
        },
      });
      await expectService(lab, auto);
      await auto.end('stop');

      const three = withOnly('+net_raw,+net_admin,+bpf');
      const enough = await lab.startUnit({ kind: 'auto', through: three });
      expect(enough.modes, JSON.stringify(enough.started)).toEqual(['xdp-native', 'xdp-native']);
      await expectService(lab, enough);
      await enough.end('stop');

      for (const link of ['u0', 'u1']) lab.run('unit', 'ip', 'link', 'set', link, 'mtu', '9000');
      const long = await lab.startUnit({ kind: 'xdp' });
      expect(long.started).toMatchObject({
        message: expect.stringMatching(/u0: an MTU of 9000 is too long for AF_XDP/),
      });
      await long.end('stop');
    });
  });
});

/** RFC 3810 section 5.1, general, version 1, with its router alert. */
function mldQuery(source: string): string {
  const mac = source.replaceAll(':', '');
  const linkLocal = 'fe800000000000000000000000000001';
  const allNodes = 'ff020000000000000000000000000001';
  const message = Buffer.from(`82000000${'03e80000'}${'00'.repeat(16)}`, 'hex');
  const summed = Buffer.concat([Buffer.from(`${linkLocal}${allNodes}000000180000003a`, 'hex'), message]);
  let sum = 0;
  for (let at = 0; at < summed.length; at += 2) sum += summed.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  message.writeUInt16BE(~sum & 0xffff, 2);
  const routerAlert = '3a00050200000100';
  return (
    `333300000001${mac}86dd60000000002000 01${linkLocal}${allNodes}${routerAlert}`.replace(' ', '') +
    message.toString('hex')
  );
}
