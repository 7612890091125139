/**
 * The mirror channel to the peer: sockets and timers around the session in src/mirror/, which decides.
 *
 * Unit a dials, unit b listens; each from and at its own mirror addresses, so that the traffic takes the
 * mirror links. One connection at a time carries both directions (mirror_paths.ts). Main thread. Batches go from
 * the datapath into the memory where they are kept (batch_memory.ts) and from there to the socket without another
 * copy, and received ones from the socket's chunk (or one assembly buffer) into the datapath.
 */

import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';

import type { Config, UnitName } from '../config/model.js';
import type { Datapath } from '../datapath.js';
import { inSync } from '../mirror/agreement.js';
import {
  BATCH_BYTES_MAX,
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
import { BatchMemory } from './batch_memory.js';
import { MirrorPaths } from './mirror_paths.js';
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
  | 'lostCloses'
  | 'restartDigests'
  | 'sweepDigests'
  | 'digests'
  | 'setMirrorDictionary'
  | 'mirrorDictionary'
  | 'applyMirror'
  | 'dropUnannounced'
>;

export interface MirrorChannelOptions {
  readonly unit: UnitName;
  /** The primary path, and the secondary if there is one. `local` is dialled from by unit a: its port is not used. */
  readonly paths: readonly { readonly local: Endpoint; readonly peer: Endpoint }[];
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
/** Beyond the queue: headers, the batch that is being taken, and the end of the ring that one does not fit in. */
const SPARE_BYTES = 3 * (HEADER_BYTES + BATCH_BYTES_MAX);
/** Takes of the largest batch that empty every worker's pending ring, and more. */
const DISCARDS_MAX = 512;
/** Taken with each turn of a bulk, besides live changes. */
const BULK_BYTES = 64 * 1024;

export class MirrorChannel extends EventEmitter<MirrorChannelEvents> {
  readonly #options: MirrorChannelOptions;
  readonly #paths: MirrorPaths;
  readonly #timers: Timers;
  readonly #transport: MirrorTransport;
  readonly #settings: Settings;
  readonly #memory: BatchMemory;
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
    const { unit, paths, limits, transport = plainTransport, timers = systemTimers, log } = options;
    this.#timers = timers;
    this.#transport = transport;
    this.#memory = new BatchMemory(limits.queueBytesMax + SPARE_BYTES);
    this.#paths = new MirrorPaths(
      { unit, paths, keepaliveMs: limits.keepaliveMs, transport, timers, log },
      {
        connected: () => {
          this.#blocked = false;
          this.#run({ type: 'connected' });
        },
        heard: () => this.#run({ type: 'heard' }),
        message: (message) => {
          if (message.type === 'ack') this.#paths.acked(message.sequence);
          this.#run({ type: 'message', message });
          this.#unblock();
        },
        fault: (fault) => this.#run({ type: 'fault', fault }),
        closed: (reason, byPeer) => {
          this.#closedByPeer = byPeer;
          this.#run({ type: 'closed', reason, chance: timers.chance() });
        },
        writable: () => this.#unblock(),
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
    if (!this.#settings.dials) this.#paths.listen();
    this.updateRoles();
    this.updateDictionary();
    this.#run({ type: 'start' });
  }

  /** Says goodbye and ends everything. Resolves when the listening socket is closed. */
  async stop(): Promise<void> {
    this.#run({ type: 'stop' });
    this.#timer?.cancel();
    this.#timer = null;
    await this.#paths.stopListening();
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
      {
        strangers: this.#paths.strangers,
        security: this.#transport.security(),
        paths: this.#paths.status(),
        switches: this.#paths.switches,
      },
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
        this.#paths.dial();
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
        datapath.startBulk(action.virtualServers, action.offers);
        break;
      case 'apply': {
        const counts = datapath.applyMirror(action.records, action.stamp);
        this.#inputs.push({ type: 'applied', sequence: action.sequence, counts });
        break;
      }
      case 'drop-unannounced': {
        const [done, closed] = datapath.dropUnannounced(action.stamp, action.restart, action.virtualServers);
        this.#inputs.push({ type: 'dropped', done, closed });
        break;
      }
      case 'restart-digests':
        datapath.restartDigests(action.virtualServers);
        break;
      case 'sweep-digests':
        this.#inputs.push({ type: 'swept', share: datapath.sweepDigests() });
        break;
      case 'tell-digests': {
        const { generation, sequence, except } = action;
        const told = datapath.digests('told');
        if (told === null) break;
        const unsummed = [...new Set([...told.unsummed, ...except])];
        this.#send({ type: 'digest', generation, sequence, sums: told.sums, unsummed });
        break;
      }
      case 'compare-digests':
        this.#inputs.push({ type: 'compared', told: action.told, heard: datapath.digests('heard') });
        break;
      case 'set-dictionary':
        datapath.setMirrorDictionary(action.dictionary);
        break;
      case 'close':
        this.#paths.end(action.reason);
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
      case 'differs': {
        const { virtualServer, side } = action;
        const who = side === 'told' ? "the peer's table" : 'our table';
        log.error(
          { virtualServer },
          `mirror: ${who} does not hold the connections that it should; announcing them anew`,
        );
        break;
      }
      case 'repaired':
        log.warn({ virtualServer: action.virtualServer }, 'mirror: all of its connections were announced anew');
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
    if (this.#paths.send(message)) return;
    const detail = 'too much waits for it';
    this.#inputs.push({ type: 'fault', fault: { name: 'not_reading', detail } });
  }

  #take(take: Extract<Action, { type: 'take' }>): void {
    const { datapath, groups } = this.#options;
    const region = this.#paths.backlogBytes === null ? null : this.#memory.take(HEADER_BYTES + take.bytes);
    let bytes = 0;
    let records = 0;
    let lastRecord = 0;
    if (region !== null) {
      [bytes, records, lastRecord] = datapath.takeMirror(region.bytes.subarray(HEADER_BYTES), take.liveOnly);
      this.#memory.shorten(region, records === 0 ? 0 : HEADER_BYTES + bytes);
      if (records === 0) {
        region.release();
      } else {
        const { generation, sequence } = take;
        writeBatchHeader(region.bytes, { generation, sequence, count: records }, bytes);
        this.#paths.sendBatch(region, sequence);
      }
    }
    // Whatever the pace of the rest, a handshake that waits is told of at once.
    datapath.armMirror(true);
    this.#blocked = region === null || !this.#writable();
    const bulkRunning = datapath.bulkRunning();
    this.#inputs.push({
      type: 'taken',
      bytes,
      records,
      lastRecord,
      full: region === null || take.bytes - bytes < RECORD_BYTES_MAX,
      bulkRunning,
      bulkAnnounced: bulkRunning ? 0 : datapath.bulkAnnounced(),
      writable: !this.#blocked,
      groups: bulkRunning ? null : groups(),
    });
    if (bulkRunning) return;
    // Closes that the datapath had no room to keep: only another bulk makes the tables equal.
    const virtualServers = datapath.lostCloses();
    if (virtualServers.length > 0) this.#inputs.push({ type: 'closes-lost', virtualServers });
  }

  #unblock(): void {
    if (!this.#blocked || !this.#writable()) return;
    this.#blocked = false;
    this.#run({ type: 'drained' });
  }

  #writable(): boolean {
    const backlog = this.#paths.backlogBytes;
    return backlog !== null && backlog < HIGH_WATER_BYTES && this.#memory.hasRoom(HEADER_BYTES + BATCH_BYTES_MAX);
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
