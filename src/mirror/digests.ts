/**
 * Whether both tables hold the same connections: who says what of the digests, and when.
 *
 *   sender    every TELL_MS, behind a take that left nothing pending: `digest` with the sums of what it has told so
 *             far, but of virtual servers that are announced anew or lost closes
 *   receiver  has applied exactly the batches before it, so its sums of what it heard must be the same
 *   receiver  `digest-answer`: which virtual servers differ; and asks for a bulk of those alone (server_bulk.ts)
 *
 * A digest belongs to its place between two batches, so churn makes no difference. One may still be seen where a tuple
 * was closed and opened again by two workers at the same moment, and is over with the next batch: a virtual server
 * differs when it did so twice in a row.
 *
 * Sums are those of what was sent and applied; both units also walk through their tables, lap by lap, and put the
 * sums right by what they find (native/mirror_digest.h). So a table that was altered shows at the next digest.
 */

import type { Digest } from '../datapath.js';
import type { Message } from './messages.js';
import { clear, sameGroups } from './roles.js';
import { wantServerBulk } from './server_bulk.js';
import {
  type Action,
  type Agreement,
  type Agreements,
  DIGEST_VERSION,
  type Digesting,
  type Input,
  LAP_MS,
  type Millis,
  type OpenLink,
  type Side,
  type State,
  type Step,
  stay,
  TELL_MS,
} from './state.js';

type DigestMessage = Extract<Message, { type: 'digest' }>;
type Compared = Extract<Input, { type: 'compared' }>;

export function speaksDigests(link: OpenLink): boolean {
  return link.version >= DIGEST_VERSION;
}

/** Sums prove something from a bulk's end on, and only under the roles that it was made under. */
export function followDigests(before: State, next: Step, now: Millis): Step {
  const was = before.link.name === 'open' ? before.link : null;
  const { state } = next;
  const is = state.link.name === 'open' ? state.link : null;
  if (is === null) return was === null ? next : { ...next, state: forgetAgreements(state, now) };
  if (!speaksDigests(is)) return next;
  const acked = is.send.bulk === 'acked' && was?.send.bulk !== 'acked';
  const complete = is.receive.phase === 'complete' && was?.receive.phase !== 'complete';
  const moved =
    was !== null && !(sameGroups(before.groups, state.groups) && sameGroups(was.peer.groups, is.peer.groups));
  if (!acked && !complete && !moved) return next;
  const digesting: Digesting = { ...is.digesting, sweepAt: now, tellAt: now + TELL_MS, suspected: [] };
  const fresh: State = { ...state, link: { ...is, digesting } };
  return {
    state: moved ? forgetAgreements(fresh, now) : fresh,
    actions: [...next.actions, { type: 'restart-digests' }],
  };
}

export function digestDeadline(link: OpenLink): Millis | null {
  const { sweepAt, tellAt } = link.digesting;
  const due = [sweepAt, mayTell(link) ? tellAt : null].filter((at) => at !== null);
  return due.length === 0 ? null : Math.min(...due);
}

export function digestsIfDue(state: State, link: OpenLink, now: Millis): Step {
  const { sweepAt, tellAt } = link.digesting;
  const actions: Action[] = [];
  let next = link;
  if (sweepAt !== null && now >= sweepAt) {
    actions.push({ type: 'sweep-digests' });
    next = { ...next, digesting: { ...next.digesting, sweepAt: null } };
  }
  // What is pending is taken first; tellDigests() follows that take.
  if (tellAt !== null && now >= tellAt && mayTell(next) && next.send.takeAt === null) {
    next = { ...next, send: { ...next.send, takeAt: now } };
  }
  return { state: { ...state, link: next }, actions };
}

/** To be called when a take has left nothing pending: what was told is now what the table holds. */
export function tellDigests(state: State, link: OpenLink, now: Millis): Step {
  const { tellAt } = link.digesting;
  if (tellAt === null || now < tellAt || !mayTell(link)) return stay({ ...state, link });
  const digesting = { ...link.digesting, tellAt: now + TELL_MS };
  const except = link.serverBulks.sending?.servers ?? [];
  return {
    state: { ...state, link: { ...link, digesting } },
    actions: [{ type: 'tell-digests', generation: state.generation, sequence: link.send.sequence, except }],
  };
}

function mayTell(link: OpenLink): boolean {
  return link.send.bulk === 'acked';
}

/** `share`: of a lap. The whole table within LAP_MS, however large it is. */
export function onSwept(state: State, link: OpenLink, share: number, now: Millis): Step {
  const sweepAt = now + Math.max(1, LAP_MS * share);
  return stay({ ...state, link: { ...link, digesting: { ...link.digesting, sweepAt } } });
}

/** A digest of another place in the stream (the other path was faster, or a bulk is under way) says nothing. */
export function onDigest(state: State, link: OpenLink, digest: DigestMessage): Step {
  const { receive } = link;
  const here = digest.sequence === receive.sequence && digest.generation === receive.generation;
  // While both units are active for a group nobody holds what the other told.
  if (!here || receive.phase !== 'complete' || !clear(state.groups, link.peer.groups)) return stay(state);
  return { state, actions: [{ type: 'compare-digests', told: { sums: digest.sums, unsummed: digest.unsummed } }] };
}

export function onCompared(state: State, link: OpenLink, { told, heard }: Compared, now: Millis): Step {
  if (heard === null || link.receive.phase !== 'complete') return stay(state);
  const toldOf = new Map(told.sums.map((sum) => [sum.name, sum]));
  const heardOf = new Map(heard.sums.map((sum) => [sum.name, sum]));
  const unsummed = new Set([...told.unsummed, ...heard.unsummed]);
  const ours = state.dictionary.virtualServers.map(({ name }) => name);
  const comparable = ours.filter((name) => !unsummed.has(name) && !isRepaired(link, name, now));
  const theirs = new Set(link.dictionary?.virtualServers.map(({ name }) => name));
  const unlike = comparable.filter((name) => theirs.has(name) && !sameSums(toldOf.get(name), heardOf.get(name)));
  const differing = unlike.filter((name) => link.digesting.suspected.includes(name));
  const suspected = unlike.filter((name) => !differing.includes(name));
  const compared = comparable.filter((name) => !suspected.includes(name));

  const noted = note(state, 'heard', compared, differing, now);
  const checked: OpenLink = { ...link, digesting: { ...link.digesting, suspected: unlike } };
  const uncompared = ours.filter((name) => !comparable.includes(name));
  const answer: Action = { type: 'send', message: { type: 'digest-answer', suspected, differing, uncompared } };
  const asked = wantServerBulk({ ...noted.state, link: checked }, checked, compared, differing, now);
  return { state: asked.state, actions: [...noted.actions, answer, ...asked.actions] };
}

/** What the peer found of ours. */
export function onDigestAnswer(
  state: State,
  link: OpenLink,
  answer: Extract<Message, { type: 'digest-answer' }>,
  now: Millis,
): Step {
  const theirs = new Set(link.peer.config.virtualServers);
  const compared = state.dictionary.virtualServers
    .map(({ name }) => name)
    .filter((name) => theirs.has(name) && !answer.suspected.includes(name) && !answer.uncompared.includes(name));
  return note(state, 'told', compared, answer.differing, now);
}

function isRepaired(link: OpenLink, name: string, now: Millis): boolean {
  const { receiving, asked } = link.serverBulks;
  const waiting = asked[name];
  return receiving?.servers.includes(name) || (waiting?.answered === false && now < waiting.againAt);
}

function sameSums(one: Digest | undefined, other: Digest | undefined): boolean {
  return (one?.connections ?? 0) === (other?.connections ?? 0) && (one?.identities ?? 0n) === (other?.identities ?? 0n);
}

function note(state: State, side: Side, compared: readonly string[], differing: readonly string[], now: Millis): Step {
  const known: Record<string, Agreement> = { ...state.agreements[side] };
  const actions: Action[] = [];
  for (const name of compared) {
    const before = known[name] ?? { is: 'unknown', since: now, differences: 0, repairs: 0 };
    const is = differing.includes(name) ? 'differs' : 'agrees';
    if (before.is === is) continue;
    known[name] = { ...before, is, since: now, differences: before.differences + (is === 'differs' ? 1 : 0) };
    if (is === 'differs') actions.push({ type: 'differs', virtualServer: name, side });
  }
  return { state: { ...state, agreements: { ...state.agreements, [side]: known } }, actions };
}

/** Nothing is known any more of what was compared under other roles, or with a peer that is gone. */
function forgetAgreements(state: State, now: Millis): State {
  const unknown = (side: Side): Agreements[Side] =>
    Object.fromEntries(
      Object.entries(state.agreements[side]).map(([name, known]) => [
        name,
        known.is === 'unknown' ? known : { ...known, is: 'unknown', since: now },
      ]),
    );
  return { ...state, agreements: { told: unknown('told'), heard: unknown('heard') } };
}
