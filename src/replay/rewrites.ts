/** What the datapath changed in a frame that it forwarded, told from the frame as it came and as it went. Pure. */

import type { FrameFacts, PacketFacts } from '../wire/frame.js';
import { formatEndpoint } from '../wire/ip_address.js';

export interface Rewrite {
  readonly what: RewrittenField;
  readonly from: string;
  readonly to: string;
}

export type RewrittenField =
  | 'source'
  | 'destination'
  | 'quoted source'
  | 'quoted destination'
  | 'TTL'
  | 'hop limit'
  | 'source MAC'
  | 'destination MAC'
  | 'VLAN';

/**
 * Of a packet that is still the same one: translated, or sent on by its MAC address. In the order of the type above;
 * what did not change is left out.
 */
export function rewritesOf(before: FrameFacts, after: FrameFacts): Rewrite[] {
  const [was, is] = [fieldsOf(before), new Map(fieldsOf(after))];
  return was.flatMap(([what, from]) => {
    const to = is.get(what) ?? from;
    return to === from ? [] : [{ what, from, to }];
  });
}

/** False: something else was sent for it, an answer or a packet around it. */
export function isSamePacket(before: FrameFacts, after: FrameFacts): boolean {
  const [was, is] = [before.packet, after.packet];
  if (was === null || is === null) return was === is && before.etherType === after.etherType;
  return was.family === is.family && was.protocol === is.protocol && was.icmp?.type === is.icmp?.type;
}

function fieldsOf(facts: FrameFacts): (readonly [RewrittenField, string])[] {
  const { packet, sourceMac, destinationMac, vlans } = facts;
  const quoted = packet?.icmp?.quoted ?? null;
  return [
    ...(packet === null ? [] : endpoints(packet, 'source', 'destination')),
    ...(quoted === null ? [] : endpoints(quoted, 'quoted source', 'quoted destination')),
    ...(packet === null ? [] : [[packet.family === 4 ? 'TTL' : 'hop limit', String(packet.ttl)] as const]),
    ['source MAC', sourceMac ?? 'none'],
    ['destination MAC', destinationMac ?? 'none'],
    ['VLAN', vlans.length === 0 ? 'none' : vlans.join(' ')],
  ];
}

function endpoints(packet: PacketFacts, source: RewrittenField, destination: RewrittenField) {
  return [
    [source, formatEndpoint(packet.source, packet.sourcePort ?? 0)],
    [destination, formatEndpoint(packet.destination, packet.destinationPort ?? 0)],
  ] as const;
}
