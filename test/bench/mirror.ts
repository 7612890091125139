/**
 * Section `mirror`: what mirroring costs the active unit, and how many connections the standby keeps up with.
 *
 * The generator plays client and member through SYN, SYN-ACK and ACK. A measurement with mirroring counts only if, 1 s
 * after it, the standby holds 99 % of the connections it opened; else it is done again at a lower rate.
 *
 * Modes are compared next to each other, because a machine's speed changes within tenths of a second: where nothing
 * opens, frames of mirrored and of unmirrored connections take turns of `slice` seconds; where connections open, modes
 * take turns, forwards and backwards.
 */

import { setTimeout as pause } from 'node:timers/promises';

import { FarEnds, type Load, type Measured } from './far_ends.js';
import {
  channelBytes,
  type Mode,
  type Pair,
  pairNames,
  standConntrackd,
  standTandem,
  tandemModes,
} from './mirror_pairs.js';
import type { Bound, Effort, Place, Row, Section, SectionResult } from './section.js';
import { ratios } from './summary.js';
import { processorSeconds } from './tandem_unit.js';

export const mirror: Section = { name: 'mirror', needsRoot: true, run };

/** One frame in so many opens a connection; 0: none. */
const shares = [
  { name: 'established', openEvery: 0 },
  { name: '1/150 open', openEvery: 150 },
  { name: '1/15 open', openEvery: 15 },
  { name: 'all new', openEvery: 1 },
] as const;
type Share = (typeof shares)[number];
const [quiet, , , flood] = shares;

const establishedOf = ({ quick }: Effort): number => 1 << (quick ? 13 : 16);
const slice = 0.01;
const heldMin = 0.99;
/** Of the rate at which the standby was left behind. */
const retries = [0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05, 0.02] as const;
/** The generator's frames on their way: it shares a core with the unit that takes them. */
const baseOf = (effort: Effort) =>
  ({ protocol: 'tcp', bytes: 64, connections: establishedOf(effort), window: 1024 }) as const;

type Samples = Map<string, number[]>;

const ratioName = (pair: string, mode: string, share: Share): string => `${pair}, mirror ${mode} ÷ off: ${share.name}`;
const rowName = (pair: string, mode: string, share: Share): string => `${pair}, mirror ${mode}: ${share.name}`;

/** What is said of a mode while every frame opens a connection. */
const whats = {
  offered: 'new connections offered at once',
  held: 'of those held by the standby 1 s later',
  standbyTime: "standby's CPU per connection",
  bytes: 'bytes on the channel per connection',
} as const;
const ofMode = (pair: string, mode: string, what: string): string => `${pair}, mirror ${mode}: ${what}`;

async function run(effort: Effort, { ground }: Place): Promise<SectionResult> {
  FarEnds.build();
  const samples: Samples = new Map();
  const stands = [standTandem, standConntrackd];
  for (let round = 0; round < effort.rounds; round++) {
    for (const stand of round % 2 === 0 ? stands : stands.toReversed()) {
      const pair = await stand(ground, effort.quick ? 500_000 : 6_000_000);
      try {
        await measurePair(pair, round, effort, samples);
      } finally {
        await pair.stop();
      }
    }
  }
  return resultOf(samples);
}

async function measurePair(pair: Pair, round: number, effort: Effort, samples: Samples): Promise<void> {
  const { ends, modes, unmirroredPort } = pair;
  await modes[0]?.set();
  await measureIdle(pair, effort, samples);
  await openSet(ends, 80, effort);
  const inTurns = shares.filter(({ openEvery }) => openEvery > 0 || unmirroredPort === undefined);
  if (unmirroredPort !== undefined) {
    await openSet(ends, unmirroredPort, effort);
    await measureInSlices(pair, unmirroredPort, effort, samples);
  }
  // Modes of conntrackd take seconds to change.
  for (const group of effort.quick ? [inTurns] : inTurns.map((share) => [share])) {
    for (let turn = 0; turn < turnsOf(group, effort); turn++) {
      await measureTurn(pair, group, (round + turn) % 2 === 1, effort, samples);
    }
  }
}

/** A frame of a connection that is not open comes to nothing, and the generator waits for it. */
async function openSet(ends: FarEnds, port: number, effort: Effort): Promise<void> {
  const established = establishedOf(effort);
  for (let tries = 0; tries < 10; tries++) {
    const load = { ...baseOf(effort), port, openSet: true, frames: established, rate: 100_000, seconds: 0 };
    if ((await ends.measure(load)).establishedInAll >= established) return;
  }
  throw new Error(`${established} connections to port ${port} could not be opened without a loss`);
}

/** Mirrored and unmirrored connections side by side, of which none opens. */
async function measureInSlices(pair: Pair, otherPort: number, effort: Effort, samples: Samples): Promise<void> {
  const load = { ...baseOf(effort), seconds: effort.quick ? 0.2 : 4, slices: { seconds: slice, otherPort } };
  for (const mode of pair.modes.filter(({ mirrors }) => mirrors)) {
    await mode.set();
    const [mirrored, unmirrored] = (await pair.ends.measure(load)).sides;
    if (mirrored === undefined || unmirrored === undefined) throw new Error(`no turns of ${slice} s took place`);
    keep(samples, rowName(pair.name, mode.name, quiet), mirrored / 1e6);
    keep(samples, rowName(pair.name, 'off', quiet), unmirrored / 1e6);
    keep(samples, ratioName(pair.name, mode.name, quiet), mirrored / unmirrored);
  }
}

const turnsOf = (group: readonly Share[], effort: Effort): number => (group.includes(flood) && !effort.quick ? 4 : 1);

/** Every mode once. */
async function measureTurn(
  pair: Pair,
  group: readonly Share[],
  backwards: boolean,
  effort: Effort,
  samples: Samples,
): Promise<void> {
  const figures = new Map<string, number>();
  for (const mode of backwards ? pair.modes.toReversed() : pair.modes) {
    await mode.set();
    for (const share of group) {
      const load = { ...baseOf(effort), openEvery: share.openEvery, seconds: effort.quick ? 0.1 : 0.5 };
      const measured = mode.mirrors ? await measureMirrored(pair, mode, load, samples) : await pair.ends.measure(load);
      const figure = (share === flood ? measured.established : measured.received) / 1e6;
      figures.set(rowName(pair.name, mode.name, share), figure);
    }
  }
  for (const [name, figure] of figures) keep(samples, name, figure);
  for (const { name } of pair.modes.filter(({ mirrors }) => mirrors)) {
    for (const share of group) {
      const of = (mode: string) => figures.get(rowName(pair.name, mode, share)) ?? Number.NaN;
      keep(samples, ratioName(pair.name, name, share), of(name) / of('off'));
    }
  }
}

/** Nothing moves but adverts and keepalives. A unit that has just started compiles what it runs, and tidies up once. */
async function measureIdle(pair: Pair, effort: Effort, samples: Samples): Promise<void> {
  await pause(effort.quick ? 200 : 20_000);
  const units = { active: pair.network.unit, standby: pair.network.standby };
  const before = Object.values(units).map(processorSeconds);
  const start = performance.now();
  await pause(effort.quick ? 300 : 5000);
  const took = (performance.now() - start) / 1000;
  for (const [index, [unit, namespace]] of Object.entries(units).entries()) {
    const share = (processorSeconds(namespace) - (before[index] ?? 0)) / took;
    keep(samples, `${pair.name}: idle ${unit} unit's CPU`, 100 * share);
  }
}

async function measureMirrored(
  pair: Pair,
  mode: Mode,
  load: Load & { readonly openEvery: number },
  samples: Samples,
): Promise<Measured> {
  const first = await attempt(pair, load);
  if (load.openEvery === 0) return first.measured;
  const allNew = load.openEvery === 1;
  const keepOf = (what: string, value: number) => keep(samples, ofMode(pair.name, mode.name, what), value);
  if (allNew) {
    keepOf(whats.offered, first.measured.established / 1e6);
    keepOf(whats.held, 100 * first.held);
  }
  let last = first;
  for (const share of retries) {
    if (last.held >= heldMin) break;
    last = await attempt(pair, { ...load, rate: first.measured.generated * share });
  }
  if (last.held < heldMin)
    throw new Error(`${pair.name}, ${mode.name}: the standby holds ${last.held} of the least that was tried`);
  if (allNew) {
    keepOf(whats.standbyTime, last.standbySeconds * 1e6);
    keepOf(whats.bytes, last.bytes);
  }
  return last.measured;
}

/** Standby's time and bytes are of one connection. */
interface Attempt {
  readonly measured: Measured;
  readonly held: number;
  readonly standbySeconds: number;
  readonly bytes: number;
}

async function attempt(pair: Pair, load: Load & { readonly openEvery: number }): Promise<Attempt> {
  const state = async () => ({
    held: await pair.held(),
    seconds: processorSeconds(pair.network.standby),
    bytes: channelBytes(pair.network),
  });
  const before = await state();
  const measured = await pair.ends.measure(load);
  const opened = Math.max(1, measured.establishedInAll);
  const deadline = performance.now() + 1000;
  let after = await state();
  while (load.openEvery > 0 && after.held - before.held < heldMin * opened && performance.now() < deadline) {
    await pause(20);
    after = await state();
  }
  return {
    measured,
    held: Math.max(0, after.held - before.held) / opened,
    standbySeconds: (after.seconds - before.seconds) / opened,
    bytes: (after.bytes - before.bytes) / opened,
  };
}

function keep(samples: Samples, name: string, value: number): void {
  samples.set(name, [...(samples.get(name) ?? []), value]);
}

function resultOf(samples: Samples): SectionResult {
  const { tandem, conntrackd } = pairNames;
  const of = (name: string) => samples.get(name) ?? [];
  const row = (name: string, unit: string, bound?: Bound): Row => ({
    name,
    unit,
    cores: 2,
    samples: of(name),
    ...(bound === undefined ? {} : { bound }),
  });
  const higher = (must: number, aim: number): Bound => ({ better: 'higher', must, aim });
  const modesOf = (pair: string): readonly string[] => (pair === tandem ? tandemModes : ['on', 'off']);
  const mirroring = (pair: string) => modesOf(pair).filter((mode) => mode !== 'off');
  const ofAsync = (share: Share): Bound | undefined =>
    share === quiet ? higher(0.98, 0.995) : share === flood ? higher(0.9, 0.97) : undefined;
  const idle = { better: 'lower', must: 2, aim: 0.5 } as const;
  return {
    section: 'mirror',
    title: 'Mirror: connections to a real standby',
    rows: [
      {
        name: 'new connections, Tandem mirrored ÷ nft unmirrored',
        unit: 'ratio',
        cores: 2,
        samples: ratios(of(rowName(tandem, 'async', flood)), of(rowName(conntrackd, 'off', flood))),
        bound: higher(4, 6),
      },
      ...[tandem, conntrackd].flatMap((pair) =>
        mirroring(pair).flatMap((mode) =>
          shares.map((share) =>
            row(ratioName(pair, mode, share), 'ratio', mode === 'async' ? ofAsync(share) : undefined),
          ),
        ),
      ),
      ...[tandem, conntrackd].flatMap((pair) => [
        ...shares.flatMap((share) =>
          modesOf(pair).map((mode) => row(rowName(pair, mode, share), share === flood ? 'M connections/s' : 'Mpps')),
        ),
        ...mirroring(pair).flatMap((mode) => [
          row(ofMode(pair, mode, whats.offered), 'M connections/s'),
          row(ofMode(pair, mode, whats.held), '%'),
          row(ofMode(pair, mode, whats.standbyTime), 'µs'),
          row(ofMode(pair, mode, whats.bytes), 'bytes'),
        ]),
        row(`${pair}: idle active unit's CPU`, '% of a core', pair === tandem ? idle : undefined),
        row(`${pair}: idle standby unit's CPU`, '% of a core', pair === tandem ? idle : undefined),
      ]),
    ],
    charts: [
      {
        name: 'new-connections',
        title: 'New connections, real handshakes, 64 bytes',
        unit: 'million per second',
        rows: [tandem, conntrackd].flatMap((pair) => modesOf(pair).map((mode) => rowName(pair, mode, flood))),
      },
      {
        name: 'mixed',
        title: 'Packets while one in 15 opens a connection',
        unit: 'million packets per second',
        rows: [tandem, conntrackd].flatMap((pair) => modesOf(pair).map((mode) => rowName(pair, mode, shares[2]))),
      },
    ],
    notes: [
      'every connection goes through SYN, SYN-ACK and ACK; both far ends answer in tc, without sockets',
      'generator and what moves the active unit’s frames on the first core; sender and standby on the second',
      'async tells the standby of a connection when its handshake is complete; commit holds the SYN-ACK until',
      '  it is told, and tells it of 200,000 half-open ones a second at most',
      `mirrored: the highest rate at which the standby holds ${100 * heldMin} % of the connections 1 s later`,
      `established, Tandem: a mirrored and an unmirrored virtual server in turns of ${1000 * slice} ms, 400 a round;`,
      '  else modes in turns of half a second, forwards and backwards, 4 of each a round where all are new',
      'Mpps counts data packets and SYNs that came through, not the rest of the handshakes',
      'conntrackd: UDP on a link of its own, ESTABLISHED only (filtered by the kernel), buffers of 16 to 256 MiB;',
      '  it holds connections in its external cache, as by default, and needs a commit at takeover; Tandem does not',
    ],
  };
}
