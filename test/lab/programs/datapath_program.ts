/**
 * A datapath on the interfaces of the namespace it runs in, without a daemon around it. Arguments: JSON of workers,
 * devices, policy and next hops. Told `counters`, it answers with them; its group is active for good.
 */

import type { NextHop, PolicyDescription } from '../../../src/datapath.js';
import { native } from '../../../src/io/native.js';

export interface DatapathProgramOptions {
  readonly workers: number;
  readonly devices: readonly { readonly name: string; readonly interface: string }[];
  readonly policy: PolicyDescription;
  readonly hops: readonly NextHop[];
}

export type FromDatapath =
  | { readonly type: 'started' }
  | { readonly type: 'counters'; readonly counters: Readonly<Record<string, number>>; readonly cpuS: number };

const options = JSON.parse(process.argv[2] ?? '') as DatapathProgramOptions;
const tell = (message: FromDatapath) => process.send?.(message);

const sharedState = new native.SharedState();
const datapath = new native.Datapath({
  kind: 'packet',
  devices: options.devices,
  workers: options.workers,
  connections: 1024,
  unit: 0,
  sharedState,
});
datapath.setPolicy(options.policy);
datapath.setNextHops(options.hops);
datapath.start();
sharedState.setRole(0, 'active', 1, Number.POSITIVE_INFINITY);

process.on('message', () => {
  const names = [...native.dropNames, ...native.countNames].map(([name]) => name);
  const values = new BigUint64Array(names.length);
  datapath.readCounters(values);
  const { user, system } = process.cpuUsage();
  const counters = Object.fromEntries(names.map((name, index) => [name, Number(values[index])]));
  tell({ type: 'counters', counters, cpuS: (user + system) / 1e6 });
});
process.once('disconnect', () => {
  datapath.stop();
  process.exit(0);
});
tell({ type: 'started' });
