/**
 * One end of a mirror channel in a process of its own, for section `channel`. Forked; told over IPC what to be.
 *
 * Unit a has more changes than it can send: its datapath is a list of records, made once and given out again and
 * again, each time under a higher term, so that none is stale. Everything behind it is the daemon's: session, paths,
 * memory, transport. Unit b is the daemon's channel over a real datapath, which applies every record.
 */

import pino from 'pino';

import type { Datapath } from '../../src/datapath.js';
import { MirrorChannel, type MirroredDatapath } from '../../src/io/mirror_channel.js';
import { securedTransport } from '../../src/io/mirror_security.js';
import type { PairCredentials } from '../../src/io/pair_credentials.js';
import type { GroupRole } from '../../src/mirror/messages.js';
import {
  CLIENT,
  CLIENT_DEVICE,
  CLIENT_MAC,
  MEMBER,
  MEMBER_MAC,
  MemoryDatapath,
  policy,
  SERVER_DEVICE,
  VIRTUAL_ADDRESS,
  VIRTUAL_MAC,
  virtualServer,
} from '../support/memory_datapath.js';
import { ipFrame, tcp } from '../support/packets.js';

export interface BecomeMessage {
  readonly type: 'become';
  readonly unit: 'a' | 'b';
  readonly port: number;
  /** Null: plaintext. */
  readonly credentials: PairCredentials | null;
  readonly connections: number;
}

export type ToEnd = BecomeMessage | { readonly type: 'measure'; readonly ms: number } | { readonly type: 'stop' };
export type FromEnd =
  | { readonly type: 'ready' }
  | { readonly type: 'measured'; readonly records: number; readonly stale: number; readonly seconds: number };

const withoutSnat = { ...policy, virtualServers: [{ ...virtualServer, snatAddresses: [] }] };
/** Octets of a record of IPv4 state, and where its parts are: native/wire/mirror.h. */
const RECORD_BYTES = 46;
const AT = { term: 4, sequence: 8, clientPort: 12, client: 16, snatPort: 26, snat: 42 } as const;

/** The record of a real connection that is not translated, so that clients alone tell connections apart. */
function template(): Uint8Array {
  const unit = new MemoryDatapath({ connections: 64 }).activate(withoutSnat);
  unit.datapath.setMirrorWanted(true);
  const from = (flags: string) => ({
    atS: 1,
    device: CLIENT_DEVICE,
    frame: ipFrame(
      { from: CLIENT_MAC, to: VIRTUAL_MAC },
      { source: CLIENT, destination: VIRTUAL_ADDRESS },
      tcp({ sourcePort: 40_000, destinationPort: 80, flags, acknowledgment: flags === 'S' ? 0 : 1001 }),
    ),
  });
  const answer = {
    atS: 1,
    device: SERVER_DEVICE,
    frame: ipFrame(
      { from: MEMBER_MAC, to: VIRTUAL_MAC },
      { source: MEMBER, destination: CLIENT },
      tcp({ sourcePort: 8080, destinationPort: 40_000, flags: 'SA' }),
    ),
  };
  unit.replay([from('S'), answer, from('A')]);
  const into = new Uint8Array(4_096);
  const [bytes, records] = unit.datapath.takeMirror(into);
  if (records !== 1 || bytes !== RECORD_BYTES) throw new Error(`${records} records of ${bytes} bytes for a connection`);
  return into.slice(0, bytes);
}

/** Changes without end, of so many connections in turn. */
class Changes implements MirroredDatapath {
  readonly #records: Uint8Array;
  readonly #dictionary: Datapath;
  #next = 0;
  #term = 1;
  #bulk = 0;

  constructor(connections: number) {
    const one = template();
    this.#records = new Uint8Array(connections * RECORD_BYTES);
    this.#dictionary = new MemoryDatapath({ connections: 64 }).activate(withoutSnat).datapath;
    const view = new DataView(this.#records.buffer);
    for (let index = 0; index < connections; index += 1) {
      const at = index * RECORD_BYTES;
      this.#records.set(one, at);
      const address = 0x0b00_0000 + (index >> 4);
      const port = 10_000 + (index & 15);
      view.setUint32(at + AT.sequence, index + 1);
      view.setUint16(at + AT.clientPort, port);
      view.setUint16(at + AT.snatPort, port);
      view.setUint32(at + AT.client, address);
      view.setUint32(at + AT.snat, address);
    }
  }

  takeMirror(into: Uint8Array): [bytes: number, records: number, lastRecord: number] {
    const left = this.#records.length - this.#next;
    const bytes = Math.min(Math.floor(into.length / RECORD_BYTES) * RECORD_BYTES, left);
    into.set(this.#records.subarray(this.#next, this.#next + bytes));
    const [high, low] = [this.#term >> 8, this.#term & 0xff];
    for (let at = AT.term; at < bytes; at += RECORD_BYTES) {
      into[at] = high;
      into[at + 1] = low;
    }
    this.#next += bytes;
    this.#bulk = Math.max(0, this.#bulk - bytes);
    if (this.#next === this.#records.length) {
      this.#next = 0;
      this.#term += 1;
    }
    return [bytes, bytes / RECORD_BYTES, 0];
  }

  startBulk(): void {
    this.#bulk = this.#records.length;
  }
  bulkRunning(): boolean {
    return this.#bulk > 0;
  }
  bulkAnnounced(): number {
    return this.#records.length / RECORD_BYTES;
  }
  mirrorDictionary(): ReturnType<MirroredDatapath['mirrorDictionary']> {
    return this.#dictionary.mirrorDictionary();
  }
  setMirrorWanted(): void {}
  confirmMirror(): void {}
  refuseMirror(): void {}
  onMirrorPending(): void {}
  armMirror(): void {}
  lostCloses(): string[] {
    return [];
  }
  restartDigests(): void {}
  sweepDigests(): number {
    return 1;
  }
  digests(): null {
    return null;
  }
  setMirrorDictionary(): void {}
  applyMirror(): ReturnType<MirroredDatapath['applyMirror']> {
    return { applied: 0, stale: 0, refusedFull: 0, unknown: 0, malformed: false, refused: new Uint32Array() };
  }
  dropUnannounced(): [boolean, number] {
    return [true, 0];
  }
}

let channel: MirrorChannel | null = null;

function become({ unit, port, credentials, connections }: BecomeMessage): void {
  const end = { address: '127.0.0.1', port };
  const role: GroupRole = { name: 'main', role: unit === 'a' ? 'active' : 'standby', term: unit === 'a' ? 1 : 0 };
  channel = new MirrorChannel({
    unit,
    paths: [{ local: end, peer: end }],
    limits: { maxDelayMs: 5, queueBytesMax: 8 * 1024 * 1024, keepaliveMs: 1_000, plaintext: true },
    bootId: `bench-${unit}`,
    datapath: unit === 'a' ? new Changes(connections) : standby(connections),
    groups: () => [role],
    config: () => ({ links: ['client', 'server'], virtualServers: ['www'] }),
    log: pino({ level: 'warn' }),
    transport: securedTransport({ credentials: () => credentials, plaintext: true }),
  });
  if (unit === 'b') tell({ type: 'ready' });
  else channel.on('in-sync', ({ peer }) => (peer ? tell({ type: 'ready' }) : undefined));
  channel.start();
}

function standby(connections: number): Datapath {
  const unit = new MemoryDatapath({ unit: 1, connections: 2 * connections }).activate(withoutSnat);
  unit.shared.setRole(0, 'standby', 0, 0);
  return unit.datapath;
}

async function measure(ms: number): Promise<void> {
  const counts = () => (channel as MirrorChannel).status().counters;
  const [before, startMs] = [counts(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, ms));
  const [after, endMs] = [counts(), performance.now()];
  const records = after.records_acked - before.records_acked;
  const unapplied = (of: typeof after) => of.peer_stale + of.peer_refused_full + of.peer_unknown;
  tell({ type: 'measured', records, stale: unapplied(after) - unapplied(before), seconds: (endMs - startMs) / 1000 });
}

function tell(message: FromEnd): void {
  process.send?.(message);
}

process.on('message', (message: ToEnd) => {
  if (message.type === 'become') become(message);
  else if (message.type === 'measure') void measure(message.ms);
  else process.exit(0);
});
