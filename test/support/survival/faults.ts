/** What is done to a pair while its connections are counted. A fault is one row: how it strikes, how it is mended. */

import { ApiClient } from '../../../src/io/api_client.js';
import { ipBatch, processesInside } from '../lab/namespaces.js';
import { bridgeEnd } from '../lab/topology.js';
import { monotonicMs, pause } from '../traffic/time.js';
import type { Roles, Stage } from './stage.js';
import { statusOf } from './stage.js';

export interface Fault {
  readonly title: string;
  /** Whether the standby becomes active, after a silence that says when the fault was. */
  readonly takeover: 'after a silence' | 'announced' | 'none';
  readonly strike: (stage: Stage, roles: Roles) => Promise<void> | void;
  /** A second later, before connections are asked: what may still do harm. */
  readonly later?: (stage: Stage, roles: Roles) => void;
  readonly mend: (stage: Stage, roles: Roles) => Promise<void> | void;
}

/** From the cut of the mirror link to the kill: long enough for connections that no peer knows. */
const mirrorCutBeforeMs = 50;

const restart = (_stage: Stage, { active }: Roles) => active.start();

export const faults = {
  kill: {
    title: 'daemon killed',
    takeover: 'after a silence',
    strike: async (_stage, { active }) => signal([(await pidsOf(active)).daemon], 'SIGKILL'),
    mend: restart,
  },
  'kill-both': {
    title: 'daemon and failover process killed',
    takeover: 'after a silence',
    strike: (_stage, { active }) => void active.kill(),
    mend: restart,
  },
  links: {
    title: 'all links cut',
    takeover: 'after a silence',
    strike: ({ lab }, { active }) => lab.cutLinks(active.name),
    mend: ({ lab }, { active }) => lab.restoreLinks(active.name),
  },
  stop: {
    title: 'stopped, continued after 1 s',
    takeover: 'after a silence',
    strike: ({ lab }, { active }) => signal(processesInside(lab.namespace(active.name)), 'SIGSTOP'),
    later: ({ lab }, { active }) => signal(processesInside(lab.namespace(active.name)), 'SIGCONT'),
    mend: () => undefined,
  },
  standby: {
    title: 'the standby killed',
    takeover: 'none',
    strike: (_stage, { standby }) => void standby.kill(),
    mend: (_stage, { standby }) => standby.start(),
  },
  'mirror-then-kill': {
    title: `mirror link cut, active unit killed ${mirrorCutBeforeMs} ms later`,
    takeover: 'after a silence',
    strike: async ({ lab }, { active }) => {
      const end = bridgeEnd({ host: active.name, link: 'mirror' });
      ipBatch(lab.namespace('switch'), [`link set dev ${end} down`]);
      await pause(mirrorCutBeforeMs);
      active.kill();
    },
    mend: ({ lab }, { active }) => {
      const end = bridgeEnd({ host: active.name, link: 'mirror' });
      ipBatch(lab.namespace('switch'), [`link set dev ${end} up`]);
      active.start();
    },
  },
  handover: {
    title: 'hand-over on purpose',
    takeover: 'announced',
    strike: async (_stage, { active }) => void (await new ApiClient(active.socket).standby(null, false)),
    mend: async (_stage, { active }) => void (await new ApiClient(active.socket).releaseStandby(null)),
  },
} as const satisfies Readonly<Record<string, Fault>>;

export type FaultName = keyof typeof faults;
export const faultNames = Object.keys(faults) as FaultName[];

/** Nanoseconds on CLOCK_MONOTONIC before and after the fault struck. */
export async function strike(fault: Fault, stage: Stage, roles: Roles) {
  const beforeMs = monotonicMs();
  await fault.strike(stage, roles);
  return { beforeNs: Math.round(beforeMs * 1e6), afterNs: Math.round(monotonicMs() * 1e6) };
}

async function pidsOf(unit: Roles['active']) {
  const status = await statusOf(unit);
  if (status === null) throw new Error(`unit ${unit.name} does not answer; see ${unit.logFile}`);
  return { daemon: status.pid, failover: status.failoverPid };
}

function signal(pids: readonly number[], name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pids) process.kill(pid, name);
}
