/**
 * Two hosts, a client and three servers on this machine: makes the namespaces of `topology.ts`, cuts links, and
 * takes everything down again. Needs root. Offloads (GRO, TSO, checksums) stay at the kernel's defaults, since
 * that is what real hosts have.
 *
 * Every lab has an id of its own and touches only namespaces that carry it. Two checkouts never collide: the id
 * ends in a digest of the checkout's path.
 */

import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import {
  isAlive,
  type JournalContent,
  killMarked,
  markProcess,
  type ProcessMark,
  readJournal,
  removeJournal,
  writeJournal,
} from './journal.js';
import { ipBatch, listNamespaces, processesInside, run, runInside, spawnInside } from './namespaces.js';
import { repositoryRoot, trafficProgram } from './paths.js';
import {
  attachments,
  bridgeEnd,
  cutGroup,
  floatingAddress,
  type HostName,
  hostNames,
  type LinkName,
  type UnitName,
} from './topology.js';

/** Why no lab can be made here, or null. */
export function whyNoLab(): string | null {
  if (process.getuid?.() !== 0) return 'the lab needs root, for network namespaces';
  try {
    run('ip', ['netns', 'list']);
    run('unshare', ['--net', 'ip', 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1']);
  } catch (error) {
    return `this machine cannot make network namespaces and veth pairs: ${(error as Error).message}`;
  }
  return null;
}

/** `demo` becomes `demo-1f3a`; with TANDEM_LAB=x in the environment `demo-x-1f3a`, a second lab beside the first. */
export function labId(purpose: string): string {
  const digest = createHash('sha256').update(repositoryRoot).digest('hex').slice(0, 4);
  return [purpose, process.env['TANDEM_LAB'], digest].filter((part) => part !== undefined).join('-');
}

export class Lab {
  /** Logs and configs of this lab. */
  readonly directory: string;
  /** Sockets: short, since a unix socket's path holds at most 107 bytes. */
  readonly socketDirectory: string;
  #processes: ProcessMark[] = [];

  private constructor(
    readonly id: string,
    directory = join(repositoryRoot, 'out', 'lab', id),
  ) {
    this.directory = directory;
    this.socketDirectory = `/tmp/tdm-${id}`;
  }

  /**
   * Makes the lab for `purpose`; the leftovers of an aborted run are removed first. Logs go to `directory`,
   * emptied before.
   */
  static up(purpose: string, directory?: string): Lab {
    const lab = new Lab(labId(purpose), directory);
    const runner = readJournal(lab.id)?.runner ?? null;
    if (runner !== null && runner.pid !== process.pid && isAlive(runner)) {
      throw new Error(`lab ${lab.id} is in use by process ${runner.pid} (${runner.what}); end it first`);
    }
    lab.down();
    lab.#write(markProcess(process.pid, process.argv.slice(1).join(' ')));
    rmSync(lab.directory, { recursive: true, force: true });
    mkdirSync(lab.directory, { recursive: true });
    mkdirSync(lab.socketDirectory, { recursive: true });
    lab.#makeNamespaces();
    lab.#makeSwitch();
    lab.#makeHosts();
    return lab;
  }

  /** The lab for `purpose` as it stands, whoever made it. */
  static attach(purpose: string): Lab {
    const lab = new Lab(labId(purpose));
    const journal = readJournal(lab.id);
    if (journal === null) throw new Error(`there is no lab ${lab.id}; make it with scripts/lab up`);
    lab.#processes = [...journal.processes];
    return lab;
  }

  namespace(host: HostName): string {
    return `tdm-${this.id}-${host}`;
  }

  /** Leaves the lab to whoever wants it: it stays up when this process ends. */
  release(): void {
    this.#write(null);
  }

  /** Ends every process of the lab and removes its namespaces. Idempotent. */
  down(): void {
    for (const mark of [...(readJournal(this.id)?.processes ?? []), ...this.#processes]) killMarked(mark);
    const standing = new Set(listNamespaces());
    for (const namespace of hostNames.map((host) => this.namespace(host)).filter((name) => standing.has(name))) {
      for (const pid of processesInside(namespace)) kill(pid);
      run('ip', ['netns', 'delete', namespace]);
    }
    this.#processes = [];
    rmSync(this.socketDirectory, { recursive: true, force: true });
    removeJournal(this.id);
  }

  /** Starts a process inside a host; its output goes to `<directory>/<log>` unless `stdio` is given. */
  spawn(
    host: HostName,
    log: string,
    command: string,
    args: readonly string[],
    options: SpawnOptions = {},
  ): ChildProcess {
    const output = openSync(join(this.directory, log), 'a');
    const child = spawnInside(this.namespace(host), command, args, { stdio: ['ignore', output, output], ...options });
    const mark = child.pid === undefined ? null : markProcess(child.pid, `${host}: ${command} ${args.join(' ')}`);
    if (mark !== null) this.#processes.push(mark);
    this.#write(readJournal(this.id)?.runner ?? null);
    return child;
  }

  /** Starts a traffic program inside a host; it speaks over node's IPC. */
  spawnProgram(host: HostName, name: string, args: readonly string[]): ChildProcess {
    if (!existsSync(trafficProgram(name))) throw new Error(`${trafficProgram(name)} is missing: run scripts/build-lab`);
    const output = openSync(join(this.directory, `${host}-${name}.log`), 'a');
    return this.spawn(host, `${host}-${name}.log`, process.execPath, [trafficProgram(name), ...args], {
      stdio: ['ignore', output, output, 'ipc'],
    });
  }

  run(host: HostName, command: string, args: readonly string[], input = ''): string {
    return runInside(this.namespace(host), command, args, input);
  }

  /** Takes the carrier from every link of a unit, the mirror link included, at one instant. */
  cutLinks(unit: UnitName): void {
    ipBatch(this.namespace('switch'), [`link set group ${cutGroup[unit]} down`]);
  }

  restoreLinks(unit: UnitName): void {
    ipBatch(this.namespace('switch'), [`link set group ${cutGroup[unit]} up`]);
  }

  /** Takes the carrier from one link of a unit, or gives it back. */
  setLink(unit: UnitName, link: LinkName, state: 'up' | 'down'): void {
    ipBatch(this.namespace('switch'), [`link set ${bridgeEnd({ host: unit, link })} ${state}`]);
  }

  /** Loses every frame to and from a unit while its carrier stays: what a failed switch does. */
  silenceLinks(unit: UnitName): void {
    const ends = attachments
      .filter((each) => each.host === unit)
      .map(bridgeEnd)
      .join(', ');
    const rules = [
      // Another unit's silence ends in the same transaction.
      'table bridge silence',
      'delete table bridge silence',
      'table bridge silence {',
      `  chain out { type filter hook postrouting priority 0; oifname { ${ends} } drop; }`,
      `  chain in { type filter hook prerouting priority 0; iifname { ${ends} } drop; }`,
      '}',
    ];
    this.run('switch', 'nft', ['-f', '-'], `${rules.join('\n')}\n`);
  }

  endSilence(): void {
    this.run('switch', 'nft', ['delete', 'table', 'bridge', 'silence']);
  }

  /** The bridges forget where addresses are, and flood until they have learnt anew. */
  forgetAddresses(): void {
    ipBatch(
      this.namespace('switch'),
      ['client', 'server'].map((bridge) => `link set dev ${bridge} type bridge fdb_flush`),
    );
  }

  /** Routes of the servers go through the floating address, for virtual servers without SNAT. */
  #makeHosts(): void {
    for (const host of hostNames.filter((name) => name !== 'switch')) {
      const own = attachments.filter((each) => each.host === host);
      const isServer = host.startsWith('s');
      ipBatch(this.namespace(host), [
        'link set lo up',
        ...own.map((each) => `link set ${each.link} up`),
        ...own.flatMap((each) => each.addresses.map((address) => `address add ${address} dev ${each.link}`)),
        ...(isServer
          ? [
              `route add default via ${floatingAddress.server.ipv4}`,
              `route add default via ${floatingAddress.server.ipv6}`,
            ]
          : []),
      ]);
    }
  }

  /**
   * Bridges learn and flood, no spanning tree. The client's bridge is an MLD querier that asks every 5 s and forgets
   * groups after 12 s, so that a unit which does not answer queries is starved within a run.
   */
  #makeSwitch(): void {
    const snooping =
      'mcast_snooping 1 mcast_querier 1 mcast_startup_query_interval 100 mcast_query_interval 500' +
      ' mcast_query_response_interval 100 mcast_membership_interval 1200';
    ipBatch(this.namespace('switch'), [
      `link add client type bridge forward_delay 0 ${snooping}`,
      'link add server type bridge forward_delay 0',
      'link add mirror type bridge forward_delay 0',
      ...['client', 'server', 'mirror'].map((bridge) => `link set ${bridge} up`),
      ...attachments.flatMap((each) => {
        const end = bridgeEnd(each);
        const group = each.host === 'a' || each.host === 'b' ? ` group ${cutGroup[each.host]}` : '';
        return [
          `link add ${end} type veth peer name ${each.link} netns ${this.namespace(each.host)}`,
          `link set dev ${end} master ${each.link}${group}`,
          `link set dev ${end} up`,
        ];
      }),
    ]);
  }

  /** No duplicate address detection (it would cost seconds), and addresses outlive a link that goes down. */
  #makeNamespaces(): void {
    for (const host of hostNames) {
      run('ip', ['netns', 'add', this.namespace(host)]);
      const settings = ['all', 'default'].flatMap((scope) => [
        `${scope}/accept_dad 0`,
        `${scope}/dad_transmits 0`,
        `${scope}/keep_addr_on_down 1`,
      ]);
      const script = 'while read -r name value; do echo "$value" > "/proc/sys/net/ipv6/conf/$name"; done';
      runInside(this.namespace(host), 'sh', ['-c', script], `${settings.join('\n')}\n`);
    }
  }

  #write(runner: ProcessMark | null): void {
    const content: JournalContent = {
      id: this.id,
      runner,
      namespaces: hostNames.map((host) => this.namespace(host)),
      processes: this.#processes.filter(isAlive),
    };
    writeJournal(content);
  }
}

/** A process of ours, found inside one of our namespaces just now. */
function kill(pid: number): void {
  const mark = markProcess(pid, '');
  if (mark !== null) killMarked(mark);
}
