/**
 * One survival run on a pair that is in sync: connections are opened, the fault strikes while new ones are opened, then
 * every connection that was established is asked, and what comes back is counted.
 *
 *   open N ──── steady: new ones, probes, streams ──── fault ── 2 s ── ask each, until answered or given up ── mend
 */

import type { CountersStatus } from '../../../src/api.js';
import { ApiClient } from '../../../src/io/api_client.js';
import type { Lab } from '../lab/lab.js';
import { startEcho, startIdle } from '../lab/traffic.js';
import { hasRole, type Unit } from '../lab/unit.js';
import { longestSilence, type Outcome, streamOutcome } from '../traffic/outcome.js';
import { monotonicMs, pause } from '../traffic/time.js';
import type { ServersReport, SilenceReport, VerifyReport } from './far_ends.js';
import { type FaultName, faults, strike } from './faults.js';
import { type Roles, type Stage, settled, statusOf, untilActive } from './stage.js';

export interface RunOptions {
  readonly fault: FaultName;
  /** Part of the clients' addresses: no two runs on one pair may have the same. */
  readonly number: number;
  readonly openPerS: number;
  readonly newPerS: number;
  readonly probesPerS: number;
  readonly verifyPerS: number;
  /** TCP connections of the kernel that run beside, as a check of the program that plays the others. */
  readonly kernelConnections: number;
}

export interface RunResult extends VerifyReport {
  readonly fault: FaultName;
  /** How the instant of the fault is known: the last frame before the silence, or when it was asked for. */
  readonly instantBy: 'silence' | 'command';
  /** From the fault to the first SYN-ACK through the new unit. */
  readonly firstNewMs: number | null;
  /** Of the stream that was silent longer, until every connection is asked. */
  readonly streamSilenceMs: number;
  readonly streamLost: number;
  /** The same, before the fault: what this machine does by itself. */
  readonly usualSilenceMs: number;
  readonly rstsToMembers: number;
  readonly rstsByServers: number;
  readonly badChecksumsAtServers: number;
  readonly openedPerS: number;
  readonly kernel: {
    readonly survived: number;
    readonly of: number;
    readonly stream: Outcome;
    /** What TCP felt, its retransmission timer included. Null: it never spoke again. */
    readonly silenceMs: number | null;
  };
  /** Before the fault the pair changed roles by itself: what is counted then is another fault. */
  readonly falseFailover: boolean;
  /** What a unit dropped between the fault and the last answer, by reason; null: it did not live through that. */
  readonly drops: Readonly<Record<'active' | 'standby', Readonly<Record<string, number>> | null>>;
  /**
   * Frames that a queue of a link had no room for, from the fault until every connection is asked, and while they are:
   * no unit's doing, and not a packet that a failover lost.
   */
  readonly linkDrops: { readonly untilAsked: number; readonly whileAsked: number };
  readonly tookS: number;
}

const steadyMs = 1_500;
/** A stopped unit is continued after the first part; an old unit that handed over is done with the second. */
const untilLaterMs = 1_000;
const untilAskedMs = 700;
/** Around the command: what is silent then is silent because of it. */
const toleranceNs = { before: 5e6, after: 50e6 } as const;
const countedHosts = ['client', 'switch', 'a', 'b', 's1'] as const;
/** With every retransmission, and a machine that does something else meanwhile. */
const patienceMs = 120_000;

export async function playRun(stage: Stage, options: RunOptions): Promise<RunResult> {
  const { clients, servers, lab } = stage;
  const startMs = monotonicMs();
  const fault = faults[options.fault];
  const roles = await settled(stage);
  const [idle, echo] = await Promise.all([startIdle(lab, options.kernelConnections), startEcho(lab)]);
  const opened = await clients.ask<{ readonly established: number; readonly refused: number; readonly tookMs: number }>(
    'open',
    {
      run: options.number,
      connections: stage.options.connections,
      perS: options.openPerS,
      newPerS: options.newPerS,
      probesPerS: options.probesPerS,
    },
    patienceMs,
  );
  await pause(steadyMs + jitterMs());
  const usual = await clients.ask<SilenceReport>('silence', {}, patienceMs);
  const serversBefore = await servers.ask<ServersReport>('report', {}, patienceMs);
  const before = await statusOf(roles.active);
  const counted = await dropsOfBoth(roles);
  const linkDropsBefore = linkDrops(lab);
  await clients.ask('mark', {}, patienceMs);
  const struck = await strike(fault, stage, roles);
  await pause(untilLaterMs);
  if ('later' in fault) fault.later(stage, roles);
  await pause(untilAskedMs);
  if (fault.takeover !== 'none') await untilActive(roles.standby);
  const silence = await clients.ask<SilenceReport>('silence', {}, patienceMs);
  const linkDropsUntilAsked = linkDrops(lab) - linkDropsBefore;
  const instant = instantOf(options.fault, struck, silence);
  const verified = await clients.ask<VerifyReport>(
    'verify',
    { before: instant.atNs, perS: options.verifyPerS },
    patienceMs,
  );
  const serversAfter = await servers.ask<ServersReport>('report', {}, patienceMs);
  const recounted = await dropsOfBoth(roles);
  const linkDropsWhileAsked = linkDrops(lab) - linkDropsBefore - linkDropsUntilAsked;
  const [idleReport, echoReport] = await Promise.all([idle.stop(), echo.stop()]);
  await clients.ask('close', { perS: options.openPerS }, patienceMs);
  await mend(stage, options.fault, roles);
  const outcome = streamOutcome(echoReport, instant.atNs / 1e6);
  return {
    ...verified,
    fault: options.fault,
    instantBy: instant.by,
    firstNewMs: verified.firstNewAtNs === 0 ? null : (verified.firstNewAtNs - instant.atNs) / 1e6,
    streamSilenceMs: Math.max(...silence.streams.map((each) => each.silenceMs)),
    streamLost: silence.streams.reduce((sum, each) => sum + each.lost, 0),
    usualSilenceMs: Math.max(...usual.streams.map((each) => each.silenceMs)),
    rstsToMembers: serversAfter.rstsReceived - serversBefore.rstsReceived,
    rstsByServers: serversAfter.rstsSent - serversBefore.rstsSent,
    badChecksumsAtServers: serversAfter.badChecksums - serversBefore.badChecksums,
    openedPerS: (1_000 * opened.established) / opened.tookMs,
    kernel: {
      survived: idleReport.survived,
      of: options.kernelConnections,
      stream: outcome,
      silenceMs:
        outcome === 'survived' ? (longestSilence(echoReport, instant.atNs / 1e6, monotonicMs())?.ms ?? 0) : null,
    },
    falseFailover: before === null || !hasRole(before, 'active') || before.trafficGroups[0]?.term !== roles.term,
    drops: {
      active: difference(counted.active, recounted.active),
      standby: difference(counted.standby, recounted.standby),
    },
    linkDrops: { untilAsked: linkDropsUntilAsked, whileAsked: linkDropsWhileAsked },
    tookS: (monotonicMs() - startMs) / 1_000,
  };
}

/** Both units are up again and in sync when this resolves. */
async function mend(stage: Stage, name: FaultName, roles: Roles): Promise<void> {
  await faults[name].mend(stage, roles);
  await settled(stage);
}

/** Since the links were made. */
function linkDrops(lab: Lab): number {
  interface Counted {
    readonly stats64: Readonly<Record<'rx' | 'tx', { readonly dropped: number }>>;
  }
  return countedHosts
    .flatMap((host) => JSON.parse(lab.run(host, 'ip', ['-statistics', '-json', 'link'])) as Counted[])
    .reduce((sum, { stats64: { rx, tx } }) => sum + rx.dropped + tx.dropped, 0);
}

type Drops = CountersStatus['drops'];

async function dropsOfBoth({ active, standby }: Roles) {
  const [first, second] = await Promise.all([dropsOf(active), dropsOf(standby)]);
  return { active: first, standby: second };
}

async function dropsOf(unit: Unit): Promise<Drops | null> {
  try {
    return (await new ApiClient(unit.socket).counters()).drops;
  } catch {
    return null;
  }
}

function difference(before: Drops | null, after: Drops | null): Record<string, number> | null {
  if (before === null || after === null) return null;
  const was = new Map(before.map(({ name, value }) => [name, value]));
  const grown = after.map(({ name, value }) => [name, value - (was.get(name) ?? 0)] as const);
  return Object.fromEntries(grown.filter(([, by]) => by > 0));
}

/** So that a fault does not always meet the same phase of adverts and timers. */
function jitterMs(): number {
  return Math.random() * 200;
}

/**
 * A SYN-ACK that arrived before the last frame of the old unit had arrived. The command's own time is too early for
 * some (a process that was sent SIGKILL still forwards for a moment) and too late for none.
 */
function instantOf(
  name: FaultName,
  struck: { readonly beforeNs: number; readonly afterNs: number },
  silence: SilenceReport,
): { readonly atNs: number; readonly by: RunResult['instantBy'] } {
  const from = silence.silentFromNs;
  const fits = from >= struck.beforeNs - toleranceNs.before && from <= struck.afterNs + toleranceNs.after;
  // The last frame itself arrived before the fault.
  if (faults[name].takeover === 'after a silence' && fits) return { atNs: from + 1, by: 'silence' };
  return { atNs: struck.beforeNs, by: 'command' };
}
