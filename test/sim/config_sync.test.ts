/**
 * Goal: whatever happens to two units that agree on a config, and in whatever order, they end with the same one, and
 * nothing is said that is not so.
 * Method: not chance but all of it: from each beginning below, every order of happenings with at most so many faults
 * (see config_world.ts) is gone through; worlds that were seen before are not gone through again.
 */

import { expect, test } from 'vitest';

import type { ConfigStanding, UnitName } from '../../src/config/model.js';
import { isEdited } from '../../src/config_sync/state.js';
import { deadline } from '../../src/config_sync/sync.js';
import {
  after,
  apply,
  begin,
  type Choice,
  choices,
  isAtRest,
  meet,
  timeout,
  units,
  type World,
} from './config_world.js';

function standing(number: number, text: string, revisionText = text): ConfigStanding {
  if (number === 0) return { revision: null, digest: text };
  return { revision: { number, digest: revisionText, unit: 'a', appliedAt: 'then' }, digest: text };
}

const same = { a: standing(5, 'old'), b: standing(5, 'old') };
const none = { a: standing(0, 'old'), b: standing(0, 'old') };

interface Beginning {
  readonly name: string;
  readonly world: World;
  /** What the units may run in the end, besides the text that some operator applied. */
  readonly texts: readonly string[];
}

const met = (world: World): World => settled(meet(world));

const beginnings: readonly Beginning[] = [
  { name: 'unit a applies', world: apply(met(begin(same, 2)), 'a', 'A'), texts: ['old', 'A'] },
  { name: 'unit b applies, the first time ever', world: apply(met(begin(none, 2)), 'b', 'B'), texts: ['old', 'B'] },
  {
    name: 'both apply at once',
    world: apply(apply(met(begin(same, 1)), 'a', 'A'), 'b', 'B'),
    texts: ['old', 'A', 'B'],
  },
  { name: 'unit a is behind', world: meet(begin({ ...same, b: standing(6, 'new') }, 2)), texts: ['new'] },
  { name: 'unit b is behind', world: meet(begin({ ...same, a: standing(6, 'new') }, 2)), texts: ['new'] },
  {
    name: 'unit b is behind, and applies as they meet',
    world: apply(meet(begin({ ...same, a: standing(6, 'new') }, 1)), 'b', 'B'),
    texts: ['new', 'B'],
  },
  {
    name: 'unit a is behind, and unit b applies another as they meet',
    world: apply(meet(begin({ ...same, b: standing(6, 'new') }, 1)), 'b', 'B'),
    texts: ['new', 'B'],
  },
  {
    name: 'unit a applies alone while the other comes',
    world: meet(apply(begin(same, 2), 'a', 'A', true)),
    texts: ['A', 'old'],
  },
  { name: 'unit b is in doubt and applies alone', world: meet(inDoubt()), texts: ['A', 'B'] },
];

/** Unit b has prepared what unit a has committed, was started again, and an operator goes on there alone. */
function inDoubt(): World {
  const world = begin({ ...same, a: standing(6, 'A') }, 1);
  const { b } = world;
  const { revision } = standing(6, 'A');
  const state = { ...b.state, doubt: revision };
  return apply({ ...world, b: { ...b, state, disk: { ...b.disk, prepared: revision } } }, 'b', 'B', true);
}

/** Runs without a fault, in one order. */
function settled(world: World): World {
  let next = world;
  for (let [choice] = choices({ ...next, faults: 0 }); choice !== undefined; ) {
    next = after(next, choice);
    [choice] = choices({ ...next, faults: 0 });
  }
  return next;
}

/** At rest and apart they meet again, as the channel does; at rest and together, time passes. */
function nextWorlds(world: World): readonly (readonly [name: string, World])[] {
  const all = choices(world).map((choice) => [nameOf(choice), after(world, choice)] as const);
  if (!isAtRest(world)) return all;
  if (!world.isUp) return [...all, ['meet', meet(world)]];
  return [...all, ...waiting(world).map((unit) => [`wait ${unit}`, timeout(world, unit)] as const)];
}

function nameOf(choice: Choice): string {
  return 'unit' in choice ? `${choice.what} ${choice.unit}` : choice.what;
}

function waiting(world: World): UnitName[] {
  return units.filter((unit) => deadline(world[unit].state) !== null);
}

function isOver(world: World): boolean {
  return isAtRest(world) && world.isUp && waiting(world).length === 0;
}

function faultAtRest({ a, b }: World, texts: readonly string[]): string | null {
  for (const unit of units) {
    const { state, disk } = { a, b }[unit];
    if (state.work.name !== 'idle') return `unit ${unit} is ${state.work.name} at rest`;
    if (disk.staged !== null) return `unit ${unit} has something staged at rest`;
    if (state.doubt !== null || disk.prepared !== null) return `unit ${unit} is in doubt at rest`;
    if (disk.text !== state.standing.digest || state.text !== disk.text) return `unit ${unit}'s file is another`;
    if (JSON.stringify(disk.revision) !== JSON.stringify(state.standing.revision)) return `unit ${unit} forgot`;
    if (state.peer.name !== 'present' || !state.peer.bulkReleased) return `unit ${unit} still holds the bulk`;
    if (!texts.includes(disk.text)) return `unit ${unit} runs ${disk.text}`;
  }
  if (JSON.stringify(a.state.standing) !== JSON.stringify(b.state.standing)) return 'the units run different configs';
  return null;
}

/** What was refused is in force nowhere; what was applied is, or something later. */
function faultOfAnswers({ a, b }: World): string | null {
  const asked = { a: 'A', b: 'B' } as const;
  for (const unit of units) {
    const side = { a, b }[unit];
    if (side.answers.length > 1) return `unit ${unit} answered ${side.answers.length} times`;
    const [answer] = side.answers;
    if (answer === undefined || answer.ok) continue;
    if ([a, b].some(({ disk }) => disk.text === asked[unit])) return `refused on ${unit} and in force`;
  }
  return null;
}

function explore(world: World, texts: readonly string[]): { readonly worlds: number; readonly fault: string | null } {
  const seen = new Set<string>();
  const open: { readonly world: World; readonly path: readonly string[] }[] = [{ world, path: [] }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const key = JSON.stringify(next.world);
    if (seen.has(key)) continue;
    seen.add(key);
    const over = isOver(next.world) ? (faultAtRest(next.world, texts) ?? faultOfAnswers(next.world)) : null;
    const fault = next.world.broken ?? over;
    if (fault !== null) return { worlds: seen.size, fault: `${fault}\nafter ${next.path.join(', ')}` };
    for (const [name, happened] of nextWorlds(next.world)) open.push({ world: happened, path: [...next.path, name] });
  }
  return { worlds: seen.size, fault: null };
}

test.each(beginnings)('$name', ({ world, texts }) => {
  const { worlds, fault } = explore(world, texts);
  expect(fault).toBeNull();
  expect(worlds).toBeGreaterThan(100);
});

test('both apply at once, without a fault: one of them wins in any order, and the other is told so', () => {
  const open = [apply(apply(met(begin(same, 0)), 'a', 'A'), 'b', 'B')];
  let ends = 0;
  for (let world = open.pop(); world !== undefined; world = open.pop()) {
    const next = nextWorlds(world);
    open.push(...next.map(([, happened]) => happened));
    if (next.length > 0) continue;
    ends += 1;
    const outcomes = units.flatMap((unit) => world[unit].answers.map((answer) => answer.ok));
    expect([outcomes.length, outcomes.filter(Boolean).length]).toEqual([2, 1]);
    expect(world.a.disk).toEqual(world.b.disk);
  }
  expect(ends).toBeGreaterThan(10);
});

test('a config that was changed by hand is neither offered nor overwritten until an operator says so', () => {
  const edited = standing(5, 'by hand', 'old');
  for (const beginning of [
    { a: standing(6, 'new'), b: edited },
    { a: standing(5, 'old'), b: { ...edited, revision: { ...edited.revision!, number: 6 } } },
  ]) {
    const rest = met(begin(beginning, 0));
    expect(rest.b.disk.text).toBe('by hand');
    expect(rest.a.disk.text).toBe(beginning.a.digest);
    expect(isEdited(rest.b.state.standing)).toBe(true);
    const applied = settled(apply(rest, 'a', 'A'));
    expect([applied.a.disk.text, applied.b.disk.text]).toEqual(['A', 'A']);
    expect(applied.a.answers).toMatchObject([{ ok: true, peer: 'applied', revision: { number: 7 } }]);
  }
});
