/**
 * The channel's connections, one for each path to the peer, behind what looks like one: `paths.ts` decides which
 * carries it. Keeps what was sent until the peer has it, so that another path can go on with it.
 */

import type { Logger } from 'pino';

import type { UnitName } from '../config/model.js';
import { encode, type Fault } from '../mirror/codec.js';
import { KeptMessages } from '../mirror/kept_messages.js';
import type { Message } from '../mirror/messages.js';
import {
  admits,
  initialPaths,
  keeps,
  type PathIndex,
  type PathSettings,
  type PathsAction,
  type PathsInput,
  type PathsState,
  pathsDeadline,
  pathsStep,
  writablePath,
} from '../mirror/paths.js';
import type { PathStatus } from '../mirror/status.js';
import type { Region } from './batch_memory.js';
import { MirrorConnection } from './mirror_connection.js';
import type { Endpoint, MirrorTransport } from './mirror_transport.js';
import type { Timers } from './timers.js';

export interface PathsOptions {
  readonly unit: UnitName;
  /** Both ends of each path, the primary first. */
  readonly paths: readonly { readonly local: Endpoint; readonly peer: Endpoint }[];
  readonly keepaliveMs: number;
  readonly transport: MirrorTransport;
  readonly timers: Timers;
  readonly log: Logger;
}

/** What the owner is told, in the order of events; nothing of a channel comes after its `closed`. */
export interface PathsEvents {
  connected(): void;
  /** Bytes came, a whole message or not. */
  heard(): void;
  /** Views in the message hold until this returns. */
  message(message: Message): void;
  fault(fault: Fault): void;
  /** `byPeer`: its kernel ended the last connection there was (FIN, RST); neither silence nor an end of ours. */
  closed(reason: string, byPeer: boolean): void;
  /** The channel goes on by another path, or a path has room again. */
  writable(): void;
  /** A connection that never became the peer's was turned away. */
  turnedAway(fault: Fault): void;
}

interface Kept {
  readonly bytes: Uint8Array;
  /** Of a batch: its sequence and its memory. */
  readonly sequence: number;
  readonly region: Region | null;
}

/** A peer that lets this much of small messages pile up does not read. */
const BACKLOG_BYTES_MAX = 8 * 1024 * 1024;

export class MirrorPaths {
  readonly #options: PathsOptions;
  readonly #events: PathsEvents;
  readonly #settings: PathSettings;
  readonly #connections: readonly MirrorConnection[];
  readonly #kept = new KeptMessages<Kept>();
  readonly #inputs: PathsInput[] = [];
  #state: PathsState;
  #timer: { readonly at: number; readonly cancel: () => void } | null = null;
  #running = false;
  /** Bytes kept of messages that are no batches. */
  #smallBytes = 0;

  constructor(options: PathsOptions, events: PathsEvents) {
    const { unit, transport, timers, log } = options;
    this.#options = options;
    this.#events = events;
    this.#settings = {
      dials: unit === 'a',
      paths: options.paths.length > 1 ? 2 : 1,
      keepaliveMs: options.keepaliveMs,
    };
    this.#state = initialPaths(this.#settings);
    const peerUnit = unit === 'a' ? 'b' : 'a';
    this.#connections = options.paths.map(
      ({ local, peer }, path) =>
        new MirrorConnection(
          { peerUnit, local, peer, transport, timers, log },
          {
            admits: (message) => admits(this.#state, message),
            connected: () => this.#run({ type: 'up', path }),
            heard: () => this.#run({ type: 'heard', path }),
            message: (message) => this.#run({ type: 'message', path, message }),
            fault: (fault) => this.#onFault(path, fault),
            closed: (reason, byPeer) => this.#run({ type: 'down', path, reason, byPeer }),
            turnedAway: (fault) => events.turnedAway(fault),
          },
        ),
    );
  }

  dial(): void {
    this.#run({ type: 'dial', chance: this.#options.timers.chance() });
  }

  listen(): void {
    for (const connection of this.#connections) connection.listen();
  }

  /** Ends the channel with everything that belongs to it; `closed` follows. */
  end(reason: string): void {
    this.#run({ type: 'end', reason });
  }

  /** Accepts nothing more. Resolves when the listening sockets are closed. */
  async stopListening(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = null;
    await Promise.all(this.#connections.map((connection) => connection.stopListening()));
  }

  /** Sends a message by the path in use, or keeps it for the next one. False: too much waits for the peer. */
  send(message: Message): boolean {
    const { channel } = this.#state;
    if (channel === null) return true;
    const named: Message =
      message.type === 'hello' && channel.id !== 0
        ? { type: 'hello', hello: { ...message.hello, channel: channel.id } }
        : message;
    const bytes = encode(named);
    this.#smallBytes += bytes.length;
    this.#push({ bytes, sequence: 0, region: null });
    return this.#smallBytes <= BACKLOG_BYTES_MAX && this.#backlogBytes <= BACKLOG_BYTES_MAX;
  }

  /** Sends a batch that lies in `region`, header and all. */
  sendBatch(region: Region, sequence: number): void {
    this.#push({ bytes: region.bytes, sequence, region });
  }

  /** The peer has said that it has every batch up to a sequence. */
  acked(sequence: number): void {
    this.#kept.releaseThrough((item) => item.sequence === sequence, this.#letGo);
  }

  /** Bytes that the path in use holds and has not handed over; null: there is none to write to. */
  get backlogBytes(): number | null {
    return writablePath(this.#state) === null ? null : this.#backlogBytes;
  }

  /** Connections turned away: not from the peer's address, not with its certificate, too many, or not its hello. */
  get strangers(): number {
    return this.#connections.reduce((sum, { strangers }) => sum + strangers, 0);
  }

  status(): readonly PathStatus[] {
    const { channel, paths } = this.#state;
    return paths.map((path, index): PathStatus => {
      const { peer } = this.#options.paths[index] as { readonly peer: Endpoint };
      const name = index === 0 ? 'primary' : 'secondary';
      if (path.name !== 'up') return { name, peer: peer.address, state: path.name };
      const state = channel?.using === index ? 'in use' : path.standing === 'joined' ? 'standing by' : 'greeting';
      return { name, peer: peer.address, state };
    });
  }

  get switches(): number {
    return this.#state.switches;
  }

  get #backlogBytes(): number {
    const path = writablePath(this.#state);
    return path === null ? 0 : (this.#connections[path]?.stream?.writableLength ?? 0);
  }

  // ---- the loop of the paths: inputs in order, each one's actions before the next input

  #run(input: PathsInput): void {
    this.#inputs.push(input);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        const { state, actions } = pathsStep(this.#settings, this.#state, next, this.#options.timers.now());
        this.#state = state;
        for (const action of actions) this.#perform(action);
      }
    } finally {
      this.#running = false;
      this.#schedule();
    }
  }

  #perform(action: PathsAction): void {
    switch (action.type) {
      case 'dial':
        this.#connections[action.path]?.dial();
        break;
      case 'end':
        this.#connections[action.path]?.end();
        break;
      case 'send':
        this.#connections[action.path]?.stream?.write(encode(action.message));
        break;
      case 'resend':
        this.#resend(action.path, action.received);
        break;
      case 'received':
        if (!this.#kept.release(action.upTo, this.#letGo)) {
          this.#events.fault({ name: 'bad_sequence', detail: `receipt ${action.upTo}, sent ${this.#kept.last}` });
        }
        break;
      case 'opened':
        this.#events.connected();
        break;
      case 'heard':
        this.#events.heard();
        break;
      case 'deliver':
        this.#events.message(action.message);
        break;
      case 'closed':
        this.#kept.clear(this.#letGo);
        this.#events.closed(action.reason, action.byPeer);
        break;
    }
  }

  #schedule(): void {
    const { timers } = this.#options;
    const at = pathsDeadline(this.#settings, this.#state);
    if (at === null) {
      this.#timer?.cancel();
      this.#timer = null;
      return;
    }
    if (this.#timer !== null && this.#timer.at <= at) return;
    this.#timer?.cancel();
    const cancel = timers.after(Math.max(0, at - timers.now()), () => {
      this.#timer = null;
      this.#run({ type: 'timeout' });
    });
    this.#timer = { at, cancel };
  }

  // ---- what goes out

  #push(item: Kept): void {
    this.#kept.add(item);
    const path = writablePath(this.#state);
    if (path !== null) this.#write(path, item);
    if (!keeps(this.#state)) this.#kept.release(this.#kept.last, this.#letGo);
  }

  #resend(path: PathIndex, received: number): void {
    const missing = this.#kept.above(received);
    if (missing === null) {
      this.#events.fault({ name: 'bad_sequence', detail: `the peer has ${received}, ${this.#kept.last} were sent` });
      return;
    }
    this.#kept.release(received, this.#letGo);
    for (const item of missing) this.#write(path, item);
    this.#events.writable();
  }

  #write(path: PathIndex, item: Kept): void {
    const stream = this.#connections[path]?.stream;
    if (stream === null || stream === undefined) return;
    const { region } = item;
    if (region === null) {
      stream.write(item.bytes);
      return;
    }
    // The memory is the socket's until it is done, also where the peer has the bytes by another path already.
    region.hold();
    stream.write(item.bytes, () => {
      region.release();
      this.#events.writable();
    });
  }

  readonly #letGo = ({ bytes, region }: Kept): void => {
    if (region === null) this.#smallBytes -= bytes.length;
    else region.release();
  };

  /** On a path that stands by, nonsense ends that path only. */
  #onFault(path: PathIndex, fault: Fault): void {
    if (this.#state.channel?.using === path || this.#state.channel?.moves !== true) {
      this.#events.fault(fault);
      return;
    }
    this.#connections[path]?.end();
    this.#run({ type: 'down', path, reason: fault.name, byPeer: false });
    this.#events.turnedAway(fault);
  }
}
