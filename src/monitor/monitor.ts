/**
 * One member's monitor: when to probe, and what the answers make of the member. Nothing else: no socket,
 * no timer, no clock. `src/io/monitor_runner.ts` passes time and answers in and carries the actions out.
 *
 *                 1st success                     `fall` failures in a row
 *   +---------+ ---------------> +----+ ----------------------------------> +------+
 *   | unknown |                  | up | <---------------------------------- | down |
 *   +---------+ --+              +----+      `rise` successes in a row      +------+
 *                 |   `fall` failures in a row                                 ^
 *                 +------------------------------------------------------------+
 *
 * Only an `up` member is available. `rise` counts after a `down` only: a unit that just started must not keep
 * a working pool out for `rise` intervals.
 */

/** Milliseconds on a monotonic clock. */
export type Millis = number;

export interface MonitorTiming {
  readonly intervalMs: Millis;
  readonly timeoutMs: Millis;
  readonly rise: number;
  readonly fall: number;
}

export type Health = 'unknown' | 'up' | 'down';

export interface MonitorState {
  readonly health: Health;
  /** Answers in a row that speak against `health`. */
  readonly contrary: number;
  /** The last answer, in words. */
  readonly reason: string;
  /** A probe is either to come or under way; each carries its own deadline. */
  readonly probe:
    | { readonly name: 'waiting'; readonly startAt: Millis }
    | { readonly name: 'running'; readonly startedAt: Millis; readonly giveUpAt: Millis };
}

export type Input =
  /** A probe may start now: its time has come and a slot is free. */
  | { readonly type: 'start' }
  | { readonly type: 'timeout' }
  | { readonly type: 'answer'; readonly ok: boolean; readonly reason: string };

export type Action =
  | { readonly type: 'probe' }
  | { readonly type: 'cancel' }
  | { readonly type: 'up'; readonly reason: string }
  | { readonly type: 'down'; readonly reason: string };

export interface Step {
  readonly state: MonitorState;
  readonly actions: readonly Action[];
}

/** A monitor whose first probe starts `delayMs` from now. `health` is kept when a config is reloaded. */
export function initial(
  now: Millis,
  delayMs: Millis,
  health: Health = 'unknown',
  reason = 'not probed yet',
): MonitorState {
  return { health, contrary: 0, reason, probe: { name: 'waiting', startAt: now + delayMs } };
}

/**
 * How long first probes of one config are spread over: 20 ms a member, at most the interval, so that a
 * thousand members are not probed in one instant and three are not kept waiting.
 */
export function spreadMs(members: number, intervalMs: Millis): Millis {
  return Math.min(intervalMs, 20 * members);
}

/** When the caller must come back: with `start` if waiting, with `timeout` if running. */
export function deadline(state: MonitorState): Millis {
  return state.probe.name === 'waiting' ? state.probe.startAt : state.probe.giveUpAt;
}

export function step(timing: MonitorTiming, state: MonitorState, input: Input, now: Millis): Step {
  const { probe } = state;
  switch (input.type) {
    case 'start':
      if (probe.name === 'running' || now < probe.startAt) return stay(state);
      return {
        state: { ...state, probe: { name: 'running', startedAt: now, giveUpAt: now + timing.timeoutMs } },
        actions: [{ type: 'probe' }],
      };
    case 'timeout': {
      if (probe.name === 'waiting' || now < probe.giveUpAt) return stay(state);
      const judged = judge(timing, state, false, `no answer within ${timing.timeoutMs} ms`);
      return { state: rest(timing, judged.state, now), actions: [{ type: 'cancel' }, ...judged.actions] };
    }
    case 'answer': {
      // A late answer of a probe that was given up says nothing about now.
      if (probe.name === 'waiting') return stay(state);
      const judged = judge(timing, state, input.ok, input.reason);
      return { state: rest(timing, judged.state, now), actions: judged.actions };
    }
  }
}

function judge(timing: MonitorTiming, state: MonitorState, ok: boolean, reason: string): Step {
  const speaksAgainst = ok ? state.health !== 'up' : state.health !== 'down';
  if (!speaksAgainst) return stay({ ...state, contrary: 0, reason });

  // An unknown member counts failures only, so a success is always its first.
  const contrary = state.contrary + 1;
  const wanted = ok ? (state.health === 'unknown' ? 1 : timing.rise) : timing.fall;
  if (contrary < wanted) return stay({ ...state, contrary, reason });

  const health = ok ? 'up' : 'down';
  return { state: { ...state, health, contrary: 0, reason }, actions: [{ type: health, reason }] };
}

/** Starts keep their rhythm: the interval runs from start to start, and a slow probe skips no more than itself. */
function rest(timing: MonitorTiming, state: MonitorState, now: Millis): MonitorState {
  const startedAt = state.probe.name === 'running' ? state.probe.startedAt : now;
  return { ...state, probe: { name: 'waiting', startAt: Math.max(now, startedAt + timing.intervalMs) } };
}

function stay(state: MonitorState): Step {
  return { state, actions: [] };
}
