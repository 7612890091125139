/**
 * Two units that agree on a config, and everything that can happen to them, one happening at a time: a message
 * arrives, an operation ends, a deadline passes, an operation fails, the link is lost, a unit dies and is started
 * again. The world is a value: `choices()` are what may happen next, `after()` is the world in which it did.
 *
 * What a unit has written down outlives it: the file's text, its revision, and what is prepared.
 */

import type { ConfigRevision, ConfigStanding, UnitName } from '../../src/config/model.js';
import {
  type Action,
  type Input,
  type Outcome,
  type Proposal,
  refusalOf,
  type State,
} from '../../src/config_sync/state.js';
import { deadline, initial, step } from '../../src/config_sync/sync.js';
import type { ConfigMessage } from '../../src/mirror/messages.js';
import { CONFIG_VERSION } from '../../src/mirror/state.js';

/** Texts are their own digests here. */
interface Disk {
  readonly text: string;
  readonly revision: ConfigRevision | null;
  readonly prepared: ConfigRevision | null;
  readonly staged: string | null;
}

export interface Side {
  readonly state: State;
  readonly disk: Disk;
  /** To be carried out, oldest first; what is to be said belongs to one connection. */
  readonly todo: readonly { readonly action: Action; readonly connection: number }[];
  /** Sent by it and not arrived. */
  readonly sent: readonly ConfigMessage[];
  readonly answers: readonly Outcome[];
}

export interface World {
  readonly a: Side;
  readonly b: Side;
  readonly isUp: boolean;
  readonly connection: number;
  /** Only deadlines that pass move it. */
  readonly now: number;
  /** Faults that may still happen. */
  readonly faults: number;
  /** What went wrong with a promise, as soon as it did. */
  readonly broken: string | null;
}

export type Choice =
  | { readonly what: 'perform' | 'deliver' | 'timeout' | 'crash' | 'fail'; readonly unit: UnitName }
  | { readonly what: 'lose' | 'meet' };

export const units = ['a', 'b'] as const;

export function begin(texts: Readonly<Record<UnitName, ConfigStanding>>, faults: number): World {
  const side = (unit: UnitName): Side => {
    const { revision, digest } = texts[unit];
    return {
      state: initial(unit, digest, texts[unit]),
      disk: { text: digest, revision, prepared: null, staged: null },
      todo: [],
      sent: [],
      answers: [],
    };
  };
  return { a: side('a'), b: side('b'), isUp: false, connection: 0, now: 0, faults, broken: null };
}

/** Everything that may happen next. Without any but faults, the world is at rest. */
export function choices(world: World): Choice[] {
  const free = units.flatMap((unit): Choice[] => [
    ...(world[unit].todo.length > 0 ? [{ what: 'perform' as const, unit }] : []),
    ...(world[other(unit)].sent.length > 0 ? [{ what: 'deliver' as const, unit }] : []),
  ]);
  if (world.faults === 0) return free;
  const faults = units.flatMap((unit): Choice[] => [
    { what: 'crash', unit },
    ...(deadline(world[unit].state) === null ? [] : [{ what: 'timeout' as const, unit }]),
    ...(mayFail(world[unit].todo[0]?.action) ? [{ what: 'fail' as const, unit }] : []),
  ]);
  return [...free, ...faults, ...(world.isUp ? [{ what: 'lose' as const }] : [])];
}

export function isAtRest(world: World): boolean {
  return choices({ ...world, faults: 0 }).length === 0;
}

export function after(world: World, choice: Choice): World {
  switch (choice.what) {
    case 'perform':
      return perform(world, choice.unit, false);
    case 'fail':
      return perform({ ...world, faults: world.faults - 1 }, choice.unit, true);
    case 'deliver': {
      const from = other(choice.unit);
      const [message, ...sent] = world[from].sent;
      if (message === undefined) return world;
      return tell(withSide(world, from, { sent }), choice.unit, { type: 'message', message });
    }
    case 'timeout':
      return timeout({ ...world, faults: world.faults - 1 }, choice.unit);
    case 'lose':
      return lose({ ...world, faults: world.faults - 1 });
    case 'crash':
      return crash({ ...world, faults: world.faults - 1 }, choice.unit);
    case 'meet':
      return meet(world);
  }
}

export function apply(world: World, unit: UnitName, text: string, local = false): World {
  const proposal: Proposal = { text, file: 'f', digest: text, at: 'now' };
  return tell(world, unit, { type: 'apply', token: 1, proposal, local, dryRun: false });
}

export function meet(world: World): World {
  const met = { ...world, isUp: true, connection: world.connection + 1 };
  const open: Input = { type: 'link-open', version: CONFIG_VERSION };
  return tell(tell(met, 'a', open), 'b', open);
}

/** A deadline passes; at rest that is no fault. */
export function timeout(world: World, unit: UnitName): World {
  const now = Math.max(world.now, deadline(world[unit].state) ?? 0);
  return tell({ ...world, now }, unit, { type: 'timeout' });
}

function lose(world: World): World {
  if (!world.isUp) return world;
  const cut = { ...world, isUp: false, connection: world.connection + 1 };
  const silent = withSide(withSide(cut, 'a', { sent: [] }), 'b', { sent: [] });
  return tell(tell(silent, 'a', { type: 'link-lost' }), 'b', { type: 'link-lost' });
}

/** And started again: it knows what it has written down. As src/io/config_store.ts reads it. */
function crash(world: World, unit: UnitName): World {
  const { disk } = world[unit];
  const happened = disk.prepared?.digest === disk.text;
  const revision = happened ? disk.prepared : disk.revision;
  const next: Disk = { text: disk.text, revision, prepared: happened ? null : disk.prepared, staged: null };
  const state = initial(unit, disk.text, { revision, digest: disk.text }, next.prepared);
  return withSide(lose(world), unit, { state, disk: next, todo: [], sent: [] });
}

function tell(world: World, unit: UnitName, input: Input): World {
  const side = world[unit];
  const { state, actions } = step(side.state, input, world.now);
  const before = side.state.standing.revision?.number ?? 0;
  const number = state.standing.revision?.number ?? 0;
  const todo = [...side.todo, ...actions.map((action) => ({ action, connection: world.connection }))];
  const next = withSide(world, unit, { state, todo });
  return number < before ? { ...next, broken: `unit ${unit} went from revision ${before} to ${number}` } : next;
}

function perform(world: World, unit: UnitName, fails: boolean): World {
  const [first, ...todo] = world[unit].todo;
  if (first === undefined) return world;
  const next = withSide(world, unit, { todo });
  const { action, connection } = first;
  const { disk } = next[unit];
  const refusal = fails ? refusalOf('failed', 'it failed') : null;
  switch (action.type) {
    case 'send':
      return connection === next.connection && next.isUp
        ? withSide(next, unit, { sent: [...next[unit].sent, action.message] })
        : next;
    case 'prepare': {
      const { op, revision, stage, text } = action;
      const staged = stage && !fails ? { ...disk, staged: text, prepared: revision } : disk;
      return tell(withSide(next, unit, { disk: staged }), unit, { type: 'prepared', op, refusal, changes: [] });
    }
    case 'commit': {
      const { op } = action;
      if (disk.staged === null) return { ...next, broken: `unit ${unit} commits what it has not staged` };
      const kept: Disk = fails
        ? { ...disk, staged: null, prepared: null }
        : { text: disk.staged, revision: disk.prepared, prepared: null, staged: null };
      return tell(withSide(next, unit, { disk: kept }), unit, { type: 'committed', op, refusal, changes: [] });
    }
    case 'abandon':
      return withSide(next, unit, {
        disk: { ...disk, staged: null, prepared: action.inDoubt ? disk.prepared : null },
      });
    case 'answer':
      return answered(withSide(next, unit, { answers: [...next[unit].answers, action.outcome] }), unit, action.outcome);
    case 'release-bulk':
      return next;
  }
}

/** "Applied on both" is true when it is said. */
function answered(world: World, unit: UnitName, outcome: Outcome): World {
  if (!outcome.ok || outcome.peer !== 'applied') return world;
  const wanted = outcome.revision?.number ?? 0;
  const there = world[other(unit)].disk.revision?.number ?? 0;
  return there < wanted ? { ...world, broken: `said to be on both: ${wanted}; the peer has ${there}` } : world;
}

function mayFail(action: Action | undefined): boolean {
  return action?.type === 'prepare' || action?.type === 'commit';
}

function withSide(world: World, unit: UnitName, change: Partial<Side>): World {
  return { ...world, [unit]: { ...world[unit], ...change } };
}

function other(unit: UnitName): UnitName {
  return unit === 'a' ? 'b' : 'a';
}
