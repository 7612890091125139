/** What goes into a traffic group's election, and what comes out of it. Types only. */

import type { LinksUp, Millis } from './condition.js';

export type Input =
  | { readonly type: 'startup' }
  | { readonly type: 'shutdown' }
  | { readonly type: 'timeout' }
  | { readonly type: 'advert'; readonly priority: number; readonly advertIntervalMs: Millis }
  | { readonly type: 'workers'; readonly alive: boolean }
  | { readonly type: 'links'; readonly links: LinksUp }
  | {
      readonly type: 'condition';
      readonly demotion: number;
      readonly inSync: boolean;
      readonly peerCanServe: boolean;
    }
  /** From the peer's hello: the highest term it has seen, and whether it is active. */
  | { readonly type: 'term-seen'; readonly term: number; readonly peerActive: boolean }
  /** The peer's kernel ended the mirror channel: its daemon has died or is stopping. */
  | { readonly type: 'peer-closed' }
  | { readonly type: 'hand-over' }
  | { readonly type: 'take-over' }
  | { readonly type: 'release' };

export type RoleReason =
  | 'able'
  | 'peer_silent'
  | 'peer_resigned'
  | 'take_over_requested'
  | 'outranked'
  | 'peer_has_higher_term'
  | 'term_raised'
  | 'lease_lost'
  | 'workers_stopped'
  | 'link_lost'
  | 'all_links_lost'
  | 'tracked_failure'
  | 'hand_over_requested'
  | 'handed_over'
  | 'shutdown';

export type Action =
  /** On every virtual router of the group; priority 0 three times. */
  | { readonly type: 'send-advert'; readonly priority: number }
  /** Priority 0 once on every virtual router, from a unit that is not active (any more): an active one shows itself. */
  | { readonly type: 'ask-active' }
  | {
      readonly type: 'set-role';
      readonly role: 'standby' | 'active' | 'handing-over';
      readonly term: number;
      readonly leaseMs: Millis;
      readonly reason: RoleReason;
    }
  | { readonly type: 'extend-lease'; readonly leaseMs: Millis }
  | { readonly type: 'announce' }
  | { readonly type: 'report'; readonly event: 'peer-took-over' | 'take-over-refused' };
