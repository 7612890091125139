/** Ports and protocols: which virtual server a packet is for must be one, and what a member receives must be known. */

import type { Draft } from './draft.js';
import type { Fault } from './faults.js';
import type { PortSpan, ShapedVirtualServer } from './schema.js';

export const portRules = [portsAreGiven, portsAreApart, anyProtocolHasNoPorts, monitorsHaveAPort];

export const ANY_PORT: PortSpan = { first: 0, last: 65535 };

/** What a virtual server takes: every port, when its protocol is any. */
export function portsOf({ port, protocol }: ShapedVirtualServer): PortSpan {
  return protocol === 'any' ? ANY_PORT : (port ?? ANY_PORT);
}

/** `80`, `8000-8099`, `any` */
export function portsText({ first, last }: PortSpan): string {
  if (first === 0) return 'any';
  return first === last ? String(first) : `${first}-${last}`;
}

function portsAreGiven({ virtualServers }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, { port, protocol }]) =>
    port === undefined && protocol !== 'any'
      ? [{ code: 'missing', message: 'is missing', path: ['virtualServers', name, 'port'] }]
      : [],
  );
}

/**
 * The exact port comes first, then a range, then any port, then any protocol: so only two of a kind can be in each
 * other's way.
 */
function portsAreApart({ virtualServers }: Draft): Fault[] {
  const seen = new Map<string, { readonly name: string; readonly span: PortSpan }[]>();
  return [...virtualServers].flatMap(([name, server]): Fault[] => {
    const span = portsOf(server);
    const kind = span.first === span.last ? 'port' : span.first === 0 ? 'any' : 'range';
    const key = `${server.address} ${server.protocol} ${kind}`;
    const before = seen.get(key) ?? [];
    seen.set(key, [...before, { name, span }]);
    const other = before.find((each) => each.span.first <= span.last && span.first <= each.span.last);
    if (other === undefined) return [];
    const what = `${server.address} port ${portsText(span)}/${server.protocol}`;
    if (kind !== 'range') {
      const message = `${what} is virtual server '${other.name}' already`;
      return [{ code: 'duplicate_virtual_server', message, path: ['virtualServers', name] }];
    }
    const message = `${what} overlaps ${portsText(other.span)} of virtual server '${other.name}'`;
    const hint = 'end one where the other begins; a single port within a range is fine';
    return [{ code: 'overlapping_ports', message, hint, path: ['virtualServers', name, 'port'] }];
  });
}

function anyProtocolHasNoPorts({ virtualServers, pools }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, { protocol, port, pool }]): Fault[] => {
    if (protocol !== 'any') return [];
    const faults: Fault[] = [];
    if (port !== undefined && port.first !== 0) {
      faults.push({
        code: 'port_of_any_protocol',
        message: 'a virtual server of any protocol takes every port',
        hint: 'leave port out, or name the protocol',
        path: ['virtualServers', name, 'port'],
      });
    }
    const fixed = pools.get(pool)?.members.find((member) => member.port !== 0);
    if (fixed !== undefined) {
      faults.push({
        code: 'port_of_any_protocol',
        message: `its members keep the client's port, and pool '${pool}' has ${fixed.address} on port ${fixed.port}`,
        hint: 'leave out the port of its members; monitor.port probes one',
        path: ['virtualServers', name, 'pool'],
      });
    }
    return faults;
  });
}

function monitorsHaveAPort({ pools }: Draft): Fault[] {
  return [...pools].flatMap(([name, { monitor, members }]): Fault[] => {
    if (monitor === undefined || monitor.type === 'icmp' || monitor.port !== undefined) return [];
    const without = members.findIndex(({ port }) => port === 0);
    if (without < 0) return [];
    return [
      {
        code: 'monitor_without_port',
        message: `${members[without]!.address} has no port of its own to probe`,
        hint: 'write monitor: { port: ... }, or monitor by icmp',
        path: ['pools', name, 'monitor'],
      },
    ];
  });
}
