/** Everything the failover process counts: [name, sentence]. Names are stable; the list is the only place for them. */

import { ADVERT_FAULTS } from '../wire/vrrp.js';

/** Why an advert was dropped before its bytes were looked at, or after, for whom it names. */
export const RECEIVE_DROPS = [
  ['no_ip_header', 'received bytes hold no whole IPv4 header'],
  ['wrong_hop_limit', 'TTL or hop limit is not 255'],
  ['wrong_destination', 'destination is not the VRRP group'],
  ['unknown_vrid', 'VRID of no virtual router of ours on the link'],
  ['wrong_source', "source is not the configured peer's address"],
] as const;

export const FAILOVER_COUNTS = [
  ['adverts_sent', 'adverts sent'],
  ['adverts_received', 'adverts accepted'],
  ['adverts_other_interval', 'accepted adverts whose interval is not ours'],
  ['announcement_frames_sent', 'gratuitous ARP, neighbour advertisement and MLD frames sent'],
  ['send_errors', 'adverts and announcements that the kernel refused'],
  ['socket_opens', 'times the sockets of an interface were opened'],
  ['socket_errors', 'times the sockets of an interface failed'],
  ['mld_queries_answered', 'MLD queries answered by reports'],
  ['peer_asked', 'times the peer was asked to show that it is active'],
  ['leases_lost', 'leases that ran out while the unit was active'],
] as const;

export type AdvertDrop = (typeof RECEIVE_DROPS)[number][0] | (typeof ADVERT_FAULTS)[number][0];
export type FailoverCountName = (typeof FAILOVER_COUNTS)[number][0] | `drop_${AdvertDrop}`;

/** In the order in which they are shown. */
export const ALL_FAILOVER_COUNTS: readonly (readonly [name: FailoverCountName, sentence: string])[] = [
  ...FAILOVER_COUNTS,
  ...[...RECEIVE_DROPS, ...ADVERT_FAULTS].map(
    ([name, sentence]) => [`drop_${name}`, `adverts dropped: ${sentence}`] as const,
  ),
];

export type Counts = Record<FailoverCountName, number>;

export function zeroCounts(): Counts {
  return Object.fromEntries(ALL_FAILOVER_COUNTS.map(([name]) => [name, 0])) as Counts;
}
