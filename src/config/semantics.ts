/**
 * Rules that span entries of the config, one function each, in the order of `RULES`. Each gets the entries
 * that are well formed by themselves and returns every fault it finds; none relies on another having run.
 * Addresses have a file of their own (address_rules.ts); names that must exist are in references.ts.
 */

import { ipAddress } from '../wire/ip_address.js';
import { addressRules, families, floatingOn } from './address_rules.js';
import type { Draft } from './draft.js';
import type { Fault, Path } from './faults.js';
import { forwardingRules } from './forwarding_rules.js';
import { mirrorRules } from './mirror_rules.js';
import { portRules } from './port_rules.js';
import { MEMBERS_MAX, type ShapedVirtualServer, TRAFFIC_GROUPS_MAX, VIRTUAL_SERVERS_MAX } from './schema.js';

type Rule = (draft: Draft) => Fault[];

const RULES: readonly Rule[] = [
  linkNamesAreDistinct,
  interfacesAreDistinct,
  countsAreBounded,
  groupsStandOnALink,
  virtualRouterIdsAreUniquePerLink,
  advertsHaveASource,
  membersAreDistinct,
  monitorsMakeSense,
  ...portRules,
  virtualServersFitTheirPools,
  virtualServersAreOnTheirGroupsLinks,
  snatAddressesFit,
  ...forwardingRules,
  whatIsSaidOfAnAddressAgrees,
  ...mirrorRules,
  secondaryPathHasTwoEnds,
  apiListensApart,
  onePacketIsUdpsAndNotMirrored,
  ...addressRules,
];

export function semanticFaults(draft: Draft): Fault[] {
  return RULES.flatMap((rule) => rule(draft));
}

/** Links on which a virtual server's address is answered: as it says, else its group's links of that family. */
export function answeredOn(
  draft: Draft,
  server: Pick<ShapedVirtualServer, 'address' | 'trafficGroup' | 'links'>,
): readonly string[] {
  if (server.links !== undefined) return server.links;
  const group = draft.trafficGroups.get(server.trafficGroup);
  const { family } = ipAddress(server.address);
  return group === undefined ? [] : draft.links.filter((link) => families(floatingOn(group, link)).has(family));
}

function linkNamesAreDistinct({ links }: Draft): Fault[] {
  return links.flatMap((link, index) =>
    links.indexOf(link) === index
      ? []
      : [{ code: 'duplicate_link', message: `'${link}' is named twice`, path: ['links', index] }],
  );
}

function interfacesAreDistinct({ units }: Draft): Fault[] {
  return [...units].flatMap(([unit, { links }]) => {
    const seen = new Map<string, string>();
    return Object.entries(links).flatMap(([link, { interface: device }]) => {
      const other = seen.get(device);
      seen.set(device, link);
      if (other === undefined) return [];
      const message = `interface '${device}' is link '${other}' already`;
      return [{ code: 'duplicate_interface', message, path: ['units', unit, 'links', link, 'interface'] }];
    });
  });
}

function countsAreBounded({ trafficGroups, pools, virtualServers }: Draft): Fault[] {
  const members = [...pools.values()].reduce((sum, pool) => sum + pool.members.length, 0);
  const bound = (what: string, count: number, max: number, path: Path): Fault[] =>
    count <= max ? [] : [{ code: 'too_many', message: `${count} ${what}; at most ${max} are possible`, path }];
  return [
    ...bound('traffic groups', trafficGroups.size, TRAFFIC_GROUPS_MAX, ['trafficGroups']),
    ...bound('virtual servers', virtualServers.size, VIRTUAL_SERVERS_MAX, ['virtualServers']),
    ...bound('members', members, MEMBERS_MAX, ['pools']),
  ];
}

function groupsStandOnALink({ trafficGroups }: Draft): Fault[] {
  return [...trafficGroups].flatMap(([name, group]) =>
    Object.keys(group.floating).length > 0
      ? []
      : [
          {
            code: 'no_floating',
            message: 'a traffic group needs a floating address on at least one link',
            path: ['trafficGroups', name, 'floating'],
          },
        ],
  );
}

function virtualRouterIdsAreUniquePerLink({ trafficGroups }: Draft): Fault[] {
  const seen = new Map<string, string>();
  return [...trafficGroups].flatMap(([name, group]) =>
    Object.keys(group.floating).flatMap((link) => {
      const key = `${link} ${group.virtualRouterId}`;
      const other = seen.get(key);
      seen.set(key, name);
      if (other === undefined) return [];
      const message = `${group.virtualRouterId} is traffic group '${other}' on link '${link}' already`;
      return [
        {
          code: 'duplicate_vrid',
          message,
          hint: 'each group on a link needs a VRID of its own',
          path: ['trafficGroups', name, 'virtualRouterId'],
        },
      ];
    }),
  );
}

/** An advert leaves from the unit's own address of its family. */
function advertsHaveASource({ trafficGroups, units }: Draft): Fault[] {
  return [...trafficGroups].flatMap(([name, group]) =>
    Object.keys(group.floating).flatMap((link) =>
      [...families(floatingOn(group, link))].flatMap((family) =>
        [...units].flatMap(([unit, { links }]) => {
          const own = Object.hasOwn(links, link) ? links[link] : undefined;
          if (own === undefined || families(own.addresses).has(family)) return [];
          const message = `floating IPv${family} addresses need one of unit ${unit}'s own on link '${link}'`;
          return [
            {
              code: 'no_own_address',
              message,
              hint: `add one to units.${unit}.links.${link}.addresses`,
              path: ['trafficGroups', name, 'floating', link],
            },
          ];
        }),
      ),
    ),
  );
}

function membersAreDistinct({ pools }: Draft): Fault[] {
  return [...pools].flatMap(([name, { members }]) => {
    const seen = new Set<string>();
    return members.flatMap(({ address, port }, index) => {
      const key = `${address} ${port}`;
      if (!seen.has(key)) {
        seen.add(key);
        return [];
      }
      const message = `${port === 0 ? address : `${address} port ${port}`} is in this pool already`;
      return [{ code: 'duplicate_member', message, path: ['pools', name, 'members', index] }];
    });
  });
}

function monitorsMakeSense({ pools }: Draft): Fault[] {
  return [...pools].flatMap(([name, { monitor }]) => {
    if (monitor === undefined) return [];
    const path: Path = ['pools', name, 'monitor'];
    const faults: Fault[] = [];
    if (monitor.timeoutMs !== undefined && monitor.timeoutMs > monitor.intervalMs) {
      const message = `${monitor.timeoutMs} ms is longer than the interval of ${monitor.intervalMs} ms`;
      faults.push({
        code: 'timeout_over_interval',
        message,
        hint: 'a probe ends before the next begins',
        path: [...path, 'timeoutMs'],
      });
    }
    const foreign: readonly ('path' | 'host' | 'expectStatus' | 'port')[] =
      monitor.type === 'http'
        ? []
        : monitor.type === 'tcp'
          ? ['path', 'host', 'expectStatus']
          : ['path', 'host', 'expectStatus', 'port'];
    for (const key of foreign) {
      if (monitor[key] === undefined) continue;
      faults.push({
        code: 'wrong_monitor',
        message: `means nothing to a monitor of type ${monitor.type}`,
        path: [...path, key],
        atKey: true,
      });
    }
    return faults;
  });
}

/** The datapath translates addresses, not families; in a tunnel either goes to either. */
function virtualServersFitTheirPools({ virtualServers, pools }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, server]) => {
    if (typeof server.forwarding === 'object') return [];
    const { family } = ipAddress(server.address);
    const stranger = pools.get(server.pool)?.members.find((member) => ipAddress(member.address).family !== family);
    if (stranger === undefined) return [];
    const message = `the virtual server is IPv${family}, and pool '${server.pool}' has the member ${stranger.address}`;
    return [
      {
        code: 'family_mismatch',
        message,
        hint: 'use one pool per address family, or a tunnel',
        path: ['virtualServers', name, 'pool'],
      },
    ];
  });
}

/** A frame is sent from a virtual MAC, and only a link with a floating address of the family has a virtual router. */
function virtualServersAreOnTheirGroupsLinks(draft: Draft): Fault[] {
  return [...draft.virtualServers].flatMap(([name, server]): Fault[] => {
    const group = draft.trafficGroups.get(server.trafficGroup);
    if (group === undefined) return [];
    const { family } = ipAddress(server.address);
    const hint = `add an IPv${family} address to trafficGroups.${server.trafficGroup}.floating there`;
    if (answeredOn(draft, server).length === 0) {
      const message = `traffic group '${server.trafficGroup}' has no floating IPv${family} address on any link`;
      return [{ code: 'no_virtual_router', message, path: ['virtualServers', name, 'address'] }];
    }
    return (server.links ?? []).flatMap((link, index) => {
      if (!draft.links.includes(link) || families(floatingOn(group, link)).has(family)) return [];
      const message = `traffic group '${server.trafficGroup}' has no floating IPv${family} address on link '${link}'`;
      return [{ code: 'no_virtual_router', message, hint, path: ['virtualServers', name, 'links', index] }];
    });
  });
}

function snatAddressesFit({ virtualServers, trafficGroups }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, server]): Fault[] => {
    const { family } = ipAddress(server.address);
    const path: Path = ['virtualServers', name, 'snat'];
    // Without translation there is none: forwarding_rules.ts says so.
    if (server.snat === 'none' || server.forwarding !== 'nat') return [];
    if (server.snat !== 'automap' && server.snat !== undefined) {
      return server.snat.flatMap((address, index) =>
        ipAddress(address).family === family
          ? []
          : [
              {
                code: 'family_mismatch',
                message: `${address} is not IPv${family} as the virtual server is`,
                path: [...path, index],
              },
            ],
      );
    }
    const group = trafficGroups.get(server.trafficGroup);
    if (group === undefined || families(Object.values(group.floating).flat(), 'routable').has(family)) return [];
    const needed = `a floating IPv${family} address that is not link-local`;
    const message = `automap needs ${needed}, and traffic group '${server.trafficGroup}' has none`;
    return [{ code: 'no_automap_address', message, hint: "add one on the members' link, or use snat: none", path }];
  });
}

/** ARP, ND and closed ports go by address, so virtual servers that share one cannot differ in them. */
function whatIsSaidOfAnAddressAgrees({ virtualServers }: Draft): Fault[] {
  const said = new Map<string, { readonly by: string; readonly value: string }>();
  return [...virtualServers].flatMap(([name, server]) =>
    (['trafficGroup', 'links', 'closed'] as const).flatMap((key) => {
      const value = server[key];
      if (value === undefined) return [];
      const text = typeof value === 'string' ? value : [...value].sort().join(', ');
      const slot = `${server.address} ${key}`;
      const other = said.get(slot);
      if (other === undefined) said.set(slot, { by: name, value: text });
      if (other === undefined || other.value === text) return [];
      const message = `'${text}' here, but '${other.value}' in virtual server '${other.by}' of the same address`;
      return [{ code: 'address_disagrees', message, path: ['virtualServers', name, key] }];
    }),
  );
}

function secondaryPathHasTwoEnds({ units }: Draft): Fault[] {
  const [a, b] = [units.get('a'), units.get('b')];
  if (a === undefined || b === undefined) return [];
  if ((a.mirror.secondary === undefined) === (b.mirror.secondary === undefined)) return [];
  const unit = a.mirror.secondary === undefined ? 'b' : 'a';
  return [
    {
      code: 'half_a_path',
      message: 'only one unit has a secondary mirror address',
      hint: 'give the other unit one, too',
      path: ['units', unit, 'mirror', 'secondary'],
    },
  ];
}

function apiListensApart({ units }: Draft): Fault[] {
  return [...units].flatMap(([unit, { api, mirror }]): Fault[] => {
    const taken = [mirror, ...(mirror.secondary === undefined ? [] : [mirror.secondary])];
    if (api === undefined || !taken.some(({ address, port }) => address === api.address && port === api.port))
      return [];
    const message = `the mirror channel listens on port ${api.port} of ${api.address}`;
    return [{ code: 'port_in_use', message, hint: 'choose another port', path: ['units', unit, 'api', 'port'] }];
  });
}

function onePacketIsUdpsAndNotMirrored({ virtualServers }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, { protocol, mirror, onePacket }]): Fault[] => {
    if (!onePacket) return [];
    const path: Path = ['virtualServers', name, 'onePacket'];
    if (protocol !== 'udp') {
      const message = `protocol ${protocol} is not scheduled packet by packet`;
      return [{ code: 'one_packet_not_udp', message, hint: 'write protocol: udp, or leave onePacket out', path }];
    }
    if (mirror === 'off') return [];
    const message = 'datagrams that are scheduled one by one are not mirrored';
    return [{ code: 'one_packet_mirror', message, hint: 'write mirror: off, or leave onePacket out', path }];
  });
}
