/** A golden case in which the policy changes between two packets, through the real datapath. */

import type { Config } from '../../src/config/model.js';
import type { NativeModule, PolicyDescription, PolicyMember } from '../../src/datapath.js';
import { Batch } from '../../src/replay/batch.js';
import { topologyOf } from '../../src/replay/topology.js';
import { pcapFileHeader, pcapFrame } from '../../src/wire/pcap.js';
import { join } from '../support/packets.js';
import type { Case, Step } from './network.js';

export interface ChangingRun {
  readonly output: Uint8Array;
  readonly verdicts: readonly string[];
}

type State = NonNullable<Step['states']>[string];

const LEASE_MS = 10 * 365 * 86_400_000;
/** As run.ts has it. */
const START_NS = 1_709_251_200_000_000_000n;

export function runChangingCase(native: NativeModule, config: Config, { steps }: Case): ChangingRun {
  const topology = topologyOf(config, 'a');
  const sharedState = new native.SharedState();
  const { devices } = topology;
  const datapath = new native.Datapath({
    ...{ kind: 'memory', devices, workers: 1, connections: 1024, unit: 0, sharedState },
  });
  const verdicts: string[] = [];
  const sent: Uint8Array[] = [];
  const batch = new Batch(native, datapath, topology, ({ verdict, timeNs, sent: frame }) => {
    verdicts.push(verdict.kind === 'forward' ? `forward ${verdict.device}` : verdict.kind);
    if (verdict.kind === 'drop') verdicts[verdicts.length - 1] += ` ${verdict.drop}`;
    if (frame !== null) sent.push(pcapFrame(timeNs, frame));
  });
  try {
    datapath.setPolicy(topology.policy);
    datapath.setNextHops(topology.nextHops);
    sharedState.setRole(0, 'active', 1, LEASE_MS);
    const begin = BigInt(Math.ceil(sharedState.now() * 1e6));
    const states = new Map<string, State>();
    let elapsed = 0n;
    for (const { frame, afterMs = 1, states: changes = {} } of steps) {
      for (const [member, state] of Object.entries(changes)) states.set(member, state);
      if (Object.keys(changes).length > 0) datapath.setPolicy(changed(topology.policy, states));
      elapsed += BigInt(afterMs) * 1_000_000n;
      batch.add(frame, START_NS + elapsed, begin + elapsed, true);
      batch.flush();
    }
    return { output: join(pcapFileHeader(), ...sent), verdicts };
  } finally {
    datapath.stop();
  }
}

function changed(policy: PolicyDescription, states: ReadonlyMap<string, State>): PolicyDescription {
  return {
    ...policy,
    pools: policy.pools.map((pool) => ({
      ...pool,
      members: pool.members.flatMap((member): PolicyMember[] => {
        switch (states.get(`${pool.name} ${member.address}`)) {
          case undefined:
          case 'up':
            return [member];
          case 'down':
            return [{ ...member, up: false, down: true }];
          case 'draining':
            return [{ ...member, weight: 0 }];
          default:
            return [];
        }
      }),
    })),
  };
}
