/**
 * Golden cases over real devices, in one network namespace: the datapath on one end of each veth pair, this program on
 * the others. Argument: JSON of GoldenDeviceOptions. Each case has a datapath of its own, and its frames are sent one
 * by one: the next when what became of the one before is seen or counted. A marker frame behind the last one ends what
 * the captures hold of the case, so nothing is waited for by time; the datapath's clock is put forward (given_time.cc).
 */

import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

import type {
  Datapath,
  DatapathOptions,
  NativeModule,
  NextHop,
  PolicyDescription,
  RoleName,
  SharedStateHandle,
} from '../../../src/datapath.js';

export interface GoldenDeviceOptions {
  readonly kind: 'packet' | 'xdp';
  /** In the policy's order. `interface` is the datapath's end of the pair, `peer` the other. */
  readonly devices: readonly { readonly name: string; readonly interface: string; readonly peer: string }[];
}

export interface GoldenDeviceCase {
  readonly policy: PolicyDescription;
  readonly nextHops: readonly NextHop[];
  readonly role: RoleName;
  readonly connections: number;
  readonly halfOpen?: number | undefined;
  /** By link. */
  readonly mtus: Readonly<Record<string, number>>;
  readonly steps: readonly {
    /** Index of the device that it arrives on. */
    readonly device: number;
    /** Base64. */
    readonly frame: string;
    /** Since the step before; the datapath's clock is put forward. */
    readonly afterMs: number;
    /** What it brings: its own verdict, and those of fragments that it releases. */
    readonly verdicts: readonly string[];
  }[];
}

export interface GoldenDeviceRun {
  readonly modes: readonly string[];
  /** Base64, by device: what came out on the other end, in its order. */
  readonly sent: readonly (readonly string[])[];
  /** The same: what the kernel behind the datapath was given. */
  readonly kernels: readonly (readonly string[])[];
  /** By name; what was never counted is left out. */
  readonly counters: Readonly<Record<string, number>>;
  /** Index of the step of which nothing became in time; what stands behind it was not sent. */
  readonly stuckAt: number | null;
}

export type FromGoldenDevice =
  | { readonly type: 'ready' }
  | { readonly type: 'run'; readonly run: GoldenDeviceRun }
  | { readonly type: 'failed'; readonly message: string };

/** Far more than a frame needs on a machine under load: only a frame that is lost lets it pass. */
const STEP_MS_MAX = 10_000;
const MTU = 1500;
/** The least time after which a case expects something to have run out. */
const SWEPT_AFTER_MS = 1_000;
const PCAP_FILE_BYTES = 24;
const PCAP_FRAME_BYTES = 16;
/** IEEE 802 local experimental EtherType 1; the golden cases use it towards a virtual MAC only. */
const MARKER = [2, 0, 0, 0, 0xee, 0xee, 2, 0, 0, 0, 0xee, 0xef, 0x88, 0xb5];

const addonPath = fileURLToPath(new URL('../../../../../build/Release/tandem.node', import.meta.url));
const native = createRequire(import.meta.url)(addonPath) as NativeModule;
const dropNames = native.dropNames.map(([name]) => name);
const names = [...dropNames, ...native.countNames.map(([name]) => name)];

/** What arrives on an interface, frame by frame, tags that the kernel took out put back in. */
class Capture {
  frames: Buffer[] = [];
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  #bytes: Buffer = Buffer.alloc(0);
  #headRead = false;

  constructor(readonly link: string) {
    const args = ['-i', link, '-Q', 'in', '-n', '-w', '-', '-U', '--immediate-mode', '-Z', 'root'];
    this.#process = spawn('tcpdump', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process.stdout.on('data', (part: Buffer) => this.#read(part));
  }

  async listening(): Promise<void> {
    let said = '';
    while (!said.includes('listening on')) {
      const [part] = (await once(this.#process.stderr, 'data')) as [Buffer];
      said += part.toString();
    }
    this.#process.stderr.resume();
  }

  end(): void {
    this.#process.kill('SIGKILL');
  }

  #read(part: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, part]);
    if (!this.#headRead) {
      if (this.#bytes.length < PCAP_FILE_BYTES) return;
      this.#bytes = this.#bytes.subarray(PCAP_FILE_BYTES);
      this.#headRead = true;
    }
    while (this.#bytes.length >= PCAP_FRAME_BYTES) {
      const end = PCAP_FRAME_BYTES + this.#bytes.readUInt32LE(8);
      if (this.#bytes.length < end) return;
      this.frames.push(this.#bytes.subarray(PCAP_FRAME_BYTES, end));
      this.#bytes = this.#bytes.subarray(end);
    }
  }
}

const options = JSON.parse(process.argv[2] ?? '') as GoldenDeviceOptions;
const tell = (message: FromGoldenDevice) => process.send?.(message);
const outside = options.devices.map(({ peer }) => new Capture(peer));
/** AF_PACKET shows the datapath what the kernel is given; AF_XDP takes it, so that the kernel is not. */
const inside = options.devices.map((device) => new Capture(device.interface));
const captures = [...outside, ...inside];
const senders = options.devices.map(({ peer }) => new native.FrameSender(peer));
const markers = options.devices.map((device) => new native.FrameSender(device.interface));
const takesAll = options.kind === 'xdp';
const mtus = new Map<string, number>();
/** What given_time.cc reads. */
const clock = openSync(process.env['GIVEN_TIME'] ?? '', 'r+');
let aheadNs = 0n;

async function runCase(golden: GoldenDeviceCase): Promise<GoldenDeviceRun> {
  for (const { name, interface: link } of options.devices) setMtu(link, golden.mtus[name] ?? MTU);
  for (const capture of captures) capture.frames = [];
  const sharedState = new native.SharedState();
  const datapath = new native.Datapath({
    kind: options.kind,
    devices: options.devices,
    workers: 1,
    connections: golden.connections,
    halfOpen: golden.halfOpen,
    unit: 0,
    sharedState,
  } satisfies DatapathOptions);
  let modes: string[];
  let stuckAt: number | null = null;
  try {
    for (const index of golden.policy.groups.keys())
      sharedState.setRole(index, golden.role, 1, Number.POSITIVE_INFINITY);
    datapath.setPolicy(golden.policy);
    datapath.setNextHops(golden.nextHops);
    modes = datapath.start().devices.map(({ mode }) => mode);
    const verdicts: string[] = [];
    let punts = 0;
    for (const [index, step] of golden.steps.entries()) {
      putForward(step.afterMs);
      if (step.afterMs >= SWEPT_AFTER_MS) await swept(sharedState);
      senders[step.device]!.send(Buffer.from(step.frame, 'base64'));
      verdicts.push(...step.verdicts.filter((verdict) => verdict !== 'punt'));
      if (step.verdicts[0] === 'punt') punts++;
      const over = () =>
        acted(datapath, verdicts) >= verdicts.length && leftToKernel(datapath) >= (takesAll ? punts : index + 1);
      if (await within(STEP_MS_MAX, over)) continue;
      stuckAt = index;
      break;
    }
  } finally {
    datapath.stop();
  }
  await settle();
  const frames = (of: readonly Capture[]) => of.map((each) => each.frames.map((frame) => frame.toString('base64')));
  return { modes, sent: frames(outside), kernels: frames(inside), counters: countersOf(datapath), stuckAt };
}

function putForward(milliseconds: number): void {
  aheadNs += BigInt(milliseconds) * 1_000_000n;
  const octets = Buffer.alloc(8);
  octets.writeBigInt64LE(aheadNs);
  writeSync(clock, octets, 0, octets.length, 0);
}

/** The worker has looked at what has run out: a pass without frames sweeps a small table once round. */
async function swept(sharedState: SharedStateHandle): Promise<void> {
  const heartbeats = () => {
    const values = new BigUint64Array(16);
    sharedState.readHeartbeats(values);
    return values[0]!;
  };
  const before = heartbeats();
  if (!(await within(STEP_MS_MAX, () => heartbeats() >= before + 3n))) throw new Error('the worker stands still');
}

function setMtu(link: string, mtu: number): void {
  if ((mtus.get(link) ?? MTU) === mtu) return;
  execFileSync('ip', ['link', 'set', link, 'mtu', String(mtu)]);
  mtus.set(link, mtu);
}

/** One for each verdict but `punt`: a frame sent, dropped or held. */
function acted(datapath: Datapath, verdicts: readonly string[]): number {
  const counters = countersOf(datapath);
  const counted = dropNames.reduce((sum, name) => {
    // Of fragments that are held and never released no verdict tells.
    if (name === 'fragment_timeout') return sum;
    const told = name === 'fragment' ? verdicts.filter((verdict) => verdict === 'drop fragment').length : Infinity;
    return sum + Math.min(counters[name] ?? 0, told);
  }, counters['fragments_held'] ?? 0);
  return outside.reduce((sum, { frames }) => sum + frames.length, counted);
}

/** Of what XDP takes, the worker leaves to the kernel what is nothing to the kernel: it is only counted. */
function leftToKernel(datapath: Datapath): number {
  const counted = takesAll ? (countersOf(datapath)['punted'] ?? 0) : 0;
  return inside.reduce((sum, { frames }) => sum + frames.length, counted);
}

function countersOf(datapath: Datapath): Record<string, number> {
  const values = new BigUint64Array(names.length);
  datapath.readCounters(values);
  const rows = names.map((name, index) => [name, Number(values[index])] as const);
  return Object.fromEntries(rows.filter(([, value]) => value !== 0));
}

/** Whatever was on its way when the datapath stopped has arrived once a frame that was sent after it has. */
async function settle(): Promise<void> {
  const marker = Buffer.concat([Buffer.from(MARKER), Buffer.alloc(46)]);
  for (const sender of [...markers, ...senders]) sender.send(marker);
  const arrived = () => captures.every(({ frames }) => frames.some((frame) => frame.equals(marker)));
  if (!(await within(STEP_MS_MAX, arrived))) throw new Error('a marker frame was lost');
  for (const capture of captures) capture.frames = capture.frames.filter((frame) => !frame.equals(marker));
}

async function within(milliseconds: number, holds: () => boolean): Promise<boolean> {
  const deadline = performance.now() + milliseconds;
  while (!holds()) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return true;
}

process.on('message', (golden: GoldenDeviceCase) => {
  runCase(golden).then(
    (run) => tell({ type: 'run', run }),
    (error: Error) => tell({ type: 'failed', message: error.message }),
  );
});
process.once('disconnect', () => {
  for (const capture of captures) capture.end();
  process.exit(0);
});
await Promise.all(captures.map((capture) => capture.listening()));
tell({ type: 'ready' });
