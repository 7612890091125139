/**
 * keepalived.conf into a plan: vrrp_instance is a traffic group, virtual_server a virtual server with its own pool.
 *
 * Of the two units' configs one is read. `state MASTER` makes it unit a's, else unit b's; the other's priority is set
 * beside it. Addresses of an instance that a virtual server has become virtual addresses, the others float. Read
 * keepalived.conf(5) and ipvsadm(8) first.
 */

import { addressKind, formatIpAddress, parseIpAddress } from '../wire/ip_address.js';
import { readService, type Service } from './keepalived_service.js';
import { type Entry, keepalivedEntries } from './keepalived_text.js';
import { emptyGroup, freeName, nameOf, type Plan, type PlannedGroup, type PlannedLink } from './plan.js';
import { type Note, SourceFault, type Token } from './source.js';

/** Between the two units' priorities, where one is not said. */
const PRIORITY_STEP = 50;

interface Instance {
  readonly name: string;
  readonly group: PlannedGroup;
  /** All addresses, by link. */
  readonly addresses: { readonly link: string; readonly address: string }[];
}

export function planOfKeepalived(text: string): { plan: Plan; notes: Note[] } {
  const entries = keepalivedEntries(text);
  const notes: Note[] = [];
  const reader = new KeepalivedReader(notes);
  for (const entry of entries) reader.read(entry);
  return { plan: reader.plan(), notes: notes.toSorted((left, right) => left.line - right.line) };
}

class KeepalivedReader {
  readonly #notes: Note[];
  readonly #links = new Map<string, PlannedLink>();
  readonly #instances: Instance[] = [];
  readonly #syncGroups: { name: string; members: readonly Token[] }[] = [];
  readonly #serverGroups = new Map<string, readonly Entry[]>();
  readonly #servers: Entry[] = [];
  #synced = false;

  constructor(notes: Note[]) {
    this.#notes = notes;
  }

  read(entry: Entry): void {
    const { keyword, words, body } = entry;
    switch (keyword.text) {
      case 'vrrp_instance':
        this.#instance(entry);
        break;
      case 'vrrp_sync_group':
        this.#syncGroup(entry);
        break;
      case 'virtual_server':
        this.#servers.push(entry);
        break;
      case 'virtual_server_group':
        this.#serverGroups.set(this.#word(entry, 0).text, body ?? []);
        break;
      case 'global_defs':
        for (const inner of body ?? []) {
          if (inner.keyword.text === 'lvs_sync_daemon') this.#synced = true;
          else if (inner.keyword.text !== 'router_id') this.#unknown(inner);
        }
        break;
      case 'include':
        this.#note(keyword, `include ${words[0]?.text ?? ''}: not followed; convert that file, too`);
        break;
      default:
        this.#unknown(entry);
    }
  }

  plan(): Plan {
    this.#joinSyncGroups();
    const groups = [...new Set(this.#instances.map(({ group }) => group))];
    const taken = new Set<string>();
    const services = this.#servers.flatMap((entry) => this.#services(entry, taken));
    for (const { group, addresses } of this.#instances) {
      for (const { link, address } of addresses) {
        if (services.some(({ server }) => server.address === address)) continue;
        group.floating.set(link, [...(group.floating.get(link) ?? []), address]);
      }
    }
    for (const { keyword } of services.length === 0 ? this.#servers : [])
      this.#note(keyword, 'no virtual server could be taken over');
    const main = groups[0]?.name ?? 'main';
    if (groups.length === 0) groups.push(emptyGroup(main));
    return {
      links: [...this.#links.values()],
      groups,
      pools: services.map(({ pool }) => pool),
      servers: services.map(({ server }) => ({ ...server, group: this.#groupOf(server.address) ?? main })),
    };
  }

  // ------------------------------------------------------------------------------------------------ VRRP

  #instance(entry: Entry): void {
    const body = entry.body ?? [];
    const name = nameOf(this.#word(entry, 0).text);
    const find = (keyword: string) => body.find((inner) => inner.keyword.text === keyword);
    const device = find('interface');
    if (device === undefined) throw new SourceFault(entry.keyword, `vrrp_instance ${name} has no interface`);
    const link = this.#link(this.#word(device, 0).text);
    const group = emptyGroup(name);
    const instance: Instance = { name, group, addresses: [] };
    const unit = find('state')?.words[0]?.text.toUpperCase() === 'MASTER' ? 'a' : 'b';
    for (const inner of body) this.#instanceEntry(inner, instance, link, unit);
    this.#instances.push(instance);
  }

  #instanceEntry(entry: Entry, instance: Instance, link: PlannedLink, unit: 'a' | 'b'): void {
    const { keyword, words, body } = entry;
    const { group } = instance;
    const peer = unit === 'a' ? 'b' : 'a';
    switch (keyword.text) {
      case 'state':
      case 'interface':
      case 'use_vmac':
      case 'native_ipv6':
      case 'dont_track_primary':
        break;
      case 'virtual_router_id':
        group.virtualRouterId = this.#number(entry, 1, 255);
        break;
      case 'priority': {
        const priority = Math.min(this.#number(entry, 1, 255), 254);
        const other = unit === 'a' ? Math.max(priority - PRIORITY_STEP, 1) : Math.min(priority + PRIORITY_STEP, 254);
        group.priority = unit === 'a' ? { a: priority, b: other } : { a: other, b: priority };
        this.#note(keyword, `unit ${unit}'s priority is ${priority}; the file does not say unit ${peer}'s: ${other}`);
        break;
      }
      case 'advert_int': {
        const seconds = Number(words[0]?.text);
        if (!(seconds > 0 && seconds <= 255)) throw this.#wrong(entry, 'seconds');
        group.advertIntervalMs = Math.min(Math.max(Math.round(seconds * 100) * 10, 10), 40_950);
        break;
      }
      case 'nopreempt':
        group.preempt = false;
        break;
      case 'preempt':
        group.preempt = true;
        break;
      case 'preempt_delay':
        group.preemptDelayS = Math.min(this.#number(entry, 0, 1000), 3600);
        break;
      case 'unicast_src_ip':
      case 'mcast_src_ip':
        link.own[unit].push(this.#address(this.#word(entry, 0)));
        if (keyword.text === 'unicast_src_ip') this.#note(keyword, 'adverts are multicast; the address is taken over');
        break;
      case 'unicast_peer':
        for (const { keyword: address } of body ?? []) link.own[peer].push(this.#address(address));
        break;
      case 'virtual_ipaddress':
      case 'virtual_ipaddress_excluded':
        for (const inner of body ?? []) this.#virtualAddress(inner, instance, link);
        break;
      case 'lvs_sync_daemon_interface':
        this.#synced = true;
        break;
      case 'version':
        if (words[0]?.text === '2') this.#note(keyword, 'version 2: adverts are VRRP version 3');
        break;
      case 'authentication':
        this.#note(keyword, 'authentication: VRRP version 3 has none; the mirror channel has TLS (tandem pair)');
        break;
      case 'track_interface':
        this.#note(keyword, 'track_interface: the carrier of every link of the group is watched, and no other');
        break;
      default:
        this.#unknown(entry);
    }
  }

  /** `192.168.200.17/24 dev eth1 label eth1:2` */
  #virtualAddress({ keyword, words }: Entry, instance: Instance, link: PlannedLink): void {
    const at = words.findIndex(({ text }) => text === 'dev');
    const device = at < 0 ? undefined : words[at + 1]?.text;
    const on = device === undefined ? link : this.#link(device);
    instance.addresses.push({ link: on.name, address: this.#address(keyword) });
  }

  #syncGroup(entry: Entry): void {
    for (const inner of entry.body ?? []) {
      if (inner.keyword.text !== 'group') this.#unknown(inner);
      else {
        const members = [...inner.words, ...(inner.body ?? []).flatMap(({ keyword, words }) => [keyword, ...words])];
        this.#syncGroups.push({ name: nameOf(this.#word(entry, 0).text), members });
      }
    }
  }

  /** Instances that fail over together are one traffic group. */
  #joinSyncGroups(): void {
    for (const { name, members } of this.#syncGroups) {
      const joined = members.flatMap((token) => {
        const index = this.#instances.findIndex((instance) => instance.name === nameOf(token.text));
        if (index < 0) this.#note(token, `vrrp_instance ${token.text} is not in this file`);
        return index < 0 ? [] : [index];
      });
      const first = this.#instances[joined[0] ?? -1];
      if (first === undefined) continue;
      const group = { ...first.group, name };
      for (const [order, index] of joined.entries()) {
        const instance = this.#instances[index]!;
        const { virtualRouterId } = instance.group;
        if (order > 0 && virtualRouterId !== group.virtualRouterId) {
          const one = `traffic group ${name} has one VRID, ${group.virtualRouterId}`;
          this.#note(members[order]!, `${one}; ${virtualRouterId} of ${instance.name} is not used any more`);
        }
        if (instance.group.preempt !== group.preempt)
          this.#note(members[order]!, `preempt is ${group.preempt} for the group, as ${first.name} says`);
        this.#instances[index] = { ...instance, group };
      }
    }
  }

  #groupOf(address: string): string | undefined {
    return this.#instances.find(({ addresses }) => addresses.some((row) => row.address === address))?.group.name;
  }

  #link(device: string): PlannedLink {
    const known = this.#links.get(device);
    if (known !== undefined) return known;
    const taken = [...this.#links.values()].map(({ name }) => name);
    const link = { name: freeName(nameOf(device), taken), interface: device, own: { a: [], b: [] } };
    this.#links.set(device, link);
    return link;
  }

  // -------------------------------------------------------------------------------------- virtual servers

  #services(entry: Entry, taken: Set<string>): Service[] {
    const [first, second] = entry.words;
    if (first === undefined) throw this.#wrong(entry, 'an address and a port');
    if (first.text === 'fwmark') {
      this.#note(entry.keyword, `virtual_server fwmark ${second?.text ?? ''}: there are no marks; name its addresses`);
      return [];
    }
    const ends = first.text === 'group' ? this.#groupEnds(entry) : [this.#end(first, second)];
    return ends.map(({ address, port }) =>
      readService(entry, { address, port, synced: this.#synced, taken, notes: this.#notes }),
    );
  }

  #groupEnds(entry: Entry): { address: string; port: number }[] {
    const name = this.#word(entry, 1);
    const rows = this.#serverGroups.get(name.text);
    if (rows === undefined) throw new SourceFault(name, `virtual_server_group ${name.text} is not in this file`);
    return rows.flatMap(({ keyword, words }) => {
      if (keyword.text !== 'fwmark' && !/-\d+$/.test(keyword.text)) return [this.#end(keyword, words[0])];
      this.#note(keyword, `${keyword.text} in virtual_server_group ${name.text}: write each address by itself`);
      return [];
    });
  }

  #end(address: Token, port: Token | undefined): { address: string; port: number } {
    const number = Number(port?.text ?? 0);
    if (!Number.isInteger(number) || number < 0 || number > 65_535)
      throw new SourceFault(port ?? address, `'${port?.text}' is no port`, '1 to 65535, or 0 for any');
    return { address: this.#address(address), port: number };
  }

  // ------------------------------------------------------------------------------------------------ words

  #word(entry: Entry, index: number): Token {
    const word = entry.words[index];
    if (word === undefined) throw this.#wrong(entry, 'a value');
    return word;
  }

  #number(entry: Entry, lowest: number, highest: number): number {
    const value = Number(this.#word(entry, 0).text);
    if (Number.isInteger(value) && value >= lowest && value <= highest) return value;
    throw this.#wrong(entry, `a whole number from ${lowest} to ${highest}`);
  }

  #address(token: Token): string {
    const parsed = parseIpAddress(token.text.replace(/\/\d+$/, ''));
    if ('fault' in parsed) throw new SourceFault(token, `'${token.text}' is no IP address`);
    if (addressKind(parsed) === 'unicast' || addressKind(parsed) === 'link-local')
      return formatIpAddress(parsed.octets);
    throw new SourceFault(token, `${token.text} is no address of a host`);
  }

  #wrong({ keyword, words }: Entry, wanted: string): SourceFault {
    const found = words.length === 0 ? 'nothing' : `'${words.map(({ text }) => text).join(' ')}'`;
    return new SourceFault(words[0] ?? keyword, `${keyword.text} needs ${wanted}, found ${found}`);
  }

  #unknown({ keyword, words }: Entry): void {
    const what = [keyword.text, ...words.map(({ text }) => text)].join(' ').slice(0, 60);
    this.#note(keyword, `${what}: has no counterpart`);
  }

  #note({ line, column }: Token, message: string): void {
    this.#notes.push({ line, column, message });
  }
}
