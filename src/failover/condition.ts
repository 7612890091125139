/** What a traffic group's election depends on besides the wire: the group's settings and the unit's condition. */

/** Milliseconds on CLOCK_BOOTTIME, fractional: time passes while the process is stopped. */
export type Millis = number;

/** The virtual routers of one group as one contender. */
export interface GroupRouter {
  /** Configured, 1..254. 0 is only ever sent; 255, the address owner's, is never ours. */
  readonly priority: number;
  /** Whether a backup of higher priority takes over from a working active unit. */
  readonly preempt: boolean;
  /** How long the peer's lesser adverts must have been heard before preempting. */
  readonly preemptDelayMs: Millis;
  readonly advertIntervalMs: Millis;
  /** Subtracted from the priority while the unit does not hold the peer's connections. */
  readonly notInSyncDemotion: number;
  /** Whether our primary address is greater than the peer's. One answer per group, so both units agree on it. */
  readonly winsTie: boolean;
}

export type LinksUp = 'all' | 'some' | 'none';

export interface Condition {
  /** Between startup and shutdown. */
  readonly running: boolean;
  readonly workersAlive: boolean;
  /** Carrier of the group's links. */
  readonly links: LinksUp;
  /** Subtracted from the configured priority; above 0 while something tracked has failed. */
  readonly demotion: number;
  /** Our table holds the peer's connections; while active: or held them when the unit became active. */
  readonly inSync: boolean;
  /** The peer is there, in sync and better off than we are. */
  readonly peerCanServe: boolean;
  /** `standby` was asked for: effective priority 1 until released or the peer is gone. */
  readonly forcedStandby: boolean;
}

/** Nothing is known yet, so the unit is not able. */
export const initialCondition: Condition = {
  running: false,
  workersAlive: false,
  links: 'none',
  demotion: 0,
  inSync: false,
  peerCanServe: false,
  forcedStandby: false,
};

/** Whether the unit can serve the group. With some links left it serves only if the peer cannot. */
export function able({ running, workersAlive, links, peerCanServe }: Condition): boolean {
  return running && workersAlive && (links === 'all' || (links === 'some' && !peerCanServe));
}

/** Configured − demotions ("not in sync" is one of them), clamped to 1..254. */
export function effectivePriority(router: GroupRouter, condition: Condition): number {
  if (condition.forcedStandby) return 1;
  const demotion = condition.demotion + (condition.inSync ? 0 : router.notInSyncDemotion);
  return Math.min(254, Math.max(1, router.priority - demotion));
}

/** Skew_Time = (((256 - Priority) * Active_Adver_Interval) / 256) -- RFC 9568 section 6.1 */
export function skewTime(router: GroupRouter, condition: Condition, activeAdvertIntervalMs: Millis): Millis {
  return ((256 - effectivePriority(router, condition)) * activeAdvertIntervalMs) / 256;
}

/**
 * Three intervals from the advert sent: a peer that heard that advert last waits the skew longer, so our
 * workers have stopped before it takes over.
 */
export function leaseLengthMs(router: GroupRouter): Millis {
  return 3 * router.advertIntervalMs;
}

/**
 * How long the active unit may take to answer a question; of an advert interval a quarter, within these. Its failover
 * process does nothing else, and a late answer only makes both units active until the next advert.
 */
const ANSWER_MS_MIN: Millis = 10;
const ANSWER_MS_MAX: Millis = 50;

export function answerTimeMs(activeAdvertIntervalMs: Millis): Millis {
  return Math.min(ANSWER_MS_MAX, Math.max(ANSWER_MS_MIN, activeAdvertIntervalMs / 4));
}
