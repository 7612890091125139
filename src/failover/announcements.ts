/**
 * When and which frames tell the links that a group's addresses are here: five rounds after a takeover, then
 * one each minute. Pure: time comes in, frames go out a bounded batch at a time, so that thousands of
 * addresses do not hold up an advert.
 */

import {
  gratuitousArp,
  linkLocalAddress,
  mldReports,
  solicitedNodeGroup,
  unsolicitedNeighbourAdvertisement,
} from '../wire/announce.js';
import { formatIpAddress, ipAddress } from '../wire/ip_address.js';
import { virtualMac } from '../wire/vrrp.js';
import type { Millis } from './condition.js';
import type { GroupSettings } from './messages.js';

/** A whole Ethernet frame and the index of the group's link that it goes out on. */
export interface LinkFrame {
  readonly link: number;
  readonly frame: Uint8Array;
}

/** Frames of a group, made when it is configured, so that a takeover only sends. */
export interface AnnouncementPlan {
  /** MLD reports first: until a bridge knows of the groups, it delivers no solicitation. */
  readonly frames: readonly LinkFrame[];
  /** Reports alone, in the form that answers a query, by the group's link. */
  readonly listening: readonly LinkFrame[];
}

export function announcementPlan(group: GroupSettings): AnnouncementPlan {
  const mac4 = virtualMac(4, group.virtualRouterId);
  const mac6 = virtualMac(6, group.virtualRouterId);
  const joined: LinkFrame[] = [];
  const listening: LinkFrame[] = [];
  const addresses: LinkFrame[] = [];
  for (const [link, { floating, announced }] of group.links.entries()) {
    const all = [...new Set([...floating, ...announced])].map(ipAddress);
    const ipv6 = all.filter(({ family }) => family === 6).map(({ octets }) => octets);
    for (const { family, octets } of all) {
      const frame = family === 4 ? gratuitousArp(mac4, octets) : unsolicitedNeighbourAdvertisement(mac6, octets);
      addresses.push({ link, frame });
    }
    if (ipv6.length === 0) continue;
    const groups = distinct([...ipv6, linkLocalAddress(mac6)].map(solicitedNodeGroup));
    for (const frame of mldReports(mac6, groups, 'joined')) joined.push({ link, frame });
    for (const frame of mldReports(mac6, groups, 'listening')) listening.push({ link, frame });
  }
  return { frames: [...joined, ...addresses], listening };
}

/** When rounds start, after the takeover. */
export const ANNOUNCEMENT_ROUNDS_MS: readonly Millis[] = [0, 100, 300, 700, 1_500];
export const ANNOUNCEMENT_REPEAT_MS: Millis = 60_000;
/** Frames of one batch, and the pause behind it: at most 32 frames per millisecond. */
export const ANNOUNCEMENT_BATCH = 64;
export const ANNOUNCEMENT_PAUSE_MS: Millis = 2;

export interface Announcing {
  readonly startedAt: Millis;
  /** Rounds started before this one. */
  readonly round: number;
  /** Next frame of the round; equal to the plan's length when it is done. */
  readonly next: number;
  /** When the next batch is due. */
  readonly dueAt: Millis;
}

export function startAnnouncing(now: Millis): Announcing {
  return { startedAt: now, round: 0, next: 0, dueAt: now };
}

/** Frames [from, to) of the plan are due; the state after they are sent. */
export interface Batch {
  readonly announcing: Announcing;
  readonly from: number;
  readonly to: number;
}

export function announce(announcing: Announcing, frames: number, now: Millis): Batch {
  if (now < announcing.dueAt) return { announcing, from: 0, to: 0 };
  const from = announcing.next;
  const to = Math.min(frames, from + ANNOUNCEMENT_BATCH);
  if (to < frames) return { announcing: { ...announcing, next: to, dueAt: now + ANNOUNCEMENT_PAUSE_MS }, from, to };
  const round = announcing.round + 1;
  const offset = ANNOUNCEMENT_ROUNDS_MS[round];
  // A round that took long does not make the next one come at once.
  const dueAt =
    offset === undefined
      ? now + ANNOUNCEMENT_REPEAT_MS
      : Math.max(announcing.startedAt + offset, now + ANNOUNCEMENT_PAUSE_MS);
  return { announcing: { ...announcing, round, next: 0, dueAt }, from, to };
}

function distinct(addresses: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(addresses.map((octets) => [formatIpAddress(octets), octets])).values()];
}
