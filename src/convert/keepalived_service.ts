/** One virtual_server of keepalived.conf: what IPVS does with it, and how its real servers are checked. */

import type { SchedulerName } from '../datapath.js';
import { formatIpAddress, parseIpAddress } from '../wire/ip_address.js';
import type { Entry } from './keepalived_text.js';
import {
  emptyPool,
  freeName,
  nameOf,
  type PlannedMember,
  type PlannedMonitor,
  type PlannedPool,
  type PlannedServer,
} from './plan.js';
import { type Note, type Place, SourceFault } from './source.js';

export interface Service {
  readonly pool: PlannedPool;
  readonly server: PlannedServer;
}

export interface ServiceOptions {
  readonly address: string;
  readonly port: number;
  /** IPVS's sync daemon is on. */
  readonly synced: boolean;
  /** Names that are used already; this one's is added. */
  readonly taken: Set<string>;
  readonly notes: Note[];
}

/** ipvsadm(8). */
const SCHEDULERS: Readonly<Record<string, SchedulerName>> = {
  rr: 'round-robin',
  wrr: 'weighted-round-robin',
  lc: 'least-connections',
  wlc: 'weighted-least-connections',
  sh: 'source-hash',
  mh: 'maglev',
};
/** Those that have no counterpart, and what comes nearest. */
const NEAREST: Readonly<Record<string, SchedulerName>> = {
  lblc: 'maglev',
  lblcr: 'maglev',
  dh: 'maglev',
  sed: 'weighted-least-connections',
  nq: 'weighted-least-connections',
  fo: 'weighted-least-connections',
  ovf: 'weighted-least-connections',
};
/** keepalived's default of persistence_timeout without a number, in seconds. */
const PERSISTENCE_S = 360;
const WEIGHT_MAX = 256;
/** Of the real servers where there is a sorry_server, which has 0. */
const REAL_PRIORITY = 10;

export function readService(entry: Entry, options: ServiceOptions): Service {
  return new ServiceReader(entry, options).service();
}

class ServiceReader {
  readonly #entry: Entry;
  readonly #options: ServiceOptions;
  #checks: { readonly place: Place; readonly monitor: PlannedMonitor | null }[] = [];

  constructor(entry: Entry, options: ServiceOptions) {
    this.#entry = entry;
    this.#options = options;
  }

  service(): Service {
    const { address, port, synced, taken } = this.#options;
    const body = this.#entry.body ?? [];
    const protocol = this.#protocol(body);
    const portName = port === 0 ? 'any' : String(port);
    const suffix = protocol === 'tcp' ? '' : `-${protocol}`;
    const name = freeName(nameOf(`vs-${address.replaceAll(':', '-')}-${portName}${suffix}`), taken);
    taken.add(name);
    const pool = emptyPool(name);
    pool.scheduler = this.#scheduler(body);
    const forwarding = this.#forwarding(body);
    const sorry = body.find(({ keyword }) => keyword.text === 'sorry_server');
    // With DSR and in a tunnel a member gets the packet as it came: the port cannot be another.
    const own = forwarding === 'nat';
    pool.members = [
      ...body.filter(({ keyword }) => keyword.text === 'real_server').map((real) => this.#member(real, own, sorry)),
      ...(sorry === undefined ? [] : [this.#end(sorry, own)]),
    ];
    pool.monitor = this.#monitor(body);
    for (const inner of body) this.#rest(inner);
    const server: PlannedServer = {
      name,
      address,
      port,
      protocol,
      pool: name,
      group: '',
      forwarding,
      // IPVS leaves the client's address: members route back through the pair.
      snat: forwarding === 'nat' ? 'none' : null,
      mirror: synced ? 'async' : 'off',
      persistence: this.#persistence(body),
      onePacket: body.some(({ keyword }) => keyword.text === 'ops') && protocol === 'udp',
    };
    return { pool, server };
  }

  #protocol(body: readonly Entry[]): 'tcp' | 'udp' {
    const entry = find(body, 'protocol');
    const word = entry?.words[0]?.text.toUpperCase() ?? 'TCP';
    if (word === 'TCP' || word === 'UDP') return word === 'TCP' ? 'tcp' : 'udp';
    throw new SourceFault(entry!.keyword, `protocol ${word}: TCP and UDP are converted`, 'see protocol: any');
  }

  #scheduler(body: readonly Entry[]): SchedulerName {
    const entry = find(body, 'lb_algo') ?? find(body, 'lvs_sched');
    if (entry === undefined) return 'weighted-least-connections';
    const word = entry.words[0]?.text ?? '';
    const known = SCHEDULERS[word];
    if (known !== undefined) return known;
    const nearest = NEAREST[word];
    if (nearest === undefined)
      throw new SourceFault(entry.words[0] ?? entry.keyword, `'${word}' is no scheduler of IPVS`, 'rr, wrr, lc, wlc');
    this.#note(entry.keyword, `${entry.keyword.text} ${word}: has no counterpart; ${nearest} comes nearest`);
    return nearest;
  }

  #forwarding(body: readonly Entry[]): PlannedServer['forwarding'] {
    const entry = find(body, 'lb_kind') ?? find(body, 'lvs_method');
    const word = entry?.words[0]?.text.toUpperCase() ?? 'NAT';
    if (word === 'NAT') return 'nat';
    if (word === 'DR') return 'dsr';
    if (word === 'TUN') return 'ipip';
    throw new SourceFault(entry!.words[0] ?? entry!.keyword, `'${word}' is no way to forward`, 'NAT, DR or TUN');
  }

  #persistence(body: readonly Entry[]): PlannedServer['persistence'] {
    const entry = find(body, 'persistence_timeout');
    if (entry === undefined) return null;
    const said = entry.words[0] === undefined ? PERSISTENCE_S : this.#number(entry, 0);
    if (said === 0) return null;
    const timeoutS = Math.min(said, 86_400);
    const granularity = find(body, 'persistence_granularity')?.words[0]?.text;
    if (granularity === undefined) return { timeoutS };
    if (/^\d+$/.test(granularity)) return { timeoutS, prefix6: Number(granularity) };
    return { timeoutS, prefix4: prefixOfMask(granularity) ?? 32 };
  }

  // ---------------------------------------------------------------------------------------- real servers

  #member(real: Entry, ownPort: boolean, sorry: Entry | undefined): PlannedMember {
    const end = this.#end(real, ownPort);
    let [weight, maxConnections]: [number | undefined, number | undefined] = [undefined, undefined];
    for (const inner of real.body ?? []) {
      const { keyword } = inner;
      if (keyword.text === 'weight') {
        const said = this.#number(inner, 0);
        if (said > WEIGHT_MAX) this.#note(keyword, `weight ${said}: ${WEIGHT_MAX} is the highest`);
        weight = Math.min(said, WEIGHT_MAX);
      } else if (keyword.text === 'uthreshold') maxConnections = this.#number(inner, 0);
      else if (/_CHECK$|_GET$/.test(keyword.text)) this.#checks.push({ place: keyword, monitor: this.#check(inner) });
      else this.#unknown(inner);
    }
    return {
      ...end,
      ...(weight === undefined || weight === 1 ? {} : { weight }),
      ...(sorry === undefined ? {} : { priority: REAL_PRIORITY }),
      ...(maxConnections === undefined || maxConnections === 0 ? {} : { maxConnections }),
    };
  }

  #end(entry: Entry, ownPort: boolean): { address: string; port: number } {
    const [address, port] = entry.words;
    const parsed = parseIpAddress(address?.text ?? '');
    if (address === undefined || 'fault' in parsed)
      throw new SourceFault(address ?? entry.keyword, `'${address?.text ?? ''}' is no IP address`);
    const number = Number(port?.text ?? 0);
    if (!Number.isInteger(number) || number < 0 || number > 65_535)
      throw new SourceFault(port ?? address, `'${port?.text}' is no port`);
    return { address: formatIpAddress(parsed.octets), port: ownPort || number === this.#options.port ? number : 0 };
  }

  // ---------------------------------------------------------------------------------------------- checks

  /** Tandem monitors a pool, keepalived each real server: the first check that has a counterpart holds for all. */
  #monitor(body: readonly Entry[]): PlannedMonitor | null {
    const first = this.#checks.find(({ monitor }) => monitor !== null)?.monitor ?? null;
    if (first === null) return null;
    for (const { place, monitor } of this.#checks)
      if (monitor !== null && JSON.stringify(monitor) !== JSON.stringify(first))
        this.#note(place, 'checked otherwise than the first real server; a pool has one monitor, the first');
    const delay = find(body, 'delay_loop');
    // keepalived's default.
    const seconds = delay === undefined ? 60 : Number(delay.words[0]?.text);
    if (!(seconds > 0)) throw new SourceFault(delay!.keyword, 'delay_loop needs seconds');
    const intervalMs = Math.min(Math.max(Math.round(seconds * 1000), 50), 3_600_000);
    const host = find(body, 'virtualhost')?.words[0]?.text;
    const timeoutMs = Math.min(first.timeoutMs ?? 5000, intervalMs);
    return {
      ...first,
      intervalMs,
      timeoutMs,
      ...(host !== undefined && first.type === 'http' && first.host === undefined ? { host } : {}),
    };
  }

  #check({ keyword, body }: Entry): PlannedMonitor | null {
    const inner = body ?? [];
    const seconds = find(inner, 'connect_timeout')?.words[0]?.text;
    const port = find(inner, 'connect_port');
    const retry = find(inner, 'retry') ?? find(inner, 'nb_get_retry');
    const shared = {
      ...(seconds === undefined ? {} : { timeoutMs: Math.max(Math.round(Number(seconds) * 1000), 10) }),
      ...(retry === undefined ? {} : { fall: Math.min(this.#number(retry, 0) + 1, 100) }),
    };
    const portKey = port === undefined ? {} : { port: this.#number(port, 0) };
    const known = new Set(['connect_timeout', 'connect_port', 'retry', 'nb_get_retry', 'url', 'virtualhost']);
    const alike = keyword.text !== 'MISC_CHECK' && keyword.text !== 'BFD_CHECK' && keyword.text !== 'FILE_CHECK';
    for (const entry of inner) if (alike && !known.has(entry.keyword.text)) this.#unknown(entry);
    switch (keyword.text) {
      case 'HTTP_GET':
        return { type: 'http', ...shared, ...portKey, ...this.#url(inner) };
      case 'TCP_CHECK':
        return { type: 'tcp', ...shared, ...portKey };
      case 'PING_CHECK':
        return { type: 'icmp', ...shared };
      case 'SSL_GET':
      case 'SMTP_CHECK':
        this.#note(keyword, `${keyword.text}: only whether the port answers is monitored (tcp)`);
        return { type: 'tcp', ...shared, ...portKey };
      case 'UDP_CHECK':
      case 'DNS_CHECK':
        this.#note(keyword, `${keyword.text}: only whether the host answers is monitored (icmp)`);
        return { type: 'icmp', ...shared };
      default:
        this.#note(keyword, `${keyword.text}: has no counterpart; the pool is not monitored by it`);
        return null;
    }
  }

  #url(check: readonly Entry[]): Partial<PlannedMonitor> {
    const urls = check.filter(({ keyword }) => keyword.text === 'url');
    for (const more of urls.slice(1)) this.#note(more.keyword, 'a monitor asks for one path, the first');
    const url = urls[0]?.body ?? [];
    const path = find(url, 'path')?.words[0]?.text;
    const status = find(url, 'status_code')?.words[0]?.text;
    const host = (find(url, 'virtualhost') ?? find(check, 'virtualhost'))?.words[0]?.text;
    const digest = find(url, 'digest');
    if (digest !== undefined) this.#note(digest.keyword, 'digest: has no counterpart; the status is looked at');
    return {
      ...(path === undefined ? {} : { path }),
      ...(host === undefined ? {} : { host }),
      ...(status === undefined ? {} : { expectStatus: [/^\d+$/.test(status) ? Number(status) : status] }),
    };
  }

  // ----------------------------------------------------------------------------------------------- words

  #rest(entry: Entry): void {
    const { keyword } = entry;
    if (!READ.has(keyword.text)) this.#unknown(entry);
  }

  #number({ keyword, words }: Entry, index: number): number {
    const value = Number(words[index]?.text);
    if (Number.isInteger(value) && value >= 0) return value;
    throw new SourceFault(words[index] ?? keyword, `${keyword.text} needs a whole number`);
  }

  #unknown({ keyword, words }: Entry): void {
    const what = [keyword.text, ...words.map(({ text }) => text)].join(' ').slice(0, 60);
    this.#note(keyword, `${what}: has no counterpart`);
  }

  #note({ line, column }: Place, message: string): void {
    const { notes } = this.#options;
    // A virtual_server of several addresses is read once for each.
    if (notes.some((note) => note.line === line && note.column === column && note.message === message)) return;
    notes.push({ line, column, message });
  }
}

/** What is read of a virtual_server, or means nothing here: alpha is how a unit begins anyway. */
const READ = new Set([
  ...['delay_loop', 'lb_algo', 'lvs_sched', 'lb_kind', 'lvs_method', 'protocol', 'persistence_timeout', 'ops', 'alpha'],
  ...['persistence_granularity', 'sorry_server', 'real_server', 'virtualhost', 'nat_mask'],
]);

function find(entries: readonly Entry[], keyword: string): Entry | undefined {
  return entries.find((entry) => entry.keyword.text === keyword);
}

function prefixOfMask(mask: string): number | null {
  const parsed = parseIpAddress(mask);
  if ('fault' in parsed || parsed.family !== 4) return null;
  const bits = [...parsed.octets].map((octet) => octet.toString(2).padStart(8, '0')).join('');
  return /^1+0*$/.test(bits) ? bits.lastIndexOf('1') + 1 : null;
}
