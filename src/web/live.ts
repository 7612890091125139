/**
 * The last known figures, kept fresh: pushed by /v1/events, polled where events say nothing, and all polled while there
 * are no events. What is known stays when answers stop; `answeredAt` says how old it is.
 */

import { computed, signal } from '@preact/signals';

import type {
  Control,
  Costs,
  FailoverStatus,
  MirrorStatus,
  PoolStatus,
  Rates,
  Status,
  Survival,
  VirtualServerStatus,
} from '../api.js';
import { type Look, ratesBetween } from '../http/rates.js';
import { ask, hasToken, isTokenWanted } from './ask.js';

const POLL_MS = 2_000;
/** A page waits so long for its first answers before it shows what there is. */
const FIRST_MS = 2_000;
/** Two polls and the longest answer. */
const STALE_MS = 8_000;
/** Two minutes of rates, one each second. */
const RATES_MAX = 120;
/** Events say something each second. */
const SILENT_MS = 6_000;

export const status = signal<Status | null>(null);
export const survival = signal<Survival | null>(null);
export const virtualServers = signal<readonly VirtualServerStatus[] | null>(null);
export const pools = signal<readonly PoolStatus[] | null>(null);
export const mirror = signal<MirrorStatus | null>(null);
export const failover = signal<FailoverStatus | null>(null);
/** `undefined`: not asked yet; null: never measured. */
export const costs = signal<Costs | null | undefined>(undefined);
/** Oldest first. */
export const rates = signal<readonly Rates[]>([]);

/** Milliseconds of Date.now(); null: never. */
export const answeredAt = signal<number | null>(null);
export const problem = signal<string | null>(null);
export const now = signal(Date.now());
export const isStale = signal(false);
const waitedEnough = signal(false);
/** Everything was answered once, so nothing that is shown moves what stands below it; or too much time has passed. */
export const isBegun = computed(() => {
  const first = [status.value, survival.value, failover.value];
  const areAnswered = first.every((each) => each !== null) && costs.value !== undefined;
  return waitedEnough.value || problem.value !== null || areAnswered;
});

let heardAtMs = Number.NEGATIVE_INFINITY;
let look: Look | null = null;

export function follow(): void {
  setTimeout(() => {
    waitedEnough.value = true;
  }, FIRST_MS);
  listen();
  void poll();
  setInterval(tick, 1_000);
}

function tick(): void {
  now.value = Date.now();
  isStale.value = problem.value !== null || now.value - (answeredAt.value ?? now.value) > STALE_MS;
}

const eventsSilent = () => performance.now() - heardAtMs > SILENT_MS;

async function poll(): Promise<void> {
  await refresh();
  setTimeout(() => void poll(), POLL_MS);
}

/** Asks anew for all that events do not tell; never rejects. */
export async function refresh(): Promise<void> {
  try {
    const [servers, poolList, mirrorNow, failoverNow] = await Promise.all([
      ask<readonly VirtualServerStatus[]>('/v1/virtual-servers'),
      ask<readonly PoolStatus[]>('/v1/pools'),
      ask<MirrorStatus>('/v1/mirror'),
      ask<FailoverStatus>('/v1/failover'),
    ]);
    [virtualServers.value, pools.value, mirror.value, failover.value] = [servers, poolList, mirrorNow, failoverNow];
    if (costs.value === undefined) costs.value = await ask<Answered<'costs'>>('/v1/costs');
    if (eventsSilent()) await withoutEvents(servers, poolList);
    answered();
  } catch (error) {
    problem.value = error instanceof Error ? error.message : String(error);
    tick();
  }
}

type Answered<Method extends keyof Control> = Awaited<ReturnType<Control[Method]>>;

async function withoutEvents(servers: readonly VirtualServerStatus[], poolList: readonly PoolStatus[]) {
  [status.value, survival.value] = await Promise.all([ask<Status>('/v1/status'), ask<Survival>('/v1/survival')]);
  const at = new Date().toISOString();
  const seen: Look = { at, atMs: performance.now(), virtualServers: servers, pools: poolList };
  if (look !== null) addRates(ratesBetween(look, seen));
  look = seen;
}

function answered(): void {
  answeredAt.value = Date.now();
  problem.value = null;
  tick();
}

function addRates(fresh: Rates): void {
  rates.value = [...rates.value, fresh].slice(-RATES_MAX);
}

/** The browser connects anew by itself, unless it was answered with something else than events. It sends no token. */
function listen(): void {
  if (hasToken() || isTokenWanted.value) return;
  const source = new EventSource('/v1/events');
  const hear = <Data>(name: string, use: (data: Data) => void) =>
    source.addEventListener(name, (event) => {
      heardAtMs = performance.now();
      look = null;
      use(JSON.parse((event as MessageEvent<string>).data) as Data);
    });
  hear<{ status: Status; survival: Survival }>('state', (state) => {
    [status.value, survival.value] = [state.status, state.survival];
  });
  hear<Rates>('rates', addRates);
  hear('failover', () => void refresh());
  source.addEventListener('error', () => {
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(listen, POLL_MS);
  });
}
