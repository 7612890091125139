/** Tandem units of the benchmark: started as an operator would, asked through their API, kept to given cores. */

import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';

import type { Status } from '../../src/api.js';
import type { UnitName } from '../../src/config/model.js';
import { ApiClient } from '../../src/io/api_client.js';
import { processesInside } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { end, type Ground } from './ground.js';
import { members, snatAddresses, virtualAddress, virtualRouterId } from './network.js';

export type Device = 'xdp' | 'packet';

export interface TandemOptions {
  readonly device: Device;
  /** One when not said. */
  readonly workers?: number;
  /** What the table holds, and what there are SNAT ports for. */
  readonly connections: number;
  readonly protocol: 'udp' | 'tcp';
  readonly ports: readonly number[];
  /** Both units stand on a link of their own for adverts and mirroring, `pair`. */
  readonly paired: boolean;
  /** Until a connection is forgotten, whatever its state. */
  readonly idleS: number;
}

/** One config for one unit or two; written to a file. */
export function writeConfig(ground: Ground, name: string, options: TandemOptions): string {
  const file = ground.log(`${name}.yaml`);
  writeFileSync(file, configText(options));
  return file;
}

/** What units know each other by; one that is alone is not paired. */
export function stateDirectory(ground: Ground, unit: UnitName): string {
  return ground.log(`state-${unit}`);
}

function configText({ device, workers = 1, connections, protocol, ports, paired, idleS }: TandemOptions): string {
  const unit = (host: number) => ({
    links: {
      client: { interface: 'client', addresses: [`10.1.0.${host}`] },
      server: { interface: 'server', addresses: [`10.2.0.${host}`] },
      ...(paired ? { pair: { interface: 'pair', addresses: [`10.9.0.${host}`] } } : {}),
    },
    mirror: { address: `10.${paired ? 9 : 1}.0.${host}`, port: 3780 },
  });
  const floating = { client: ['10.1.0.1'], server: ['10.2.0.1'], ...(paired ? { pair: ['10.9.0.1'] } : {}) };
  const idleTimeoutS =
    protocol === 'udp'
      ? { udp: idleS }
      : { halfOpen: Math.min(idleS, 3600), established: idleS, closing: Math.min(idleS, 1) };
  const server = (port: number) => ({
    address: virtualAddress,
    port,
    protocol,
    pool: `port${port}`,
    trafficGroup: 'main',
    links: ['client'],
    snat: snatAddresses(connections),
    idleTimeoutS,
  });
  return stringify({
    links: ['client', 'server', ...(paired ? ['pair'] : [])],
    units: { a: unit(2), b: unit(3) },
    trafficGroups: { main: { virtualRouterId, priority: { a: 150, b: 100 }, floating } },
    pools: Object.fromEntries(
      ports.map((port) => [`port${port}`, { members: members.map((address) => ({ address, port })) }]),
    ),
    virtualServers: Object.fromEntries(ports.map((port) => [`bench${port}`, server(port)])),
    datapath: { workers, connections, device },
  });
}

export class TandemUnit {
  readonly api: ApiClient;
  readonly #child: ChildProcess;
  readonly #logFile: string;

  private constructor(
    readonly namespace: string,
    child: ChildProcess,
    socket: string,
    logFile: string,
  ) {
    this.api = new ApiClient(socket);
    this.#child = child;
    this.#logFile = logFile;
  }

  static start(ground: Ground, namespace: string, name: string, config: string, unit: UnitName): TandemUnit {
    const socket = join(ground.socketDirectory, `${name}.sock`);
    const log = `${name}.log`;
    const launcher = join(repositoryRoot, 'scripts', 'tandem');
    const child = ground.spawn(namespace, log, [
      ...[launcher, 'run', config, '--unit', unit, '--socket', socket],
      ...['--state', stateDirectory(ground, unit)],
    ]);
    return new TandemUnit(namespace, child, socket, ground.log(log));
  }

  /** Asks until `ready` is content. */
  async until(what: string, ready: (status: Status) => boolean): Promise<void> {
    let last = 'it never answered';
    for (let tries = 0; tries < 400 && this.#child.exitCode === null; tries++) {
      await pause(50);
      try {
        const status = await this.api.status();
        if (ready(status)) return;
        last = JSON.stringify(status);
      } catch (error) {
        last = String(error);
      }
    }
    throw new Error(`Tandem was not ${what}: ${last}; its log:\n${readFileSync(this.#logFile, 'utf8').slice(-2000)}`);
  }

  isActive(): Promise<void> {
    return this.until('active with its members up', ({ trafficGroups: [group], members: { total, up } }) => {
      return group?.role === 'active' && up === total;
    });
  }

  /** All of its threads on one core; with `workers`, those on another. */
  pin(core: number, workers = core): void {
    for (const pid of processesInside(this.namespace)) {
      for (const thread of threadsOf(pid)) {
        const at = thread.name.startsWith('tandem-worker') ? workers : core;
        execFileSync('taskset', ['-cp', String(at), thread.id], { stdio: 'ignore' });
      }
    }
  }

  async connections(): Promise<number> {
    return (await this.api.status()).table.used;
  }

  /** Its own memory and what it has mapped, of the daemon alone. */
  residentMiB(): number {
    const text = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024;
  }

  /** The daemon and its failover process at once. */
  async kill(): Promise<void> {
    const ended = once(this.#child, 'exit');
    for (const pid of processesInside(this.namespace)) process.kill(pid, 'SIGKILL');
    await ended;
  }

  stop(): Promise<void> {
    return end(this.#child);
  }
}

function threadsOf(pid: number): { readonly id: string; readonly name: string }[] {
  return readdirSync(`/proc/${pid}/task`).map((id) => ({
    id,
    name: readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8').trim(),
  }));
}

/** Time on a core of everything inside a namespace, in seconds since it began. */
export function processorSeconds(namespace: string): number {
  return processesInside(namespace)
    .flatMap((pid) => threadsOf(pid).map(({ id }) => readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8')))
    .reduce((sum, text) => sum + Number(text.split(' ')[0]) / 1e9, 0);
}
