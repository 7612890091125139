/**
 * What of a host keeps a unit from working, or from working well, each with the command that mends it. Pure: facts in,
 * findings out, in the order in which an operator would go through them. Each check says `ok` when there is nothing
 * to say, so that it is seen what was looked at.
 */

import type { Config, UnitName } from '../config/model.js';
import type { Finding, FirewallChain, FolderFacts, HostFacts, InterfaceFacts, PeerAnswer } from './facts.js';

/** The config in question; null: the host alone is looked at. */
export interface Subject {
  readonly config: Config;
  readonly file: string;
  readonly unit: UnitName;
}

const NODE_MIN = [20, 19] as const;
const KERNEL_MIN = [5, 10] as const;
/** README: what `scripts/bench` measures for a connection with its index, rounded up. */
const CONNECTION_BYTES = 112;
const HUGE_PAGE_BYTES = 2 * 1024 * 1024;
/** Buffers of AF_XDP sockets are locked. */
const LOCKED_BYTES = 64 * 1024 * 1024;
const VRRP = 112;

export function examine(facts: HostFacts, subject: Subject | null): Finding[] {
  const general = [
    ...program(facts),
    ...capabilities(facts),
    ...xdp(facts, subject),
    ...memory(facts, subject),
    ...clock(facts),
    ...facts.folders.map((folder) => folderFinding(folder, facts.user)),
    ...firewall(facts, subject),
  ];
  if (subject === null) return general;
  return [
    ...general,
    ...links(facts),
    ...facts.interfaces.flatMap(offloads),
    ...facts.interfaces.flatMap(foreignAddresses),
    ...mtu(facts.interfaces),
    ...queues(facts.interfaces, subject.config.datapath),
    ...pairing(facts, subject),
    ...facts.peer.map(peer),
  ];
}

function ok(check: string, message: string): Finding {
  return { check, state: 'ok', message, mend: null };
}
function warning(check: string, message: string, mend: string | null = null): Finding {
  return { check, state: 'warning', message, mend };
}
function fault(check: string, message: string, mend: string | null = null): Finding {
  return { check, state: 'fault', message, mend };
}

// ------------------------------------------------------------------------------------------------ program

function program({ node, release }: HostFacts): Finding[] {
  return [
    isAtLeast(node.version.replace(/^v/, ''), NODE_MIN)
      ? ok('node', `Node ${node.version}`)
      : fault('node', `Node ${node.version} is older than ${NODE_MIN.join('.')}`),
    node.addonFault === null ? ok('addon', 'the native addon loads') : fault('addon', node.addonFault),
    isAtLeast(release, KERNEL_MIN)
      ? ok('kernel', `Linux ${release}`)
      : warning('kernel', `Linux ${release} is older than ${KERNEL_MIN.join('.')}, on which nothing was tested`),
  ];
}

function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [ours = 0, theirs = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return ours > major || (ours === major && theirs >= minor);
}

function capabilities({ capabilities: held, user }: HostFacts): Finding[] {
  const missing = ['CAP_NET_RAW', 'CAP_NET_ADMIN'].filter((name) => !held.includes(name));
  if (missing.length === 0) return [ok('capabilities', 'CAP_NET_RAW and CAP_NET_ADMIN are there')];
  const mend =
    `setpriv --reuid ${user} --regid ${user} --init-groups --inh-caps +net_raw,+net_admin ` +
    '--ambient-caps +net_raw,+net_admin tandem doctor';
  return [fault('capabilities', `${user} lacks ${missing.join(' and ')}; a unit does not start so`, mend)];
}

function xdp(facts: HostFacts, subject: Subject | null): Finding[] {
  const device = subject?.config.datapath.device ?? 'auto';
  if (device === 'packet') return [ok('xdp', 'AF_XDP is not wanted (datapath.device: packet)')];
  const missing = [
    ...(facts.hasAfXdp ? [] : ['the kernel has no AF_XDP']),
    ...(facts.capabilities.includes('CAP_BPF') ? [] : [`${facts.user} lacks CAP_BPF`]),
    ...(facts.lockableBytes >= LOCKED_BYTES || facts.capabilities.includes('CAP_IPC_LOCK')
      ? []
      : [`only ${Math.floor(facts.lockableBytes / 1024)} KiB may be locked in memory`]),
  ];
  if (missing.length === 0) return [ok('xdp', 'frames can go past the kernel (AF_XDP)')];
  const message = `frames go through the kernel (AF_PACKET), which is slower: ${missing.join(', ')}`;
  const dropIn = '/etc/systemd/system/tandem@.service.d/xdp.conf';
  const mend = facts.hasAfXdp ? `install -D -m 644 ${facts.xdpDropIn} ${dropIn} && systemctl daemon-reload` : null;
  return [device === 'xdp' ? fault('xdp', message, mend) : warning('xdp', message, mend)];
}

// --------------------------------------------------------------------------------------------------- host

function memory({ memory: found }: HostFacts, subject: Subject | null): Finding[] {
  if (subject === null) return [];
  const { connections } = subject.config.datapath;
  const bytes = connections * CONNECTION_BYTES;
  const pages = Math.ceil(bytes / HUGE_PAGE_BYTES);
  const size = `${Math.ceil(bytes / 1e6)} MB for ${connections} connections`;
  const enough =
    found.availableBytes + found.hugePagesFree * HUGE_PAGE_BYTES > bytes
      ? ok('memory', `${size} are there`)
      : fault('memory', `${size} are not there: lower datapath.connections, or the daemon does not start`);
  if (found.hugePagesFree >= pages) return [enough, ok('hugepages', `${found.hugePagesFree} huge pages are free`)];
  if (found.transparent === 'never') {
    const message = 'no huge pages: looking up one of many connections takes longer';
    return [enough, warning('hugepages', message, `sysctl -w vm.nr_hugepages=${pages}`)];
  }
  return [enough, ok('hugepages', 'the kernel gives huge pages when asked')];
}

function clock({ clockSynchronized }: HostFacts): Finding[] {
  if (clockSynchronized === null) return [ok('clock', 'whether the clock is synchronized is not known here')];
  if (clockSynchronized) return [ok('clock', 'the clock is synchronized')];
  const message = "the clock is not synchronized: nothing depends on it, but the units' logs cannot be compared";
  return [warning('clock', message, 'timedatectl set-ntp true')];
}

function folderFinding({ purpose, path, exists, writable, mode }: FolderFacts, user: string): Finding {
  const check = `${purpose}-folder`;
  const wanted = purpose === 'state' ? '700' : '750';
  const mend = `install -d -o ${user} -g "$(id -gn ${user})" -m ${wanted} ${path}`;
  if (purpose === 'config') {
    const message = `${user} may not write in ${path}: \`tandem apply\` cannot replace the config`;
    return writable ? ok(check, `${path} can be written in`) : warning(check, message, mend);
  }
  if (!exists && !writable) return fault(check, `${path} does not exist, and ${user} may not make it`, mend);
  if (!exists) return ok(check, `${path} does not exist yet and will be made`);
  if (!writable) return fault(check, `${user} may not write in ${path}`, mend);
  if (purpose === 'state' && (mode & 0o077) !== 0)
    return warning(check, `${path} holds keys and is open to others (mode ${mode.toString(8)})`, `chmod 700 ${path}`);
  return ok(check, `${path} can be written in`);
}

/** Adverts and the mirror channel go through the kernel as any other packets of this host. */
function firewall({ firewall: found }: HostFacts, subject: Subject | null): Finding[] {
  if (found.chains === null) return [ok('firewall', `not looked at: ${found.why ?? 'nft says nothing'}`)];
  const units = subject === null ? [] : [subject.config.units.a, subject.config.units.b];
  const ports = new Set(units.flatMap(({ mirror }) => [mirror.port, mirror.secondary?.port ?? mirror.port]));
  const faults = found.chains
    .filter(({ policy }) => policy === 'drop')
    .flatMap((chain) => [
      ...(admitsVrrp(chain)
        ? []
        : [closed(chain, 'adverts (VRRP), so both units would be active', `meta l4proto ${VRRP} accept`)]),
      ...[...ports]
        .filter((port) => !new RegExp(`\\b${port}\\b`).test(chain.rules))
        .map((port) => closed(chain, `the mirror channel (TCP port ${port})`, `${portMatch(port)} accept`)),
    ]);
  return faults.length > 0 ? faults : [ok('firewall', 'no chain drops adverts or the mirror channel by its policy')];
}

function admitsVrrp({ rules }: FirewallChain): boolean {
  return /"vrrp"|\b112\b/.test(rules);
}

/** Either unit may have opened the channel. */
function portMatch(port: number): string {
  return `meta l4proto tcp th dport ${port} accept; insert rule @ meta l4proto tcp th sport ${port}`;
}

function closed({ family, table, name, hook, policy }: FirewallChain, what: string, rule: string): Finding {
  const place = `${family} ${table} ${name}`;
  const message = `the ${hook} chain ${place} has the policy ${policy} and no rule for ${what}`;
  return fault('firewall', message, `nft 'insert rule ${place} ${rule.replaceAll('@', place)}'`);
}

// -------------------------------------------------------------------------------------------------- links

function links({ linkFaults, interfaces }: HostFacts): Finding[] {
  // One address may be that of many virtual servers, and is mended once.
  const untold = linkFaults.filter(
    ({ mend }, index) => mend === undefined || linkFaults.findIndex((other) => other.mend === mend) === index,
  );
  const findings = untold.map(({ severity, message, path, mend = null }): Finding => {
    // The command stands in the sentence for those who read no list.
    const text = mend === null ? message : message.replace(mend, '').replace(/[:;]\s*$/, '');
    return { check: 'links', state: severity === 'error' ? 'fault' : 'warning', message: `${path}: ${text}`, mend };
  });
  const names = interfaces.map(({ name }) => name).join(', ');
  return findings.length > 0 ? findings : [ok('links', `${names}: up, with their addresses and none of Tandem's own`)];
}

/** Features that join frames: what was joined is not what arrived. */
const JOINING = [
  ['large-receive-offload', 'joins segments beyond repair, and XDP is refused', 'lro'],
  ['rx-gro-hw', 'joins segments in the NIC, which XDP cannot take', 'rx-gro-hw'],
  ['rx-udp-gro-forwarding', 'joins datagrams, which AF_PACKET loses before Linux 6.2', 'rx-udp-gro-forwarding'],
  ['rx-gro-list', 'joins datagrams, which AF_PACKET loses before Linux 6.2', 'rx-gro-list'],
] as const;

function offloads({ link, name, mtu: octets, featuresOn }: InterfaceFacts): Finding[] {
  // An interface that is not there: the links say so.
  if (octets === null) return [];
  if (featuresOn === null) {
    return [warning('offloads', `${name}: not looked at, there is no ethtool`, 'apt-get install --yes ethtool')];
  }
  const faults = JOINING.filter(([feature]) => featuresOn.includes(feature)).map(([feature, what, word]) =>
    warning('offloads', `${name} (link ${link}) has ${feature} on: it ${what}`, `ethtool -K ${name} ${word} off`),
  );
  return faults.length > 0 ? faults : [ok('offloads', `${name}: nothing joins frames beyond repair`)];
}

const SHARED_DRIVERS: Readonly<Record<string, string>> = {
  macvlan: 'a macvlan takes frames to its own MAC address alone: use the interface below it',
  ipvlan: 'an ipvlan has no MAC address of its own: use the interface below it',
};
const VIRTUAL_NICS = ['virtio_net', 'vmxnet3', 'hv_netvsc', 'xen_netfront', 'vif', 'ena', 'gve'];

/** Virtual MAC addresses are none of the interface's own. */
function foreignAddresses({ link, name, driver }: InterfaceFacts): Finding[] {
  const check = 'virtual-mac';
  if (driver === null) return [];
  const shared = SHARED_DRIVERS[driver];
  if (shared !== undefined) return [fault(check, `${name} (link ${link}): ${shared}`)];
  if (!VIRTUAL_NICS.includes(driver)) return [ok(check, `${name} (${driver}) takes frames to virtual MAC addresses`)];
  const message =
    `${name} is a virtual machine's (${driver}): its host has to allow promiscuous mode, forged transmits and ` +
    'changed MAC addresses';
  return [warning(check, message)];
}

function mtu(interfaces: readonly InterfaceFacts[]): Finding[] {
  const known = interfaces.flatMap(({ name, mtu: octets }) => (octets === null ? [] : [{ name, octets }]));
  const least = Math.min(...known.map(({ octets }) => octets));
  const wider = known.filter(({ octets }) => octets > least);
  if (wider.length === 0) return [ok('mtu', known.length === 0 ? 'not known' : `${least} octets on every link`)];
  const narrow = known.filter(({ octets }) => octets === least).map(({ name }) => name);
  return wider.map(({ name, octets }) => {
    const message = `${name} takes ${octets} octets and ${narrow.join(', ')} ${least}: what is longer is sent back`;
    return warning('mtu', message, `ip link set ${name} mtu ${least}`);
  });
}

/** A worker of the xdp device has queues of its own; those of the packet device share what arrives. */
function queues(interfaces: readonly InterfaceFacts[], { device, workers }: Config['datapath']): Finding[] {
  if (device === 'packet') return [];
  const few = interfaces.flatMap(({ link, name, driver, queues: count }) => {
    if (count === null || count >= workers) return [];
    const message = `${name} (link ${link}) receives on ${count} of the ${workers} queues that datapath.workers needs`;
    const words = driver === 'veth' ? `rx ${workers} tx ${workers}` : `combined ${workers}`;
    return [warning('queues', `${message}: the other workers get nothing from it`, `ethtool -L ${name} ${words}`)];
  });
  return few.length > 0 ? few : [ok('queues', `a receive queue on each link for each worker (${workers})`)];
}

// --------------------------------------------------------------------------------------------------- peer

function pairing({ pairing: found, folders }: HostFacts, { file, unit }: Subject): Finding[] {
  const state = folders.find(({ purpose }) => purpose === 'state')?.path;
  const mend = `tandem pair init ${file} --unit ${unit}${state === undefined ? '' : ` --state ${state}`}`;
  switch (found) {
    case null:
      return [];
    case 'paired':
      return [ok('pairing', 'the units know each other by their certificates')];
    case 'plaintext':
      return [warning('pairing', 'anyone on the mirror link can read and write connections', mend)];
    case 'unpaired':
      return [fault('pairing', 'this unit is not paired, so nothing is mirrored', mend)];
    default:
      return [fault('pairing', found.fault, mend)];
  }
}

function peer({ address, port, from, outcome }: PeerAnswer): Finding {
  const where = `the peer's mirror address ${address}, TCP port ${port}, from ${from}`;
  switch (outcome) {
    case 'answers':
      return ok('peer', `${where}: it answers`);
    case 'refused':
      return warning('peer', `${where}: its host answers, and no unit listens`, null);
    case 'silent':
      return fault('peer', `${where}: no answer; look at the link between, and at both firewalls`, `ping ${address}`);
    case 'unreachable':
      return fault('peer', `${where}: no way there`, `ip route get ${address} from ${from}`);
    case 'no-address':
      return fault('peer', `${where}: no interface here has ${from}`, null);
  }
}
