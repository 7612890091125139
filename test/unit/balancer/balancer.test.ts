/**
 * Goal: what the balancer makes of its parts' news: policies, conditions, the hand-over, and answers to the operator.
 * Method: a unit whose parts are lists of what was asked of them; the test plays monitors, peer and operator.
 */

import { beforeEach, describe, expect, test } from 'vitest';

import { ControlError } from '../../../src/api.js';
import { Balancer } from '../../../src/balancer/balancer.js';
import type { FailoverPort, LinkFault, Ports } from '../../../src/balancer/ports.js';
import type { MemberHealth } from '../../../src/balancer/views.js';
import { type ConfigResult, loadConfig } from '../../../src/config/load.js';
import type { Config } from '../../../src/config/model.js';
import type { Datapath, PolicyDescription, SharedStateHandle } from '../../../src/datapath.js';
import type { RoleReport } from '../../../src/failover/messages.js';
import type { GroupRole, Hello } from '../../../src/mirror/messages.js';
import { initial } from '../../../src/mirror/session.js';
import { statusOf } from '../../../src/mirror/status.js';
import { applied, config, connection } from '../../support/control_stub.js';

const text = `
links: [client, server]
units:
  a:
    links: { client: { interface: eth1, addresses: [10.1.0.2] }, server: { interface: eth2, addresses: [10.2.0.2] } }
    mirror: { address: 10.9.0.1 }
  b:
    links: { client: { interface: eth1, addresses: [10.1.0.3] }, server: { interface: eth2, addresses: [10.2.0.3] } }
    mirror: { address: 10.9.0.2 }
trafficGroups:
  main:
    virtualRouterId: 51
    priority: { a: 150, b: 100 }
    floating: { client: [10.1.0.1], server: [10.2.0.1] }
    demotion: { pools: { web: 60 } }
pools:
  web: { monitor: { type: tcp }, members: [ { address: 10.2.0.11, port: 80 }, { address: 10.2.0.12, port: 80 } ] }
virtualServers:
  www: { address: 10.1.0.100, port: 80, pool: web, trafficGroup: main, mirror: async }
  dns: { address: 10.1.0.100, port: 53, protocol: udp, pool: web, trafficGroup: main }
`;

function configOf(yaml: string): Config {
  const result = loadConfig(yaml, 'tandem.yaml');
  if (!result.ok) throw new Error(JSON.stringify(result.errors));
  return result.config;
}

const hello = (groups: readonly GroupRole[]): Hello => ({
  versionMin: 1,
  versionMax: 1,
  unit: 'b',
  bootId: 'boot',
  groups,
  config: { links: ['client', 'server'], virtualServers: ['www', 'dns'] },
});
const peerStandby = hello([{ name: 'main', role: 'standby', term: 4 }]);

const report: RoleReport = {
  group: 'main',
  state: 'active',
  role: 'active',
  term: 5,
  reason: 'peer_silent',
  silenceMs: 312.46,
  effectivePriority: 150,
  inSync: true,
  forcedStandby: false,
};

class World {
  readonly calls: string[] = [];
  readonly policies: PolicyDescription[] = [];
  readonly conditions: Parameters<FailoverPort['condition']>[1][] = [];
  readonly soon: (() => void)[] = [];
  health: MemberHealth[] = [];
  inSync = { self: true, peer: true };
  bulksReceived = 1;
  refusal: string | null = null;
  peerSeen = true;
  file: ConfigResult = loadConfig(text, 'tandem.yaml');
  linkFaults: (config: Config) => readonly LinkFault[] = () => [];
  readonly balancer: Balancer;

  constructor() {
    const call = (name: string) => this.calls.push(name);
    const datapath: Partial<Datapath> = {
      setPolicy: (policy) => void this.policies.push(policy),
      setNextHops: () => {},
      setMirror: (name, { mode }) => call(`setMirror ${name} ${mode}`) > 0,
      tableCounts: () => ({ capacity: 1000, used: 3, waiting: 0, bytes: 96_000 }),
      virtualServerCounts: () => [],
      commitLatency: () => [],
      memberCounts: () => [
        { address: '10.2.0.11', port: 80, connections: 7, opened: 9, limited: 3, persisted: 2, share: 0.5 },
      ],
      // The one in slot 7 was closed, and its slot has another.
      connections: (slot) => ({ rows: [{ ...connection, id: `${slot}.1` }], next: null }),
    };
    const sharedState: Partial<SharedStateHandle> = {
      now: () => 1_000,
      group: () => ({ role: 'active', term: 5, leaseNs: 1_300_000_000n, activatedNs: 0n }),
    };
    const channel = statusOf(
      initial({ virtualServers: [], devices: [] }, peerStandby.config, []),
      0,
      { strangers: 0, security: 'tls', paths: [], switches: 0 },
      0,
    );
    const ports: Ports = {
      datapath: datapath as Datapath,
      sharedState: sharedState as SharedStateHandle,
      dropNames: [['standby', 'not active']],
      countNames: [['received', 'frames']],
      failover: {
        pid: 42,
        counts: {},
        lateness: null,
        virtualRouters: [],
        configure: ({ groups }) => void call(`configure ${groups.map(({ name }) => name)}`),
        condition: (_, condition) => void this.conditions.push(condition),
        termSeen: (group, term, peerActive) => void call(`termSeen ${group} ${term} ${peerActive}`),
        handOver: async (group) => call(`handOver ${group}`) > 0 && this.peerSeen,
        takeOver: (group) => void call(`takeOver ${group}`),
        peerClosed: (group) => void call(`peerClosed ${group}`),
        release: (group) => void call(`release ${group}`),
      },
      mirror: {
        inSync: this.inSync,
        updateRoles: () => void call('updateRoles'),
        updateDictionary: () => void call('updateDictionary'),
        resync: () => void call('resync'),
        flush: async () => void call('flush'),
        requestTakeOver: async (group, term) => {
          call(`requestTakeOver ${group} ${term}`);
          if (this.refusal !== null) throw new Error(this.refusal);
        },
        status: () => ({ ...channel, counters: { ...channel.counters, bulks_received: this.bulksReceived } }),
      },
      monitors: { update: () => void call('monitors'), states: () => this.health },
      neighbours: {
        update: async () => void call('neighbours'),
        nextHops: () => [],
        status: () => [
          { address: '10.2.0.11', device: 1, mac: '02:00:00:00:00:11' },
          { address: '10.2.0.12', device: 1, mac: null },
        ],
        links: () => [{ name: 'client', interface: 'eth1', mac: null, carrier: false }],
      },
      configSync: {
        busy: false,
        apply: async () => applied,
        reloaded: (digested) => void call(`reloaded ${digested}`),
        status: () => config,
      },
      readConfig: async () => ({ result: this.file, text: 'text' }),
      checkLinks: async (candidate) => this.linkFaults(candidate),
      costs: () => null,
      sampleTraffic: async () => ({
        forMs: 200,
        seen: 0.5,
        connections: [
          { slot: 7, id: '7.2', packets: 30, bytes: 45_000 },
          { slot: 5, id: '5.1', packets: 20, bytes: 1_200 },
          { slot: 9, id: '9.1', packets: 1, bytes: 60 },
        ],
      }),
      log: { info: () => {}, warn: () => {}, error: () => {} },
      clock: { now: () => new Date(0), monotonicMs: () => 0, soon: (work) => void this.soon.push(work) },
    };
    this.balancer = new Balancer({ unit: 'a', version: '0', pid: 1, configFile: 'tandem.yaml' }, configOf(text), ports);
    this.balancer.start();
    this.calls.length = 0;
  }

  get condition(): Parameters<FailoverPort['condition']>[1] {
    return this.conditions.at(-1)!;
  }
}

function down(address: string): MemberHealth {
  return { pool: 'web', address, port: 80, health: 'down', reason: 'connection refused', since: new Date(0) };
}

async function refusalOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ControlError);
  return (error as ControlError).code;
}

let world: World;
beforeEach(() => {
  world = new World();
});

test('the busiest connections are those that are still there, with the rates of all frames', async () => {
  const { rows, forMs, seen } = await world.balancer.busiest(1);
  // Not known to the peer, of which nothing was heard.
  expect(rows).toEqual([{ ...connection, id: '5.1', mirrored: false, packetsPerS: 200, bytesPerS: 12_000 }]);
  expect([forMs, seen]).toEqual([200, 0.5]);
  expect((await world.balancer.busiest(9)).rows.map(({ id }) => id)).toEqual(['5.1', '9.1']);
});

describe('policy', () => {
  test('a burst of member changes makes one policy, with the members as they are then', () => {
    world.health = [down('10.2.0.11')];
    world.balancer.onMember();
    world.health = [down('10.2.0.11'), down('10.2.0.12')];
    world.balancer.onMember();
    expect(world.soon).toHaveLength(1);
    world.soon[0]!();
    expect(world.policies).toHaveLength(2);
    expect(world.policies[1]!.pools[0]!.members.map(({ up }) => up)).toEqual([false, false]);
  });

  test('a member that no monitor has judged yet is given connections, if its neighbour answers', () => {
    expect(world.policies[0]!.pools[0]!.members.map(({ up }) => up)).toEqual([true, false]);
  });
});

describe('what the failover process is told', () => {
  test('without a peer a mirrored group is not in sync, and the peer cannot serve', () => {
    expect(world.condition).toEqual({ demotion: 0, inSync: false, peerCanServe: false });
  });

  test('with a peer in sync it is, and the peer can', () => {
    world.balancer.onPeer(peerStandby);
    expect(world.calls).toEqual(['termSeen main 4 false']);
    expect(world.condition).toEqual({ demotion: 0, inSync: true, peerCanServe: true });
  });

  test('a pool that is down here as a whole lowers the priority', () => {
    const since = new Date(0);
    const state = (address: string, health: 'up' | 'down') => ({
      pool: 'web',
      address,
      port: 80,
      health,
      reason: '',
      since,
    });
    world.health = [state('10.2.0.11', 'down'), state('10.2.0.12', 'up')];
    world.balancer.onMember();
    expect(world.condition.demotion).toBe(0);
    world.health = [state('10.2.0.11', 'down'), state('10.2.0.12', 'down')];
    world.balancer.onMember();
    expect(world.condition.demotion).toBe(60);
  });

  test('a group without a mirrored virtual server has nothing to be in sync with', async () => {
    await world.balancer.setVirtualServer('www', { mirror: 'off' });
    expect(world.condition.inSync).toBe(true);
  });

  test('a unit that lost its lease is in sync again only with the next bulk of the peer', () => {
    world.balancer.onPeer(peerStandby);
    world.balancer.onRole(report);
    world.balancer.onRole({ ...report, state: 'backup', role: 'standby', reason: 'lease_lost', inSync: false });
    expect(world.condition.inSync).toBe(false);
    world.bulksReceived += 1;
    world.balancer.onInSync();
    expect(world.condition.inSync).toBe(true);
  });

  test('a standby unit that lost a link missed nothing', () => {
    world.balancer.onPeer(peerStandby);
    world.balancer.onRole({ ...report, state: 'backup', role: 'standby', reason: 'able' });
    world.balancer.onRole({ ...report, state: 'initialize', role: 'standby', reason: 'link_lost', inSync: false });
    expect(world.condition.inSync).toBe(true);
  });
});

test('the failover process is told when the peer ended the mirror channel, not when it fell silent', () => {
  world.balancer.onPeerGone('no keepalive', false);
  expect(world.calls).not.toContain('peerClosed main');
  world.balancer.onPeerGone('the peer closed the connection', true);
  expect(world.calls).toContain('peerClosed main');
});

describe('hand-over on purpose', () => {
  test('flush first, then this unit stops opening, then the peer is asked', async () => {
    world.balancer.onPeer(peerStandby);
    world.balancer.onRole(report);
    world.calls.length = 0;
    const result = await world.balancer.standby(null, false);
    expect(world.calls).toEqual(['flush', 'handOver main', 'requestTakeOver main 5']);
    expect(result.trafficGroups[0]!.outcome).toBe('handed over in 0 ms');
  });

  test('is refused without a peer, and while the peer is not in sync', async () => {
    world.balancer.onRole(report);
    expect(await refusalOf(world.balancer.standby('main', false))).toBe('peer_not_there');
    world.balancer.onPeer(peerStandby);
    world.inSync.peer = false;
    expect(await refusalOf(world.balancer.standby('main', false))).toBe('peer_not_in_sync');
    expect(world.calls).not.toContain('handOver main');
  });

  test('is done all the same when forced; there is nothing to flush', async () => {
    world.balancer.onRole(report);
    world.inSync.peer = false;
    world.calls.length = 0;
    await world.balancer.standby(null, true);
    expect(world.calls).toEqual(['handOver main']);
  });

  test('says so when the peer was not seen active', async () => {
    world.balancer.onPeer(peerStandby);
    world.balancer.onRole(report);
    world.refusal = 'this unit does not hold the connections yet';
    world.peerSeen = false;
    const result = await world.balancer.standby(null, false);
    expect(result.trafficGroups[0]!.outcome).toMatch(/not seen active/);
  });

  test('a unit that stands by has nothing to hand over', async () => {
    const result = await world.balancer.standby(null, false);
    expect(result.trafficGroups[0]!.outcome).toBe('was standby already');
  });

  test('the peer hands over to us: its term is learnt before we take over', () => {
    world.balancer.onPeer(peerStandby);
    world.calls.length = 0;
    expect(world.balancer.onHandOverAsked('main', 9, false)).toBeNull();
    expect(world.calls).toEqual(['termSeen main 9 false', 'takeOver main']);
  });

  test('we refuse what we do not know, and while we do not hold the connections unless forced', () => {
    expect(world.balancer.onHandOverAsked('other', 1, false)).toMatch(/no traffic group 'other'/);
    world.inSync.self = false;
    expect(world.balancer.onHandOverAsked('main', 1, false)).toMatch(/does not hold/);
    expect(world.balancer.onHandOverAsked('main', 1, true)).toBeNull();
  });
});

describe('the operator', () => {
  test('a reload takes the new config to every part', async () => {
    world.file = loadConfig(text.replace('port: 80 }, {', 'port: 80, state: draining }, {'), 'tandem.yaml');
    const { changes } = await world.balancer.reload();
    expect(changes).toEqual(['pool web: member 10.2.0.11:80: state: enabled -> draining']);
    expect(world.calls).toEqual(['neighbours', 'monitors', 'updateDictionary', 'configure main', 'reloaded text']);
    expect(world.policies.at(-1)!.pools[0]!.members[0]!.weight).toBe(0);
  });

  test('a reload that is wrong, or needs a restart, changes nothing', async () => {
    world.file = loadConfig('links: 5', 'tandem.yaml');
    expect(await refusalOf(world.balancer.reload())).toBe('config_invalid');
    world.file = loadConfig(text.replace('10.9.0.1', '10.9.0.7'), 'tandem.yaml');
    expect(await refusalOf(world.balancer.reload())).toBe('needs_restart');
    expect(world.calls).toEqual([]);
    expect(world.policies).toHaveLength(1);
  });

  test("a config to apply is looked at with the unit's own eyes, and put in force only when asked", async () => {
    const codes = async (candidate: string) => {
      const checked = await world.balancer.checkConfig(candidate, 'f');
      return 'code' in checked ? [checked.code, ...checked.errors.map(({ path, line }) => `${path}:${line}`)] : [];
    };
    expect(await codes(text.replace('pool: web, trafficGroup', 'pool: wbe, trafficGroup'))).toEqual([
      'config_invalid',
      'virtualServers.www.pool:19',
    ]);
    expect(await codes(text.replace('10.9.0.1', '10.9.0.7'))).toEqual(['needs_restart', 'units.a.mirror:6']);
    const path = 'virtualServers.www.address';
    const fault = { severity: 'error', code: 'address_on_interface', path, message: 'it is on lo' } as const;
    world.linkFaults = ({ virtualServers }) => (virtualServers[0]?.address === '10.1.0.101' ? [fault] : []);
    const moved = text.replace('address: 10.1.0.100, port: 80', 'address: 10.1.0.101, port: 80');
    expect(await codes(moved)).toEqual(['links_unfit', 'virtualServers.www.address:19']);
    // What is wrong already keeps nobody from changing something else.
    world.linkFaults = () => [fault, { ...fault, path: 'x', severity: 'warning' }];
    const change = await world.balancer.checkConfig(moved, 'f');
    if ('code' in change) throw new Error(change.message);
    expect([change.changes, world.policies.length]).toEqual([
      ['virtual server www: address: 10.1.0.100 -> 10.1.0.101'],
      1,
    ]);
    await change.putInForce();
    expect(world.policies.at(-1)!.virtualServers.map(({ address }) => address)).toContain('10.1.0.101');
    await change.takeBack();
    expect(world.policies.at(-1)!.virtualServers.map(({ address }) => address)).not.toContain('10.1.0.101');
  });

  test('mirroring is switched once, announced, and shown beside what the config says', async () => {
    const standing = { enabled: true, mirror: 'async' };
    const holds = 'until reload or restart';
    expect(await world.balancer.setVirtualServer('www', { mirror: 'async' })).toEqual({
      name: 'www',
      was: standing,
      now: standing,
      holds,
    });
    expect(world.calls).toEqual([]);
    const now = { enabled: true, mirror: 'off' };
    expect(await world.balancer.setVirtualServer('www', { mirror: 'off' })).toMatchObject({ was: standing, now });
    expect(world.calls).toEqual(['setMirror www off', 'resync']);
    const [www] = await world.balancer.virtualServers();
    expect([www!.mirror, www!.mirrorConfigured]).toEqual(['off', 'async']);
  });

  test('UDP is not mirrored, and unknown names are told what there is', async () => {
    expect(await refusalOf(world.balancer.setVirtualServer('dns', { mirror: 'async' }))).toBe('udp_not_mirrored');
    expect(await refusalOf(world.balancer.setVirtualServer('wwww', { mirror: 'off' }))).toBe('unknown_virtual_server');
    expect(await refusalOf(world.balancer.standby('other', false))).toBe('unknown_traffic_group');
  });

  test('status says what to look at', async () => {
    world.health = [down('10.2.0.11'), down('10.2.0.12')];
    const { warnings, members } = await world.balancer.status();
    expect(members).toEqual({ total: 2, up: 0 });
    expect(warnings).toEqual([
      'link client (eth1) has no carrier',
      'virtual server www: no member of pool web is up',
      'virtual server dns: no member of pool web is up',
      'the mirror channel is down: connections opened now would not survive a failover',
    ]);
  });

  test('a failover process that died leaves the unit standby', async () => {
    world.balancer.onRole(report);
    world.balancer.onFailoverGone();
    const { trafficGroups } = await world.balancer.failover();
    expect(trafficGroups[0]).toMatchObject({ role: 'standby', transitionCount: 2, leaseMs: 300 });
    expect(trafficGroups[0]!.transitions).toMatchObject([
      { reason: 'lease_lost', silenceMs: null },
      { reason: 'peer_silent', silenceMs: 312.5 },
    ]);
  });
});

describe('what is changed while the unit runs', () => {
  test('a disabled virtual server keeps its members for what is open, and none for what is new', async () => {
    await world.balancer.setVirtualServer('www', { enabled: false });
    const { pools, virtualServers } = world.policies.at(-1)!;
    const [www, dns] = virtualServers;
    expect(pools[www!.pool]!.members.map(({ address, up, weight }) => [address, up, weight])).toEqual([
      ['10.2.0.11', true, 0],
      ['10.2.0.12', false, 0],
    ]);
    expect(pools[dns!.pool]!.members[0]!.weight).toBe(1);
    expect((await world.balancer.virtualServer('www')).enabled).toBe(false);
    expect((await world.balancer.status()).warnings.join()).toMatch(/www is disabled/);
    await world.balancer.setVirtualServer('www', { enabled: true });
    expect(world.policies.at(-1)!.virtualServers[0]!.pool).toBe(0);
  });

  test('a member drains and comes back; the config said otherwise, and says it again after a reload', async () => {
    const first = () => world.policies.at(-1)!.pools[0]!.members[0]!;
    expect(await world.balancer.setMember('web', '10.2.0.11', 80, 'draining')).toMatchObject({ was: null });
    expect(first()).toMatchObject({ weight: 0, up: true });
    await world.balancer.setMember('web', '10.2.0.11', 80, 'down');
    expect(first()).toMatchObject({ up: false, down: true });
    expect((await world.balancer.pool('web')).members[0]).toMatchObject({ state: 'down', override: 'down' });
    await world.balancer.reload();
    expect(first()).toMatchObject({ weight: 1, up: true });
    expect((await world.balancer.pool('web')).members[0]!.override).toBeNull();
  });

  test('a member that its monitor says is down stays down when it is called up', async () => {
    world.health = [down('10.2.0.11')];
    await world.balancer.setMember('web', '10.2.0.11', 80, 'up');
    expect(world.policies.at(-1)!.pools[0]!.members[0]!.up).toBe(false);
  });

  test('what is not there is refused, with what is', async () => {
    expect(await refusalOf(world.balancer.setMember('web', '10.2.0.99', 80, 'down'))).toBe('unknown_member');
    expect(await refusalOf(world.balancer.setMember('wep', '10.2.0.11', 80, 'down'))).toBe('unknown_pool');
    expect(await refusalOf(world.balancer.pool('wep'))).toBe('unknown_pool');
  });
});
