/** Who is active for which traffic group, as two units see it. */

import type { GroupRole } from './messages.js';

/** A unit that is handing over still forwards, so its table is still the one that counts. */
export function holds(group: GroupRole | undefined): boolean {
  return group !== undefined && group.role !== 'standby';
}

export function sameGroups(left: readonly GroupRole[], right: readonly GroupRole[]): boolean {
  return (
    left.length === right.length &&
    left.every((group, index) => {
      const other = right[index];
      return other !== undefined && group.name === other.name && group.role === other.role && group.term === other.term;
    })
  );
}

/** Each group is held by exactly one of the two units: neither orphaned nor claimed twice. */
export function clear(ours: readonly GroupRole[], theirs: readonly GroupRole[]): boolean {
  const names = new Set([...ours, ...theirs].map((group) => group.name));
  return [...names].every((name) => holds(named(ours, name)) !== holds(named(theirs, name)));
}

/** Some group is held by both units, as after a partition: neither table is the other's. */
export function contested(ours: readonly GroupRole[], theirs: readonly GroupRole[]): boolean {
  return ours.some((group) => holds(group) && holds(named(theirs, group.name)));
}

/** Some group became active, or became active anew (its term moved). */
export function someActivated(before: readonly GroupRole[], after: readonly GroupRole[]): boolean {
  return after.some((group) => {
    const old = named(before, group.name);
    return group.role === 'active' && (old?.role === 'standby' || old === undefined || old.term !== group.term);
  });
}

/** Groups held before and not any more. */
export function yielded(before: readonly GroupRole[], after: readonly GroupRole[]): readonly string[] {
  return before.filter((group) => holds(group) && !holds(named(after, group.name))).map((group) => group.name);
}

export function named(groups: readonly GroupRole[], name: string): GroupRole | undefined {
  return groups.find((group) => group.name === name);
}
