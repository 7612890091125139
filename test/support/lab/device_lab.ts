/**
 * A client, a unit and a server in a row, joined by veth pairs of several queues: the least that a device can be tried
 * with. Offloads stay at the kernel's defaults. Needs root.
 *
 *     client  c0 ── u0  unit  u1 ── s0  server
 */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import type { DeviceKind, PolicyDescription, Wait } from '../../../src/datapath.js';
import type { DeviceUnitCounts, DeviceUnitOptions, FromDeviceUnit } from '../../lab/programs/device_unit_program.js';
import { labId } from './lab.js';
import { ipBatch, listNamespaces, processesInside, run, runInside, spawnInside } from './namespaces.js';
import { repositoryRoot } from './paths.js';

export type DeviceHost = 'client' | 'unit' | 'server';

const hosts: readonly DeviceHost[] = ['client', 'unit', 'server'];
const programs = join(repositoryRoot, 'out/lab-programs/test/lab/programs');

export const deviceAddress = {
  virtual: { ipv4: '10.71.1.100', ipv6: 'fd71:1::100' },
  /** The unit's own, on its kernel interface. */
  unit: { ipv4: '10.71.1.2', ipv6: 'fd71:1::2' },
  server: { ipv4: '10.71.2.11', ipv6: 'fd71:2::11' },
  floating: { ipv4: '10.71.2.1', ipv6: 'fd71:2::1' },
} as const;
export const echoPort = 7_000;
const virtualRouterId = 71;
export const virtualMac = { ipv4: '00:00:5e:00:01:47', ipv6: '00:00:5e:00:02:47' } as const;

export interface DeviceUnitSettings {
  readonly kind: DeviceKind;
  readonly workers?: number;
  readonly wait?: Wait;
  /** Put before the program's command: `setpriv` and its options. */
  readonly through?: readonly string[];
}

export class DeviceUnit {
  constructor(
    readonly child: ChildProcess,
    /** What start() returned, or the sentence it threw. */
    readonly started: Exclude<FromDeviceUnit, { readonly type: 'counts' }>,
  ) {}

  get modes(): string[] {
    return this.started.type === 'started' ? this.started.report.devices.map(({ mode }) => mode) : [];
  }

  async counts(): Promise<DeviceUnitCounts> {
    this.child.send('counts');
    const [message] = (await once(this.child, 'message')) as [FromDeviceUnit];
    if (message.type !== 'counts') throw new Error(`expected counts, got ${message.type}`);
    return message.counts;
  }

  async end(signal: 'stop' | 'SIGKILL'): Promise<void> {
    const ended = once(this.child, 'exit');
    if (signal === 'stop') this.child.disconnect();
    else this.child.kill(signal);
    await ended;
  }
}

export class DeviceLab {
  readonly #id: string;

  /**
   * `name` tells labs of one run apart; what an aborted run left under it is removed first. With more `peerQueues` than
   * `queues` the unit's ends refuse native XDP.
   */
  constructor(name: string, queues: number, peerQueues = queues) {
    this.#id = labId(name);
    this.down();
    for (const host of hosts) run('ip', ['netns', 'add', this.namespace(host)]);
    for (const host of hosts) {
      const settings = ['accept_dad', 'dad_transmits'].map((key) => `echo 0 > /proc/sys/net/ipv6/conf/default/${key}`);
      runInside(this.namespace(host), 'sh', ['-c', settings.join('; ')]);
    }
    const pair = (host: DeviceHost, end: string, unitEnd: string) =>
      `link add ${unitEnd} numrxqueues ${queues} numtxqueues ${queues} type veth peer name ${end} ` +
      `numrxqueues ${peerQueues} numtxqueues ${peerQueues} netns ${this.namespace(host)}`;
    ipBatch(this.namespace('unit'), [
      pair('client', 'c0', 'u0'),
      pair('server', 's0', 'u1'),
      'address add 10.71.1.2/24 dev u0',
      'address add fd71:1::2/64 dev u0',
      'link set lo up',
      'link set u0 up',
      'link set u1 up',
    ]);
    ipBatch(this.namespace('client'), [
      'address add 10.71.1.50/24 dev c0',
      'address add fd71:1::50/64 dev c0',
      'link set lo up',
      'link set c0 up',
    ]);
    ipBatch(this.namespace('server'), [
      'address add 10.71.2.11/24 dev s0',
      'address add fd71:2::11/64 dev s0',
      'link set lo up',
      'link set s0 up',
    ]);
  }

  namespace(host: DeviceHost): string {
    return `xdp-${this.#id}-${host}`;
  }

  run(host: DeviceHost, command: string, ...args: string[]): string {
    return runInside(this.namespace(host), command, args);
  }

  /** Runs a job of device_traffic_program to its end. */
  traffic(host: DeviceHost, ...args: (string | number)[]): unknown {
    const program = join(programs, 'device_traffic_program.js');
    return JSON.parse(this.run(host, process.execPath, program, ...args.map(String)));
  }

  /** Starts one that goes on until it is told to stop; resolves when it is ready. */
  async start(host: DeviceHost, ...args: (string | number)[]): Promise<ChildProcess> {
    const child = this.#spawn(host, [
      process.execPath,
      join(programs, 'device_traffic_program.js'),
      ...args.map(String),
    ]);
    await once(child, 'message');
    return child;
  }

  async startUnit(settings: DeviceUnitSettings): Promise<DeviceUnit> {
    const options: DeviceUnitOptions = {
      datapath: {
        kind: settings.kind,
        wait: settings.wait ?? 'poll',
        devices: [
          { name: 'client', interface: 'u0' },
          { name: 'server', interface: 'u1' },
        ],
        workers: settings.workers ?? 1,
        connections: 4_096,
        unit: 0,
      },
      policy: policy(),
      nextHops: (['ipv4', 'ipv6'] as const).map((family) => ({
        address: deviceAddress.server[family],
        port: echoPort,
        device: 1,
        mac: this.#macOf('server', 's0'),
        vlan: 0,
      })),
    };
    const program = [process.execPath, join(programs, 'device_unit_program.js'), JSON.stringify(options)];
    const child = this.#spawn('unit', [...(settings.through ?? []), ...program]);
    const [started] = (await once(child, 'message')) as [FromDeviceUnit];
    if (started.type === 'counts') throw new Error('counts before it started');
    return new DeviceUnit(child, started);
  }

  /** Interfaces of the unit that have an XDP program. */
  interfacesWithXdp(): string[] {
    const links = JSON.parse(this.run('unit', 'ip', '-json', '-details', 'link')) as {
      ifname: string;
      xdp?: unknown;
    }[];
    return links.filter(({ xdp }) => xdp !== undefined).map(({ ifname }) => ifname);
  }

  /** Ends what runs in its namespaces, and removes them. Idempotent. */
  down(): void {
    const standing = new Set(listNamespaces());
    for (const namespace of hosts.map((host) => this.namespace(host)).filter((name) => standing.has(name))) {
      for (const pid of processesInside(namespace)) process.kill(pid, 'SIGKILL');
      run('ip', ['netns', 'delete', namespace]);
    }
  }

  #macOf(host: DeviceHost, link: string): string {
    const [found] = JSON.parse(this.run(host, 'ip', '-json', 'link', 'show', link)) as { address: string }[];
    return found!.address;
  }

  #spawn(host: DeviceHost, [command = '', ...args]: readonly string[]): ChildProcess {
    return spawnInside(this.namespace(host), command, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  }
}

function policy(): PolicyDescription {
  const idleTimeoutS = { halfOpen: 10, established: 300, halfClosed: 60, closing: 10, udp: 30 };
  const families = ['ipv4', 'ipv6'] as const;
  return {
    groups: [
      {
        name: 'main',
        vrids: [virtualRouterId, virtualRouterId],
        floating: [[], Object.values(deviceAddress.floating)],
      },
    ],
    addresses: families.flatMap((family) => [
      { address: deviceAddress.virtual[family], group: 0, devices: [0], closed: 'reset' as const },
      { address: deviceAddress.floating[family], group: 0, devices: [1], closed: 'drop' as const },
    ]),
    pools: families.map((family) => ({
      name: family,
      scheduler: 'round-robin' as const,
      members: [{ address: deviceAddress.server[family], port: echoPort, weight: 1, up: true, device: 1 }],
    })),
    virtualServers: families.flatMap((family, pool) =>
      (['tcp', 'udp'] as const).map((protocol) => ({
        name: `${protocol}-${family}`,
        group: 0,
        address: deviceAddress.virtual[family],
        port: echoPort,
        protocol,
        pool,
        unknown: 'drop' as const,
        snatAddresses: [deviceAddress.floating[family]],
        mirror: { mode: 'off' },
        idleTimeoutS,
      })),
    ),
  };
}
