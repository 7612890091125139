/**
 * The mirror channel to the peer: sockets and timers around the session in src/mirror/, which decides.
 *
 * Unit a dials, unit b listens; each from and at its own mirror address, so that the traffic takes the
 * mirror link. One connection carries both directions. Main thread. Batches go from the datapath into one
 * of a few buffers and from there to the socket without another copy, and received ones from the socket's
 * chunk (or one assembly buffer) into the datapath.
 */

import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';

import type { Config, UnitName } from '../config/model.js';
import type { Datapath } from '../datapath.js';
import { inSync } from '../mirror/agreement.js';
import {
  BATCH_BYTES_MAX,
  encode,
  FAULTS,
  type Fault,
  HEADER_BYTES,
  RECORD_BYTES_MAX,
  writeBatchHeader,
} from '../mirror/codec.js';
import type { ConfigMessage, GroupRole, Hello, Message } from '../mirror/messages.js';
import { deadline, initial, step } from '../mirror/session.js';
import type { Action, Input, InSync, Settings, State } from '../mirror/state.js';
import { type MirrorStatus, statusOf } from '../mirror/status.js';
import { BatchBuffers } from './batch_buffers.js';
import { MirrorConnection } from './mirror_connection.js';
import { type Endpoint, type MirrorTransport, plainTransport } from './mirror_transport.js';
import { systemTimers, type Timers } from './timers.js';

/** The part of the datapath that the channel works with. */
export type MirroredDatapath = Pick<
  Datapath,
  | 'setMirrorWanted'
  | 'takeMirror'
  | 'confirmMirror'
  | 'refuseMirror'
  | 'onMirrorPending'
  | 'armMirror'
  | 'startBulk'
  | 'bulkRunning'
  | 'bulkAnnounced'
  | 'bulkNeeded'
  | 'setMirrorDictionary'
  | 'mirrorDictionary'
  | 'applyMirror'
  | 'dropUnannounced'
>;

export interface MirrorChannelOptions {
  readonly unit: UnitName;
  /** Ours: listened at by unit b, dialled from by unit a (its port is not used then). */
  readonly local: Endpoint;
  readonly peer: Endpoint;
  readonly limits: Config['mirror'];
  /** Another one after each start of the daemon. */
  readonly bootId: string;
  readonly datapath: MirroredDatapath;
  /** Our roles at this moment, read where the failover process writes them. */
  readonly groups: () => readonly GroupRole[];
  /** Names in our config, for the peer to compare. */
  readonly config: () => Hello['config'];
  readonly log: Logger;
  /** So long the first bulk of a connection waits for releaseBulk(); not given: it does not wait. */
  readonly bulkHoldMs?: number;
  readonly transport?: MirrorTransport;
  readonly timers?: Timers;
}

export interface TakeOverRequest {
  readonly group: string;
  /** The peer's term of the group. */
  readonly term: number;
  readonly forced: boolean;
}

export interface MirrorChannelEvents {
  /** The peer's hello was accepted, or its roles changed since. */
  peer: [peer: Hello];
  /** `byPeer`: its kernel ended the connection, so its daemon has died or is stopping. */
  'peer-gone': [reason: string, byPeer: boolean];
  'in-sync': [inSync: InSync];
  config: [message: ConfigMessage];
  /** The peer asks us to take over; answer with answerTakeOver(). */
  'take-over': [request: TakeOverRequest];
}

/** Bytes that the socket may hold before nothing more is taken. */
const HIGH_WATER_BYTES = 512 * 1024;
/** A peer that lets this much of small messages pile up does not read. */
const BACKLOG_BYTES_MAX = 8 * 1024 * 1024;
/** Takes of the largest batch that empty every worker's pending ring, and more. */
const DISCARDS_MAX = 512;
/** Taken with each turn of a bulk, besides live changes. */
const BULK_BYTES = 64 * 1024;

export class MirrorChannel extends EventEmitter<MirrorChannelEvents> {
  readonly #options: MirrorChannelOptions;
  readonly #connection: MirrorConnection;
  readonly #timers: Timers;
  readonly #transport: MirrorTransport;
  readonly #settings: Settings;
  readonly #buffers = new BatchBuffers();
  readonly #flushes = new Map<number, Waiting>();
  readonly #handOvers = new Map<string, Waiting>();
  readonly #inputs: Input[] = [];
  #state: State;
  #timer: { readonly at: number; readonly cancel: () => void } | null = null;
  #running = false;
  #blocked = false;
  #closedByPeer = false;
  #lastToken = 0;
  #lastFaultLogAt = Number.NEGATIVE_INFINITY;

  constructor(options: MirrorChannelOptions) {
    super();
    this.#options = options;
    const { local, peer, transport = plainTransport, timers = systemTimers, log } = options;
    this.#timers = timers;
    this.#transport = transport;
    this.#connection = new MirrorConnection(
      { peerUnit: options.unit === 'a' ? 'b' : 'a', local, peer, transport, timers, log },
      {
        connected: () => {
          this.#blocked = false;
          this.#run({ type: 'connected' });
        },
        heard: () => this.#run({ type: 'heard' }),
        message: (message) => this.#run({ type: 'message', message }),
        fault: (fault) => this.#run({ type: 'fault', fault }),
        closed: (reason, byPeer) => {
          this.#closedByPeer = byPeer;
          this.#run({ type: 'closed', reason, chance: timers.chance() });
        },
        turnedAway: (fault) => this.#logFault(fault),
      },
    );
    this.#settings = {
      unit: options.unit,
      dials: options.unit === 'a',
      bootId: options.bootId,
      ...options.limits,
      batchBytes: BATCH_BYTES_MAX,
      bulkBytes: BULK_BYTES,
      bulkHoldMs: options.bulkHoldMs ?? 0,
    };
    this.#state = initial({ virtualServers: [], devices: [] }, { links: [], virtualServers: [] }, []);
  }

  start(): void {
    this.#options.datapath.onMirrorPending((urgent) => {
      this.#run({ type: 'pending', urgent });
      // It may have been put off.
      this.#options.datapath.armMirror(true);
    });
    if (!this.#settings.dials) this.#connection.listen();
    this.updateRoles();
    this.updateDictionary();
    this.#run({ type: 'start' });
  }

  /** Says goodbye and ends everything. Resolves when the listening socket is closed. */
  async stop(): Promise<void> {
    this.#run({ type: 'stop' });
    this.#timer?.cancel();
    this.#timer = null;
    await this.#connection.stopListening();
  }

  /** Resolves when every change pending so far is in the peer's table; rejects when the peer is gone first. */
  flush(): Promise<void> {
    const token = ++this.#lastToken;
    return new Promise((resolve, reject) => {
      this.#flushes.set(token, { resolve, reject });
      this.#run({ type: 'flush', token });
    });
  }

  /** Asks the peer to take a group over; rejects with its refusal. `term` is ours. */
  requestTakeOver(group: string, term: number, forced = false): Promise<void> {
    this.#handOvers.get(group)?.reject(new Error(`hand-over of ${group}: asked for again`));
    return new Promise((resolve, reject) => {
      this.#handOvers.set(group, { resolve, reject });
      this.#run({ type: 'hand-over', group, term, forced });
    });
  }

  /** The answer to a `take-over` event; `refusal` null: we take over. */
  answerTakeOver(group: string, term: number, refusal: string | null): void {
    this.#run({ type: 'take-over', group, term, refusal });
  }

  /** To be called when a role or a term of ours has changed. */
  updateRoles(): void {
    this.#run({ type: 'groups', groups: this.#options.groups() });
  }

  /** To be called after setPolicy(), in the same turn: the peer must know ids before records that use them. */
  updateDictionary(): void {
    const dictionary = this.#options.datapath.mirrorDictionary();
    this.#run({ type: 'dictionary', dictionary, config: this.#options.config() });
  }

  /** To be called after mirroring of a virtual server was switched: announces every connection once more. */
  resync(): void {
    this.#run({ type: 'resync' });
  }

  /** What the peer is told about configs (src/config_sync/). */
  sendConfig(message: ConfigMessage): void {
    this.#run({ type: 'config', message });
  }

  /** The units' configs are as equal as they will be: connections may be announced. */
  releaseBulk(): void {
    this.#run({ type: 'release-bulk' });
  }

  /** Of the channel's protocol, agreed on with the peer; null without one. */
  get version(): number | null {
    return this.#state.link.name === 'open' ? this.#state.link.version : null;
  }

  get inSync(): InSync {
    return inSync(this.#state);
  }

  status(): MirrorStatus {
    return statusOf(
      this.#state,
      this.#options.datapath.bulkAnnounced(),
      { strangers: this.#connection.strangers, security: this.#transport.security() },
      this.#timers.now(),
    );
  }

  // ---- the session's loop: inputs in order, each one's actions before the next input

  #run(input: Input): void {
    this.#inputs.push(input);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        const { state, actions } = step(this.#settings, this.#state, next, this.#timers.now());
        this.#state = state;
        for (const action of actions) this.#perform(action);
      }
    } finally {
      this.#running = false;
      this.#schedule();
    }
  }

  #perform(action: Action): void {
    const { datapath, log } = this.#options;
    switch (action.type) {
      case 'dial':
        this.#connection.dial();
        break;
      case 'send':
        this.#send(action.message);
        break;
      case 'take':
        this.#take(action);
        break;
      case 'arm':
        datapath.armMirror();
        break;
      case 'confirm':
        datapath.confirmMirror(action.lastRecord);
        break;
      case 'refuse':
        datapath.refuseMirror(action.records);
        break;
      case 'set-wanted':
        datapath.setMirrorWanted(action.on, action.confirms);
        if (!action.on) this.#discard();
        break;
      case 'start-bulk':
        datapath.startBulk();
        break;
      case 'apply': {
        const counts = datapath.applyMirror(action.records, action.stamp);
        this.#inputs.push({ type: 'applied', sequence: action.sequence, counts });
        break;
      }
      case 'drop-unannounced': {
        const [done, closed] = datapath.dropUnannounced(action.stamp, action.restart);
        this.#inputs.push({ type: 'dropped', done, closed });
        break;
      }
      case 'set-dictionary':
        datapath.setMirrorDictionary(action.dictionary);
        break;
      case 'close':
        this.#connection.end(action.reason);
        break;
      case 'peer':
        this.emit('peer', action.peer);
        break;
      case 'peer-gone':
        log.warn({ reason: action.reason }, 'mirror channel lost');
        this.emit('peer-gone', action.reason, this.#closedByPeer);
        break;
      case 'in-sync':
        log.info(action.inSync, 'mirror in sync');
        this.emit('in-sync', action.inSync);
        break;
      case 'config-heard':
        this.emit('config', action.message);
        break;
      case 'hand-over-asked':
        this.emit('take-over', { group: action.group, term: action.term, forced: action.forced });
        break;
      case 'hand-over-answered':
        settle(this.#handOvers, action.group, action.refusal, `hand-over of ${action.group}`);
        break;
      case 'flushed':
        settle(this.#flushes, action.token, action.failure, 'mirror flush');
        break;
      case 'fault':
        this.#logFault(action.fault);
        break;
    }
  }

  #schedule(): void {
    const at = deadline(this.#settings, this.#state);
    if (at === null) {
      this.#timer?.cancel();
      this.#timer = null;
      return;
    }
    // A timer that comes early finds nothing due and is set anew: cheaper than replacing it at each input.
    if (this.#timer !== null && this.#timer.at <= at) return;
    this.#timer?.cancel();
    const fire = (): void => {
      this.#timer = null;
      this.#run({ type: 'timeout' });
    };
    const waitMs = at - this.#timers.now();
    const cancel = waitMs <= 0 ? this.#timers.soon(fire) : this.#timers.after(waitMs, fire);
    this.#timer = { at, cancel };
  }

  // ---- what goes out

  #send(message: Message): void {
    const { stream } = this.#connection;
    if (stream === null) return;
    stream.write(encode(message));
    if (stream.writableLength > BACKLOG_BYTES_MAX) {
      const detail = `${stream.writableLength} bytes wait for it`;
      this.#inputs.push({ type: 'fault', fault: { name: 'not_reading', detail } });
    }
  }

  #take(take: Extract<Action, { type: 'take' }>): void {
    const { datapath, groups } = this.#options;
    const { stream } = this.#connection;
    const buffer = stream === null ? undefined : this.#buffers.acquire();
    let bytes = 0;
    let records = 0;
    let lastRecord = 0;
    if (stream !== null && buffer !== undefined) {
      const room = buffer.subarray(HEADER_BYTES, HEADER_BYTES + take.bytes);
      [bytes, records, lastRecord] = datapath.takeMirror(room, take.liveOnly);
      if (records === 0) {
        this.#buffers.release(buffer);
      } else {
        const { generation, sequence } = take;
        writeBatchHeader(buffer, { generation, sequence, count: records }, bytes);
        stream.write(buffer.subarray(0, HEADER_BYTES + bytes), () => this.#written(buffer));
      }
    }
    // Whatever the pace of the rest, a handshake that waits is told of at once.
    datapath.armMirror(true);
    this.#blocked = buffer === undefined || !this.#writable();
    const bulkRunning = datapath.bulkRunning();
    this.#inputs.push({
      type: 'taken',
      bytes,
      records,
      lastRecord,
      full: buffer === undefined || take.bytes - bytes < RECORD_BYTES_MAX,
      bulkRunning,
      bulkAnnounced: bulkRunning ? 0 : datapath.bulkAnnounced(),
      writable: !this.#blocked,
      groups: bulkRunning ? null : groups(),
    });
    // Closes that the datapath had no room to keep: only another bulk makes the tables equal.
    if (!bulkRunning && datapath.bulkNeeded()) this.#inputs.push({ type: 'resync' });
  }

  #written(buffer: Uint8Array): void {
    this.#buffers.release(buffer);
    // A buffer may come back from a connection that is over and be the one that this one waits for.
    if (!this.#blocked || !this.#writable()) return;
    this.#blocked = false;
    this.#run({ type: 'drained' });
  }

  #writable(): boolean {
    return this.#buffers.available > 0 && (this.#connection.stream?.writableLength ?? 0) < HIGH_WATER_BYTES;
  }

  /**
   * Without a peer, changes that still wait are given up, so that closed connections leave the table. The
   * next bulk announces what there is then.
   */
  #discard(): void {
    const into = new Uint8Array(BATCH_BYTES_MAX);
    for (let turn = 0; turn < DISCARDS_MAX && this.#options.datapath.takeMirror(into)[0] > 0; turn += 1);
  }

  #logFault(fault: Fault): void {
    const now = this.#timers.now();
    if (now - this.#lastFaultLogAt < 1_000) return;
    this.#lastFaultLogAt = now;
    this.#options.log.warn({ fault: fault.name, detail: fault.detail }, `mirror channel: ${FAULTS[fault.name]}`);
  }
}

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

function settle<Key>(waiting: Map<Key, Waiting>, key: Key, failure: string | null, what: string): void {
  const promise = waiting.get(key);
  waiting.delete(key);
  if (failure === null) promise?.resolve();
  else promise?.reject(new Error(`${what}: ${failure}`));
}
