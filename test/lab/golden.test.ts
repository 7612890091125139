/**
 * Goal: `packet` and `xdp` make of every golden case what `memory` makes of it: test/golden/ is the one oracle.
 * Method: the datapath on veth ends; the frames of each case go into the other ends, and what comes out there is
 * compared with frames/NAME.out.pcap, link by link and byte by byte. Verdicts that send nothing are told by the
 * counters, and what XDP leaves to the kernel by what the kernel gets. A case that a device cannot show says why.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { loadConfig } from '../../src/config/load.js';
import { arrivalOf } from '../../src/replay/arrival.js';
import { topologyOf } from '../../src/replay/topology.js';
import { cases } from '../golden/cases.js';
import type { Case } from '../golden/network.js';
import { framesOf } from '../support/checksums.js';
import { GoldenLab } from '../support/lab/golden_lab.js';
import { whyNoLab } from '../support/lab/lab.js';
import { run } from '../support/lab/namespaces.js';
import { repositoryRoot } from '../support/lab/paths.js';
import type { GoldenDeviceCase, GoldenDeviceRun } from './programs/golden_device_program.js';

const reason = whyNoLab();
const golden = join(repositoryRoot, 'test/golden');
const loaded = loadConfig(readFileSync(join(golden, 'tandem.yaml'), 'utf8'), 'tandem.yaml');
if (!loaded.ok) throw new Error('the golden config is not valid');
const { datapath } = loaded.config;
const topology = topologyOf(loaded.config, 'a');
const linkNames = topology.devices.map(({ name }) => name);

const modes = { packet: 'packet', xdp: 'xdp-native' } as const;
/** Of each device, cases that it cannot show. More of them would be a hole in the oracle. */
const notOnMax = 5;

/** What its table and its recording say must be seen of a case. */
interface Outcome {
  /** By device. */
  readonly sent: readonly (readonly string[])[];
  readonly drops: Readonly<Record<string, number>>;
  readonly held: number;
  readonly punted: readonly string[];
  /** All that was sent to the datapath. */
  readonly received: readonly string[];
}

const hex = (frame: Uint8Array) => Buffer.from(frame).toString('hex');
const verdictsOf = ({ verdict }: { readonly verdict: string }) => verdict.split(', ');

function expected({ name, steps }: Case): Outcome {
  const recorded = framesOf(readFileSync(join(golden, 'frames', `${name}.out.pcap`))).map(hex);
  const sent: string[][] = linkNames.map(() => []);
  const drops: Record<string, number> = {};
  for (const verdict of steps.flatMap(verdictsOf)) {
    const [kind, of = ''] = verdict.split(' ');
    if (kind === 'forward') sent[linkNames.indexOf(of)]!.push(recorded.shift() ?? 'nothing recorded');
    if (kind === 'drop') drops[of] = (drops[of] ?? 0) + 1;
  }
  const those = (what: string) => steps.filter(({ verdict }) => verdict === what).map(({ frame }) => hex(frame));
  const received = steps.map(({ frame }) => hex(frame));
  return { sent, drops, held: those('hold').length, punted: those('punt'), received };
}

function request({ steps, role, mtus = {} }: Case): GoldenDeviceCase {
  return {
    policy: topology.policy,
    nextHops: topology.nextHops,
    role: role ?? 'active',
    connections: datapath.connections,
    halfOpen: datapath.halfOpen,
    mtus,
    steps: steps.map((step) => ({
      afterMs: step.afterMs ?? 1,
      device: arrivalOf(topology, step.frame).device,
      frame: Buffer.from(step.frame).toString('base64'),
      verdicts: verdictsOf(step),
    })),
  };
}

const dropNames = new Set<string>();

function expectSame(outcome: Outcome, ran: GoldenDeviceRun, kind: keyof typeof modes): void {
  const { counters } = ran;
  const asHex = (frames: readonly string[]) => frames.map((frame) => Buffer.from(frame, 'base64').toString('hex'));
  expect(ran.sent.map(asHex)).toEqual(outcome.sent);
  expect(ran.stuckAt, 'the step of which nothing became').toBeNull();
  expect(counters['fragments_held'] ?? 0, 'fragments held').toBe(outcome.held);
  for (const name of dropNames) {
    const [told, counted] = [outcome.drops[name] ?? 0, counters[name] ?? 0];
    // Of fragments that are held and never released no verdict tells.
    const untold = ['fragment', 'fragment_timeout'].includes(name) ? outcome.held : 0;
    expect(counted, name).toBeGreaterThanOrEqual(told);
    expect(counted, name).toBeLessThanOrEqual(told + untold);
  }
  const kernels = ran.kernels.flatMap(asHex).toSorted();
  if (kind === 'packet') {
    expect(kernels, 'AF_PACKET takes nothing').toEqual(outcome.received.toSorted());
    return;
  }
  // What XDP takes and the worker has no use for is nothing to the kernel: it is for another's MAC or address.
  expect(outcome.punted.filter((frame) => kernels.includes(frame)).toSorted()).toEqual(kernels);
  expect(kernels.length + (counters['punted'] ?? 0), 'punted').toBe(outcome.punted.length);
}

/** Each takes one case at a time. Most of a case is the kernel's waiting, as devices come and go. */
const lanes = [1, 2];

describe.skipIf(reason !== null).each(['packet', 'xdp'] as const)(
  `golden cases over %s${reason === null ? '' : ` (skipped: ${reason})`}`,
  (kind) => {
    const free: GoldenLab[] = [];
    const waiting: (() => void)[] = [];
    let labs: readonly GoldenLab[] = [];

    beforeAll(async () => {
      run(join(repositoryRoot, 'node_modules/.bin/tsc'), ['-p', join(repositoryRoot, 'test/lab/programs')]);
      const { native } = await import('../../src/io/native.js');
      for (const [name] of native.dropNames) dropNames.add(name);
      const links = topology.devices.map(({ name, interface: link, mac = '' }) => ({ name, interface: link, mac }));
      labs = lanes.map((lane) => new GoldenLab(kind, lane, links));
      await Promise.all(labs.map((lab) => lab.up()));
      free.push(...labs);
    });
    afterAll(() => {
      for (const lab of labs) lab.down();
    });

    /** vitest runs more tests at a time than there are lanes: those wait. */
    let turn = Promise.resolve();
    async function inLane<Result>(body: (lab: GoldenLab) => Promise<Result>): Promise<Result> {
      let lab: GoldenLab | undefined;
      const given = turn.then(async () => {
        while (free.length === 0) await new Promise<void>((resolve) => waiting.push(resolve));
        lab = free.pop();
      });
      turn = given;
      await given;
      try {
        return await body(lab!);
      } finally {
        free.push(lab!);
        waiting.shift()?.();
      }
    }

    test('it can show nearly all of them', () => {
      expect(cases.filter(({ notOn }) => notOn?.[kind] !== undefined).length).toBeLessThanOrEqual(notOnMax);
    });

    test.concurrent.for(cases)('$name', async (each, context) => {
      const why = each.notOn?.[kind];
      // scripts/test knows these from a lab that could not be made.
      if (why !== undefined) return context.skip(`not on ${kind}: ${why}`);
      const outcome = expected(each);
      const ran = await inLane((lab) => lab.run(request(each)));
      expect(new Set(ran.modes)).toEqual(new Set([modes[kind]]));
      expectSame(outcome, ran, kind);
    });
  },
);
