/**
 * Goal: the unit always knows the MAC to send a member's frames to, as soon as its kernel does, and forgets one only
 * when nobody answers for it any more.
 * Method: a unit, a member and two gateways behind a bridge, each a network namespace; the kernel's neighbour timers
 * are shortened there, so that what takes a minute takes seconds. Neighbours runs inside the unit under plain node.
 */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { NextHop } from '../../src/datapath.js';
import type { UnitDevice } from '../../src/io/links.js';
import type { DeviceLink, MemberEndpoint, MemberHop } from '../../src/io/neighbours.js';
import { labId, whyNoLab } from '../support/lab/lab.js';
import { ipBatch, listNamespaces, run, runInside, spawnInside } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import type { FromNeighbours, ToNeighbours } from './programs/neighbours_program.js';

const reason = whyNoLab();
const hosts = ['unit', 'member', 'gateway1', 'gateway2'] as const;
type Host = (typeof hosts)[number];
const id = labId('neighbours');
const namespace = (host: Host | 'switch') => `${id}-${host}`;

const addresses: Readonly<Record<Exclude<Host, 'gateway2'>, readonly string[]>> = {
  unit: ['10.2.0.2/24', 'fd02::2/64'],
  member: ['10.2.0.11/24', 'fd02::11/64'],
  gateway1: ['10.2.0.254/24', 'fd02::254/64'],
};
const member4 = { address: '10.2.0.11', port: 80 };
const member6 = { address: 'fd02::11', port: 80 };
const behind4 = { address: '10.5.0.1', port: 80 };
const behind6 = { address: 'fd05::1', port: 8080 };
const everyone = [member4, member6, behind4, behind6];
/** A gap of 1 s is borne, with 3 s for a busy machine; one that lasts is not. */
const timing = { confirmEveryMs: 500, retryEveryMs: 300, goneAfterMs: 4_000 };
/**
 * Who misses an announcement finds out when the kernel asks again: after 1.05 s at the least while the entry is fresh,
 * 1 s of delay and three questions 0.2 s apart.
 */
const announcedMs = 2_500;

describe.skipIf(reason !== null)(`neighbours${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let watch: Watch;

  beforeAll(() => {
    run(join(repositoryRoot, 'node_modules/.bin/tsc'), ['-p', join(repositoryRoot, 'test/lab/programs')]);
  });
  beforeEach(async () => {
    removeHosts();
    makeHosts();
    watch = await Watch.start(everyone);
  });
  afterEach(() => watch.stop());
  afterAll(removeHosts);

  test('members of both families, on the link and behind a gateway, are resolved unasked for', async () => {
    await watch.until({ [member4.address]: macOf('member'), [member6.address]: macOf('member') });
    await watch.until({ [behind4.address]: macOf('gateway1'), [behind6.address]: macOf('gateway1') });
    expect(await watch.status()).toContainEqual({
      address: behind6.address,
      device: 0,
      neighbour: 'fd02::254',
      mac: macOf('gateway1'),
      reason: null,
    });
  });

  test('the kernel asks from the unit’s own addresses', async () => {
    await watch.until({ [member4.address]: macOf('member'), [member6.address]: macOf('member') });
    const heard = runInside(namespace('member'), 'ip', ['-j', 'neigh', 'show', 'dev', 'server']);
    const from = (JSON.parse(heard) as { readonly dst: string }[]).map(({ dst }) => dst);
    expect(from).toContain('10.2.0.2');
    // Solicitations come from the link-local address or the unit's global one, as the kernel sees fit.
    expect(from.filter((address) => !/^(10\.2\.0\.2|fd02::2|fe80:.*)$/.test(address))).toEqual([]);
  });

  test('a member that announces a new MAC is followed at once', async () => {
    await watch.until({ [member4.address]: macOf('member'), [member6.address]: macOf('member') });
    const now = '02:00:00:00:00:99';
    const changedAt = performance.now();
    announce('member', now);
    await watch.until({ [member4.address]: now, [member6.address]: now });
    expect(performance.now() - changedAt).toBeLessThan(announcedMs);
  });

  test('a member that changes its MAC in silence is found again', async () => {
    sysctl('member', ['net.ipv4.conf.server.arp_notify=0', 'net.ipv6.conf.server.ndisc_notify=0']);
    await watch.until({ [member4.address]: macOf('member') });
    ipBatch(namespace('member'), ['link set server address 02:00:00:00:00:99']);
    await watch.until({ [member4.address]: '02:00:00:00:00:99' });
  });

  test('a gateway pair that fails over is followed for every member behind it, of both families', async () => {
    await watch.until({ [behind4.address]: macOf('gateway1'), [behind6.address]: macOf('gateway1') });
    cable('gateway1', 'down');
    addAddresses('gateway2', addresses.gateway1);
    const announcedAt = performance.now();
    announce('gateway2', '02:00:00:00:00:99');
    await watch.until({ [behind4.address]: '02:00:00:00:00:99', [behind6.address]: '02:00:00:00:00:99' });
    expect(performance.now() - announcedAt).toBeLessThan(announcedMs);
  });

  test('a member that goes away loses its MAC after the grace, and gets it back when it returns', async () => {
    await watch.until({ [member4.address]: macOf('member'), [member6.address]: macOf('member') });
    cable('member', 'down');
    await watch.until({ [member4.address]: null, [member6.address]: null });
    expect((await watch.status())[0]?.reason).toBe('10.2.0.11 does not answer on link server');
    cable('member', 'up');
    await watch.until({ [member4.address]: macOf('member'), [member6.address]: macOf('member') });
  });

  test('a carrier that is lost for a moment costs no MAC', async () => {
    await watch.until({ [member4.address]: macOf('member'), [behind4.address]: macOf('gateway1') });
    watch.forgetHistory();
    cable('unit', 'down');
    await watch.untilLinks(({ carrier }) => !carrier);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    cable('unit', 'up');
    await watch.untilLinks(({ carrier }) => carrier);
    await new Promise((resolve) => setTimeout(resolve, timing.goneAfterMs + 500));
    expect(watch.history.filter(({ address, mac }) => address === member4.address && mac === null)).toEqual([]);
  });

  test('a route that moves to the other gateway moves its members', async () => {
    addAddresses('gateway2', ['10.2.0.253/24']);
    await watch.until({ [behind4.address]: macOf('gateway1') });
    ipBatch(namespace('unit'), ['route replace 10.5.0.0/16 via 10.2.0.253']);
    await watch.until({ [behind4.address]: macOf('gateway2') });
    ipBatch(namespace('unit'), ['route del 10.5.0.0/16']);
    await watch.until({ [behind4.address]: null });
    expect((await watch.status()).find(({ address }) => address === behind4.address)?.reason).toContain('no route');
  });

  test('a reload: members that come are resolved, those that stay are not told again', async () => {
    await watch.until({ [member4.address]: macOf('member'), [member6.address]: macOf('member') });
    await watch.until({ [behind4.address]: macOf('gateway1'), [behind6.address]: macOf('gateway1') });
    watch.forgetHistory();
    watch.tell([member4, { ...member4, port: 443 }]);
    await expect.poll(() => watch.history.some(({ port }) => port === 443), { timeout: 20_000 }).toBe(true);
    expect(watch.history).toEqual([{ address: '10.2.0.11', port: 443, device: 0, mac: macOf('member'), vlan: 0 }]);
  });

  test('an entry that the operator fixed is used and left alone', async () => {
    const fixed = '02:00:00:00:00:77';
    await watch.stop();
    ipBatch(namespace('unit'), [`neigh replace 10.2.0.11 lladdr ${fixed} dev server nud permanent`]);
    watch = await Watch.start(everyone);
    await watch.until({ [member4.address]: fixed });
    await new Promise((resolve) => setTimeout(resolve, 2 * timing.confirmEveryMs));
    expect(entryOf(member4.address)).toMatchObject({ lladdr: fixed, state: ['PERMANENT'] });
  });

  test('after SIGKILL the entries are ordinary ones, that age', async () => {
    await watch.until({ [member4.address]: macOf('member') });
    watch.kill();
    expect(entryOf(member4.address)).not.toHaveProperty('managed');
    expect(entryOf(member4.address)).not.toHaveProperty('extern_learn');
    await expect.poll(() => entryOf(member4.address)['state'], { timeout: 30_000 }).toEqual(['STALE']);
  });
});

// ------------------------------------------------------------------------------------- the watched unit

class Watch {
  /** Every next hop that was told, in order. */
  history: NextHop[] = [];
  #links: readonly DeviceLink[] = [];
  readonly #macs = new Map<string, string | null>();
  readonly #child: ChildProcess;

  private constructor(members: readonly MemberEndpoint[]) {
    const program = join(repositoryRoot, 'out/lab-programs/test/lab/programs/neighbours_program.js');
    const devices: readonly UnitDevice[] = [{ name: 'server', interface: 'server' }];
    const args = [members, devices, timing].map((each) => JSON.stringify(each));
    this.#child = spawnInside(namespace('unit'), process.execPath, [program, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (message: FromNeighbours) => {
      if (message.type === 'links') this.#links = message.links;
      if (message.type !== 'next-hops') return;
      this.history.push(...message.hops);
      for (const { address, mac } of message.hops) this.#macs.set(address, mac);
    });
  }

  static async start(members: readonly MemberEndpoint[]): Promise<Watch> {
    const watch = new Watch(members);
    await watch.#next('started');
    return watch;
  }

  /** Until the datapath has been told exactly these. */
  async until(macs: Readonly<Record<string, string | null>>): Promise<void> {
    const told = () => Object.fromEntries(Object.keys(macs).map((address) => [address, this.#macs.get(address)]));
    await expect.poll(told, { timeout: 20_000, interval: 10 }).toEqual(macs);
  }

  async untilLinks(wanted: (link: DeviceLink) => boolean): Promise<void> {
    await expect.poll(() => this.#links.some(wanted), { timeout: 20_000 }).toBe(true);
  }

  async status(): Promise<readonly MemberHop[]> {
    const answer = this.#next('status');
    this.tell('status');
    return (await answer).status;
  }

  tell(message: ToNeighbours): void {
    this.#child.send(message);
  }

  forgetHistory(): void {
    this.history = [];
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await exited;
  }

  #next<Type extends FromNeighbours['type']>(type: Type): Promise<Extract<FromNeighbours, { readonly type: Type }>> {
    return new Promise((resolve, reject) => {
      this.#child.once('exit', (code) => reject(new Error(`neighbours_program ended with ${code}`)));
      this.#child.on('message', (message: FromNeighbours) => {
        if (message.type === type) resolve(message as Extract<FromNeighbours, { readonly type: Type }>);
      });
    });
  }
}

// -------------------------------------------------------------------------------------------- the hosts

function makeHosts(): void {
  run('ip', ['netns', 'add', namespace('switch')]);
  ipBatch(namespace('switch'), ['link add bridge type bridge', 'link set bridge up']);
  for (const host of hosts) {
    run('ip', ['netns', 'add', namespace(host)]);
    ipBatch(namespace(host), [
      'link set lo up',
      `link add server type veth peer name ${host} netns ${namespace('switch')}`,
    ]);
    ipBatch(namespace('switch'), [`link set ${host} master bridge up`]);
    // Reachable for 1.05 s to 3.15 s: longer than the delay, or the kernel never lets an entry grow stale.
    sysctl(host, [
      'net.ipv4.conf.server.arp_notify=1',
      'net.ipv6.conf.server.ndisc_notify=1',
      'net.ipv6.conf.server.accept_dad=0',
      ...['ipv4', 'ipv6'].flatMap((family) => [
        `net.${family}.neigh.server.base_reachable_time_ms=2100`,
        `net.${family}.neigh.server.retrans_time_ms=200`,
        `net.${family}.neigh.server.delay_first_probe_time=1`,
        `net.${family}.neigh.server.gc_stale_time=60`,
      ]),
    ]);
    ipBatch(namespace(host), ['link set server up']);
    if (host !== 'gateway2') addAddresses(host, addresses[host]);
  }
  ipBatch(namespace('unit'), ['route add 10.5.0.0/16 via 10.2.0.254', 'route add fd05::/64 via fd02::254']);
}

function removeHosts(): void {
  const existing = listNamespaces();
  for (const name of [...hosts, 'switch' as const].map(namespace)) {
    if (existing.includes(name)) run('ip', ['netns', 'del', name]);
  }
}

function addAddresses(host: Host, list: readonly string[]): void {
  ipBatch(
    namespace(host),
    list.map((address) => `address replace ${address} dev server${address.includes(':') ? ' nodad' : ''}`),
  );
}

function cable(host: Host, state: 'up' | 'down'): void {
  ipBatch(namespace('switch'), [`link set ${host} ${state}`]);
}

/** The kernel announces a new MAC for each of its addresses: gratuitous ARP, unsolicited NA. */
function announce(host: Host, mac: string): void {
  ipBatch(namespace(host), [`link set server address ${mac}`]);
}

function sysctl(host: Host, settings: readonly string[]): void {
  runInside(namespace(host), 'sysctl', ['-q', '-w', ...settings]);
}

function macOf(host: Host): string {
  const [link] = JSON.parse(runInside(namespace(host), 'ip', ['-j', 'link', 'show', 'server'])) as {
    address: string;
  }[];
  return link!.address;
}

function entryOf(address: string): Readonly<Record<string, unknown>> {
  const entries = runInside(namespace('unit'), 'ip', ['-j', 'neigh', 'show', 'to', address, 'dev', 'server']);
  return (JSON.parse(entries) as Record<string, unknown>[])[0] ?? {};
}
