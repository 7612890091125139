/**
 * What two units must agree on besides the records: who is active for which group, what ids are called, when
 * a group is handed over, and whether the two tables are in sync.
 *
 * A bulk proves something only about the roles it was made under. So a change of roles makes one begin anew:
 * where a group became active here, or where the peer gave one up to us.
 */

import type { MirrorDictionary } from '../datapath.js';
import type { GroupRole, Hello } from './messages.js';
import { forget, isCurrent, settle } from './receiving.js';
import { contested, holds, named, sameGroups, someActivated, yielded } from './roles.js';
import { beginBulk } from './sending.js';
import {
  type Action,
  act,
  HAND_OVER_MS,
  type Input,
  type InSync,
  type Millis,
  type OpenLink,
  type State,
  type Step,
  stay,
} from './state.js';

export function inSync(state: State): InSync {
  const { link, groups } = state;
  const complete = link.name === 'open' && link.receive.phase === 'complete';
  return {
    self: groups.every((group) => holds(group) || complete),
    peer: link.name === 'open' && link.send.bulk === 'acked' && !contested(groups, link.peer.groups),
  };
}

/**
 * Our groups as the peer is told of them. A standby names the term that the next active unit needs at least, so
 * that its records count as newer than those held here.
 */
export function reportedGroups({ groups, termFloors }: State): readonly GroupRole[] {
  return groups.map((group) =>
    group.role === 'standby' ? { ...group, term: Math.max(group.term, termFloors[group.name] ?? 0) } : group,
  );
}

/**
 * Our own terms: the peer's records are newer than ours only under a higher one. A term that moved while we stood by
 * may be of a time as active too short to be heard of; taking it for one costs a bulk at most.
 */
export function withGroups(state: State, groups: readonly GroupRole[]): State {
  const floors: Record<string, number> = { ...state.termFloors };
  for (const group of groups) {
    const moved = group.term !== (named(state.groups, group.name)?.term ?? 0);
    if (moved || holds(group)) floors[group.name] = Math.max(floors[group.name] ?? 0, group.term + 1);
  }
  return { ...state, groups, termFloors: floors };
}

/**
 * The peer's terms. A peer that was started again counts its records from the start, so within a term of its former
 * life they would not be newer than what we hold: that term is over, and the next one is named to it.
 */
export function seeTerms(state: State, peer: Hello): State {
  const isAnotherLife = state.peerBootId !== null && state.peerBootId !== peer.bootId;
  const floors: Record<string, number> = { ...state.termFloors };
  if (isAnotherLife) for (const name of Object.keys(floors)) floors[name] = (floors[name] ?? 0) + 1;
  for (const { name, term } of peer.groups) floors[name] = Math.max(term, floors[name] ?? 0);
  // What it had of ours went with that life.
  return { ...state, termFloors: floors, peerBootId: peer.bootId, offers: state.offers || isAnotherLife };
}

export function onGroups(state: State, groups: readonly GroupRole[], now: Millis): Step {
  if (sameGroups(state.groups, groups)) return stay(state);
  const before = state.groups;
  const gaveUp = yielded(before, groups).length > 0;
  const offers = gaveUp && !gaveUpInOrder(state, groups);
  const next: State = { ...withGroups(state, groups), offers: state.offers || offers };
  if (next.link.name !== 'open') return stay(next);

  const mayHave = missedHolding(before, groups);
  const settled = settle(next, gaveUp || mayHave ? forget(next.link) : next.link);
  const terms: Action = { type: 'send', message: { type: 'terms', groups: reportedGroups(next) } };
  // Of a yield the peer hears by our terms, and announces; of one that we missed ourselves it does not.
  const request: Action[] = mayHave && !gaveUp ? [{ type: 'send', message: { type: 'bulk-request' } }] : [];
  const actions = [terms, ...request, ...settled.actions];
  if (settled.state.link.name !== 'open' || !(offers || someActivated(before, groups)))
    return { state: settled.state, actions };
  const bulk = beginBulk(settled.state, settled.state.link, now);
  return { state: bulk.state, actions: [...actions, ...bulk.actions] };
}

/** Each group given up was handed over to a peer that held our table, and nothing is left to tell. */
function gaveUpInOrder(state: State, after: readonly GroupRole[]): boolean {
  const before = yielded(state.groups, after).map((name) => named(state.groups, name));
  const { link } = state;
  if (link.name !== 'open' || link.send.takeAt !== null || link.send.unacked.length > 0) return false;
  return inSync(state).peer && before.every((group) => group?.role === 'handing-over');
}

/** Some group may have been held for a time too short to be heard of: its term moved while we stood by. */
function missedHolding(before: readonly GroupRole[], after: readonly GroupRole[]): boolean {
  return after.some((group) => {
    const old = named(before, group.name);
    return !holds(group) && !holds(old) && group.term !== (old?.term ?? 0);
  });
}

export function onPeerGroups(state: State, link: OpenLink, groups: readonly GroupRole[], now: Millis): Step {
  const before = link.peer.groups;
  if (sameGroups(before, groups)) return stay(state);
  const peer: Hello = { ...link.peer, groups };
  const told: OpenLink = { ...(someActivated(before, groups) ? forget(link) : link), peer };
  const known = seeTerms(state, peer);
  const settled = settle(known, told);
  // A term that we know to be over: unless the peer hears of it, it never raises its own.
  const reminder: Action[] = isCurrent(known, told)
    ? []
    : [{ type: 'send', message: { type: 'terms', groups: reportedGroups(known) } }];
  const news: readonly Action[] = [{ type: 'peer', peer }, ...reminder];

  // Both were active and the peer has given way: what it holds is judged by a bulk of ours that it can trust.
  const ours = yielded(before, groups).some((name) =>
    state.groups.some((group) => group.name === name && holds(group)),
  );
  if (settled.state.link.name !== 'open' || !ours)
    return { state: settled.state, actions: [...news, ...settled.actions] };
  const bulk = beginBulk(settled.state, settled.state.link, now);
  return { state: bulk.state, actions: [...news, ...settled.actions, ...bulk.actions] };
}

/** Ours goes out before the next batch; the peer's is looked up anew in our new names. */
export function onDictionary(state: State, dictionary: MirrorDictionary, config: Hello['config']): Step {
  const next: State = { ...state, dictionary, config };
  const { link } = state;
  if (link.name !== 'open') return stay(next);
  const actions: Action[] = [{ type: 'send', message: { type: 'dictionary', dictionary } }];
  if (link.dictionary === null) return { state: next, actions };
  actions.push({ type: 'set-dictionary', dictionary: link.dictionary });

  const { counts, unknownBefore } = link.receive;
  if (counts.unknown === unknownBefore) return { state: next, actions };
  actions.push({ type: 'send', message: { type: 'bulk-request' } });
  return {
    state: { ...next, link: { ...link, receive: { ...link.receive, unknownBefore: counts.unknown } } },
    actions,
  };
}

export function askHandOver(state: State, input: Extract<Input, { type: 'hand-over' }>, now: Millis): Step {
  const { group } = input;
  const refusal = (why: string): Step => act(state, { type: 'hand-over-answered', group, refusal: why });
  if (state.link.name !== 'open') return refusal('the peer is not connected');
  if (!inSync(state).peer && !input.forced) return refusal('the peer is not in sync');
  const others = state.link.handOvers.filter((handOver) => handOver.group !== group);
  const handOvers = [...others, { group, giveUpAt: now + HAND_OVER_MS }];
  return act({ ...state, link: { ...state.link, handOvers } }, { type: 'send', message: input });
}
