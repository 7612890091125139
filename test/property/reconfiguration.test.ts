/**
 * Goal: whatever the operator and the monitors change, no open connection notices.
 * Method: 10,000 random changes of a policy (members drained, removed, added, weighed, limited, down and up;
 * schedulers, priorities and slow start; the whole config with other virtual servers, in another order) through the
 * memory device, with hundreds of connections open, IPv4 and IPv6, TCP and UDP, with SNAT and without. After each
 * change some of them send both ways, and every frame must come out octet by octet as it always did. A new connection
 * after each change goes to a member that may have it.
 *
 * `TANDEM_SEED=n npx vitest run test/property/reconfiguration` repeats a run; TANDEM_CHANGES=n makes n changes.
 */

import { expect, test } from 'vitest';

import type {
  NextHop,
  PolicyDescription,
  PolicyMember,
  PolicyPool,
  PolicyVirtualServer,
  SchedulerName,
} from '../../src/datapath.js';
import { Simulator } from '../sim/simulator.js';
import { CLIENT_DEVICE, MemoryDatapath, SERVER_DEVICE, VRID, virtualServer } from '../support/memory_datapath.js';
import { ipFrame, tcp, udp } from '../support/packets.js';

const asked = process.env['TANDEM_SEED'];
const seed = asked === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(asked);
const changes = Number(process.env['TANDEM_CHANGES'] ?? 10_000);

const CONNECTIONS_MAX = 600;
const SENDERS = 4;
const MEMBERS_MAX = 12;
const GATEWAY = '02:00:00:00:0c:01';
const SCHEDULERS: readonly SchedulerName[] = [
  'round-robin',
  'weighted-round-robin',
  'least-connections',
  'weighted-least-connections',
  'maglev',
  'source-hash',
];

type Family = 4 | 6;
type Protocol = 'tcp' | 'udp';

const floating = { 4: '10.2.0.1', 6: 'fd02::1' } as const;
const virtualMac = { 4: '00:00:5e:00:01:33', 6: '00:00:5e:00:02:33' } as const;
const memberMac = (index: number) => `02:00:00:00:02:${index.toString(16).padStart(2, '0')}`;
const memberAddress = (family: Family, index: number) =>
  family === 4 ? `10.2.0.${10 + index}` : `fd02::${10 + index}`;

/** A service of the base config; each has a pool of its own. */
interface Service {
  readonly name: string;
  readonly family: Family;
  readonly protocol: Protocol;
  readonly address: string;
  readonly snat: boolean;
  /** Its members never go down, and its connections would be reset if they did. */
  readonly firm: boolean;
}

const SERVICES: readonly Service[] = ([4, 6] as const).flatMap((family) =>
  (['tcp', 'udp'] as const).flatMap((protocol) =>
    [true, false].map((snat, index): Service => {
      const address = family === 4 ? `10.1.0.${100 + index}` : `fd01::${100 + index}`;
      const firm = protocol === 'tcp' && !snat;
      return { name: `${protocol}${family}${snat ? '' : '-routed'}`, family, protocol, address, snat, firm };
    }),
  ),
);

/** One side's frame of a connection, and what must come out of it. */
interface Passage {
  readonly device: number;
  readonly frame: Uint8Array;
  readonly out: Uint8Array;
}

interface Open {
  readonly what: string;
  readonly fromClient: Passage;
  readonly fromMember: Passage;
}

class World {
  readonly dice = new Simulator(seed);
  readonly unit = new MemoryDatapath({ connections: 2048 });
  readonly open: Open[] = [];
  readonly pools = new Map<string, PolicyPool>();
  readonly gone = new Set<string>();
  extra = 0;
  refused = 0;
  #ports = 1024;
  #atS = 1;

  constructor() {
    for (const service of SERVICES) {
      const members = [0, 1, 2, 3].map((index) => this.member(service, index));
      const onMemberDown = service.firm ? 'reset' : 'keep';
      this.pools.set(service.name, { name: service.name, scheduler: 'round-robin', onMemberDown, members });
    }
  }

  member({ family, protocol }: Service, index: number): PolicyMember {
    const port = protocol === 'tcp' ? 8080 : 53;
    return { address: memberAddress(family, index), port, weight: 1, up: true, device: SERVER_DEVICE };
  }

  /** Makes what was decided the policy. */
  apply(): void {
    const order = <T>(items: readonly T[]) => {
      const dealt = items.map((item) => ({ item, at: this.dice.random() }));
      return dealt.sort((left, right) => left.at - right.at).map(({ item }) => item);
    };
    const pools = order([...this.pools.values()]);
    const servers = order(SERVICES.filter(({ name }) => !this.gone.has(name))).map((service): PolicyVirtualServer => {
      const { name, address, protocol } = service;
      const pool = pools.findIndex((one) => one.name === name);
      const snatAddresses = service.snat ? [floating[service.family]] : [];
      return {
        ...virtualServer,
        name,
        address,
        protocol,
        port: 80,
        pool,
        snatAddresses,
        mirror: { mode: 'off' },
        idleTimeoutS,
      };
    });
    const extras = [...Array(this.extra).keys()].map((index): PolicyVirtualServer => {
      const pool = pools.findIndex(({ name }) => name === 'tcp4');
      const name = `extra${(index + this.dice.below(50)) % 50}-${index}`;
      return { ...virtualServer, name, address: '10.1.0.100', port: 9000 + index, pool, snatAddresses: [floating[4]] };
    });
    const address = (text: string, device: number) => {
      return { address: text, group: 0, devices: [device], closed: 'drop' as const };
    };
    const policy: PolicyDescription = {
      groups: [{ name: 'main', vrids: [VRID, VRID], floating: [[], [floating[4], floating[6]]] }],
      addresses: [...new Set(['10.1.0.100', ...servers.map((server) => server.address)])].map((text) =>
        address(text, CLIENT_DEVICE),
      ),
      pools,
      virtualServers: order([...servers, ...extras]),
    };
    this.unit.datapath.setPolicy({
      ...policy,
      addresses: [...policy.addresses, address(floating[4], SERVER_DEVICE), address(floating[6], SERVER_DEVICE)],
    });
    this.unit.datapath.setNextHops(hops);
  }

  change(): string {
    const { dice } = this;
    const service = SERVICES[dice.below(SERVICES.length)]!;
    const pool = this.pools.get(service.name)!;
    const at = dice.below(pool.members.length);
    const put = (fields: Partial<PolicyPool>) => this.pools.set(service.name, { ...pool, ...fields });
    const alter = (fields: Partial<PolicyMember>) =>
      put({ members: pool.members.map((member, index) => (index === at ? { ...member, ...fields } : member)) });
    switch (dice.below(12)) {
      case 0:
        alter({ weight: 0 });
        return 'a member drains';
      case 1:
        alter({ weight: 1 + dice.below(256) });
        return 'a member weighs more or less';
      case 2: {
        const taken = new Set(pool.members.map(({ address }) => address));
        const index = dice.below(40);
        if (pool.members.length < MEMBERS_MAX && !taken.has(memberAddress(service.family, index)))
          put({ members: [...pool.members, this.member(service, index)] });
        return 'a member is added';
      }
      case 3:
        put({ members: pool.members.filter((_, index) => index !== at) });
        return 'a member is removed';
      case 4:
      case 5:
        if (!service.firm) alter({ up: dice.chance(0.5), down: false });
        else alter({ up: true });
        return 'a member goes down or comes up';
      case 6:
        if (!service.firm) alter({ up: false, down: true });
        return 'a monitor finds a member down';
      case 7:
        alter({ priority: dice.below(3), maxConnections: dice.chance(0.5) ? 0 : 1 + dice.below(40) });
        return 'a member has another priority and limit';
      case 8:
        put({ scheduler: SCHEDULERS[dice.below(SCHEDULERS.length)]!, minActiveMembers: 1 + dice.below(3) });
        return 'a pool has another scheduler';
      case 9:
        put({ slowStartS: dice.below(3) * 10 });
        return 'a pool has another slow start';
      case 10: {
        this.extra = dice.below(20);
        this.gone.clear();
        for (const { name } of SERVICES) if (dice.chance(0.2)) this.gone.add(name);
        return 'the whole config is another';
      }
      default:
        put({ members: pool.members.toReversed().map((member) => ({ ...member, up: true, down: false })) });
        return 'a pool is turned round and all of its members are up';
    }
  }

  replay(device: number, frame: Uint8Array) {
    this.#atS += 0.0001;
    return this.unit.replay([{ atS: this.#atS, device, frame }])[0]!;
  }

  /** A new connection, as its first frame shows it; checked against the policy. */
  connect(): void {
    const service = SERVICES[this.dice.below(SERVICES.length)]!;
    if (this.gone.has(service.name)) return;
    const { family, protocol } = service;
    const from = family === 4 ? `198.51.100.${1 + this.dice.below(250)}` : `2001:db8::${1 + this.dice.below(250)}`;
    const clientPort = ++this.#ports % 60_000;
    const payload = `${service.name} ${clientPort}`;
    const way = (source: string, sourcePort: number, destination: string, destinationPort: number, flags: string) => {
      const ports = { sourcePort, destinationPort, payload: flags === 'S' ? '' : payload };
      return [
        { source, destination },
        protocol === 'tcp' ? tcp({ ...ports, flags, acknowledgment: flags === 'S' ? 0 : 1001 }) : udp(ports),
      ] as const;
    };
    const [ip, transport] = way(from, clientPort, service.address, 80, 'S');
    const outcome = this.replay(CLIENT_DEVICE, ipFrame({ from: GATEWAY, to: virtualMac[family] }, ip, transport));
    const able = this.pools.get(service.name)!.members.filter(({ up, weight }) => up && weight > 0);
    if (outcome.verdict !== 'forward') {
      const why = able.length === 0 ? 'no_member' : 'members_full';
      expect(outcome, service.name).toEqual({ verdict: 'drop', drop: why });
      this.refused++;
      return;
    }
    const { frame } = outcome;
    const member = able.find(({ address }) => memberMac(hostOf(address)) === macText(frame));
    expect(member, `${service.name}: a member that may have it, not ${macText(frame)}`).toBeDefined();
    const { address, port } = member!;
    const ports = 14 + (family === 4 ? 20 : 40);
    const snatPort = frame[ports]! * 256 + frame[ports + 1]!;
    const snat = service.snat ? floating[family] : from;
    const mac = virtualMac[family];
    const passage = (
      device: number,
      link: { readonly from: string; readonly to: string },
      came: ReturnType<typeof way>,
      out: ReturnType<typeof way>,
      toMac: string,
    ): Passage => ({
      device,
      frame: ipFrame(link, came[0], came[1]),
      out: ipFrame({ from: mac, to: toMac }, { ...out[0], ttl: 63 }, out[1]),
    });
    const memberLink = memberMac(hostOf(address));
    // Half-open connections make way for one another beyond a bound: the handshake is completed, a datagram answered.
    const [answerIp, answer] = way(address, port, snat, snatPort, 'SA');
    expect(this.replay(SERVER_DEVICE, ipFrame({ from: memberLink, to: mac }, answerIp, answer)).verdict).toBe(
      'forward',
    );
    const [ackIp, ack] = way(from, clientPort, service.address, 80, 'A');
    expect(this.replay(CLIENT_DEVICE, ipFrame({ from: GATEWAY, to: mac }, ackIp, ack)).verdict).toBe('forward');
    this.open.push({
      what: `${service.name} ${from} ${clientPort} at ${address}`,
      fromClient: passage(
        CLIENT_DEVICE,
        { from: GATEWAY, to: mac },
        way(from, clientPort, service.address, 80, 'A'),
        way(snat, snatPort, address, port, 'A'),
        memberLink,
      ),
      fromMember: passage(
        SERVER_DEVICE,
        { from: memberLink, to: mac },
        way(address, port, snat, snatPort, 'A'),
        way(service.address, 80, from, clientPort, 'A'),
        GATEWAY,
      ),
    });
  }

  /** Both ways on some of the open connections; what was broken, in words. */
  broken(): string[] {
    return [...Array(SENDERS).keys()].flatMap(() => {
      const connection = this.open[this.dice.below(this.open.length)];
      if (connection === undefined) return [];
      return [connection.fromClient, connection.fromMember].flatMap(({ device, frame, out }) => {
        const outcome = this.replay(device, frame);
        if (outcome.verdict === 'forward' && Buffer.compare(outcome.frame, out) === 0) return [];
        const became = outcome.verdict === 'forward' ? Buffer.from(outcome.frame).toString('hex') : outcome;
        return [`${connection.what}, from device ${device}: ${JSON.stringify(became)}`];
      });
    });
  }
}

const idleTimeoutS = { halfOpen: 1000, established: 1000, halfClosed: 1000, closing: 1000, udp: 1000 };

const hops: readonly NextHop[] = ([4, 6] as const).flatMap((family) =>
  [8080, 53].flatMap((port) =>
    [...Array(40).keys()].map((index): NextHop => {
      const address = memberAddress(family, index);
      return { address, port, device: SERVER_DEVICE, mac: memberMac(hostOf(address)), vlan: 0 };
    }),
  ),
);

/** The last part of a member's address, as it is written. */
function hostOf(address: string): number {
  return Number(address.replace(/^.*[.:]/, ''));
}

function macText(frame: Uint8Array): string {
  return [...frame.subarray(0, 6)].map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}

test(`no connection is broken by ${changes} changes of the policy (TANDEM_SEED=${seed})`, { timeout: 300_000 }, () => {
  const world = new World();
  world.apply();
  world.unit.shared.setRole(0, 'active', 1, Number.POSITIVE_INFINITY);
  const broken: string[] = [];
  for (let made = 0; made < changes && broken.length === 0; made++) {
    const change = world.change();
    world.apply();
    if (world.open.length < CONNECTIONS_MAX) world.connect();
    broken.push(...world.broken().map((what) => `after change ${made}, ${change}: ${what}`));
  }
  expect(broken).toEqual([]);
  expect(world.unit.datapath.tableCounts().used).toBe(world.open.length);
  if (changes >= 10_000) expect(world.open.length).toBe(CONNECTIONS_MAX);
});
