/**
 * The mirrored part of a datapath as a Map: small enough to be right by reading. Stands in for the native
 * one behind the mirror channel, in tests of the channel and in the two-unit simulation.
 *
 * A connection is a number: its client's address. What may change of it is one value, its member's port.
 * Records have the layout of native/wire/mirror.h (IPv4). Rules of the table:
 *
 * - a change marks, a marked connection is not marked again, taking encodes the state of that moment;
 * - what was left to tell when the unit yielded is not told: the peer has taken over and decides;
 * - a bulk offers what is the unit's own, of a group that is not active here, under term 0;
 * - a closed connection stays until its close is taken, or goes at once if nobody wants to know;
 * - a record that is not newer (term, then sequence) is counted and ignored; it announces nothing;
 * - where this unit is active itself, only a higher term changes a connection that it has;
 * - what was told, and what is held of the peer's, are summed whenever somebody asks.
 */

import type { AppliedCounts, Digests, MirrorDictionary } from '../../src/datapath.js';
import type { MirroredDatapath } from '../../src/io/mirror_channel.js';
import type { GroupRole } from '../../src/mirror/messages.js';
import { holds } from '../../src/mirror/roles.js';

export interface ModelConnection {
  value: number;
  closed: boolean;
  term: number;
  incarnation: number;
  sequence: number;
  stamp: number;
  /** This unit opened it, or changed it, and the peer has said nothing of it since. */
  own: boolean;
  announced: boolean;
}

const STATE_BYTES = 46;
const CLOSE_BYTES = 24;
const DROPS_PER_CALL = 32;
const OFFERED_TERM = 0;

export class ModelDatapath implements MirroredDatapath {
  readonly connections = new Map<number, ModelConnection>();
  readonly pending = new Set<number>();
  /** Taken, and by sequence not seen applied at the peer. */
  readonly flying = new Map<number, number>();
  /** The identity under which each connection was last told of. */
  readonly #told = new Map<number, bigint>();
  /** Told of each record applied: id and sequence. The simulation clears the peer's `flying` with it. */
  onApplied: (id: number, sequence: number) => void = () => {};
  /** One group, index 0. */
  readonly #role: () => GroupRole;
  readonly #capacity: number;
  #wanted = false;
  #armed = false;
  #onPending: (urgent: boolean) => void = () => {};
  #bulk: number[] | null = null;
  #announced = 0;
  #offers = false;
  /** Of the record encoded last: one count for all connections. */
  #sequence = 0;
  #drop: number[] = [];

  constructor(role: () => GroupRole, capacity = 1_000_000) {
    this.#role = role;
    this.#capacity = capacity;
  }

  // ---- traffic

  open(id: number, value: number): void {
    const old = this.connections.get(id);
    if (old !== undefined && !old.closed) return;
    if (old === undefined && this.connections.size >= this.#capacity) return;
    const incarnation = old === undefined ? 0 : old.incarnation + 1;
    this.connections.set(id, {
      value,
      closed: false,
      term: this.#role().term,
      incarnation,
      sequence: old?.sequence ?? 0,
      stamp: 0,
      own: true,
      announced: false,
    });
    this.#mark(id);
  }

  change(id: number, value: number): void {
    const connection = this.connections.get(id);
    if (connection === undefined || connection.closed) return;
    connection.value = value;
    this.#mark(id);
  }

  close(id: number): void {
    const connection = this.connections.get(id);
    if (connection === undefined || connection.closed) return;
    if (this.#wanted) {
      connection.closed = true;
      this.#mark(id);
    } else {
      this.#forget(id);
    }
  }

  #mark(id: number): void {
    if (!this.#wanted) return;
    const connection = this.connections.get(id);
    if (connection !== undefined && this.#role().role === 'active') connection.own = true;
    this.pending.add(id);
    this.#tell();
  }

  #tell(): void {
    if (!this.#armed) return;
    this.#armed = false;
    this.#onPending(false);
  }

  // ---- what the mirror channel sees

  setMirrorWanted(on: boolean): void {
    this.#wanted = on;
    if (!on) this.flying.clear();
  }

  onMirrorPending(callback: (urgent: boolean) => void): void {
    this.#onPending = callback;
  }

  armMirror(urgentOnly = false): void {
    if (urgentOnly) return;
    this.#armed = true;
    if (this.pending.size > 0) this.#tell();
  }

  startBulk(_virtualServers?: readonly string[], offers = false): void {
    this.#offers = offers;
    this.#bulk = [...this.connections.keys()];
    this.#announced = 0;
  }

  bulkRunning(): boolean {
    return this.#bulk !== null;
  }

  /** The model keeps every close until it is taken. */
  lostCloses(): string[] {
    return [];
  }

  restartDigests(): void {}

  sweepDigests(): number {
    return 1;
  }

  digests(side: 'told' | 'heard'): Digests | null {
    const active = holds(this.#role());
    const open = [...this.connections].filter(([, { closed, announced }]) => !closed && announced);
    const told = active ? [...this.#told.values()] : [];
    const heard = active ? [] : open.map(([id, connection]) => identityOf(id, connection));
    const all = side === 'told' ? told : heard;
    const identities = all.reduce((sum, one) => sum + one, 0n) % 2n ** 64n;
    return { sums: all.length === 0 ? [] : [{ name: 'www', connections: all.length, identities }], unsummed: [] };
  }

  bulkAnnounced(): number {
    return this.#announced;
  }

  takeMirror(into: Uint8Array, liveOnly = false): [bytes: number, records: number, lastRecord: number] {
    let bytes = 0;
    let records = 0;
    const put = (id: number, term: number): void => {
      bytes += this.#encode(id, term, into.subarray(bytes));
      records += 1;
    };
    for (const id of this.pending) {
      if (into.length - bytes < STATE_BYTES) return [bytes, records, this.#sequence];
      this.pending.delete(id);
      if (holds(this.#role())) put(id, this.#role().term);
      else if (this.connections.get(id)?.closed) this.#forget(id);
    }
    while (!liveOnly && this.#bulk !== null && into.length - bytes >= STATE_BYTES) {
      const id = this.#bulk.pop();
      if (id === undefined) {
        this.#bulk = null;
      } else if (this.connections.get(id)?.closed === false) {
        const held = this.#offers ? this.#role().role === 'active' : holds(this.#role());
        if (!held && !(this.#offers && this.connections.get(id)?.own)) continue;
        this.#announced += 1;
        this.pending.delete(id);
        put(id, held ? this.#role().term : OFFERED_TERM);
      }
    }
    return [bytes, records, this.#sequence];
  }

  #encode(id: number, term: number, into: Uint8Array): number {
    const connection = this.connections.get(id);
    if (connection === undefined) throw new Error(`connection ${id} is pending and gone`);
    connection.term = term;
    connection.announced = true;
    this.#sequence += 1;
    connection.sequence = this.#sequence;
    const bytes = connection.closed ? CLOSE_BYTES : STATE_BYTES;
    const view = new DataView(into.buffer, into.byteOffset, bytes);
    into.fill(0, 0, bytes);
    view.setUint8(0, (connection.closed ? 0x20 : 0x10) | 4);
    view.setUint8(1, 6);
    view.setUint16(4, connection.term);
    view.setUint16(6, connection.incarnation);
    view.setUint32(8, connection.sequence);
    view.setUint32(16, id);
    if (this.#wanted) this.flying.set(id, connection.sequence);
    if (connection.closed) {
      this.#forget(id);
    } else {
      view.setUint16(24, connection.value);
      this.#told.set(id, identityOf(id, connection));
    }
    return bytes;
  }

  // No handshakes here: nobody waits for what the peer says of a record.
  confirmMirror(): void {}
  refuseMirror(): void {}

  setMirrorDictionary(): void {}

  mirrorDictionary(): MirrorDictionary {
    return { virtualServers: [{ id: 0, name: 'www' }], devices: ['client', 'server'] };
  }

  applyMirror(records: Uint8Array, stamp: number): AppliedCounts {
    const counts = { applied: 0, stale: 0, refusedFull: 0, unknown: 0, malformed: false, refused: new Uint32Array(0) };
    for (let offset = 0; offset < records.length; ) {
      const closes = records[offset]! >> 4 === 2;
      const bytes = closes ? CLOSE_BYTES : STATE_BYTES;
      if (records.length - offset < bytes) return { ...counts, malformed: true };
      const view = new DataView(records.buffer, records.byteOffset + offset, bytes);
      offset += bytes;
      counts[this.#apply(view, closes, stamp)] += 1;
    }
    return counts;
  }

  #apply(view: DataView, closes: boolean, stamp: number): 'applied' | 'stale' | 'refusedFull' {
    const id = view.getUint32(16);
    const fresh: ModelConnection = {
      value: closes ? 0 : view.getUint16(24),
      closed: false,
      term: view.getUint16(4),
      incarnation: view.getUint16(6),
      sequence: view.getUint32(8),
      stamp,
      own: false,
      announced: true,
    };
    this.onApplied(id, fresh.sequence);
    const old = this.connections.get(id);
    if (old !== undefined && !old.closed) {
      if (!isNewer(fresh, old, holds(this.#role()))) return 'stale';
    }
    if (closes) {
      this.#forget(id);
    } else {
      if (old === undefined && this.connections.size >= this.#capacity) return 'refusedFull';
      this.#forget(id);
      this.connections.set(id, fresh);
    }
    return 'applied';
  }

  dropUnannounced(stamp: number, restart: boolean): [done: boolean, closed: number] {
    if (restart) this.#drop = [...this.connections.keys()];
    let closed = 0;
    for (let looked = 0; looked < DROPS_PER_CALL; looked += 1) {
      const id = this.#drop.pop();
      if (id === undefined) return [true, closed];
      const connection = this.connections.get(id);
      if (connection === undefined || connection.stamp === stamp || holds(this.#role())) continue;
      if (connection.own && !connection.announced) continue;
      this.#forget(id);
      closed += 1;
    }
    return [false, closed];
  }

  #forget(id: number): void {
    this.connections.delete(id);
    this.pending.delete(id);
    this.#told.delete(id);
  }
}

function identityOf(id: number, { value, incarnation }: ModelConnection): bigint {
  return (BigInt(id * 65_536 + value) * 0x9e37_79b9_7f4a_7c15n + BigInt(incarnation)) % 2n ** 64n;
}

function isNewer(fresh: ModelConnection, old: ModelConnection, activeHere: boolean): boolean {
  if (fresh.term !== old.term) return fresh.term > old.term;
  return !activeHere && fresh.sequence > old.sequence;
}
