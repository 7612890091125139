/**
 * A config of which some entries may be missing because they are malformed: what the rules that span
 * entries (semantics.ts) look at, so that they can speak while other faults are still there.
 */

import type * as z from 'zod';

import type { UnitName } from './model.js';
import { section } from './references.js';
import {
  entitySchemas,
  linksSchema,
  type ShapedPool,
  type ShapedTrafficGroup,
  type ShapedUnit,
  type ShapedVirtualServer,
  unitSchema,
} from './schema.js';

export interface Draft {
  readonly links: readonly string[];
  readonly units: ReadonlyMap<UnitName, ShapedUnit>;
  readonly trafficGroups: ReadonlyMap<string, ShapedTrafficGroup>;
  readonly pools: ReadonlyMap<string, ShapedPool>;
  readonly virtualServers: ReadonlyMap<string, ShapedVirtualServer>;
}

export function draftOf(raw: unknown): Draft {
  const config = section(raw);
  const links = linksSchema.safeParse(config['links']);
  return {
    links: links.success ? links.data : [],
    units: wellFormed(config['units'], unitSchema) as ReadonlyMap<UnitName, ShapedUnit>,
    trafficGroups: wellFormed(config['trafficGroups'], entitySchemas.trafficGroups),
    pools: wellFormed(config['pools'], entitySchemas.pools),
    virtualServers: wellFormed(config['virtualServers'], entitySchemas.virtualServers),
  };
}

function wellFormed<Schema extends z.ZodType>(value: unknown, schema: Schema): Map<string, z.output<Schema>> {
  const entries = new Map<string, z.output<Schema>>();
  for (const [name, entry] of Object.entries(section(value))) {
    const parsed = schema.safeParse(entry);
    if (parsed.success) entries.set(name, parsed.data);
  }
  return entries;
}
