/** Words of BIG-IP's two command lines, bigpipe (`b`, versions 4 to 10) and tmsh, and what they are here. */

import type { SchedulerName } from '../datapath.js';
import { formatIpAddress, parseIpAddress } from '../wire/ip_address.js';

/** With `-` and `_` alike. */
export const SCHEDULERS: Readonly<Record<string, SchedulerName>> = {
  rr: 'round-robin',
  'round robin': 'round-robin',
  'round-robin': 'round-robin',
  ratio: 'weighted-round-robin',
  'member ratio': 'weighted-round-robin',
  'node ratio': 'weighted-round-robin',
  'ratio-member': 'weighted-round-robin',
  'ratio-node': 'weighted-round-robin',
  'least conn': 'least-connections',
  'member least conn': 'least-connections',
  'node least conn': 'least-connections',
  'least-conn': 'least-connections',
  'least-conn-member': 'least-connections',
  'least-connections-member': 'least-connections',
  'least-connections-node': 'least-connections',
  'weighted-least-connections-member': 'weighted-least-connections',
  'weighted-least-connections-node': 'weighted-least-connections',
  'ratio-least-connections-member': 'weighted-least-connections',
  'ratio-least-connections-node': 'weighted-least-connections',
};
/** For methods that measure members: fastest, observed, predictive, least sessions, dynamic ratio. */
export const NEAREST_SCHEDULER: SchedulerName = 'least-connections';

/** Words of which bigpipe's methods are made. */
export const METHOD_WORDS = new Set(
  'rr round robin ratio least conn connections sessions fastest observed predictive dynamic weighted'.split(' '),
);

/** /etc/services, those that stand in configs. */
const SERVICES: Readonly<Record<string, number>> = {
  ...{ any: 0, '*': 0, ftp: 21, ssh: 22, telnet: 23, smtp: 25, domain: 53, http: 80, 'http-alt': 8080 },
  ...{ pop3: 110, imap: 143, ldap: 389, https: 443, smtps: 465, ldaps: 636, imaps: 993, pop3s: 995 },
  ...{ 'ms-sql-s': 1433, mysql: 3306, webcache: 8080, sip: 5060, radius: 1812, ntp: 123, syslog: 514 },
};

export interface Endpoint {
  /** An address, or the name of a node. */
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  readonly routeDomain: string | null;
}

/** `10.1.0.100:80`, `/Common/10.1.0.100%1:http`, `2001:db8::1.80`, `[2001:db8::1]:80`, `web1:80`; else null. */
export function endpointOf(text: string): Endpoint | null {
  const bare = text.slice(text.lastIndexOf('/') + 1);
  const split =
    /^\[([^\]]+)\]:(\S+)$/.exec(bare) ?? /^([^:]+):([\w*-]+)$/.exec(bare) ?? /^(.*:.*)\.([\w*-]+)$/.exec(bare);
  if (split === null) return null;
  const port = /^\d+$/.test(split[2]!) ? Number(split[2]) : SERVICES[split[2]!];
  if (port === undefined || port > 65_535) return null;
  const [host, routeDomain = null] = split[1]!.split('%') as [string, string?];
  const parsed = parseIpAddress(host);
  return { host: 'fault' in parsed ? host : formatIpAddress(parsed.octets), port, routeDomain };
}

export function isAddress(text: string): boolean {
  return !('fault' in parseIpAddress(text));
}

/** `/Common/web` is `web`; of another partition the partition stays in front. */
export function objectName(text: string): string {
  return text
    .replace(/^\/Common\//, '')
    .replace(/^\//, '')
    .replaceAll('/', '-');
}

/** Profiles that say how layer 4 is done: there is nothing to take over. */
export function isLayer4Profile(name: string): boolean {
  return /^(tcp|udp|fastl4|fasthttp|ipother)([-_].*)?$/i.test(objectName(name));
}

export interface MonitorKind {
  readonly type: 'tcp' | 'http' | 'icmp';
  /** What is lost by it; null: nothing. */
  readonly loss: string | null;
}

/** Of F5's own monitors and of what others are made of. */
export function monitorKind(name: string): MonitorKind | null {
  switch (objectName(name)) {
    case 'tcp':
    case 'tcp_half_open':
    case 'tcp-half-open':
      return { type: 'tcp', loss: null };
    case 'http':
      return { type: 'http', loss: null };
    case 'icmp':
    case 'gateway_icmp':
    case 'gateway-icmp':
      return { type: 'icmp', loss: null };
    case 'https':
    case 'https_443':
    case 'tcp_echo':
    case 'smtp':
    case 'ftp':
    case 'ldap':
      return { type: 'tcp', loss: 'only whether the port answers is monitored (tcp)' };
    case 'udp':
    case 'dns':
      return { type: 'icmp', loss: 'only whether the host answers is monitored (icmp)' };
    default:
      return null;
  }
}
