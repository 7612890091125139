/**
 * A plan as a config file's text. What the source cannot know (interfaces, the units' own addresses, floating addresses
 * where there are none) is filled in with addresses of the documentation ranges (RFC 5737, RFC 3849) and named, so that
 * the text is a whole config and nobody takes it for a finished one.
 */

import { ipAddress } from '../wire/ip_address.js';
import type { Family, Plan, PlannedGroup, PlannedLink, PlannedMonitor, PlannedPool, PlannedServer } from './plan.js';

export interface Completed {
  readonly text: string;
  /** `units.a.mirror.address: 192.0.2.3, where b reaches it`, in the order of the file. */
  readonly placeholders: readonly string[];
}

const VRID = 51;
const PRIORITIES = { a: 150, b: 100 } as const;
const UNITS = ['a', 'b'] as const;
const MARK = '  # placeholder';

export function completePlan(plan: Plan, from: string): Completed {
  return new Writer(plan, from).completed();
}

class Writer {
  readonly #plan: Plan;
  readonly #from: string;
  readonly #links: PlannedLink[];
  readonly #used: Set<string>;
  readonly #placeholders: string[] = [];

  constructor(plan: Plan, from: string) {
    this.#plan = plan;
    this.#from = from;
    this.#used = new Set([
      ...plan.links.flatMap(({ own }) => [...own.a, ...own.b]),
      ...plan.groups.flatMap(({ floating }) => [...floating.values()].flat()),
      ...plan.pools.flatMap(({ members }) => members.map(({ address }) => address)),
      ...plan.servers.map(({ address }) => address),
    ]);
    this.#links = this.#allLinks();
  }

  completed(): Completed {
    const { groups, pools, servers } = this.#plan;
    // Before the units: their addresses follow from the floating ones.
    const floating = new Map(groups.map((group) => [group, this.#floating(group)]));
    const units = UNITS.flatMap((unit) => this.#unit(unit, [...floating.values()]));
    const text = [
      `# Converted from ${this.#from.replace(/[\r\n]/g, ' ')}. Lines marked "placeholder" need values of your own.`,
      ...(servers.some(({ mirror }) => mirror === 'off')
        ? ['# Connections are mirrored where they were before; mirror: async under a virtual server mirrors its own.']
        : []),
      `links: [${this.#links.map(({ name }) => word(name)).join(', ')}]`,
      'units:',
      ...units,
      'trafficGroups:',
      ...groups.flatMap((group) => this.#group(group, floating.get(group)!)),
      ...section('pools', pools.flatMap(poolLines)),
      ...section(
        'virtualServers',
        servers.flatMap((server) => serverLines(server, pools)),
      ),
      '',
    ].join('\n');
    return { text, placeholders: this.#placeholders };
  }

  /** Servers that route through the pair need a link to be reached on, besides the clients'. */
  #allLinks(): PlannedLink[] {
    const { links, servers } = this.#plan;
    const missing = (name: string): PlannedLink => ({ name, interface: null, own: { a: [], b: [] } });
    if (links.length === 0) return [missing('client'), missing('server')];
    const routed = servers.some(({ snat }) => snat === 'none');
    return links.length === 1 && routed ? [...links, missing(freeLink(links))] : links;
  }

  /** By link: what the source says, and one of every family that the group's virtual servers have. */
  #floating(group: PlannedGroup): Map<string, Rows> {
    const servers = this.#plan.servers.filter((server) => server.group === group.name);
    const families = new Set<Family>(servers.map(({ address }) => ipAddress(address).family));
    const said = [...group.floating.keys()];
    // The links of the group's own instance, and all where it says none.
    const routed = servers.some(({ snat }) => snat === 'none');
    const names = said.length === 0 || routed ? this.#links.map(({ name }) => name) : said;
    return new Map(
      names.map((name) => {
        const addresses = group.floating.get(name) ?? [];
        const there = new Set(addresses.map((address) => ipAddress(address).family));
        const wanted = families.size === 0 && addresses.length === 0 ? new Set<Family>([4]) : families;
        const added = [...wanted].filter((family) => !there.has(family)).map((family) => this.#free(family));
        return [name, { said: addresses, added }];
      }),
    );
  }

  #unit(unit: 'a' | 'b', floating: readonly Map<string, Rows>[]): string[] {
    const rows = this.#links.map(({ name, interface: device, own }, index) => {
      const needed = new Set<Family>([4]);
      for (const group of floating) {
        const at = group.get(name);
        for (const address of [...(at?.said ?? []), ...(at?.added ?? [])]) needed.add(ipAddress(address).family);
      }
      const said = [...new Set(own[unit])];
      const there = new Set(said.map((address) => ipAddress(address).family));
      const missing = [...needed].filter(
        (family) => !there.has(family) && !(family === 4 && there.size > 0 && !needs4(floating, name)),
      );
      const added = missing.map((family) => this.#free(family));
      const path = `units.${unit}.links.${name}`;
      const interfaceName = device ?? `eth${index + 1}`;
      if (device === null) this.#placeholders.push(`${path}.interface: ${interfaceName}, as ip link shows it`);
      if (added.length > 0)
        this.#placeholders.push(`${path}.addresses: ${added.join(', ')}, the host's own on that interface`);
      const mark = device === null || added.length > 0 ? MARK : '';
      const addresses = [...said, ...added].map(quoted).join(', ');
      return `      ${word(name)}: { interface: ${word(interfaceName)}, addresses: [${addresses}] }${mark}`;
    });
    const mirror = this.#free(4);
    this.#placeholders.push(`units.${unit}.mirror.address: ${mirror}, where the peer reaches it for mirroring`);
    return [`  ${unit}:`, '    links:', ...rows, `    mirror: { address: ${mirror} }${MARK}`];
  }

  #group(group: PlannedGroup, floating: Map<string, Rows>): string[] {
    const { name, preempt, preemptDelayS, advertIntervalMs } = group;
    const path = `trafficGroups.${name}`;
    const vrid = group.virtualRouterId ?? VRID;
    if (group.virtualRouterId === null)
      this.#placeholders.push(`${path}.virtualRouterId: ${vrid}, not used by others on these links`);
    const priority = { a: group.priority.a ?? PRIORITIES.a, b: group.priority.b ?? PRIORITIES.b };
    const rows = [...floating].map(([link, { said, added }]) => {
      if (added.length > 0) this.#placeholders.push(`${path}.floating.${link}: ${added.join(', ')}, free there`);
      const addresses = [...said, ...added].map(quoted).join(', ');
      return `      ${word(link)}: [${addresses}]${added.length > 0 ? MARK : ''}`;
    });
    return [
      `  ${word(name)}:`,
      `    virtualRouterId: ${vrid}${group.virtualRouterId === null ? MARK : ''}`,
      `    priority: { a: ${priority.a}, b: ${priority.b} }`,
      ...(preempt ? [] : ['    preempt: false']),
      ...(preemptDelayS === 0 ? [] : [`    preemptDelayS: ${preemptDelayS}`]),
      ...(advertIntervalMs === null ? [] : [`    advertIntervalMs: ${advertIntervalMs}`]),
      '    floating:',
      ...rows,
    ];
  }

  /** An address that the source does not use. */
  #free(family: Family): string {
    for (let number = 1; ; number++) {
      const low = (number % 254) + (number < 254 ? 0 : 1);
      const address =
        family === 4 ? `${DOCUMENTATION4[Math.floor(number / 254) % 3]}.${low}` : `2001:db8::${number.toString(16)}`;
      if (this.#used.has(address)) continue;
      this.#used.add(address);
      return address;
    }
  }
}

interface Rows {
  readonly said: readonly string[];
  readonly added: readonly string[];
}

const DOCUMENTATION4 = ['192.0.2', '198.51.100', '203.0.113'] as const;

function needs4(floating: readonly Map<string, Rows>[], link: string): boolean {
  return floating.some((group) => {
    const rows = group.get(link);
    return [...(rows?.said ?? []), ...(rows?.added ?? [])].some((address) => ipAddress(address).family === 4);
  });
}

function freeLink(links: readonly PlannedLink[]): string {
  return links.some(({ name }) => name === 'server') ? 'server-2' : 'server';
}

function section(name: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [`${name}: {}`] : [`${name}:`, ...lines];
}

function poolLines(pool: PlannedPool): string[] {
  const { name, scheduler, monitor, members, minActiveMembers, slowStartS, onMemberDown } = pool;
  return [
    `  ${word(name)}:`,
    `    scheduler: ${scheduler}`,
    ...(monitor === null ? [] : [`    monitor: ${flow(monitorKeys(monitor))}`]),
    ...(minActiveMembers > 1 ? [`    minActiveMembers: ${minActiveMembers}`] : []),
    ...(slowStartS > 0 ? [`    slowStartS: ${slowStartS}`] : []),
    ...(onMemberDown === 'keep' ? [] : [`    onMemberDown: ${onMemberDown}`]),
    ...(members.length === 0 ? ['    members: []'] : ['    members:']),
    ...members.map(({ address, port, ...rest }) => {
      const keys = Object.entries({ address: quoted(address), ...(port === 0 ? {} : { port }), ...rest });
      return `      - ${flow(keys.map(([key, text]) => [key, String(text)]))}`;
    }),
  ];
}

function monitorKeys(monitor: PlannedMonitor): [string, string][] {
  const { path, host, expectStatus, ...plain } = monitor;
  return [
    ...Object.entries(plain).map(([key, text]): [string, string] => [key, String(text)]),
    ...(path === undefined ? [] : [['path', JSON.stringify(path)] as [string, string]]),
    ...(host === undefined ? [] : [['host', JSON.stringify(host)] as [string, string]]),
    ...(expectStatus === undefined ? [] : [['expectStatus', JSON.stringify(expectStatus)] as [string, string]]),
  ];
}

function serverLines(server: PlannedServer, pools: readonly PlannedPool[]): string[] {
  const { name, address, port, protocol, pool, group, forwarding, snat, mirror, persistence, onePacket } = server;
  const monitored = pools.find((each) => each.name === pool)?.monitor != null;
  const mirrored = mirror !== 'off' && !onePacket;
  // UDP is mirrored once it lives longer than a question and its answer.
  const mode = protocol === 'udp' ? '{ mode: async, after: { ageS: 1 } }' : mirror;
  return [
    `  ${word(name)}:`,
    `    address: ${quoted(address)}`,
    ...(protocol === 'any' ? [] : [`    port: ${port === 0 ? 'any' : port}`]),
    ...(protocol === 'tcp' ? [] : [`    protocol: ${protocol}`]),
    `    pool: ${word(pool)}${monitored ? '' : '  # not monitored'}`,
    `    trafficGroup: ${word(group)}`,
    ...(forwarding === 'nat' ? [] : [`    forwarding: ${forwarding === 'dsr' ? 'dsr' : '{ tunnel: ipip }'}`]),
    ...(snat === null ? [] : [`    snat: ${snat}`]),
    ...(mirrored ? [`    mirror: ${mode}`] : []),
    ...(onePacket ? ['    onePacket: true'] : []),
    ...(persistence === null ? [] : [`    persistence: { source: ${flow(numbers(persistence))} }`]),
  ];
}

function numbers(keys: NonNullable<PlannedServer['persistence']>): [string, string][] {
  return Object.entries(keys).map(([key, text]) => [key, String(text)]);
}

function flow(keys: readonly (readonly [string, string])[]): string {
  return `{ ${keys.map(([key, text]) => `${key}: ${text}`).join(', ')} }`;
}

/** Plain where YAML reads it as text, else quoted. */
function word(text: string): string {
  const plain = /^[A-Za-z][\w.-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(text);
  return plain ? text : JSON.stringify(text);
}

/** An IPv6 address within braces or brackets would end at a colon. */
function quoted(address: string): string {
  return address.includes(':') ? JSON.stringify(address) : address;
}
