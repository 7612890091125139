/**
 * Two ways to the peer under one channel: which connection carries it, and how it moves to the other.
 *
 * A pure function. What the session (session.ts) sees is one connection that ends when no path is left. Below it
 * every message of a channel has a number, from the hello on, that is nowhere written: both ends count. The sender
 * keeps messages until it knows them received (kept_messages.ts); a path that takes over begins with what the
 * other end has received, and what is missing is sent again. Nothing is applied twice, nothing is lost.
 *
 *      unit a (dials, chooses the path)              unit b
 *        hello { channel: id }  ──────────────►        both are at version 3: the channel can move
 *        join id  ─── on the other path ──────►        it stands by, keepalives on both
 *        ◄──────────────────────────────  join id
 *        switch id, received m  ──────────────►        no longer listens to the path before
 *        ◄──────────────  switch id, received n        goes on with message m + 1
 *        goes on with message n + 1
 *
 * A peer at version 2 has one path, and its channel ends with it.
 */

import type { Message } from './messages.js';
import { BACKOFF_MAX_MS, BACKOFF_MIN_MS, GREETING_MS, type Millis, VERSION_MAX } from './state.js';

/** 0 is the primary path, 1 the secondary. */
export type PathIndex = number;

export interface PathSettings {
  readonly dials: boolean;
  readonly paths: 1 | 2;
  readonly keepaliveMs: Millis;
}

/** From this version on a channel can move. */
export const VERSION_RESUMES = 3;
/** Keepalive intervals without a byte after which a path is given up: less than the session's own patience. */
export const PATH_MISSED_MAX = 2;
/** How long the primary path must have been whole before the channel returns to it. */
export const RETURN_MS: Millis = 2_000;
/** The secondary path is tried this much after the primary. */
const STAGGER_MS: Millis = 200;
/** Received messages after which the peer is told, so that it need not keep them. */
const RECEIPT_MESSAGES = 32;

export interface PathsState {
  readonly channel: Channel | null;
  readonly paths: readonly Path[];
  /** Times that the channel moved. */
  readonly switches: number;
}

export interface Channel {
  /** Chosen by the unit that dials; 0: the peer named none. */
  readonly id: number;
  /** Null until the peer's hello has said its version. */
  readonly moves: boolean | null;
  /** The path that messages are sent on and believed from; null: the one there was has ended. */
  readonly using: PathIndex | null;
  /** Until when the other end must have agreed on a path; null: nothing is outstanding. */
  readonly agreeBy: Millis | null;
  /** Messages heard, the hello included. */
  readonly received: number;
  /** Of these, how many the peer has been told. */
  readonly receipted: number;
}

export type Path =
  /** `dialAt` null: nothing is tried. */
  | { readonly name: 'down'; readonly dialAt: Millis | null; readonly attempt: number }
  | { readonly name: 'dialling'; readonly giveUpAt: Millis; readonly attempt: number }
  | {
      readonly name: 'up';
      /** A path stands by, or is used, once joined. */
      readonly standing: 'waiting' | 'joining' | 'joined';
      readonly since: Millis;
      readonly keepaliveAt: Millis;
      readonly deadAt: Millis;
    };

export type PathsInput =
  /** The session wants a channel. `chance` in [0, 1) names it. */
  | { readonly type: 'dial'; readonly chance: number }
  /** The session wants none. */
  | { readonly type: 'end'; readonly reason: string }
  /** A connection is there, dialled or accepted. */
  | { readonly type: 'up'; readonly path: PathIndex }
  | { readonly type: 'down'; readonly path: PathIndex; readonly reason: string; readonly byPeer: boolean }
  | { readonly type: 'heard'; readonly path: PathIndex }
  | { readonly type: 'message'; readonly path: PathIndex; readonly message: Message }
  | { readonly type: 'timeout' };

export type PathsAction =
  | { readonly type: 'dial'; readonly path: PathIndex }
  /** `down` does not follow. */
  | { readonly type: 'end'; readonly path: PathIndex; readonly reason: string }
  /** Not numbered, not kept. */
  | { readonly type: 'send'; readonly path: PathIndex; readonly message: Message }
  /** Every kept message above `received`, before any other. */
  | { readonly type: 'resend'; readonly path: PathIndex; readonly received: number }
  /** Messages up to this one need not be kept. */
  | { readonly type: 'received'; readonly upTo: number }
  // ---- for the session
  | { readonly type: 'opened' }
  | { readonly type: 'heard' }
  | { readonly type: 'deliver'; readonly message: Message }
  | { readonly type: 'closed'; readonly reason: string; readonly byPeer: boolean };

export interface PathsStep {
  readonly state: PathsState;
  readonly actions: readonly PathsAction[];
}

export function initialPaths({ paths }: PathSettings): PathsState {
  return { channel: null, paths: Array.from({ length: paths }, () => DOWN), switches: 0 };
}

const DOWN: Path = { name: 'down', dialAt: null, attempt: 0 };

/** The path that a message of the session may be written to now; null: it is kept until there is one. */
export function writablePath({ channel }: PathsState): PathIndex | null {
  return channel === null || channel.agreeBy !== null ? null : channel.using;
}

/** Whether messages must be kept: until the peer is known to be unable to move, they are. */
export function keeps({ channel }: PathsState): boolean {
  return channel !== null && channel.moves !== false;
}

/** Whether a first message on an accepted connection of this path may be the peer's; its unit is checked elsewhere. */
export function admits({ channel }: PathsState, message: Message): boolean {
  if (message.type === 'hello') return true;
  return message.type === 'join' && channel?.moves === true && channel.id === message.generation;
}

export function pathsDeadline(settings: PathSettings, { channel, paths }: PathsState): Millis | null {
  let earliest = channel?.agreeBy ?? Number.POSITIVE_INFINITY;
  for (const [index, path] of paths.entries()) {
    if (path.name === 'down') {
      earliest = Math.min(earliest, path.dialAt ?? Number.POSITIVE_INFINITY);
    } else if (path.name === 'dialling') {
      earliest = Math.min(earliest, path.giveUpAt);
    } else if (channel?.moves === true) {
      earliest = Math.min(earliest, path.keepaliveAt, path.deadAt);
      if (mayReturn(settings, channel, paths, index)) earliest = Math.min(earliest, path.since + RETURN_MS);
    }
  }
  return Number.isFinite(earliest) ? earliest : null;
}

export function pathsStep(settings: PathSettings, state: PathsState, input: PathsInput, now: Millis): PathsStep {
  switch (input.type) {
    case 'dial':
      return dial(state, input.chance, now);
    case 'end':
      return state.channel === null && state.paths.every(({ name }) => name === 'down')
        ? stay(state)
        : close(state, input.reason, false);
    case 'up':
      return onUp(settings, state, input.path, now);
    case 'down':
      return onDown(settings, state, input, now);
    case 'heard':
      return onHeard(settings, state, input.path, now);
    case 'message':
      return onMessage(settings, state, input.path, input.message, now);
    case 'timeout':
      return onTimeout(settings, state, now);
  }
}

// ---- connections come and go

function dial(state: PathsState, chance: number, now: Millis): PathsStep {
  if (state.channel !== null) return stay(state);
  const paths = state.paths.map((_, index): Path => ({ name: 'down', dialAt: now + index * STAGGER_MS, attempt: 0 }));
  return dialDue({ ...state, paths, channel: newChannel(1 + Math.floor(chance * 0xffff_fffe)) }, now);
}

function newChannel(id: number): Channel {
  return { id, moves: null, using: null, agreeBy: null, received: 0, receipted: 0 };
}

function dialDue(state: PathsState, now: Millis): PathsStep {
  const actions: PathsAction[] = [];
  const paths = state.paths.map((path, index): Path => {
    if (path.name !== 'down' || path.dialAt === null || now < path.dialAt) return path;
    actions.push({ type: 'dial', path: index });
    return { name: 'dialling', giveUpAt: now + GREETING_MS, attempt: path.attempt };
  });
  return { state: { ...state, paths }, actions };
}

function onUp(settings: PathSettings, state: PathsState, index: PathIndex, now: Millis): PathsStep {
  const { channel } = state;
  const up: Path = {
    name: 'up',
    standing: 'waiting',
    since: now,
    keepaliveAt: now + settings.keepaliveMs,
    deadAt: now + patienceMs(settings),
  };
  const next = withPath(state, index, up);
  // Unit b hears first what a connection is for.
  if (!settings.dials || channel === null) return stay(next);
  if (channel.using === null && channel.moves === null) {
    const opened = withPath(next, index, { ...up, standing: 'joined' });
    return { state: { ...opened, channel: { ...channel, using: index } }, actions: [{ type: 'opened' }] };
  }
  return channel.moves === true ? join(next, channel, index) : stay(next);
}

function join(state: PathsState, channel: Channel, index: PathIndex): PathsStep {
  const path = state.paths[index];
  if (path?.name !== 'up') return stay(state);
  const message: Message = { type: 'join', generation: channel.id };
  return {
    state: withPath(state, index, { ...path, standing: 'joining' }),
    actions: [{ type: 'send', path: index, message }],
  };
}

function onDown(
  settings: PathSettings,
  state: PathsState,
  { path: index, reason, byPeer }: Extract<PathsInput, { type: 'down' }>,
  now: Millis,
): PathsStep {
  const { channel } = state;
  const before = state.paths[index];
  const attempt = attemptAfter(before);
  const wait = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** attempt);
  const dialAt = settings.dials && channel?.moves === true ? now + wait : null;
  const next = withPath(state, index, { name: 'down', dialAt, attempt });
  if (channel === null) return stay(next);
  if (channel.moves === null && channel.using === null) {
    // Not opened yet: the other path may still come about.
    const pending = next.paths.some((path) => path.name !== 'down' || path.dialAt !== null);
    return pending ? stay(next) : close(next, reason, byPeer);
  }
  if (channel.using !== null && channel.using !== index) return stay(next);
  return moveAway(settings, next, channel, reason, byPeer, now);
}

/** A connection that came about and was refused is not tried again at once. */
function attemptAfter(path: Path | undefined): number {
  if (path === undefined) return 0;
  if (path.name !== 'up') return path.attempt + 1;
  return path.standing === 'joined' ? 0 : REFUSED_ATTEMPT;
}

const REFUSED_ATTEMPT = 3;

/** The path in use has ended. */
function moveAway(
  settings: PathSettings,
  state: PathsState,
  channel: Channel,
  reason: string,
  byPeer: boolean,
  now: Millis,
): PathsStep {
  const other = state.paths.findIndex((path) => path.name === 'up' && path.standing === 'joined');
  if (channel.moves !== true || other < 0) return close(state, reason, byPeer);
  if (settings.dials) return use(settings, state, channel, other, now);
  if (channel.using === null) return stay(state);
  return stay({ ...state, channel: { ...channel, using: null, agreeBy: now + patienceMs(settings) } });
}

/** Unit a: asks for the channel to go on by a path. */
function use(settings: PathSettings, state: PathsState, channel: Channel, index: PathIndex, now: Millis): PathsStep {
  const { id, received } = channel;
  const message: Message = { type: 'switch', generation: id, sequence: received };
  const moved: Channel = { ...channel, using: index, receipted: received, agreeBy: now + patienceMs(settings) };
  return {
    state: { ...state, channel: moved, switches: state.switches + 1 },
    actions: [{ type: 'send', path: index, message }],
  };
}

/** Everything ends, as the session sees it. */
function close(state: PathsState, reason: string, byPeer: boolean): PathsStep {
  const ends = state.paths.flatMap((path, index): PathsAction[] =>
    path.name === 'down' ? [] : [{ type: 'end', path: index, reason }],
  );
  return {
    state: { ...state, channel: null, paths: state.paths.map(() => DOWN) },
    actions: [...ends, { type: 'closed', reason, byPeer }],
  };
}

// ---- what is heard

function onHeard(settings: PathSettings, state: PathsState, index: PathIndex, now: Millis): PathsStep {
  const path = state.paths[index];
  if (path?.name !== 'up') return stay(state);
  const next = withPath(state, index, { ...path, deadAt: now + patienceMs(settings) });
  return { state: next, actions: state.channel === null ? [] : [{ type: 'heard' }] };
}

function onMessage(
  settings: PathSettings,
  state: PathsState,
  index: PathIndex,
  message: Message,
  now: Millis,
): PathsStep {
  const { channel } = state;
  switch (message.type) {
    case 'join':
      return onJoin(state, index, message.generation);
    case 'switch':
      return onSwitch(settings, state, index, message);
    case 'receipt':
      if (channel?.moves !== true || channel.using === null) return stay(state);
      return { state, actions: [{ type: 'received', upTo: message.sequence }] };
    case 'hello':
      return onHello(settings, state, index, message, now);
    default:
      // Of a path that the channel has left: what is missing comes again.
      if (channel === null || channel.using !== index || channel.agreeBy !== null) return stay(state);
      return onNumbered(state, channel, index, message);
  }
}

function onNumbered(state: PathsState, channel: Channel, index: PathIndex, message: Message): PathsStep {
  const received = channel.received + 1;
  const deliver: PathsAction = { type: 'deliver', message };
  if (channel.moves !== true || received - channel.receipted < RECEIPT_MESSAGES) {
    return { state: { ...state, channel: { ...channel, received } }, actions: [deliver] };
  }
  const receipt: PathsAction = { type: 'send', path: index, message: { type: 'receipt', sequence: received } };
  return { state: { ...state, channel: { ...channel, received, receipted: received } }, actions: [deliver, receipt] };
}

function onHello(
  settings: PathSettings,
  state: PathsState,
  index: PathIndex,
  message: Extract<Message, { type: 'hello' }>,
  now: Millis,
): PathsStep {
  const { versionMin, versionMax, channel: named = 0 } = message.hello;
  const version = Math.min(VERSION_MAX, versionMax);
  const understood = version >= VERSION_RESUMES && version >= versionMin;
  const { channel } = state;
  if (settings.dials) {
    if (channel === null || channel.using !== index) return stay(state);
    const numbered = onNumbered({ ...state }, { ...channel, moves: understood }, index, message);
    if (!understood) {
      const paths = numbered.state.paths.map((path, other) => (other === index ? path : DOWN));
      return { state: { ...numbered.state, paths }, actions: [...numbered.actions, ...endOthers(state, index)] };
    }
    const joined = joinOthers(numbered.state, index, now);
    return { state: joined.state, actions: [...numbered.actions, ...joined.actions] };
  }
  // A peer that says hello begins anew, whatever there was.
  const path = state.paths[index];
  if (path?.name !== 'up') return stay(state);
  const before = channel === null ? stay(state) : close(withPath(state, index, DOWN), REPLACED, false);
  const begun: Channel = { ...newChannel(named), moves: understood && named !== 0, using: index, received: 1 };
  const next = withPath(before.state, index, { ...path, standing: 'joined' });
  return {
    state: { ...next, channel: begun },
    actions: [...before.actions, { type: 'opened' }, { type: 'deliver', message }],
  };
}

const REPLACED = 'replaced by a new connection of the peer';

function endOthers(state: PathsState, index: PathIndex): PathsAction[] {
  return state.paths.flatMap((path, other): PathsAction[] =>
    other === index || path.name === 'down' ? [] : [{ type: 'end', path: other, reason: 'the peer has one path' }],
  );
}

/** The channel can move: connections that wait join it, and the others are dialled. */
function joinOthers(state: PathsState, index: PathIndex, now: Millis): PathsStep {
  let next = state;
  const actions: PathsAction[] = [];
  for (const [other, path] of state.paths.entries()) {
    if (other === index || next.channel === null) continue;
    if (path.name === 'up') {
      const joined = join(next, next.channel, other);
      next = joined.state;
      actions.push(...joined.actions);
    } else if (path.name === 'down') {
      next = withPath(next, other, { name: 'down', dialAt: now, attempt: 0 });
    }
  }
  const dialled = dialDue(next, now);
  return { state: dialled.state, actions: [...actions, ...dialled.actions] };
}

/** Unit b is asked, unit a is answered. */
function onJoin(state: PathsState, index: PathIndex, id: number): PathsStep {
  const { channel } = state;
  const path = state.paths[index];
  if (path?.name !== 'up' || channel?.moves !== true || channel.id !== id || path.standing === 'joined') {
    return stay(state);
  }
  const next = withPath(state, index, { ...path, standing: 'joined' });
  if (path.standing === 'joining') return stay(next);
  return { state: next, actions: [{ type: 'send', path: index, message: { type: 'join', generation: id } }] };
}

function onSwitch(
  settings: PathSettings,
  state: PathsState,
  index: PathIndex,
  { generation, sequence }: Extract<Message, { type: 'switch' }>,
): PathsStep {
  const { channel } = state;
  const path = state.paths[index];
  if (path?.name !== 'up' || channel?.moves !== true || channel.id !== generation) return stay(state);
  const resend: PathsAction = { type: 'resend', path: index, received: sequence };
  if (settings.dials) {
    if (channel.using !== index || channel.agreeBy === null) return stay(state);
    return { state: { ...state, channel: { ...channel, agreeBy: null } }, actions: [resend] };
  }
  const { received } = channel;
  const answer: Message = { type: 'switch', generation, sequence: received };
  const moved: Channel = { ...channel, using: index, receipted: received, agreeBy: null };
  return {
    state: { ...withPath(state, index, { ...path, standing: 'joined' }), channel: moved, switches: state.switches + 1 },
    actions: [{ type: 'send', path: index, message: answer }, resend],
  };
}

// ---- time

function onTimeout(settings: PathSettings, state: PathsState, now: Millis): PathsStep {
  if (state.channel?.agreeBy != null && now >= state.channel.agreeBy) {
    return close(state, 'the units did not agree on a path', false);
  }
  const actions: PathsAction[] = [];
  let next = state;
  for (const index of state.paths.keys()) {
    const turned = pathTimeout(settings, next, index, now);
    next = turned.state;
    actions.push(...turned.actions);
  }
  const dialled = dialDue(next, now);
  return { state: dialled.state, actions: [...actions, ...dialled.actions] };
}

function pathTimeout(settings: PathSettings, state: PathsState, index: PathIndex, now: Millis): PathsStep {
  const path = state.paths[index];
  const { channel } = state;
  if (path?.name === 'dialling') {
    return now < path.giveUpAt ? stay(state) : giveUp(settings, state, index, 'no answer', now);
  }
  if (path?.name !== 'up' || channel?.moves !== true) return stay(state);
  let kept = path;
  if (now >= path.deadAt) {
    // Late by more than a keepalive: this process stood still, which says nothing about the path. And where there is
    // no other path this one is given up when the session loses its patience, not before.
    const isGivenUp = now - path.deadAt <= settings.keepaliveMs && !isLast(channel, state.paths, index);
    if (isGivenUp) return giveUp(settings, state, index, 'the path fell silent', now);
    kept = { ...kept, deadAt: now + settings.keepaliveMs };
  }
  const actions: PathsAction[] = [];
  let told = channel;
  if (now >= path.keepaliveAt) {
    actions.push({ type: 'send', path: index, message: { type: 'receipt', sequence: channel.received } });
    told = { ...channel, receipted: channel.received };
    kept = { ...kept, keepaliveAt: now + settings.keepaliveMs };
  }
  const next: PathsState = { ...withPath(state, index, kept), channel: told };
  if (!mayReturn(settings, told, next.paths, index) || now < kept.since + RETURN_MS) return { state: next, actions };
  const moved = use(settings, next, told, index, now);
  return { state: moved.state, actions: [...actions, ...moved.actions] };
}

/** Whether the channel would end with this path. */
function isLast(channel: Channel, paths: readonly Path[], index: PathIndex): boolean {
  const isOther = (path: Path, at: number): boolean => at !== index && path.name === 'up' && path.standing === 'joined';
  return channel.using === index && !paths.some(isOther);
}

function giveUp(settings: PathSettings, state: PathsState, index: PathIndex, reason: string, now: Millis): PathsStep {
  const down = onDown(settings, state, { type: 'down', path: index, reason, byPeer: false }, now);
  return { state: down.state, actions: [{ type: 'end', path: index, reason }, ...down.actions] };
}

/** Unit a takes the channel back to the primary path when that stands by. */
function mayReturn(
  { dials }: PathSettings,
  channel: Channel | null,
  paths: readonly Path[],
  index: PathIndex,
): boolean {
  const path = paths[index];
  if (!dials || index !== 0 || channel === null || channel.using !== 1 || channel.agreeBy !== null) return false;
  return path?.name === 'up' && path.standing === 'joined';
}

// ---- small things

function withPath(state: PathsState, index: PathIndex, path: Path): PathsState {
  return { ...state, paths: state.paths.map((other, at) => (at === index ? path : other)) };
}

function patienceMs({ keepaliveMs }: PathSettings): Millis {
  return keepaliveMs * PATH_MISSED_MAX;
}

function stay(state: PathsState): PathsStep {
  return { state, actions: [] };
}
