/**
 * Goal: the API, the CLI, /metrics and the web page tell the same figures at the same moment; what is changed over the
 * API is what the datapath does.
 * Method: a pair with idle connections, asked all four ways on both units; then virtual servers and members changed.
 */

import { request } from 'node:http';
import type { Browser } from 'playwright-core';
import { expect } from 'vitest';

import type { ConnectionRow, PoolStatus, Survival, VirtualServerStatus } from '../../src/api.js';
import { ApiClient } from '../../src/io/api_client.js';
import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { runInside } from '../support/lab/namespaces.js';
import { serverAddress, virtualAddress } from '../support/lab/topology.js';
import { startIdle, startServers } from '../support/lab/traffic.js';
import { startPair, type Unit } from '../support/lab/unit.js';
import { pause } from '../support/traffic/time.js';
import { browserOfFile, noBrowser, openDoor } from '../support/web/browser.js';
import { WebPage } from '../support/web/page.js';

const IDLE = 40;
const browser = browserOfFile();

labTest(
  'the API, the CLI, /metrics and the web page tell the same',
  async (lab) => {
    await startServers(lab);
    const pair = await startPair(lab, { mirror: 'async' });
    const idle = await startIdle(lab, IDLE);
    await pair.b.waitUntil('holding them', ({ table }) => table.used >= IDLE);

    for (const unit of [pair.a, pair.b]) {
      const api = new ApiClient(unit.socket);
      const before = await api.counters();
      const metrics = await scrape(unit.socket);
      const servers = await api.virtualServers();
      const pools = await api.pools();
      const shown = JSON.parse(await unit.tandem('show', 'virtual', '--json')) as VirtualServerStatus[];
      const shownPools = JSON.parse(await unit.tandem('show', 'pool', '--json')) as PoolStatus[];
      const shownCounters = await unit.show('counters');

      expect(shown).toEqual(servers);
      expect(shownPools.map(withoutTimes)).toEqual(pools.map(withoutTimes));
      expect(servers.find(({ name }) => name === 'echo')!.connections).toBe(IDLE);
      for (const { name, connections, opened, packetsIn, bytesOut, membersUp } of servers) {
        const of = (metric: string, more = '') =>
          metrics.get(`tandem_virtual_server_${metric}{virtual_server="${name}"${more}}`);
        expect(
          [of('connections'), of('connections_opened_total'), of('members_up')],
          `virtual server ${name} of unit ${unit.name}`,
        ).toEqual([connections, opened, membersUp]);
        const ways = [of('packets_total', ',direction="in"'), of('bytes_total', ',direction="out"')];
        expect(ways).toEqual([packetsIn, bytesOut]);
      }
      for (const { name, members } of pools) {
        for (const { address, port, connections } of members) {
          const member = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
          expect(metrics.get(`tandem_member_connections{pool="${name}",member="${member}"}`)).toBe(connections);
        }
      }
      // Frames come at any time (ARP, adverts), so each counter lies between what was told before and after.
      for (const { name, value } of before.counts) {
        const metric = metrics.get(`tandem_datapath_${name}_total`)!;
        const after = shownCounters.counts.find((row) => row.name === name)!.value;
        expect([value <= metric, metric <= after], `${name}: ${value}, ${metric}, ${after}`).toEqual([true, true]);
      }
      const status = await unit.status();
      expect(metrics.get('tandem_table_connections')).toBe(status.table.used);
      expect(metrics.get('tandem_mirror_in_sync{side="peer"}')).toBe(1);
      const role = status.trafficGroups[0]!.role;
      expect(metrics.get(`tandem_traffic_group_role{traffic_group="main",role="${role}"}`)).toBe(1);
      const survival = await api.survival();
      expect([survival.wouldBeLost, survival.wouldSurvive]).toEqual([0, status.table.used]);
      await comparePage(browser(), unit, servers, survival);
    }
    expect(await idle.stop()).toEqual({ survived: IDLE, hung: 0, reset: 0 });
  },
  60_000,
  () => noBrowser || null,
);

/** The page asks each 2 s; idle connections change nothing meanwhile. */
async function comparePage(browser: Browser, unit: Unit, servers: readonly VirtualServerStatus[], survival: Survival) {
  const door = await openDoor(unit.socket);
  const web = await WebPage.open(browser, door.url);
  await web.show('#/pair', 'connections would survive');
  expect(await web.page.locator('[data-figure=survival]').innerText()).toMatch(
    new RegExp(`^${survival.wouldSurvive} connections would survive, ${survival.wouldBeLost} would be lost`),
  );
  await web.show('#/virtual-servers', servers[0]!.name);
  expect(await web.column('Name')).toEqual(servers.map(({ name }) => name));
  expect(await web.column('Connections')).toEqual(servers.map(({ connections }) => String(connections)));
  for (const { name, opened, packetsIn, packetsOut } of servers) {
    await web.show(`#/virtual-servers/${name}`, 'Last two minutes');
    const said = async () => [await web.fact('Opened'), await web.fact('In'), await web.fact('Out')];
    const figure = (value: number) => value.toLocaleString('en');
    await expect(said()).resolves.toEqual([
      figure(opened),
      expect.stringMatching(`^${figure(packetsIn)} packets`),
      expect.stringMatching(`^${figure(packetsOut)} packets`),
    ]);
  }
  await web.close();
  door.server.close();
  expect(web.faults).toEqual([]);
}

labTest('what is changed over the API is what the datapath does', async (lab) => {
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async', members: ['s1', 's2'] });
  const idle = await startIdle(lab, IDLE);
  await pair.b.waitUntil('holding them', ({ table }) => table.used >= IDLE);
  const api = new ApiClient(pair.a.socket);

  const rows = await allConnections(api, {});
  expect(rows.map(({ mirrored }) => mirrored)).toEqual(rows.map(() => true));
  const s1 = { address: serverAddress.s1.ipv4, port: 0 };
  const ofS1 = await allConnections(api, { member: s1 });
  expect(ofS1).toEqual(rows.filter(({ member }) => member.startsWith(`${s1.address}:`)));
  expect(ofS1.length).toBeGreaterThan(0);
  const [first] = rows;
  const [address, port] = first!.client.split(':');
  expect(await allConnections(api, { client: { address: address!, port: Number(port) } })).toEqual([first]);

  expect(canConnect(lab)).toBe(true);
  await api.setVirtualServer('echo', { enabled: false });
  expect(canConnect(lab)).toBe(false);
  expect((await api.status()).warnings).toContainEqual(expect.stringMatching(/^virtual server echo is disabled/));
  await api.setVirtualServer('echo', { enabled: true });
  expect(canConnect(lab)).toBe(true);

  const opened = async () => (await api.pool('echo')).members.map(({ opened: count }) => count);
  await api.setMember('echo', s1.address, 7, 'draining');
  const before = await opened();
  for (let turn = 0; turn < 4; turn++) expect(canConnect(lab)).toBe(true);
  const after = await opened();
  expect(after.map((count, index) => count - before[index]!)).toEqual([0, 4]);
  expect((await api.pool('echo')).members[0]).toMatchObject({ state: 'draining', override: 'draining' });
  await api.reload();
  expect((await api.pool('echo')).members[0]).toMatchObject({ state: 'up', override: null });
  await pause(200);
  expect(await idle.stop()).toEqual({ survived: IDLE, hung: 0, reset: 0 });
});

/** A TCP handshake through the virtual server, within a second. */
function canConnect(lab: Lab): boolean {
  try {
    runInside(lab.namespace('client'), 'timeout', ['1', 'bash', '-c', `exec 3<>/dev/tcp/${virtualAddress.ipv4}/7`]);
    return true;
  } catch {
    return false;
  }
}

type Ends = Pick<Parameters<ApiClient['connections']>[0], 'client' | 'member'>;

async function allConnections(api: ApiClient, ends: Ends): Promise<Omit<ConnectionRow, 'idleS'>[]> {
  const rows: Omit<ConnectionRow, 'idleS'>[] = [];
  for (let cursor: number | null = 0; cursor !== null; ) {
    const page = await api.connections({ virtualServer: 'echo', ...ends, cursor, limit: 1_000 });
    rows.push(...page.rows.map(({ idleS: _idleS, ...row }) => row));
    cursor = page.next;
  }
  return rows;
}

/** Series by their text. */
function scrape(socketPath: Unit['socket']): Promise<ReadonlyMap<string, number>> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: '/metrics', agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => {
        const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
        resolve(new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))])));
      });
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** A monitor's last words come each second. */
function withoutTimes({ members, ...pool }: PoolStatus) {
  return { ...pool, members: members.map(({ reason: _reason, since: _since, ...member }) => member) };
}
