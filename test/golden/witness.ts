/**
 * What every frame that is sent must be, octet by octet, worked out from the frame that came and the config, and
 * without the datapath: a second implementation, slow and plain. It decides nothing (the table's verdicts do) and
 * learns which member and SNAT port a connection got from the first packet of it, which must be such as the config
 * allows.
 */

import type { PolicyVirtualServer } from '../../src/datapath.js';
import { arrivalOf } from '../../src/replay/arrival.js';
import type { Topology } from '../../src/replay/topology.js';
import { formatMacAddress, macAddress, sumWords } from '../../src/wire/bytes.js';
import { formatIpAddress } from '../../src/wire/ip_address.js';
import { join } from '../support/packets.js';
import { answerTo, isError, virtualMac } from './answers.js';
import {
  checksumAt,
  type Dissected,
  type DissectedIp,
  dissect,
  dissectIp,
  finishIpv4,
  finishTransport,
  setWord,
  sumTransport,
  TCP,
  UDP,
  word,
} from './dissect.js';

/** One side of a connection as its packets show it, sender first. */
interface Ends {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

interface Hop {
  readonly mac: string;
  readonly vlan: number;
  /** Index of the device. */
  readonly device: number;
}

interface Flow {
  /** As they come from the client, and as they go to the member. */
  readonly client: Ends;
  readonly member: Ends;
  /** Where the client's last packet came from that whoever has not seen the connection could not have sent. */
  lastHop: Hop;
  /** The client has sent more than SYNs. */
  established: boolean;
  readonly snat: boolean;
}

type Side = 'client' | 'member';

const SYN = 2;
const RST = 4;

export class Witness {
  readonly #topology: Topology;
  readonly #mtus: Readonly<Record<string, number>>;
  readonly #flows = new Map<string, { readonly flow: Flow; readonly from: Side }>();
  #held: Uint8Array[] = [];
  /** Of packets in fragments, by what they have in common: the flow of the first one. */
  readonly #packets = new Map<string, { readonly flow: Flow; readonly from: Side }>();

  /** `mtus` by link; not named: packets of any length. */
  constructor(topology: Topology, mtus: Readonly<Record<string, number>>) {
    this.#topology = topology;
    this.#mtus = mtus;
  }

  /** One sentence for each frame that is not what it must be. `sent`: of the verdicts that forward, in their order. */
  explain(frame: Uint8Array, verdicts: readonly string[], sent: readonly Uint8Array[]): string[] {
    const frames = [...sent];
    return verdicts.flatMap((verdict, index) => {
      if (verdict === 'hold') this.#held.push(frame);
      const came = index === 0 ? frame : this.#held.shift();
      if (!verdict.startsWith('forward')) return [];
      const out = frames.shift();
      if (out === undefined) return ['nothing was sent'];
      if (came === undefined) return ['a frame was sent that never came'];
      const must = this.#expected(came, verdict.replace('forward ', ''), out);
      return typeof must === 'string' ? [must] : difference(must, out);
    });
  }

  /** A sentence instead of a frame: why there can be none. */
  #expected(frame: Uint8Array, link: string, out: Uint8Array): Uint8Array | string {
    const came = dissect(frame);
    const device = arrivalOf(this.#topology, frame).device;
    const answer = answerTo({ topology: this.#topology, mtus: this.#mtus, device }, came, out);
    if (answer !== null) return answer;
    const { ip } = came;
    if (ip === null) return 'no answer and no packet';
    if (isError(frame, ip)) return this.#translatedError(came, ip, link);
    this.#startAnew(frame, ip);
    const known = this.#flowOf(frame, ip) ?? this.#open(came, ip, out, device);
    if (typeof known === 'string') return known;
    const { flow, from } = known;
    if (from === 'client' && (ip.fragment?.offset ?? 0) === 0) {
      const flags = ip.protocol === TCP ? frame[ip.transport + 13]! : 0;
      const blind = (flags & RST) !== 0 || ((flags & SYN) !== 0 && flow.established);
      if (!blind) flow.lastHop = hopOf(came, device);
      if ((flags & (SYN | RST)) === 0) flow.established = true;
    }
    return this.#translated(came, ip, flow, from, link);
  }

  // ---- which connection

  #flowOf(frame: Uint8Array, ip: DissectedIp): { readonly flow: Flow; readonly from: Side } | null {
    if (ip.fragment === null) return this.#flows.get(keyOf(endsOf(frame, ip), ip.protocol)) ?? null;
    const packet = `${formatIpAddress(ip.source)} ${formatIpAddress(ip.destination)} ${ip.fragment.id}`;
    if (ip.fragment.offset > 0) return this.#packets.get(packet) ?? null;
    const known = this.#flows.get(keyOf(endsOf(frame, ip), ip.protocol)) ?? null;
    if (known !== null) this.#packets.set(packet, known);
    return known;
  }

  /** A connection as the first packet that was sent for it says, if the config allows it. */
  #open(
    came: Dissected,
    ip: DissectedIp,
    out: Uint8Array,
    device: number,
  ): { readonly flow: Flow; readonly from: Side } | string {
    const sent = dissect(out).ip;
    if (sent === null) return 'what was sent is no packet';
    if ((ip.fragment?.offset ?? 0) > 0) return 'a later fragment of no known packet was sent';
    const client = endsOf(came.frame, ip);
    const member = endsOf(out, sent);
    const server = this.#serverOf(client, ip.protocol);
    if (server === undefined) return 'no virtual server takes this';
    const why = this.#whyNot(server, client, member, ip.protocol);
    if (why !== null) return why;
    const flow: Flow = {
      client,
      member,
      lastHop: hopOf(came, device),
      established: false,
      snat: server.snatAddresses.length > 0,
    };
    this.#flows.set(keyOf(client, ip.protocol), { flow, from: 'client' });
    this.#flows.set(keyOf(turned(member), ip.protocol), { flow, from: 'member' });
    return this.#flowOf(came.frame, ip)!;
  }

  /** A SYN on a tuple that has closed opens a new connection: whoever tells the case forgets the old one. */
  forget(frame: Uint8Array): void {
    const ip = dissect(frame).ip!;
    const known = this.#flows.get(keyOf(endsOf(frame, ip), ip.protocol));
    if (known === undefined) return;
    this.#flows.delete(keyOf(known.flow.client, ip.protocol));
    this.#flows.delete(keyOf(turned(known.flow.member), ip.protocol));
  }

  /** Where each datagram is scheduled by itself, the next one knows nothing of those before; its answer does. */
  #startAnew(frame: Uint8Array, ip: DissectedIp): void {
    if (ip.fragment !== null && ip.fragment.offset > 0) return;
    const ends = endsOf(frame, ip);
    if (this.#serverOf(ends, ip.protocol)?.onePacket === true) this.#flows.delete(keyOf(ends, ip.protocol));
  }

  #serverOf({ destination, destinationPort }: Ends, protocol: number): PolicyVirtualServer | undefined {
    const address = formatIpAddress(destination);
    const named = protocol === TCP ? 'tcp' : protocol === UDP ? 'udp' : null;
    return this.#topology.policy.virtualServers.find(
      (server) => server.address === address && server.port === destinationPort && server.protocol === named,
    );
  }

  #whyNot(server: PolicyVirtualServer, client: Ends, member: Ends, protocol: number): string | null {
    const address = formatIpAddress(member.destination);
    const chosen = this.#topology.policy.pools[server.pool]!.members.find(
      (each) => each.address === address && each.port === member.destinationPort,
    );
    if (chosen === undefined) return `${address} port ${member.destinationPort} is no member of the pool`;
    if (!chosen.up || chosen.weight === 0) return `${address} takes no new connection`;
    const shared = server.onePacket === true && server.snatAddresses.length === 0;
    if (!shared && this.#flows.has(keyOf(turned(member), protocol)))
      return 'two connections would look alike to the member';
    const source = formatIpAddress(member.source);
    if (server.snatAddresses.length === 0) {
      const same = source === formatIpAddress(client.source) && member.sourcePort === client.sourcePort;
      return same ? null : 'without SNAT the member must see the client';
    }
    if (!server.snatAddresses.includes(source)) return `${source} is no SNAT address of the virtual server`;
    // Unit a has the even ports.
    return member.sourcePort >= 1024 && member.sourcePort % 2 === 0
      ? null
      : `SNAT port ${member.sourcePort} is not ours`;
  }

  // ---- translated

  #link(came: Dissected, family: 4 | 6, flow: Flow, from: Side, link: string): Uint8Array | string {
    const device = this.#topology.devices.findIndex(({ name }) => name === link);
    const to = from === 'client' ? this.#memberHop(flow) : flow.lastHop;
    if (device !== to.device) return `sent on ${link}, where the next hop is not`;
    const source = virtualMac({ topology: this.#topology }, device, family);
    // The tag is that of the next hop's VLAN; the frame's own priority stays.
    const priority = came.tags.length === 0 ? 0 : word(came.tags, 2) & 0xf000;
    const tag = to.vlan === 0 ? [] : [0x81, 0, (priority | to.vlan) >> 8, to.vlan & 0xff];
    return join(macAddress(to.mac), source, Uint8Array.from(tag));
  }

  #memberHop(flow: Flow): Hop {
    const address = formatIpAddress(flow.member.destination);
    const hop = this.#topology.nextHops.find((each) => each.address === address);
    return { mac: hop?.mac ?? '', vlan: hop?.vlan ?? 0, device: hop?.device ?? -1 };
  }

  #translated(came: Dissected, ip: DissectedIp, flow: Flow, from: Side, link: string): Uint8Array | string {
    const head = this.#link(came, ip.family, flow, from, link);
    if (typeof head === 'string') return head;
    const to = from === 'client' ? flow.member : turned(flow.client);
    const rest = came.frame.slice(came.network - 2);
    const at = (place: number) => place - came.network + 2;
    const moved: DissectedIp = dissectIp(rest, 2);
    const before = ip.fragment === null ? sumTransport(came.frame, ip) : null;
    moved.source.set(to.source);
    moved.destination.set(to.destination);
    rest[at(came.network) + (ip.family === 4 ? 8 : 7)]!--;
    if ((ip.fragment?.offset ?? 0) === 0) {
      setWord(rest, at(ip.transport), to.sourcePort);
      setWord(rest, at(ip.transport) + 2, to.destinationPort);
      const field = at(ip.transport) + checksumAt(ip.protocol);
      const none = ip.protocol === UDP && word(rest, field) === 0;
      if (!none) carryOver(rest, field, came.frame, ip, to, before);
    }
    if (ip.family === 4) finishIpv4(rest, 2);
    return join(head, rest);
  }

  /** RFC 5508 section 4: outer and inner headers; whoever noticed is hidden where the quoted packet was going. */
  #translatedError(came: Dissected, ip: DissectedIp, link: string): Uint8Array | string {
    const quote = ip.transport + 8;
    const inner = dissectIp(came.frame.subarray(0, ip.end), quote);
    const sentBy = endsOf(came.frame, inner);
    const known = this.#flows.get(keyOf(turned(sentBy), inner.protocol));
    if (known === undefined) return 'an error about no known connection was sent';
    const { flow, from } = known;
    const head = this.#link(came, ip.family, flow, from, link);
    if (typeof head === 'string') return head;
    const reply = from === 'client' ? flow.member : turned(flow.client);

    const rest = came.frame.slice(came.network - 2);
    const shift = came.network - 2;
    const outer = dissectIp(rest, 2);
    if (from === 'member' || flow.snat) outer.source.set(reply.source);
    outer.destination.set(reply.destination);
    rest[2 + (ip.family === 4 ? 8 : 7)]!--;

    const quoted = dissectIp(rest.subarray(0, ip.end - shift), quote - shift);
    const as = turned(reply);
    quoted.source.set(as.source);
    quoted.destination.set(as.destination);
    setWord(rest, quoted.transport, as.sourcePort);
    setWord(rest, quoted.transport + 2, as.destinationPort);
    const field = quoted.transport + checksumAt(inner.protocol);
    const none = inner.protocol === UDP && word(rest, field) === 0;
    if (field + 2 <= quoted.end && !none) carryOver(rest, field, came.frame, inner, as, null);
    if (ip.family === 4) {
      // As right or wrong as it was.
      const at = quote - shift + 10;
      const [gone, come] = [sumAddresses(inner.source, inner.destination), sumAddresses(as.source, as.destination)];
      setWord(rest, at, updated(word(rest, at), gone, come, 4));
      finishIpv4(rest, 2);
    }
    finishTransport(rest, outer);
    return join(head, rest);
  }
}

function hopOf({ frame, tags }: Dissected, device: number): Hop {
  const vlan = tags.length === 0 ? 0 : word(tags, 2) & 0xfff;
  return { mac: formatMacAddress(frame.subarray(6, 12)), vlan, device };
}

function endsOf(bytes: Uint8Array, ip: DissectedIp): Ends {
  return {
    source: ip.source.slice(),
    destination: ip.destination.slice(),
    sourcePort: word(bytes, ip.transport),
    destinationPort: word(bytes, ip.transport + 2),
  };
}

function turned({ source, destination, sourcePort, destinationPort }: Ends): Ends {
  return { source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort };
}

function keyOf({ source, destination, sourcePort, destinationPort }: Ends, protocol: number): string {
  return [protocol, formatIpAddress(source), sourcePort, formatIpAddress(destination), destinationPort].join(' ');
}

/**
 * The checksum in `field` of `rest` after addresses and ports changed: recomputed where it was right over a whole
 * packet (`before`, its sum, is all ones); else as wrong as it was, or, of a part of a packet, by RFC 1624.
 */
function carryOver(
  rest: Uint8Array,
  field: number,
  was: Uint8Array,
  ip: DissectedIp,
  to: Ends,
  before: number | null,
): void {
  const gone = sumAddresses(ip.source, ip.destination) + word(was, ip.transport) + word(was, ip.transport + 2);
  const come = sumAddresses(to.source, to.destination) + to.sourcePort + to.destinationPort;
  const checksum = updated(word(rest, field), gone, come, ip.family === 4 ? 6 : 18);
  setWord(rest, field, checksum === 0 && ip.protocol === UDP ? 0xffff : checksum);
  if (before !== null && folded(before) === 0xffff) finishTransport(rest, dissectIp(rest, 2));
}

/** HC' = ~(~HC + ~m + m'), RFC 1624 section 3, where `words` words m with this sum went and m' came. */
function updated(checksum: number, gone: number, come: number, words: number): number {
  return 0xffff - folded(0xffff - checksum + (words * 0xffff - gone) + come);
}

function sumAddresses(source: Uint8Array, destination: Uint8Array): number {
  return sumWords(destination, sumWords(source));
}

function folded(sum: number): number {
  let left = sum;
  while (left > 0xffff) left = (left % 0x10000) + Math.floor(left / 0x10000);
  return left;
}

function difference(must: Uint8Array, is: Uint8Array): string[] {
  if (must.length !== is.length) return [`${is.length} octets long, must be ${must.length}`];
  const at = must.findIndex((octet, index) => octet !== is[index]);
  const text = (octets: Uint8Array) => Buffer.from(octets.subarray(at, at + 8)).toString('hex');
  return at < 0 ? [] : [`octet ${at}: ${text(is)}, must be ${text(must)}`];
}
