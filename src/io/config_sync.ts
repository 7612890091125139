/**
 * The config on both units: files, clock and channel around the transactions of src/config_sync/, which decide.
 *
 * Actions are carried out one after another, so what a transaction staged is gone before the next one stages. An
 * operation that fails is a refusal with a reason, never the end of the daemon.
 */

import { type ApplyRequest, type ApplyResult, type ConfigSyncStatus, ControlError } from '../api.js';
import type { ConfigChange, ConfigSyncPort, Log } from '../balancer/ports.js';
import type { ConfigRefusal, ConfigRevision, ConfigStanding, UnitName } from '../config/model.js';
import type { Action, Input, Outcome, Proposal, State } from '../config_sync/state.js';
import { refusalOf } from '../config_sync/state.js';
import { statusOf } from '../config_sync/status.js';
import { deadline, initial, step } from '../config_sync/sync.js';
import type { ConfigMessage } from '../mirror/messages.js';
import { digestOf } from './config_store.js';
import type { Timers } from './timers.js';

/** The mirror channel, as far as configs go. */
export interface ConfigChannel {
  sendConfig(message: ConfigMessage): void;
  releaseBulk(): void;
}

export interface StagedConfigs {
  stage(text: string, revision: ConfigRevision): Promise<void>;
  commit(): Promise<void>;
  abandon(inDoubt: boolean): Promise<void>;
}

export interface ConfigSyncOptions {
  readonly unit: UnitName;
  readonly text: string;
  readonly standing: ConfigStanding;
  readonly doubt: ConfigRevision | null;
  readonly channel: ConfigChannel;
  readonly store: StagedConfigs;
  /** Whether this unit could run the text; changes nothing. */
  readonly check: (text: string, file: string) => Promise<ConfigRefusal | ConfigChange>;
  readonly timers: Timers;
  /** ISO 8601. */
  readonly time: () => string;
  readonly log: Log;
}

export class ConfigSync implements ConfigSyncPort {
  readonly #options: ConfigSyncOptions;
  readonly #waiting = new Map<number, (outcome: Outcome) => void>();
  #state: State;
  #cancelTimer: (() => void) | null = null;
  #work: Promise<void> = Promise.resolve();
  #prepared: ConfigChange | null = null;
  #lastToken = 0;
  /** Rises when the link opens or is lost: what was to be said on the one before is not said on the next. */
  #link = 0;

  constructor(options: ConfigSyncOptions) {
    this.#options = options;
    this.#state = initial(options.unit, options.text, options.standing, options.doubt);
  }

  /** Whether a text is being applied: the file must not be read anew meanwhile. */
  get busy(): boolean {
    return this.#state.work.name !== 'idle';
  }

  async apply({ text, file, local, dryRun }: ApplyRequest): Promise<ApplyResult> {
    const proposal: Proposal = { text, file, digest: digestOf(text), at: this.#options.time() };
    const token = ++this.#lastToken;
    const outcome = await new Promise<Outcome>((resolve) => {
      this.#waiting.set(token, resolve);
      this.#run({ type: 'apply', token, proposal, local, dryRun });
    });
    if (outcome.ok) return resultOf(outcome);
    const { code, message, mend, errors } = outcome.refusal;
    throw new ControlError('refused', code, message, mend, errors);
  }

  /** The peer's hello was accepted under this version of the channel's protocol. */
  linkOpen(version: number): void {
    if (this.#state.peer.name === 'absent') this.#link += 1;
    this.#run({ type: 'link-open', version });
  }

  linkLost(): void {
    this.#link += 1;
    this.#run({ type: 'link-lost' });
  }

  hear(message: ConfigMessage): void {
    this.#run({ type: 'message', message });
  }

  /** The file was read anew at an operator's wish, and is in force. */
  reloaded(text: string): void {
    this.#run({ type: 'reloaded', text, digest: digestOf(text) });
  }

  status(): ConfigSyncStatus {
    return statusOf(this.#state);
  }

  #run(input: Input): void {
    const before = this.#state;
    const { state, actions } = step(before, input, this.#options.timers.now());
    this.#state = state;
    this.#logNews(before, state);
    const link = this.#link;
    for (const action of actions) this.#work = this.#work.then(() => this.#perform(action, link));
    this.#schedule();
  }

  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    const at = deadline(this.#state);
    if (at === null) return;
    const { timers } = this.#options;
    this.#cancelTimer = timers.after(Math.max(0, at - timers.now()), () => this.#run({ type: 'timeout' }));
  }

  async #perform(action: Action, link: number): Promise<void> {
    const { channel } = this.#options;
    switch (action.type) {
      case 'prepare':
        return this.#prepare(action);
      case 'commit':
        return this.#commit(action.op);
      case 'abandon':
        return this.#abandon(action.inDoubt);
      case 'send':
        return link === this.#link ? channel.sendConfig(action.message) : undefined;
      case 'release-bulk':
        return channel.releaseBulk();
      case 'answer': {
        const resolve = this.#waiting.get(action.token);
        this.#waiting.delete(action.token);
        return resolve?.(action.outcome);
      }
    }
  }

  async #prepare({ op, text, file, revision, stage }: Extract<Action, { type: 'prepare' }>): Promise<void> {
    const { check, store } = this.#options;
    let refusal: ConfigRefusal | null = null;
    let changes: readonly string[] = [];
    try {
      const checked = digestOf(text) === revision.digest ? await check(text, file) : DAMAGED;
      if ('code' in checked) {
        refusal = checked;
      } else {
        changes = checked.changes;
        if (stage) {
          this.#prepared = checked;
          await store.stage(text, revision);
        }
      }
    } catch (error) {
      const mend = "give the daemon's user the config's folder and the state directory, or free some space";
      refusal = refusalOf('cannot_store', `the config cannot be written: ${messageOf(error)}`, mend);
      await this.#abandon(false);
    }
    this.#run({ type: 'prepared', op, refusal, changes });
  }

  /** In force first: a file that says what cannot be run would keep the next start from succeeding. */
  async #commit(op: number): Promise<void> {
    const prepared = this.#prepared;
    this.#prepared = null;
    let refusal: ConfigRefusal | null = null;
    try {
      if (prepared === null) throw new Error('nothing is prepared');
      await prepared.putInForce();
      await this.#options.store.commit();
    } catch (error) {
      refusal = refusalOf('cannot_apply', `it could not be applied: ${messageOf(error)}; the config before stays`);
      await prepared?.takeBack();
      await this.#abandon(false);
    }
    this.#run({ type: 'committed', op, refusal, changes: prepared?.changes ?? [] });
  }

  async #abandon(inDoubt: boolean): Promise<void> {
    this.#prepared = null;
    try {
      await this.#options.store.abandon(inDoubt);
    } catch (error) {
      this.#options.log.warn({ error: messageOf(error) }, 'what was prepared of a config could not be removed');
    }
  }

  #logNews(before: State, after: State): void {
    const { log } = this.#options;
    const { standing, doubt, notice } = after;
    if (standing.revision !== before.standing.revision) {
      log.info({ revision: standing.revision }, 'a new revision of the config is in force');
    }
    if (doubt !== null && doubt !== before.doubt) {
      log.warn({ revision: doubt }, 'the peer may have committed this revision; this unit keeps what it had');
    }
    if (notice !== null && notice !== before.notice) log.warn({}, notice);
  }
}

function resultOf({ what, revision, changes, peer, reason }: Extract<Outcome, { ok: true }>): ApplyResult {
  return { outcome: what, revision, changes, peer, reason };
}

const DAMAGED = refusalOf('bad_digest', 'the text is not the one that its digest names');

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
