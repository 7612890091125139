/**
 * The network that a replay pretends to be on: which link a member is on, who has which MAC address.
 * Nothing is asked of the host, so the same config and capture give the same result everywhere.
 */

import type { Config, UnitName } from '../config/model.js';
import { buildPolicy } from '../config/policy.js';
import type { AddressText, DatapathOptions, NextHop, PolicyDescription } from '../datapath.js';
import { ipAddress } from '../wire/ip_address.js';

export interface Topology {
  readonly devices: DatapathOptions['devices'];
  readonly policy: PolicyDescription;
  readonly nextHops: readonly NextHop[];
  /** Device of each member's address. */
  readonly memberDevices: ReadonlyMap<AddressText, number>;
}

export function topologyOf(config: Config, unit: UnitName): Topology {
  const members = config.pools.flatMap((pool) => pool.members);
  const addresses = [...new Set(members.map(({ address }) => address))];
  const memberDevices = new Map(addresses.map((address) => [address, nearestLink(config, unit, address)]));
  return {
    devices: config.links.map((name, index) => ({
      name,
      interface: config.units[unit].links[name]!.interface,
      mac: syntheticMac(1, index),
    })),
    policy: buildPolicy(config, { memberStates: new Map(), memberDevices, mirrorOverrides: new Map() }),
    nextHops: distinctEndpoints(members).map(({ address, port }) => {
      const mac = syntheticMac(0, addresses.indexOf(address) + 1);
      return { address, port, device: memberDevices.get(address)!, mac, vlan: 0 };
    }),
    memberDevices,
  };
}

/** `02:00:00:00:00:01`: locally administered; `space` 0 for members, 1 for the unit's own devices. */
function syntheticMac(space: 0 | 1, number: number): string {
  const octets = [2, 0, 0, space, number >> 8, number & 0xff];
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}

/** The link of which the unit has the address with the longest prefix in common: a config says no prefix lengths. */
function nearestLink(config: Config, unit: UnitName, address: AddressText): number {
  const member = ipAddress(address);
  const nearness = config.links.map((link) => {
    const own = config.units[unit].links[link]!.addresses.map(ipAddress);
    return Math.max(
      -1,
      ...own.filter(({ family }) => family === member.family).map(({ octets }) => commonBits(octets, member.octets)),
    );
  });
  return nearness.indexOf(Math.max(...nearness));
}

function commonBits(left: Uint8Array, right: Uint8Array): number {
  const index = left.findIndex((octet, position) => octet !== right[position]);
  return index < 0 ? left.length * 8 : index * 8 + Math.clz32(left[index]! ^ right[index]!) - 24;
}

function distinctEndpoints<Endpoint extends { readonly address: string; readonly port: number }>(
  members: readonly Endpoint[],
): Endpoint[] {
  return [...new Map(members.map((member) => [`${member.address} ${member.port}`, member])).values()];
}
