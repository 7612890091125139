/**
 * Reads what `tandem doctor` judges. Changes nothing; what cannot be read is null. Interfaces' features come from
 * ethtool and firewalls from nft, as an operator would ask for them.
 */

import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { release, userInfo } from 'node:os';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { z } from 'zod';

import type { Config, UnitName } from '../config/model.js';
import type {
  Firewall,
  FirewallChain,
  FolderFacts,
  HostFacts,
  InterfaceFacts,
  MemoryFacts,
  Pairing,
  PeerAnswer,
} from '../doctor/facts.js';
import { effectiveCapabilities } from './capabilities.js';
import { findLinkFaults, unitDevices } from './links.js';
import { readCredentials } from './pair_credentials.js';

const execute = promisify(execFile);
const COMMAND_MS = 5_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
/** For the peer's answer. */
const CONNECT_MS = 2_000;

export interface HostQuestion {
  /** Null: no config. */
  readonly subject: { readonly config: Config; readonly file: string; readonly unit: UnitName } | null;
  readonly socket: string;
  readonly state: string;
}

export async function readHostFacts({ subject, socket, state }: HostQuestion): Promise<HostFacts> {
  const folders = [
    folderFacts('socket', dirname(resolve(socket))),
    folderFacts('state', resolve(state)),
    ...(subject === null ? [] : [folderFacts('config', dirname(resolve(subject.file)))]),
  ];
  const [addonFault, firewall, clockSynchronized] = await Promise.all([readAddon(), readFirewall(), readClock()]);
  const general = {
    node: { version: process.version, addonFault },
    release: release(),
    user: userInfo().username,
    capabilities: effectiveCapabilities(),
    lockableBytes: readLockable(),
    xdpDropIn: fileURLToPath(new URL('../../deploy/systemd/xdp.conf', import.meta.url)),
    hasAfXdp: /^XDP\s/m.test(readText('/proc/net/protocols') ?? ''),
    firewall,
    memory: readMemory(),
    clockSynchronized,
    folders,
  };
  if (subject === null) return { ...general, interfaces: [], linkFaults: [], peer: [], pairing: null };
  const { config, unit } = subject;
  const [interfaces, linkFaults, peer] = await Promise.all([
    Promise.all(unitDevices(config, unit).map(interfaceFacts)),
    findLinkFaults(config, unit),
    askPeer(config, unit),
  ]);
  return { ...general, interfaces, linkFaults, peer, pairing: readPairing(state, config) };
}

// ------------------------------------------------------------------------------------------- this process

/** Why the addon does not load; null: it does. */
async function readAddon(): Promise<string | null> {
  try {
    await import('./native.js');
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function readLockable(): number {
  const limit = /^Max locked memory\s+(\S+)/m.exec(readText('/proc/self/limits') ?? '')?.[1];
  return limit === undefined || limit === 'unlimited' ? Infinity : Number(limit);
}

function readMemory(): MemoryFacts {
  const text = readText('/proc/meminfo') ?? '';
  const value = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  const transparent = /\[(\w+)\]/.exec(readText('/sys/kernel/mm/transparent_hugepage/enabled') ?? '')?.[1] ?? null;
  return {
    availableBytes: value('MemAvailable') * 1024,
    hugePagesFree: value('Hugepagesize') === 2048 ? value('HugePages_Free') : 0,
    transparent,
  };
}

async function readClock(): Promise<boolean | null> {
  const answer = (await ask('timedatectl', 'show', '--property=NTPSynchronized', '--value'))?.trim();
  return answer === 'yes' ? true : answer === 'no' ? false : null;
}

function folderFacts(purpose: FolderFacts['purpose'], path: string): FolderFacts {
  const exists = existsSync(path);
  const mode = exists ? statSync(path).mode & 0o777 : 0;
  return { purpose, path, exists, writable: isWritable(exists ? path : standingAbove(path)), mode };
}

function standingAbove(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : standingAbove(dirname(path));
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

// ----------------------------------------------------------------------------------------------- firewall

const ruleset = z.object({
  nftables: z.array(
    z.looseObject({
      chain: z
        .looseObject({
          family: z.string(),
          table: z.string(),
          name: z.string(),
          hook: z.string().optional(),
          policy: z.string().optional(),
        })
        .optional(),
      rule: z.looseObject({ family: z.string(), table: z.string() }).optional(),
    }),
  ),
});

async function readFirewall(): Promise<Firewall> {
  const text = await ask('nft', '--json', 'list', 'ruleset');
  if (text === null) return { chains: null, why: 'nft is not installed, or this user may not ask it' };
  const parsed = ruleset.safeParse(JSON.parse(text));
  if (!parsed.success) return { chains: null, why: 'nft answers in words of its own' };
  const entries = parsed.data.nftables;
  const chains = entries.flatMap(({ chain }): FirewallChain[] => {
    if (chain === undefined || (chain.hook !== 'input' && chain.hook !== 'output')) return [];
    const { family, table, name, hook } = chain;
    if (!['ip', 'ip6', 'inet'].includes(family)) return [];
    const rules = entries.flatMap(({ rule }) => (rule?.family === family && rule.table === table ? [rule] : []));
    // Handles are numbers, too, and say nothing about packets.
    const words = JSON.stringify(rules, (key, value: unknown) => (key === 'handle' ? undefined : value));
    return [{ family, table, name, hook, policy: chain.policy === 'drop' ? 'drop' : 'accept', rules: words }];
  });
  return { chains, why: null };
}

// -------------------------------------------------------------------------------------------------- links

async function interfaceFacts({
  name: link,
  interface: name,
}: {
  name: string;
  interface: string;
}): Promise<InterfaceFacts> {
  const [features, driver] = await Promise.all([ask('ethtool', '-k', name), ask('ethtool', '-i', name)]);
  const mtu = Number(readText(`/sys/class/net/${name}/mtu`) ?? Number.NaN);
  return {
    link,
    name,
    mtu: Number.isNaN(mtu) ? null : mtu,
    driver: /^driver: (\S+)$/m.exec(driver ?? '')?.[1] ?? null,
    queues: countQueues(name),
    featuresOn:
      features === null ? null : [...features.matchAll(/^\s*([\w-]+): on\b/gm)].map((match) => match[1] ?? ''),
  };
}

function countQueues(name: string): number | null {
  try {
    return readdirSync(`/sys/class/net/${name}/queues`).filter((queue) => queue.startsWith('rx-')).length;
  } catch {
    return null;
  }
}

// --------------------------------------------------------------------------------------------------- peer

function readPairing(state: string, config: Config): Pairing {
  try {
    if (readCredentials(state) !== null) return 'paired';
    return config.mirror.plaintext ? 'plaintext' : 'unpaired';
  } catch (error) {
    return { fault: error instanceof Error ? error.message : String(error) };
  }
}

function askPeer(config: Config, unit: UnitName): Promise<PeerAnswer[]> {
  const ours = config.units[unit].mirror;
  const theirs = config.units[unit === 'a' ? 'b' : 'a'].mirror;
  const paths = [
    { from: ours.address, ...theirs },
    ...(ours.secondary === undefined || theirs.secondary === undefined
      ? []
      : [{ from: ours.secondary.address, ...theirs.secondary }]),
  ];
  return Promise.all(paths.map(({ from, address, port }) => askAt(from, address, port)));
}

/** Connects and says nothing: a unit takes that for a connection that was given up. */
function askAt(from: string, address: string, port: number): Promise<PeerAnswer> {
  return new Promise((done) => {
    const socket = connect({ host: address, port, localAddress: from });
    const end = (outcome: PeerAnswer['outcome']) => {
      socket.destroy();
      done({ address, port, from, outcome });
    };
    socket.setTimeout(CONNECT_MS, () => end('silent'));
    socket.once('connect', () => end('answers'));
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED') end('refused');
      else if (code === 'EADDRNOTAVAIL') end('no-address');
      else end(code === 'ETIMEDOUT' ? 'silent' : 'unreachable');
    });
  });
}

// ------------------------------------------------------------------------------------------------ reading

/** What a command prints; null if it is not there or fails. */
async function ask(command: string, ...args: string[]): Promise<string | null> {
  try {
    // An ordinary user's PATH leaves out where both stand.
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
    const { stdout } = await execute(command, args, { timeout: COMMAND_MS, maxBuffer: OUTPUT_BYTES_MAX, env });
    return stdout;
  } catch {
    return null;
  }
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
