/**
 * Goal: the packet device carries what real kernels send each other: joined frames, unfinished checksums, both
 * families; it outlives its links, and costs nothing when nothing is for it.
 * Method: client, unit and server, each a network namespace, joined by veth pairs with their offloads at the defaults.
 * The unit runs the datapath alone: no daemon, no failover.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { PolicyDescription } from '../../src/datapath.js';
import { labId, whyNoLab } from '../support/lab/lab.js';
import { ipBatch, listNamespaces, run, runInside, spawnInside } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import type { DatapathProgramOptions, FromDatapath } from './programs/datapath_program.js';

const reason = whyNoLab();
const hosts = ['client', 'unit', 'server'] as const;
type Host = (typeof hosts)[number];
const id = labId('packet');
const namespace = (host: Host) => `${id}-${host}`;
const downloadBytes = 50 * 1024 * 1024;

const virtual4 = '10.1.0.100';
const virtual6 = 'fd01::100';
const idleTimeoutS = { halfOpen: 10, established: 300, halfClosed: 60, closing: 5, udp: 30 };
const common = { group: 0, port: 80, protocol: 'tcp', unknown: 'drop', mirror: { mode: 'off' }, idleTimeoutS } as const;
const member = { port: 80, weight: 1, up: true, device: 1 } as const;
const policy: PolicyDescription = {
  groups: [{ name: 'main', vrids: [51, 51], floating: [[], ['10.2.0.1']] }],
  addresses: [
    { address: virtual4, group: 0, devices: [0], closed: 'drop' },
    { address: virtual6, group: 0, devices: [0], closed: 'drop' },
    { address: '10.2.0.1', group: 0, devices: [1], closed: 'drop' },
    { address: 'fd02::1', group: 0, devices: [1], closed: 'drop' },
  ],
  pools: [
    { name: 'web4', scheduler: 'round-robin', members: [{ ...member, address: '10.2.0.11' }] },
    { name: 'web6', scheduler: 'round-robin', members: [{ ...member, address: 'fd02::11' }] },
  ],
  virtualServers: [
    { ...common, name: 'www4', address: virtual4, pool: 0, snatAddresses: ['10.2.0.1'] },
    { ...common, name: 'www6', address: virtual6, pool: 1, snatAddresses: ['fd02::1'] },
    // Without SNAT: the server's way back is the floating address, its default route.
    { ...common, name: 'direct', address: virtual4, port: 8080, pool: 0, snatAddresses: [] },
  ],
};

describe.skipIf(reason !== null)(`packet device${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let server: ChildProcess | undefined;
  let unit: Unit | undefined;

  beforeAll(() => {
    run(join(repositoryRoot, 'node_modules/.bin/tsc'), ['-p', join(repositoryRoot, 'test/lab/programs')]);
  });
  beforeEach(async () => {
    removeHosts();
    makeHosts();
    server = await startServer();
  });
  afterEach(async () => {
    await unit?.stop();
    unit = undefined;
    await stopped(server);
  });
  afterAll(removeHosts);

  test.each([
    [1, virtual4, 80],
    [1, virtual6, 80],
    [1, virtual4, 8080],
    [2, virtual4, 80],
  ])('with %i workers, 50 MiB through %s port %i arrive whole', async (workers, address, port) => {
    unit = await Unit.start(workers);
    expect(await download(address, port)).toBe(expectedHash());
    const { counters } = await unit.counters();
    // Far fewer frames than segments: the kernels joined them, and nothing took them apart.
    expect(counters['forwarded']).toBeLessThan(downloadBytes / 1448 / 2);
    expect(counters).toMatchObject({ opened: 1, oversized: 0, bad_header: 0, device_dropped: 0 });
  });

  test('a link that goes down and comes back costs no connection, and no time while it is down', async () => {
    unit = await Unit.start(1);
    const whole = download(virtual4, 80, 25 * 1024 * 1024);
    await pause(500);
    ipBatch(namespace('unit'), ['link set server down']);
    const before = await unit.counters();
    await pause(1000);
    const after = await unit.counters();
    ipBatch(namespace('unit'), ['link set server up']);
    expect(after.cpuS - before.cpuS).toBeLessThan(0.3);
    expect(await whole).toBe(expectedHash());
  }, 30_000);

  test('what is for the host itself is not copied to the worker', async () => {
    unit = await Unit.start(1);
    runInside(namespace('client'), 'ping', ['-q', '-c', '1', '10.1.0.2']);
    const before = await unit.counters();
    runInside(namespace('client'), 'ping', ['-q', '-c', '200', '-i', '0.002', '10.1.0.2']);
    const after = await unit.counters();
    // ARP and neighbour discovery of the hosts may fall between.
    expect((after.counters['received'] ?? 0) - (before.counters['received'] ?? 0)).toBeLessThan(20);
  });
});

// ------------------------------------------------------------------------------------------------- hosts

function makeHosts(): void {
  for (const host of hosts) {
    run('ip', ['netns', 'add', namespace(host)]);
    ipBatch(namespace(host), ['link set lo up']);
  }
  for (const [device, peer] of [
    ['client', 'client'],
    ['server', 'server'],
  ] as const) {
    ipBatch(namespace('unit'), [`link add ${device} type veth peer name eth0 netns ${namespace(peer)}`]);
  }
  const up = (device: string, addresses: readonly string[]) => [
    ...addresses.map((address) => `addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`),
    `link set ${device} up`,
  ];
  ipBatch(namespace('unit'), [...up('client', ['10.1.0.2/24']), ...up('server', ['10.2.0.2/24'])]);
  ipBatch(namespace('client'), up('eth0', ['10.1.0.10/24', 'fd01::10/64']));
  ipBatch(namespace('server'), [...up('eth0', ['10.2.0.11/24', 'fd02::11/64']), 'route add default via 10.2.0.1']);
}

function removeHosts(): void {
  const present = listNamespaces();
  for (const host of hosts) if (present.includes(namespace(host))) run('ip', ['netns', 'del', namespace(host)]);
}

class Unit {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(workers: number): Promise<Unit> {
    const links = JSON.parse(runInside(namespace('server'), 'ip', ['-j', 'link', 'show', 'eth0'])) as [
      { readonly address: string },
    ];
    const hop = { port: 80, device: 1, mac: links[0].address, vlan: 0 };
    const options: DatapathProgramOptions = {
      workers,
      devices: [
        { name: 'client', interface: 'client' },
        { name: 'server', interface: 'server' },
      ],
      policy,
      hops: [
        { ...hop, address: '10.2.0.11' },
        { ...hop, address: 'fd02::11' },
      ],
    };
    const program = join(repositoryRoot, 'out/lab-programs/test/lab/programs/datapath_program.js');
    const child = spawnInside(namespace('unit'), process.execPath, [program, JSON.stringify(options)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await nextMessage(child);
    return new Unit(child);
  }

  async counters(): Promise<Extract<FromDatapath, { readonly type: 'counters' }>> {
    this.#child.send('counters');
    const answer = await nextMessage(this.#child);
    if (answer.type !== 'counters') throw new Error(`counters were asked for, ${answer.type} came`);
    return answer;
  }

  async stop(): Promise<void> {
    await stopped(this.#child);
  }
}

// ----------------------------------------------------------------------------------------------- traffic

/** 64 KiB of octets that repeat with a prime period, as both ends make them. */
const content = `Buffer.from(Array.from({ length: 65536 }, (_, index) => (index % 65521) * 31 % 251))`;

function expectedHash(): string {
  return run(process.execPath, [
    '-e',
    `const part = ${content}; const hash = require('crypto').createHash('sha256');
     for (let sent = 0; sent < ${downloadBytes}; sent += part.length) hash.update(part);
     process.stdout.write(hash.digest('hex'));`,
  ]);
}

async function startServer(): Promise<ChildProcess> {
  const program = `const part = ${content};
    require('http').createServer((request, response) => {
      let left = ${downloadBytes} / part.length;
      const more = () => {
        while (left-- > 0) if (!response.write(part)) return void response.once('drain', more);
        response.end();
      };
      more();
    }).listen(80, '::', () => process.send('ready'));
    process.once('disconnect', () => process.exit(0));`;
  const child = spawnInside(namespace('server'), process.execPath, ['-e', program], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await nextMessage(child);
  return child;
}

/** SHA-256 of what the server sends; at most `bytesPerSecond`. */
async function download(address: string, port: number, bytesPerSecond = Number.POSITIVE_INFINITY): Promise<string> {
  const host = address.includes(':') ? `[${address}]` : address;
  const program = `const hash = require('crypto').createHash('sha256');
    require('http').get('http://${host}:${port}/', async (response) => {
      const began = Date.now();
      let bytes = 0;
      for await (const part of response) {
        hash.update(part);
        bytes += part.length;
        const aheadMs = bytes / ${bytesPerSecond} * 1000 - (Date.now() - began);
        if (aheadMs > 0) await new Promise((resolve) => setTimeout(resolve, aheadMs));
      }
      process.stdout.write(hash.digest('hex'));
    });`;
  const child = spawnInside(namespace('client'), process.execPath, ['-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let hash = '';
  child.stdout?.on('data', (part: Buffer) => {
    hash += part.toString();
  });
  await once(child, 'close');
  return hash;
}

function nextMessage(child: ChildProcess): Promise<FromDatapath> {
  return new Promise((resolve, reject) => {
    const onExit = () => reject(new Error('the program ended; what it said is above'));
    child.once('exit', onExit);
    child.once('message', (message) => {
      child.off('exit', onExit);
      resolve(message as FromDatapath);
    });
  });
}

async function stopped(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null) return;
  child.disconnect();
  await once(child, 'exit');
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
