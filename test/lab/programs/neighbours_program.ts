/**
 * Runs Neighbours inside a namespace and tells its parent what it says.
 * Arguments: JSON of members, JSON of devices, JSON of its timing. Told `[members]`, it updates; told `status`, it
 * answers.
 */

import { pino } from 'pino';

import type { NextHop } from '../../../src/datapath.js';
import type { UnitDevice } from '../../../src/io/links.js';
import { type DeviceLink, type MemberEndpoint, type MemberHop, Neighbours } from '../../../src/io/neighbours.js';
import type { NeighbourTiming } from '../../../src/monitor/neighbour.js';

export type FromNeighbours =
  | { readonly type: 'next-hops'; readonly hops: readonly NextHop[] }
  | { readonly type: 'links'; readonly links: readonly DeviceLink[] }
  | { readonly type: 'started' }
  | { readonly type: 'status'; readonly status: readonly MemberHop[] };

export type ToNeighbours = 'status' | readonly MemberEndpoint[];

const [members, devices, timing] = process.argv.slice(2).map((text) => JSON.parse(text) as unknown) as [
  readonly MemberEndpoint[],
  readonly UnitDevice[],
  NeighbourTiming,
];
const tell = (message: FromNeighbours) => process.send?.(message);

const neighbours = new Neighbours(pino({ level: 'warn' }, pino.destination(2)), timing);
neighbours.on('next-hops', (hops) => tell({ type: 'next-hops', hops }));
neighbours.on('links', (links) => tell({ type: 'links', links }));
process.on('message', (message: ToNeighbours) => {
  if (message === 'status') tell({ type: 'status', status: neighbours.status() });
  else void neighbours.update(message);
});
process.once('disconnect', () => process.exit(0));

await neighbours.start(members, devices);
tell({ type: 'started' });
