/**
 * The unit's links as the kernel has them: are they what the config says, and which of them leads to an address.
 *
 * Nothing is changed here, interfaces and sysctls least of all; what is wrong is said, with the config's path and
 * how to mend it.
 */

import { readFileSync } from 'node:fs';

import type { LinkFault } from '../balancer/ports.js';
import type { Config, UnitName } from '../config/model.js';
import { ipAddress } from '../wire/ip_address.js';
import {
  type AddressMessage,
  decodeAddress,
  decodeLink,
  decodeRoute,
  encodeDump,
  encodeRouteLookup,
  type LinkMessage,
  MessageType,
} from '../wire/rtnetlink.js';
import { Rtnetlink, RtnetlinkError } from './rtnetlink.js';

/** A link of the config on this unit; its place in the list is the datapath's device index. */
export interface UnitDevice {
  /** The config's link name. */
  readonly name: string;
  readonly interface: string;
}

export interface KernelLinks {
  readonly links: readonly LinkMessage[];
  readonly addresses: readonly AddressMessage[];
}

export function unitDevices(config: Config, unit: UnitName): UnitDevice[] {
  return config.links.flatMap((name) => {
    const link = config.units[unit].links[name];
    return link === undefined ? [] : [{ name, interface: link.interface }];
  });
}

export async function readLinks(rtnetlink: Rtnetlink): Promise<KernelLinks> {
  const links = await rtnetlink.dump(MessageType.getLink, encodeDump('link'));
  const addresses = await rtnetlink.dump(MessageType.getAddress, encodeDump('address'));
  return { links: links.map(decodeLink).filter(isWhole), addresses: addresses.map(decodeAddress).filter(isWhole) };
}

// ---------------------------------------------------------------------------------- checked at start

/** What of this host's interfaces is in the way of a config, as the kernel has them now. */
export async function findLinkFaults(config: Config, unit: UnitName): Promise<LinkFault[]> {
  const rtnetlink = new Rtnetlink();
  try {
    return checkLinks(config, unit, await readLinks(rtnetlink));
  } finally {
    rtnetlink.close();
  }
}

/** Every fault there is, errors and warnings, in the config's order. Reads /proc/sys through `sysctl`. */
export function checkLinks(
  config: Config,
  unit: UnitName,
  kernel: KernelLinks,
  sysctl: (name: string) => string | null = readSysctl,
): LinkFault[] {
  return [
    ...config.links.flatMap((name) => checkLink(config, unit, name, kernel, sysctl)),
    ...checkTandemAddresses(config, kernel),
    ...checkNeighbourTable(config, sysctl),
  ];
}

function checkLink(
  config: Config,
  unit: UnitName,
  name: string,
  kernel: KernelLinks,
  sysctl: (name: string) => string | null,
): LinkFault[] {
  const link = config.units[unit].links[name];
  if (link === undefined) return [];
  const path = `units.${unit}.links.${name}`;
  const found = kernel.links.find((candidate) => candidate.name === link.interface);
  if (found === undefined) {
    const there = kernel.links.map((candidate) => candidate.name).filter((other) => other !== 'lo');
    const message = `interface ${link.interface} does not exist here; there are: ${there.join(', ') || 'none'}`;
    return [{ severity: 'error', code: 'no_interface', path: `${path}.interface`, message }];
  }

  const faults: LinkFault[] = [];
  const fault = (severity: 'error' | 'warning', code: string, key: string, message: string, mend?: string) =>
    faults.push({ severity, code, path: `${path}.${key}`, message, ...(mend === undefined ? {} : { mend }) });

  if (found.mac === null) {
    fault(
      'error',
      'not_ethernet',
      'interface',
      `${link.interface} has no Ethernet address; Tandem forwards Ethernet frames`,
    );
  }
  if (!found.up) {
    const mend = `ip link set ${link.interface} up`;
    fault('error', 'interface_down', 'interface', `${link.interface} is down: ${mend}`, mend);
  } else if (!found.carrier) {
    fault(
      'warning',
      'no_carrier',
      'interface',
      `${link.interface} has no carrier: check the cable and the switch port`,
    );
  }
  for (const [index, address] of link.addresses.entries()) {
    const on = kernel.addresses.filter((candidate) => candidate.address === address);
    const here = on.find((candidate) => candidate.interfaceIndex === found.index);
    const elsewhere = on.map((candidate) => interfaceName(kernel, candidate.interfaceIndex)).join(', ');
    if (here === undefined) {
      const where = elsewhere === '' ? '' : ` but ${elsewhere} does`;
      const length = address.includes(':') ? 64 : 24;
      const mend = `ip address add ${address}/${length} dev ${link.interface}`;
      const message = `${link.interface} does not have ${address}${where}: ${mend} (with your prefix length)`;
      fault('error', 'no_address', `addresses[${index}]`, message, mend);
    } else if (here.duplicate) {
      const message = `another host has ${address} too: duplicate address detection failed on ${link.interface}`;
      fault('error', 'duplicate_address', `addresses[${index}]`, message);
    }
  }
  // The kernel sees the ARP requests that Tandem answers. It has no reason to answer them as well, but for these.
  for (const family of ['ipv4', 'ipv6'] as const) {
    const setting = `net.${family}.conf.${link.interface}.${family === 'ipv4' ? 'proxy_arp' : 'proxy_ndp'}`;
    if (sysctl(setting) !== '1') continue;
    const mend = `sysctl -w ${setting}=0`;
    const message = `${setting} is 1: the kernel may answer for virtual addresses too; ${mend}`;
    fault('warning', 'kernel_answers', 'interface', message, mend);
  }
  return faults;
}

/** They live in Tandem only: on an interface, the kernel would answer for them and reset connections. */
function checkTandemAddresses(config: Config, kernel: KernelLinks): LinkFault[] {
  const ours = [
    ...config.trafficGroups.flatMap((group) =>
      Object.entries(group.floating).flatMap(([link, addresses]) =>
        addresses.map((address, index) => ({
          address,
          kind: 'a floating address',
          path: `trafficGroups.${group.name}.floating.${link}[${index}]`,
        })),
      ),
    ),
    ...config.virtualServers.map((server) => ({
      address: server.address,
      kind: 'a virtual address',
      path: `virtualServers.${server.name}.address`,
    })),
  ];
  return ours.flatMap(({ address, kind, path }) => {
    const found = kernel.addresses.find((candidate) => candidate.address === address);
    if (found === undefined) return [];
    const device = interfaceName(kernel, found.interfaceIndex);
    const mend = `ip address del ${address}/${found.prefixLength} dev ${device}`;
    const message = `${address} is ${kind}, so it must not be on an interface, but ${device} has it: ${mend}`;
    return [{ severity: 'error', code: 'address_on_interface', path, message, mend }];
  });
}

/** The kernel's neighbour table refuses entries beyond gc_thresh3, and members without a neighbour get nothing. */
function checkNeighbourTable(config: Config, sysctl: (name: string) => string | null): LinkFault[] {
  const members = new Set(config.pools.flatMap((pool) => pool.members.map((member) => member.address)));
  return (['ipv4', 'ipv6'] as const).flatMap((family) => {
    const setting = `net.${family}.neigh.default.gc_thresh3`;
    const limit = Number(sysctl(setting) ?? Number.NaN);
    const wanted = [...members].filter((address) => address.includes(':') === (family === 'ipv6')).length;
    if (!(wanted > limit / 2)) return [];
    const mend = `sysctl -w ${setting}=${4 * wanted}`;
    const message = `${wanted} members, but the kernel keeps ${limit} neighbours: ${mend}`;
    return [{ severity: 'warning', code: 'neighbour_table_small', path: 'pools', message, mend }];
  });
}

/** Null where the kernel has no such setting. A dot in an interface's name is a slash in sysctl's, and stays here. */
export function readSysctl(name: string): string | null {
  const conf = /^net\.(ipv[46])\.conf\.(.+)\.([a-z0-9_]+)$/.exec(name);
  const path = conf === null ? name.replaceAll('.', '/') : `net/${conf[1]}/conf/${conf[2]}/${conf[3]}`;
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
  } catch {
    return null;
  }
}

function interfaceName(kernel: KernelLinks, index: number): string {
  return kernel.links.find((link) => link.index === index)?.name ?? `interface ${index}`;
}

// ------------------------------------------------------------------------- the way to an address

/** Where frames for an address go: to `neighbour` (the address itself, or the gateway) on a device of ours. */
export type Hop =
  | {
      readonly reached: true;
      readonly device: number;
      readonly interfaceIndex: number;
      readonly neighbour: string;
    }
  | { readonly reached: false; readonly reason: string };

/** Asks the kernel's routing table. Never rejects for an address that cannot be reached: that is a Hop too. */
export async function resolveHop(
  rtnetlink: Rtnetlink,
  address: string,
  devices: readonly UnitDevice[],
  links: readonly LinkMessage[],
): Promise<Hop> {
  let route: ReturnType<typeof decodeRoute>;
  try {
    const answer = await rtnetlink.request(MessageType.getRoute, encodeRouteLookup(ipAddress(address)));
    route = answer === null ? null : decodeRoute(answer);
  } catch (error) {
    if (!(error instanceof RtnetlinkError)) throw error;
    return { reached: false, reason: `no route to ${address} (${error.code})` };
  }
  if (route === null || route.interfaceIndex === null || route.kind === 'unreachable') {
    return { reached: false, reason: `no route to ${address}` };
  }
  if (route.kind === 'local') return { reached: false, reason: `${address} is an address of this unit itself` };

  const link = links.find((candidate) => candidate.index === route.interfaceIndex);
  const device = devices.findIndex((candidate) => candidate.interface === link?.name);
  if (device < 0) {
    const through = link?.name ?? `interface ${route.interfaceIndex}`;
    return { reached: false, reason: `${address} is reached through ${through}, which is no link of this unit` };
  }
  return {
    reached: true,
    device,
    interfaceIndex: route.interfaceIndex,
    neighbour: route.gateway ?? address,
  };
}

function isWhole<T>(message: T | null): message is T {
  return message !== null;
}
