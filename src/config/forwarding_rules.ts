/** What goes with which forwarding mode: only `nat` translates, and tunnels begin at an address of ours. */

import { ipAddress } from '../wire/ip_address.js';
import { families } from './address_rules.js';
import type { Draft } from './draft.js';
import type { Fault, Path } from './faults.js';
import { portsOf, portsText } from './port_rules.js';
import type { ShapedVirtualServer } from './schema.js';

export const forwardingRules = [onlyNatTranslates, tunnelsHaveASource, portsAreGuesOnly];

/** `dsr`, `a tunnel`; for messages. */
function named(forwarding: ShapedVirtualServer['forwarding']): string {
  return typeof forwarding === 'string' ? `forwarding: ${forwarding}` : `a tunnel (${forwarding.tunnel})`;
}

function onlyNatTranslates({ virtualServers, pools }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, server]): Fault[] => {
    if (server.forwarding === 'nat') return [];
    const path: Path = ['virtualServers', name];
    const faults: Fault[] = [];
    if (server.snat !== undefined && server.snat !== 'none') {
      faults.push({
        code: 'snat_without_nat',
        message: `${named(server.forwarding)} translates nothing: members see the client's own address`,
        hint: 'leave snat out, or write forwarding: nat',
        path: [...path, 'snat'],
      });
    }
    const { first, last } = portsOf(server);
    const stranger = pools
      .get(server.pool)
      ?.members.find(({ port }) => port !== 0 && (port !== first || port !== last));
    if (stranger !== undefined && server.protocol !== 'any') {
      const ports = portsText({ first, last });
      faults.push({
        code: 'port_without_nat',
        message:
          `${named(server.forwarding)} translates nothing, so port ${ports} stays what it is, ` +
          `and pool '${server.pool}' has ${stranger.address} on port ${stranger.port}`,
        hint: "leave out the members' port; monitor.port probes one",
        path: [...path, 'pool'],
      });
    }
    return faults;
  });
}

/** The outer header is of the member's family, and its source is the group's floating address, as automap's is. */
function tunnelsHaveASource({ virtualServers, pools, trafficGroups }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, { forwarding, pool, trafficGroup }]): Fault[] => {
    const group = trafficGroups.get(trafficGroup);
    if (typeof forwarding === 'string' || group === undefined) return [];
    const ours = families(Object.values(group.floating).flat(), 'routable');
    const stranger = pools.get(pool)?.members.find(({ address }) => !ours.has(ipAddress(address).family));
    if (stranger === undefined) return [];
    const { family } = ipAddress(stranger.address);
    return [
      {
        code: 'no_tunnel_source',
        message:
          `a tunnel to ${stranger.address} begins at a floating IPv${family} address that is not link-local, ` +
          `and traffic group '${trafficGroup}' has none`,
        hint: `add one to trafficGroups.${trafficGroup}.floating on the members' link`,
        path: ['virtualServers', name, 'forwarding'],
      },
    ];
  });
}

function portsAreGuesOnly({ virtualServers }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, { forwarding }]): Fault[] => {
    if (typeof forwarding === 'string' || forwarding.tunnel === 'gue' || forwarding.port === undefined) return [];
    return [
      {
        code: 'wrong_tunnel',
        message: `a tunnel of type ${forwarding.tunnel} has no port`,
        hint: 'leave it out, or write tunnel: gue',
        path: ['virtualServers', name, 'forwarding', 'port'],
        atKey: true,
      },
    ];
  });
}
