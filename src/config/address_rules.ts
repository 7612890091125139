/** Which addresses may stand where, and that no two things share one that must not. */

import { type AddressKind, addressKind, ipAddress } from '../wire/ip_address.js';
import type { Draft } from './draft.js';
import type { Fault, Path } from './faults.js';
import { type ShapedTrafficGroup, SNAT_ADDRESSES_MAX } from './schema.js';

export const addressRules = [addressesAreUsable, addressesAreNotShared, snatAddressesAreBounded];

/** Address families present; `routable` leaves link-local addresses out. */
export function families(addresses: readonly string[], which: 'all' | 'routable' = 'all'): ReadonlySet<4 | 6> {
  const counted = addresses
    .map(ipAddress)
    .filter((address) => which === 'all' || addressKind(address) !== 'link-local');
  return new Set(counted.map(({ family }) => family));
}

export function floatingOn(group: ShapedTrafficGroup, link: string): readonly string[] {
  return Object.hasOwn(group.floating, link) ? group.floating[link]! : [];
}

/** One place where an address is written. */
interface Use {
  readonly as: 'unit' | 'mirror' | 'api' | 'floating' | 'virtual' | 'snat' | 'member';
  readonly address: string;
  /** `unit a's own`, `virtual server 'www'`, for messages. */
  readonly owner: string;
  /** Unit or traffic group; '' for members. */
  readonly of: string;
  /** The link of a unit's own address. */
  readonly link?: string;
  readonly path: Path;
}

const USABLE: Readonly<Record<Use['as'], readonly AddressKind[]>> = {
  unit: ['unicast', 'link-local'],
  mirror: ['unicast', 'loopback'],
  api: ['unicast', 'loopback'],
  // RFC 9568 section 5.2.9 puts an IPv6 link-local address first in every advert.
  floating: ['unicast', 'link-local'],
  virtual: ['unicast'],
  snat: ['unicast'],
  member: ['unicast'],
};

function addressesAreUsable(draft: Draft): Fault[] {
  return uses(draft).flatMap(({ as, address, path }) => {
    const kind = addressKind(ipAddress(address));
    if (USABLE[as].includes(kind)) return [];
    return [
      { code: 'unusable_address', message: `${address} is ${withArticle(kind)} address and cannot stand here`, path },
    ];
  });
}

function addressesAreNotShared(draft: Draft): Fault[] {
  const first = new Map<string, Use>();
  return uses(draft).flatMap((use) => {
    const other = first.get(scoped(use));
    if (other === undefined) first.set(scoped(use), use);
    if (other === undefined || mayShare(other, use)) return [];
    const hint =
      use.as === 'virtual' && other.as === 'floating' ? 'give the virtual server an address of its own' : null;
    return [{ code: 'address_in_use', message: `${use.address} is ${other.owner} already`, hint, path: use.path }];
  });
}

function mayShare(first: Use, second: Use): boolean {
  const sameOwner = first.of === second.of;
  switch (second.as) {
    case 'unit':
    case 'floating':
      return false;
    case 'mirror':
      return first.as === 'unit' && sameOwner;
    case 'api':
      return (first.as === 'unit' || first.as === 'mirror') && sameOwner;
    case 'virtual':
      // One address in two groups is told by the rule about what is said of an address.
      return first.as === 'virtual';
    case 'snat':
      return (first.as === 'floating' || first.as === 'virtual' || first.as === 'snat') && sameOwner;
    case 'member':
      return first.as === 'member';
  }
}

/** The datapath numbers SNAT addresses in 8 bits. */
function snatAddressesAreBounded(draft: Draft): Fault[] {
  const addresses = new Set(
    uses(draft)
      .filter(({ as }) => as === 'snat' || as === 'floating')
      .map(({ address }) => address),
  );
  if (addresses.size <= SNAT_ADDRESSES_MAX) return [];
  const message = `${addresses.size} floating and SNAT addresses; at most ${SNAT_ADDRESSES_MAX} are possible`;
  return [{ code: 'too_many', message, path: ['trafficGroups'] }];
}

/** Every address of the config, what must be unique first. */
function uses({ units, trafficGroups, virtualServers, pools }: Draft): Use[] {
  return [
    ...[...units].flatMap(([unit, { links }]) =>
      Object.entries(links).flatMap(([link, { addresses }]) =>
        addresses.map((address, index): Use => {
          const path: Path = ['units', unit, 'links', link, 'addresses', index];
          return { as: 'unit', address, owner: `unit ${unit}'s own on link '${link}'`, of: unit, link, path };
        }),
      ),
    ),
    ...[...units].map(([unit, { mirror }]): Use => {
      const path: Path = ['units', unit, 'mirror', 'address'];
      return { as: 'mirror', address: mirror.address, owner: `unit ${unit}'s mirror address`, of: unit, path };
    }),
    ...[...units].flatMap(([unit, { mirror }]): Use[] => {
      if (mirror.secondary === undefined) return [];
      const path: Path = ['units', unit, 'mirror', 'secondary', 'address'];
      const owner = `unit ${unit}'s secondary mirror address`;
      return [{ as: 'mirror', address: mirror.secondary.address, owner, of: unit, path }];
    }),
    ...[...units].flatMap(([unit, { api }]): Use[] => {
      if (api === undefined) return [];
      const path: Path = ['units', unit, 'api', 'address'];
      return [{ as: 'api', address: api.address, owner: `unit ${unit}'s API address`, of: unit, path }];
    }),
    ...[...trafficGroups].flatMap(([group, { floating }]) =>
      Object.entries(floating).flatMap(([link, addresses]) =>
        addresses.map((address, index): Use => {
          const path: Path = ['trafficGroups', group, 'floating', link, index];
          return { as: 'floating', address, owner: `a floating address of traffic group '${group}'`, of: group, path };
        }),
      ),
    ),
    ...[...virtualServers].map(([name, { address, trafficGroup }]): Use => {
      const path: Path = ['virtualServers', name, 'address'];
      return { as: 'virtual', address, owner: `the address of virtual server '${name}'`, of: trafficGroup, path };
    }),
    ...[...virtualServers].flatMap(([name, { snat, trafficGroup }]) =>
      (typeof snat === 'object' ? snat : []).map((address, index): Use => {
        const path: Path = ['virtualServers', name, 'snat', index];
        return { as: 'snat', address, owner: `a SNAT address of virtual server '${name}'`, of: trafficGroup, path };
      }),
    ),
    ...[...pools].flatMap(([name, { members }]) =>
      members.map(({ address }, index): Use => {
        const path: Path = ['pools', name, 'members', index, 'address'];
        return { as: 'member', address, owner: `a member of pool '${name}'`, of: '', path };
      }),
    ),
  ];
}

/**
 * The same link-local address on two links is two addresses; only a unit's own are that free. So is loopback, of which
 * each unit has its own.
 */
function scoped({ as, address, link, of }: Use): string {
  if (as === 'api' && addressKind(ipAddress(address)) === 'loopback') return `${address}%${of}`;
  return link !== undefined && addressKind(ipAddress(address)) === 'link-local' ? `${address}%${link}%${of}` : address;
}

function withArticle(kind: AddressKind): string {
  return /^[aeiou]/.test(kind) ? `an ${kind}` : `a ${kind}`;
}
