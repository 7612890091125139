/** The pair's config file for the lab, as an operator would write it, with the few things that tests vary. */

import { stringify } from 'yaml';

import {
  attachments,
  floatingAddress,
  port,
  secondGroup,
  serverAddress,
  serverNames,
  type UnitName,
  virtualAddress,
} from './topology.js';

export interface PairOptions {
  readonly mirror:
    | 'off'
    | 'async'
    | 'commit'
    | { readonly mode: 'commit'; readonly onTimeout: 'strict' | 'available'; readonly timeoutMs: number };
  readonly advertIntervalMs?: number;
  readonly preempt?: boolean;
  /** Servers that are members of every pool; default: all three. */
  readonly members?: readonly (typeof serverNames)[number][];
  readonly draining?: readonly (typeof serverNames)[number][];
  readonly workers?: number;
  /** Another traffic group, which unit b is preferred for, with one virtual server for echoes. */
  readonly secondGroup?: boolean;
  /** Whether the mirror channel may also go by the server link. */
  readonly secondaryPath?: boolean;
  /** Sections of a config that are added, key by key, to those of every lab. */
  readonly more?: Readonly<Record<'pools' | 'virtualServers' | 'datapath', object>>;
  readonly keepaliveMs?: number;
}

/** Where a virtual server without SNAT listens: the echo port, moved out of the way. */
export const directEchoPort = 1007;
export const defaultAdvertIntervalMs = 100;
export const virtualRouterId = 51;

/** YAML text. */
export function pairConfig(options: PairOptions): string {
  return stringify({
    links: ['client', 'server'],
    units: { a: unit('a', options), b: unit('b', options) },
    trafficGroups: {
      main: {
        virtualRouterId,
        priority: { a: 150, b: 100 },
        preempt: options.preempt ?? true,
        advertIntervalMs: options.advertIntervalMs ?? defaultAdvertIntervalMs,
        floating: {
          client: Object.values(floatingAddress.client),
          server: Object.values(floatingAddress.server),
        },
      },
      ...(options.secondGroup === true ? { second: trafficGroupOfB() } : {}),
    },
    pools: {
      ...Object.fromEntries(
        (['echo', 'http', 'download'] as const).flatMap((service) => [
          [service, pool(options, 'ipv4', service)],
          [`${service}6`, pool(options, 'ipv6', service)],
        ]),
      ),
      ...options.more?.pools,
    },
    virtualServers: {
      ...Object.fromEntries(
        (['echo', 'http', 'download'] as const).flatMap((service) => [
          [service, virtualServer(options, virtualAddress.ipv4, port[service], service)],
          [`${service}6`, virtualServer(options, virtualAddress.ipv6, port[service], `${service}6`)],
        ]),
      ),
      direct: { ...virtualServer(options, virtualAddress.ipv4, directEchoPort, 'echo'), snat: 'none' },
      direct6: { ...virtualServer(options, virtualAddress.ipv6, directEchoPort, 'echo6'), snat: 'none' },
      ...(options.secondGroup === true
        ? { second: { ...virtualServer(options, secondGroup.virtual, port.echo, 'echo'), trafficGroup: 'second' } }
        : {}),
      'echo-udp': { ...virtualServer(options, virtualAddress.ipv4, port.echo, 'echo'), protocol: 'udp', mirror: 'off' },
      ...options.more?.virtualServers,
    },
    datapath: { workers: options.workers ?? 1, connections: 65_536, ...options.more?.datapath },
    mirror: options.keepaliveMs === undefined ? {} : { keepaliveMs: options.keepaliveMs },
  });
}

function trafficGroupOfB() {
  const { client, server } = secondGroup.floating;
  return {
    virtualRouterId: virtualRouterId + 1,
    priority: { a: 100, b: 150 },
    floating: { client: [client], server: [server] },
  };
}

function unit(name: UnitName, { secondaryPath = false }: PairOptions) {
  const own = attachments.filter((each) => each.host === name);
  const bare = (link: string) =>
    own.filter((each) => each.link === link).flatMap((each) => each.addresses.map((address) => address.split('/')[0]));
  return {
    links: {
      client: { interface: 'client', addresses: bare('client') },
      server: { interface: 'server', addresses: bare('server') },
    },
    mirror: {
      address: bare('mirror')[0],
      port: 3780,
      ...(secondaryPath ? { secondary: { address: bare('server')[0], port: 3780 } } : {}),
    },
  };
}

function pool(options: PairOptions, family: 'ipv4' | 'ipv6', service: keyof typeof port) {
  const monitor =
    service === 'http'
      ? { type: 'http', path: '/', intervalMs: 500, rise: 1 }
      : { type: 'tcp', intervalMs: 500, rise: 1 };
  const members = (options.members ?? serverNames).map((name) => ({
    address: serverAddress[name][family],
    port: port[service],
    ...(options.draining?.includes(name) ? { state: 'draining' } : {}),
  }));
  return { scheduler: 'round-robin', monitor, members };
}

function virtualServer(options: PairOptions, address: string, at: number, poolName: string) {
  return { address, port: at, pool: poolName, trafficGroup: 'main', mirror: options.mirror, unknown: 'drop' };
}
