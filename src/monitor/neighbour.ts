/**
 * What is known of one neighbour (a member, or the gateway toward members), and when to ask the kernel to make
 * sure. Pure: `src/io/neighbours.ts` reads the kernel's events and sends what is wanted here.
 *
 * Read first: RFC 4861 section 7.3.2 for the states; the kernel uses them for ARP too.
 *
 * A MAC that works is never dropped on suspicion: the kernel passes through STALE, DELAY and PROBE every time
 * it makes sure, and an entry may vanish while a link loses its carrier for a moment. Only a neighbour that
 * has failed for `goneAfterMs` loses its MAC.
 *
 * The kernel is asked with NTF_USE ("somebody is about to use it"), which probes a stale entry and resolves a
 * failed or missing one, on every kernel. It marks nothing: when the asking stops, the entry ages like any other.
 */

import type { NeighbourMessage } from '../wire/rtnetlink.js';

export type Millis = number;

export interface NeighbourTiming {
  /** A known neighbour is confirmed this often. */
  readonly confirmEveryMs: Millis;
  /** One without an answer is asked for this often; the kernel needs three seconds to give up on one. */
  readonly retryEveryMs: Millis;
  /** How long resolution must fail before a MAC that worked is given up. */
  readonly goneAfterMs: Millis;
}

export const defaultTiming: NeighbourTiming = { confirmEveryMs: 5_000, retryEveryMs: 1_000, goneAfterMs: 5_000 };

export interface NeighbourState {
  /** What frames are sent to; null: nobody answers. `02:00:00:00:00:01`. */
  readonly mac: string | null;
  /** Since when the kernel has had no answer; null: it has one. */
  readonly failingSince: Millis | null;
  readonly askAt: Millis;
  /** The entry is the operator's own (permanent, noarp): read, never touched. */
  readonly fixed: boolean;
}

/**
 * What the kernel's entry says. `stale`: heard or being confirmed (STALE, DELAY, PROBE); `failed`: no answer (FAILED,
 * INCOMPLETE, or no entry at all); `fixed`: the operator's (PERMANENT, NOARP).
 */
export type EntryState = 'reachable' | 'stale' | 'failed' | 'fixed';

export type Input =
  | { readonly type: 'entry'; readonly entry: EntryState; readonly mac: string | null }
  /** There is reason to make sure now: the link got its carrier back, a monitor lost its member. */
  | { readonly type: 'doubt' }
  | { readonly type: 'timeout' };

export type Action = { readonly type: 'ask' } | { readonly type: 'mac'; readonly mac: string | null };

export interface Step {
  readonly state: NeighbourState;
  readonly actions: readonly Action[];
}

export function initial(now: Millis): NeighbourState {
  return { mac: null, failingSince: now, askAt: now, fixed: false };
}

/** When the caller must come back with a `timeout`; null: only an event can change anything. */
export function deadline(timing: NeighbourTiming, state: NeighbourState): Millis | null {
  const goneAt = state.mac !== null && state.failingSince !== null ? state.failingSince + timing.goneAfterMs : null;
  if (state.fixed) return goneAt;
  return goneAt === null ? state.askAt : Math.min(goneAt, state.askAt);
}

export function step(timing: NeighbourTiming, state: NeighbourState, input: Input, now: Millis): Step {
  switch (input.type) {
    case 'entry':
      return onEntry(timing, state, input, now);
    case 'doubt':
      return { state: { ...state, askAt: Math.min(state.askAt, now) }, actions: [] };
    case 'timeout':
      return onTimeout(timing, state, now);
  }
}

function onEntry(
  timing: NeighbourTiming,
  state: NeighbourState,
  input: Extract<Input, { type: 'entry' }>,
  now: Millis,
): Step {
  if (input.entry === 'fixed') {
    return changed(state, { ...state, fixed: true, mac: input.mac, failingSince: null });
  }
  const working = (input.entry === 'reachable' || input.entry === 'stale') && input.mac !== null;
  if (!working) {
    const failingSince = state.failingSince ?? now;
    const askAt = Math.min(state.askAt, now + timing.retryEveryMs);
    return changed(state, { ...state, fixed: false, failingSince, askAt });
  }
  // Stale: what the kernel heard without asking, a gateway's announcement for instance. It is followed at once,
  // and confirmed at once, for it may be wrong.
  const heard = input.entry === 'stale' && input.mac !== state.mac;
  const askAt = heard ? now : Math.max(state.askAt, state.failingSince === null ? 0 : now + timing.confirmEveryMs);
  return changed(state, { mac: input.mac, failingSince: null, askAt, fixed: false });
}

function onTimeout(timing: NeighbourTiming, state: NeighbourState, now: Millis): Step {
  const lost = state.failingSince !== null && now >= state.failingSince + timing.goneAfterMs;
  const ask = !state.fixed && now >= state.askAt;
  const every = state.failingSince === null ? timing.confirmEveryMs : timing.retryEveryMs;
  const next = { ...state, mac: lost ? null : state.mac, askAt: ask ? now + every : state.askAt };
  const outcome = changed(state, next);
  return ask ? { ...outcome, actions: [...outcome.actions, { type: 'ask' }] } : outcome;
}

function changed(before: NeighbourState, after: NeighbourState): Step {
  return { state: after, actions: before.mac === after.mac ? [] : [{ type: 'mac', mac: after.mac }] };
}

/** What an entry of the kernel's says; null: there is none. */
export function entryInput(message: NeighbourMessage | null): Input {
  const entry = message === null ? 'failed' : entryStates[message.state];
  return { type: 'entry', entry, mac: entry === 'failed' ? null : (message?.mac ?? null) };
}

const entryStates: Readonly<Record<NeighbourMessage['state'], EntryState>> = {
  none: 'failed',
  incomplete: 'failed',
  failed: 'failed',
  reachable: 'reachable',
  stale: 'stale',
  delay: 'stale',
  probe: 'stale',
  noarp: 'fixed',
  permanent: 'fixed',
};
