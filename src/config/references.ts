/**
 * Names that must exist: links, pools, traffic groups. Works on the raw config, so that an entry which is
 * wrong elsewhere still has its names checked, and a pool that is wrong elsewhere still counts as there.
 */

import type { Fault, Path } from './faults.js';
import { didYouMean } from './suggest.js';

export function referenceFaults(raw: unknown): Fault[] {
  const links = linkNames(section(raw)['links']);
  const pools = namesIn(section(raw)['pools']);
  const groups = namesIn(section(raw)['trafficGroups']);
  return [
    ...unitLinkFaults(raw, links),
    ...Object.entries(section(section(raw)['trafficGroups'])).flatMap(([name, group]) =>
      Object.keys(section(section(group)['floating'])).flatMap((link) =>
        unknownName('link', link, links, ['trafficGroups', name, 'floating', link], true),
      ),
    ),
    ...Object.entries(section(section(raw)['trafficGroups'])).flatMap(([name, group]) =>
      Object.keys(section(section(section(group)['demotion'])['pools'])).flatMap((pool) =>
        unknownName('pool', pool, pools, ['trafficGroups', name, 'demotion', 'pools', pool], true),
      ),
    ),
    ...Object.entries(section(section(raw)['virtualServers'])).flatMap(([name, server]) => {
      const path: Path = ['virtualServers', name];
      const { pool, trafficGroup, links: answeredOn } = section(server);
      return [
        ...unknownName('pool', pool, pools, [...path, 'pool']),
        ...unknownName('traffic group', trafficGroup, groups, [...path, 'trafficGroup']),
        ...list(answeredOn).flatMap((link, index) => unknownName('link', link, links, [...path, 'links', index])),
      ];
    }),
  ];
}

/** Both units stand on every link: the pair shares them, and a link's place in the list is its device. */
function unitLinkFaults(raw: unknown, links: ReadonlySet<string> | null): Fault[] {
  return ['a', 'b'].flatMap((unit) => {
    const path: Path = ['units', unit, 'links'];
    const own = section(section(section(raw)['units'])[unit])['links'];
    if (own === undefined) return [];
    const unknown = Object.keys(section(own)).flatMap((link) =>
      unknownName('link', link, links, [...path, link], true),
    );
    const absent = [...(links ?? [])]
      .filter((link) => !Object.hasOwn(section(own), link))
      .map((link) => ({
        code: 'missing_link',
        message: `unit ${unit} has no interface on link '${link}'`,
        hint: 'both units need one on every link',
        path,
      }));
    return [...unknown, ...absent];
  });
}

function unknownName(
  kind: string,
  value: unknown,
  known: ReadonlySet<string> | null,
  path: Path,
  atKey = false,
): Fault[] {
  // Anything but text is the shape's matter.
  if (known === null || typeof value !== 'string' || known.has(value)) return [];
  const code = `unknown_${kind.replace(' ', '_')}`;
  const hint = didYouMean(value, known) ?? (known.size === 0 ? null : `known are ${someOf([...known])}`);
  return [{ code, message: `no ${kind} '${value}'`, hint, path, atKey }];
}

function someOf(names: readonly string[]): string {
  return names.length <= 8 ? names.join(', ') : `${names.slice(0, 8).join(', ')} and ${names.length - 8} more`;
}

/** Null when the file has no list of links: one fault is enough for that. */
function linkNames(value: unknown): ReadonlySet<string> | null {
  return Array.isArray(value) ? new Set(value.filter((link) => typeof link === 'string')) : null;
}

function namesIn(value: unknown): ReadonlySet<string> {
  return new Set(Object.keys(section(value)));
}

/** `value` if it is a section of a config, else an empty one. */
export function section(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
