/**
 * Says of each replayed frame what was decided and why: what `tandem replay --explain` tells. The datapath knows
 * nothing of it. All is read from outside, between two frames: the verdict, the frame as it came and as it went, which
 * counter moved, and which connection the table has now. So frames must be replayed one by one.
 */

import type { Config, PoolConfig, VirtualServerConfig } from '../config/model.js';
import type { ConnectionRow, Datapath, ForwardingName, NativeModule, PolicyDescription } from '../datapath.js';
import { type FrameFacts, frameFacts, type PacketFacts } from '../wire/frame.js';
import { formatEndpoint, parseEndpoint } from '../wire/ip_address.js';
import type { ReplayedFrame, ReplayVerdict } from './batch.js';
import { HeldFragments } from './held_fragments.js';
import { puntReason, virtualServerOf } from './policy_view.js';
import { isSamePacket, type Rewrite, rewritesOf } from './rewrites.js';

/** One frame; a fragment that was held is told twice, the second time `releasedBy` the number of another frame. */
export interface ExplainedFrame {
  /** Its place in the capture, from 1. */
  readonly number: number;
  /** Since the capture's first frame, by the capture's clock; may be negative. */
  readonly timeS: number;
  /** The link that it arrived on: src/replay/arrival.ts. */
  readonly link: string;
  /** As the datapath got it: the destination MAC may be ours instead of the captured one. */
  readonly frame: FrameFacts;
  readonly verdict: ReplayVerdict['kind'];
  /** The link that it was sent on; null unless forwarded. */
  readonly sentOn: string | null;
  readonly releasedBy: number | null;
  readonly why: Why;
  /** As the table has it after the frame; null: none, or not known by this frame (later fragments, closed). */
  readonly connection: ExplainedConnection | null;
  /** What was changed in it; empty if it was not forwarded. */
  readonly rewritten: readonly Rewrite[];
  /** What was sent for it where that is another packet: an answer, or one around it; else null. */
  readonly sent: FrameFacts | null;
}

export interface Why {
  readonly code: WhyCode;
  readonly sentence: string;
  /** The virtual server it went to or was meant for, by destination; null: none. */
  readonly virtualServer: string | null;
}

/**
 * `opened`: a new connection, or a datagram scheduled by itself. `known`: of one that was there. `error`: ICMP about
 * one. `fragment`: follows its first. `answered`: by Tandem itself. `kernel`: left to it. `held`: waits. Any other: the
 * drop's name, as in `tandem show counters`.
 */
export type WhyCode = 'opened' | 'known' | 'error' | 'fragment' | 'answered' | 'kernel' | 'held' | `drop ${string}`;

export interface ExplainedConnection {
  readonly virtualServer: string;
  readonly client: string;
  readonly virtual: string;
  /** What the member sees as client. */
  readonly snat: string;
  readonly member: string;
  readonly forwarding: ForwardingName;
  /** Of TCP: `syn_sent`, `syn_received`, `established`, `fin_client`, `fin_server`, `closing`, `reset`, `adopted`. */
  readonly state: string | null;
}

/** What the datapath sends itself, by the counter that says so. */
const ANSWERS: readonly (readonly [count: string, sentence: string])[] = [
  ['arp_replies', 'asks for an address that is answered here'],
  ['neighbour_advertisements', 'asks for an address that is answered here'],
  ['echo_replies', 'an echo request to an address that is answered here'],
  ['time_exceeded_sent', 'its TTL or hop limit has run out, and its sender is told'],
  ['too_big_sent', "longer than the next device's MTU, and its sender is told"],
];
/** Connections of one client and virtual server that are looked at for the frame's; onePacket may have many. */
const ROWS_MAX = 256;

export class Explainer {
  readonly #datapath: Datapath;
  readonly #config: Config;
  readonly #policy: PolicyDescription;
  readonly #dropNames: NativeModule['dropNames'];
  readonly #counts: ReadonlyMap<string, number>;
  readonly #held = new HeldFragments();
  readonly #virtualAddresses: ReadonlySet<string>;
  #before: BigUint64Array;
  #after: BigUint64Array;
  #startNs: bigint | null = null;
  #number = 0;
  /** The frame told last that was not released: it is what released those that come behind it. */
  #last: FrameFacts = frameFacts(new Uint8Array(0));

  constructor(native: NativeModule, datapath: Datapath, config: Config, policy: PolicyDescription) {
    this.#datapath = datapath;
    this.#config = config;
    this.#policy = policy;
    this.#dropNames = native.dropNames;
    this.#counts = new Map(native.countNames.map(([name], index) => [name, native.dropNames.length + index]));
    this.#virtualAddresses = new Set(config.virtualServers.map(({ address }) => address));
    this.#before = new BigUint64Array(native.dropNames.length + native.countNames.length);
    this.#after = this.#before.slice();
  }

  explain({ verdict, timeNs, arrived, sent, released }: ReplayedFrame): ExplainedFrame {
    this.#startNs ??= timeNs;
    const own = released || arrived === null ? null : frameFacts(arrived);
    if (own !== null) {
      this.#last = own;
      this.#number++;
      [this.#before, this.#after] = [this.#after, this.#before];
      this.#datapath.readCounters(this.#after);
    }
    const sentFacts = sent === null ? null : frameFacts(sent);
    const waited = own === null ? this.#held.take(this.#last, sentFacts) : null;
    const frame = own ?? waited?.frame ?? this.#last;
    const number = waited?.number ?? this.#number;
    if (verdict.kind === 'hold' && own !== null) this.#held.add({ number, frame });
    const connection = sentFacts === null ? null : this.#connectionOf(frame, sentFacts);
    const why = this.#why(verdict, frame, sentFacts, connection, own === null);
    const same = sentFacts !== null && why.code !== 'answered' && isSamePacket(frame, sentFacts);
    return {
      number,
      timeS: Number(timeNs - this.#startNs) / 1e9,
      link: verdict.arrivedOn,
      frame,
      verdict: verdict.kind,
      sentOn: verdict.kind === 'forward' ? verdict.device : null,
      releasedBy: own === null ? this.#number : null,
      why,
      connection: connection === null ? null : explained(connection),
      rewritten: same ? rewritesOf(frame, sentFacts) : [],
      sent: same ? null : sentFacts,
    };
  }

  /** Whether a counter moved with the frame told last. */
  #moved(count: string): boolean {
    const index = this.#counts.get(count);
    return index !== undefined && this.#after[index]! > this.#before[index]!;
  }

  // ---------------------------------------------------------------------------------------------- why

  #why(
    verdict: ReplayVerdict,
    frame: FrameFacts,
    sent: FrameFacts | null,
    connection: ConnectionRow | null,
    released: boolean,
  ): Why {
    const meant = virtualServerOf(this.#config, frame.packet);
    const virtualServer = connection?.virtualServer ?? meant?.name ?? null;
    switch (verdict.kind) {
      case 'drop': {
        const sentence = this.#dropNames.find(([name]) => name === verdict.drop)?.[1] ?? '';
        return { code: `drop ${verdict.drop}`, sentence, virtualServer };
      }
      case 'punt':
        return {
          code: 'kernel',
          sentence: puntReason(this.#policy, frame, this.#config.links.indexOf(verdict.arrivedOn)),
          virtualServer: null,
        };
      case 'hold':
        return this.#moved('held_for_peer')
          ? { code: 'held', sentence: 'waits until the peer has its connection (mirror: commit)', virtualServer }
          : { code: 'held', sentence: 'a fragment, waits for the first one of its packet', virtualServer };
      case 'forward':
        return { ...this.#whyForwarded(frame, sent, connection, meant, released), virtualServer };
    }
  }

  #whyForwarded(
    frame: FrameFacts,
    sent: FrameFacts | null,
    connection: ConnectionRow | null,
    meant: VirtualServerConfig | null,
    released: boolean,
  ): Pick<Why, 'code' | 'sentence'> {
    if (released || (frame.packet?.fragment?.offset ?? 0) > 0) {
      return { code: 'fragment', sentence: 'follows the first fragment of its packet' };
    }
    const answer = ANSWERS.find(([count]) => this.#moved(count));
    if (answer !== undefined) return { code: 'answered', sentence: answer[1] };
    if (this.#moved('resets_sent')) return { code: 'answered', sentence: this.#whyReset(meant) };
    const member = connection?.member ?? (sent?.packet ? endpointOf(sent.packet, 'destination') : 'its member');
    const name = connection?.virtualServer ?? meant?.name ?? '';
    if (this.#moved('opened') || this.#moved('one_packets')) {
      return { code: 'opened', sentence: this.#howOpened(name, member) };
    }
    const connected = connection === null ? 'a known connection' : `a connection of ${name} with member ${member}`;
    if (this.#moved('icmp_errors')) return { code: 'error', sentence: `an error about ${connected}` };
    const moved = this.#moved('reselected') ? ', moved there because its member is down' : '';
    return { code: 'known', sentence: `belongs to ${connected}${moved}` };
  }

  #whyReset(meant: VirtualServerConfig | null): string {
    if (this.#moved('member_down_closed')) return 'reset: its member is down (onMemberDown: reset)';
    if (meant !== null) return `reset: of no known connection of ${meant.name} (unknown: reset)`;
    return 'reset: of no known connection, or to a closed port (closed: reset)';
  }

  #howOpened(name: string, member: string): string {
    const server = this.#config.virtualServers.find((each) => each.name === name);
    const pool = this.#config.pools.find((each) => each.name === server?.pool);
    return `${this.#kindOfOpening()} of ${name} to member ${member}, ${this.#chosenBy(pool)}`;
  }

  #kindOfOpening(): string {
    if (this.#moved('one_packets')) return 'scheduled a datagram by itself (onePacket)';
    if (this.#moved('reopened')) return 'opened anew a connection';
    return this.#moved('adopted') ? 'adopted a connection (unknown: adopt)' : 'opened a connection';
  }

  #chosenBy(pool: PoolConfig | undefined): string {
    if (pool === undefined) return 'by its scheduler';
    return this.#moved('persisted')
      ? `by persistence in pool ${pool.name}`
      : `by ${pool.scheduler} in pool ${pool.name}`;
  }

  // --------------------------------------------------------------------------------------- connection

  /** The client's side of the connection is in the frame as it came, or as it went, or in what either quotes. */
  #connectionOf(before: FrameFacts, after: FrameFacts): ConnectionRow | null {
    const [came, went] = [before.packet, after.packet];
    const [cameQuoting, wentQuoting] = [came?.icmp?.quoted, went?.icmp?.quoted];
    return (
      this.#find(came, 'source', went) ??
      this.#find(went, 'destination', came) ??
      this.#find(wentQuoting, 'source', cameQuoting) ??
      this.#find(cameQuoting, 'destination', wentQuoting)
    );
  }

  /** `clientEnd`: which end of `outside` is the client; `inside`: the same packet as the member has it. */
  #find(
    outside: PacketFacts | null | undefined,
    clientEnd: 'source' | 'destination',
    inside: PacketFacts | null | undefined,
  ): ConnectionRow | null {
    if (!outside) return null;
    const virtualEnd = clientEnd === 'source' ? 'destination' : 'source';
    if (!this.#virtualAddresses.has(outside[virtualEnd])) return null;
    // A later fragment: it would be any connection of its client.
    if ((outside.fragment?.offset ?? 0) > 0) return null;
    const client = parseEndpoint(endpointOf(outside, clientEnd));
    const virtual = endpointOf(outside, virtualEnd);
    const snat = inside ? endpointOf(inside, clientEnd) : null;
    const protocol = protocolName(outside.protocol);
    let other: ConnectionRow | null = null;
    // One by one: the rest of the table need not be walked when it is found.
    for (let cursor: number | null = 0, rows = 0; cursor !== null && rows < ROWS_MAX; ) {
      const part = this.#datapath.connections(cursor, 1, null, client);
      const fitting = part.rows.find((row) => row.virtual === virtual && row.protocol === protocol);
      if (fitting !== undefined && fitting.snat === snat) return fitting;
      other ??= fitting ?? null;
      rows += part.rows.length;
      cursor = part.next;
    }
    return other;
  }
}

function explained(row: ConnectionRow): ExplainedConnection {
  const { virtualServer, client, virtual, snat, member, forwarding } = row;
  const state = row.protocol === 'tcp' ? row.state : null;
  return { virtualServer, client, virtual, snat, member, forwarding, state };
}

function endpointOf(packet: PacketFacts, end: 'source' | 'destination'): string {
  return formatEndpoint(packet[end], (end === 'source' ? packet.sourcePort : packet.destinationPort) ?? 0);
}

/** As ConnectionRow has it. */
function protocolName(protocol: number): string {
  if (protocol === 6) return 'tcp';
  return protocol === 17 ? 'udp' : String(protocol);
}
