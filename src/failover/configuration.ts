/**
 * From the operator's config to what the failover process of one unit needs, and from there to the virtual
 * routers of each group. Pure.
 */

import type { Config, UnitName } from '../config/model.js';
import { linkLocalAddress } from '../wire/announce.js';
import { compareBytes } from '../wire/bytes.js';
import { addressKind, type IpAddress, ipAddress } from '../wire/ip_address.js';
import { ADVERT_ADDRESSES_MAX, type Family, virtualMac } from '../wire/vrrp.js';
import type { GroupRouter } from './condition.js';
import type { FailoverConfiguration, FailoverLink, Fault, GroupSettings } from './messages.js';
import type { ExpectedAdvert } from './receive.js';

export function failoverConfiguration(config: Config, unit: UnitName): FailoverConfiguration {
  const peer = unit === 'a' ? 'b' : 'a';
  const groups = config.trafficGroups.map((group, index): GroupSettings => {
    const virtualServers = config.virtualServers.filter(({ trafficGroup }) => trafficGroup === group.name);
    const links = config.links.flatMap((name, device): FailoverLink[] => {
      const own = config.units[unit].links[name];
      const announced = virtualServers.filter(({ links }) => links.includes(name)).map(({ address }) => address);
      const floating = group.floating[name] ?? [];
      if (own === undefined || (floating.length === 0 && announced.length === 0)) return [];
      return [
        {
          name,
          device,
          interface: own.interface,
          addresses: own.addresses,
          peerAddresses: config.units[peer].links[name]?.addresses ?? [],
          floating,
          announced: [...new Set(announced)],
        },
      ];
    });
    return {
      index,
      name: group.name,
      virtualRouterId: group.virtualRouterId,
      priority: group.priority[unit],
      preempt: group.preempt,
      preemptDelayMs: group.preemptDelayS * 1000,
      advertIntervalMs: group.advertIntervalMs,
      notInSyncDemotion: group.demotion.notInSync,
      checksum: group.checksum,
      links,
    };
  });
  return { groups, heartbeatTimeoutMs: null };
}

/** One virtual router: a group on one link, in one family. */
export interface VirtualRouter extends ExpectedAdvert {
  /** The link's name. */
  readonly link: string;
  readonly interface: string;
  /** Source of IPv4 adverts, 4 octets; null for IPv6, where the kernel takes the link-local address. */
  readonly source: Uint8Array | null;
  /** What adverts list. */
  readonly addresses: readonly Uint8Array[];
  readonly checksum: 'pseudo-header' | 'plain';
}

export interface VirtualRouters {
  readonly routers: readonly VirtualRouter[];
  readonly faults: readonly Fault[];
}

/** The virtual routers of a group: where it has floating addresses of a family. */
export function virtualRouters(group: GroupSettings): VirtualRouters {
  const faults: Fault[] = [];
  const routers = group.links.flatMap((link) =>
    ([4, 6] as const).flatMap((family) => virtualRouter(group, link, family, faults) ?? []),
  );
  if (routers.length === 0) faults.push(noVirtualRouter(group));
  return { routers, faults };
}

function virtualRouter(
  group: GroupSettings,
  link: FailoverLink,
  family: Family,
  faults: Fault[],
): VirtualRouter | null {
  const floating = octetsOf(link.floating, family);
  if (floating.length === 0) return null;
  const source = family === 4 ? (octetsOf(link.addresses, 4)[0] ?? null) : null;
  if (family === 4 && source === null) {
    faults.push(noOwnAddress(group, link));
    return null;
  }
  const listed = family === 4 ? floating : linkLocalFirst(floating, group.virtualRouterId);
  if (listed.length > ADVERT_ADDRESSES_MAX[family]) faults.push(tooManyFloating(group, link, family, listed.length));
  return {
    link: link.name,
    interface: link.interface,
    family,
    virtualRouterId: group.virtualRouterId,
    advertIntervalMs: group.advertIntervalMs,
    ownAddresses: link.addresses,
    peerAddresses: link.peerAddresses,
    source,
    addresses: listed.slice(0, ADVERT_ADDRESSES_MAX[family]),
    checksum: group.checksum,
  };
}

function noVirtualRouter({ name }: GroupSettings): Fault {
  const what = `traffic group ${name} has no virtual router, so nothing would tell the peer that it is active`;
  return { code: 'no_virtual_router', message: `${what}; it stays standby; give it floating addresses` };
}

function noOwnAddress({ name }: GroupSettings, link: FailoverLink): Fault {
  const what = `traffic group ${name}: ${link.interface} has floating IPv4 addresses, but no IPv4 address of the unit`;
  const mend = `no IPv4 adverts are sent there; add one to units.*.links.${link.name}.addresses`;
  return { code: 'no_own_address', message: `${what}; ${mend}` };
}

function tooManyFloating({ name }: GroupSettings, link: FailoverLink, family: Family, count: number): Fault {
  const most = ADVERT_ADDRESSES_MAX[family];
  const what = `traffic group ${name}: adverts on ${link.interface} list ${most} of ${count} IPv${family} addresses`;
  return { code: 'too_many_floating', message: `${what}; the rest are announced only` };
}

/**
 * The group as one contender. Equal priorities are decided by one address of each unit, the first of its
 * first link: were each virtual router to decide by its own, a unit could win on one link and lose on the
 * other, and both would yield.
 */
export function groupRouter(group: GroupSettings): GroupRouter {
  const { priority, preempt, preemptDelayMs, advertIntervalMs, notInSyncDemotion } = group;
  return { priority, preempt, preemptDelayMs, advertIntervalMs, notInSyncDemotion, winsTie: winsTie(group.links) };
}

function winsTie(links: readonly FailoverLink[]): boolean {
  for (const { addresses, peerAddresses } of links) {
    for (const family of [4, 6] as const) {
      const own = octetsOf(addresses, family)[0];
      const peer = octetsOf(peerAddresses, family)[0];
      if (own !== undefined && peer !== undefined) return compareBytes(own, peer) > 0;
    }
  }
  return false;
}

function octetsOf(addresses: readonly string[], family: Family): Uint8Array[] {
  return addresses
    .map(ipAddress)
    .filter((address) => address.family === family)
    .map(({ octets }) => octets);
}

/**
 * RFC 9568 section 5.2.9: "the first address must be the IPv6 link-local address associated with the
 * virtual router". Where the operator gave none, it is the one that the virtual MAC gives.
 */
function linkLocalFirst(floating: readonly Uint8Array[], virtualRouterId: number): Uint8Array[] {
  const isLinkLocal = (octets: Uint8Array) => addressKind({ family: 6, octets } satisfies IpAddress) === 'link-local';
  const given = floating.filter(isLinkLocal);
  const rest = floating.filter((octets) => !isLinkLocal(octets));
  return given.length > 0 ? [...given, ...rest] : [linkLocalAddress(virtualMac(6, virtualRouterId)), ...rest];
}
