/**
 * Two real failover processes in two network namespaces, joined by two bridges in a third. Their daemon's
 * part is played here: a shared state for each, with a heartbeat of a worker that lives as long as a test
 * says so.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import type { GroupShared, RoleName, SharedStateHandle } from '../../src/datapath.js';
import type { GroupSettings, RoleReport } from '../../src/failover/messages.js';
import { FailoverChild } from '../../src/io/failover_child.js';
import { native } from '../../src/io/native.js';
import { labId } from './lab/lab.js';
import { ipBatch, namespaceExists, run } from './lab/namespaces.js';
import { repositoryRoot } from './lab/paths.js';

const HEARTBEAT_MS = 20;
/** Place of the first worker's heartbeat in the shared state: native/shared_state.h. */
const HEARTBEAT_OFFSET = 64;

type UnitName = 'a' | 'b';
const id = labId('failover');
const NET = `${id}-net`;
const namespaceOf = (unit: UnitName) => `${id}-${unit}`;
const LINKS = ['client', 'server'] as const;

export class FailoverUnit {
  readonly name: UnitName;
  readonly child: FailoverChild;
  readonly shared: SharedStateHandle;
  readonly reports: RoleReport[] = [];
  beating = true;
  #beat = 0n;
  readonly #timer: NodeJS.Timeout;

  constructor(name: UnitName) {
    this.name = name;
    this.shared = new native.SharedState();
    const entry = join(repositoryRoot, 'dist', 'io', 'failover_process.js');
    const command = ['ip', 'netns', 'exec', namespaceOf(name), process.execPath] as const;
    this.child = new FailoverChild(this.shared, { entry, command });
    this.child.on('role', (report) => this.reports.push(report));
    this.#timer = setInterval(() => this.#beatOnce(), HEARTBEAT_MS);
    this.#beatOnce();
  }

  start(settings: GroupSettings): void {
    // This process is no worker thread: a busy machine may hold its heartbeats up.
    this.child.configure({ groups: [settings], heartbeatTimeoutMs: 500 });
    this.child.start();
  }

  inSync(): void {
    this.child.condition('main', { demotion: 0, inSync: true, peerCanServe: true });
  }

  get group(): GroupShared {
    return this.shared.group(0);
  }

  /** What a worker does with it, once per burst. */
  get serves(): RoleName {
    return this.shared.now() * 1e6 < Number(this.group.leaseNs) ? this.group.role : 'standby';
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.child.stop();
  }

  #beatOnce(): void {
    if (!this.beating) return;
    const heartbeat = new BigUint64Array([++this.#beat]);
    writeSync(this.shared.fd, new Uint8Array(heartbeat.buffer), 0, 8, HEARTBEAT_OFFSET);
  }
}

export class FailoverLab {
  readonly a: FailoverUnit;
  readonly b: FailoverUnit;

  private constructor() {
    this.a = new FailoverUnit('a');
    this.b = new FailoverUnit('b');
  }

  static up(): FailoverLab {
    removeNamespaces();
    for (const name of [NET, namespaceOf('a'), namespaceOf('b')]) {
      run('ip', ['netns', 'add', name]);
      // Link-local addresses are usable at once: nobody else is on these links.
      run('ip', ['netns', 'exec', name, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0']);
    }
    const bridges = LINKS.flatMap((link) => [`link add ${link} type bridge`, `link set ${link} up`]);
    ipBatch(NET, bridges);
    for (const unit of ['a', 'b'] as const) for (const link of LINKS) addLink(unit, link);
    return new FailoverLab();
  }

  namespace(unit: UnitName): string {
    return namespaceOf(unit);
  }

  mac(unit: UnitName, link: (typeof LINKS)[number]): string {
    const text = run('ip', ['-n', namespaceOf(unit), '-json', 'link', 'show', `${unit}-${link}`]);
    return (JSON.parse(text) as { readonly address: string }[])[0]!.address;
  }

  start(settings: GroupSettings, peerSettings: GroupSettings): void {
    this.a.start(settings);
    this.b.start(peerSettings);
  }

  /** Cuts one unit's link at the bridge: it loses carrier, its peer does not. */
  setLink(unit: UnitName, link: (typeof LINKS)[number], state: 'up' | 'down'): void {
    run('ip', ['-n', NET, 'link', 'set', `${unit}-${link}`, state]);
  }

  /** Sets the unit's own end, as an operator would. */
  setInterface(unit: UnitName, link: (typeof LINKS)[number], state: 'up' | 'down'): void {
    run('ip', ['-n', namespaceOf(unit), 'link', 'set', `${unit}-${link}`, state]);
  }

  /** Takes the unit's interface away for good, or puts a new one of that name there. */
  removeInterface(unit: UnitName, link: (typeof LINKS)[number]): void {
    run('ip', ['-n', namespaceOf(unit), 'link', 'del', `${unit}-${link}`]);
  }

  addInterface(unit: UnitName, link: (typeof LINKS)[number]): void {
    addLink(unit, link);
  }

  /** Captures what crosses a link, until stopped; to a pcap file. Resolves when it listens. */
  async capture(link: (typeof LINKS)[number], file: string): Promise<ChildProcess> {
    rmSync(file, { force: true });
    const child = spawn('ip', ['netns', 'exec', NET, 'tcpdump', '-U', '--immediate-mode', '-i', link, '-w', file], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    while (!said.includes('listening on')) said += String((await once(child.stderr, 'data'))[0]);
    child.stderr.resume();
    return child;
  }

  async down(): Promise<void> {
    await Promise.all([this.a.end(), this.b.end()]);
    removeNamespaces();
  }
}

function addLink(unit: UnitName, link: (typeof LINKS)[number]): void {
  const name = `${unit}-${link}`;
  const network = link === 'client' ? 1 : 2;
  const host = unit === 'a' ? 2 : 3;
  ipBatch(namespaceOf(unit), [
    `link add ${name} type veth peer name ${name} netns ${NET}`,
    `addr add 10.${network}.0.${host}/24 dev ${name}`,
    `addr add fd0${network}::${host}/64 dev ${name} nodad`,
    `link set ${name} up`,
  ]);
  ipBatch(NET, [`link set ${name} master ${link}`, `link set ${name} up`]);
}

function removeNamespaces(): void {
  for (const name of [NET, namespaceOf('a'), namespaceOf('b')]) {
    if (namespaceExists(name)) run('ip', ['netns', 'del', name]);
  }
}
