/**
 * A datapath with the devices that its parent asks for, active for ever, and nothing else of a unit: no failover
 * process, no monitors. Argument: JSON of DeviceUnitOptions. Tells its parent how it started, and its counts when
 * asked.
 */

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import type { DatapathOptions, NativeModule, NextHop, PolicyDescription, StartReport } from '../../../src/datapath.js';

export interface DeviceUnitOptions {
  readonly datapath: Omit<DatapathOptions, 'sharedState'>;
  readonly policy: PolicyDescription;
  readonly nextHops: readonly NextHop[];
}

export interface DeviceUnitCounts {
  /** By name; what was never counted is left out. */
  readonly counters: Readonly<Record<string, number>>;
  readonly mldQueries: readonly number[];
  /** Of the process, user and system, since it started. */
  readonly cpuMs: number;
}

export type FromDeviceUnit =
  | { readonly type: 'started'; readonly report: StartReport }
  | { readonly type: 'refused'; readonly message: string }
  | { readonly type: 'counts'; readonly counts: DeviceUnitCounts };

const addonPath = fileURLToPath(new URL('../../../../../build/Release/tandem.node', import.meta.url));
const native = createRequire(import.meta.url)(addonPath) as NativeModule;
const options = JSON.parse(process.argv[2] ?? '') as DeviceUnitOptions;
const tell = (message: FromDeviceUnit) => process.send?.(message);

const sharedState = new native.SharedState();
const datapath = new native.Datapath({ ...options.datapath, sharedState });
for (const index of options.policy.groups.keys()) sharedState.setRole(index, 'active', 1, 3_600_000);
datapath.setPolicy(options.policy);
datapath.setNextHops(options.nextHops);
try {
  tell({ type: 'started', report: datapath.start() });
} catch (error) {
  tell({ type: 'refused', message: (error as Error).message });
}

process.on('message', () => {
  const names = [...native.dropNames, ...native.countNames].map(([name]) => name);
  const values = new BigUint64Array(names.length);
  datapath.readCounters(values);
  const mldQueries = new BigUint64Array(16);
  sharedState.readMldQueries(mldQueries);
  const counters = Object.fromEntries(
    names.map((name, index) => [name, Number(values[index])] as const).filter(([, value]) => value !== 0),
  );
  const { user, system } = process.cpuUsage();
  tell({
    type: 'counts',
    counts: { counters, mldQueries: Array.from(mldQueries, Number), cpuMs: (user + system) / 1_000 },
  });
});
process.once('disconnect', () => {
  datapath.stop();
  process.exit(0);
});
