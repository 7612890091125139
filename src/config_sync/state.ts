/**
 * Everything that the config's synchronisation knows, is told, and asks for. `sync.ts` has the rules.
 *
 * Both units run the same. A transaction is led by the unit where it began and followed by the other; each
 * takes part in one at a time. Deadlines lie in the state; no timer outlives it.
 */

import type { ConfigError, ConfigRefusal, ConfigRevision, ConfigStanding, UnitName } from '../config/model.js';
import { PAYLOAD_BYTES_MAX } from '../mirror/codec.js';
import type { ConfigMessage } from '../mirror/messages.js';

/** Milliseconds on a monotonic clock, fractional. */
export type Millis = number;

/** Bytes of a text that is applied, as it crosses the channel: in JSON, with what else is in its message. */
export const APPLY_BYTES_MAX = PAYLOAD_BYTES_MAX - 16 * 1024;

/** The peer checks a text and writes it down within this, or nothing is changed. */
export const PREPARE_MS: Millis = 5_000;
/** The peer answers a commit within this, or it counts as in doubt. */
export const COMMIT_MS: Millis = 10_000;
/** A peer that is behind and did not take over what it was offered is asked again after this. */
export const ASK_AGAIN_MS: Millis = 30_000;
/** A unit that has prepared waits for the decision so long, then keeps what it has. */
export const PREPARED_MS: Millis = 20_000;

export interface Proposal {
  readonly text: string;
  /** As the operator named it: for errors' places only. */
  readonly file: string;
  /** SHA-256 of the text, hexadecimal. */
  readonly digest: string;
  /** ISO 8601. */
  readonly at: string;
}

export interface State {
  readonly unit: UnitName;
  readonly text: string;
  readonly standing: ConfigStanding;
  readonly peer: Peer;
  /** Prepared here, and what became of it is not known: this unit keeps what it had. */
  readonly doubt: ConfigRevision | null;
  readonly work: Work;
  /** What the operator should know of the last transaction that nobody here waited for. */
  readonly notice: string | null;
  readonly lastOp: number;
}

export type Peer =
  | { readonly name: 'absent' }
  | { readonly name: 'too-old'; readonly version: number }
  | {
      readonly name: 'present';
      /** Null until it has said so. */
      readonly standing: ConfigStanding | null;
      /** While it is behind, it is not asked again to take over what is in force here before this. */
      readonly askAt: Millis;
      /** It has offered us a revision on this connection, and that is over. */
      readonly served: boolean;
      /** It asked while we were at something else: once we are not, it hears from us. */
      readonly turnedAway: boolean;
      readonly bulkReleased: boolean;
    };

export type Work =
  | { readonly name: 'idle' }
  /** Led from here: our own look at the text, the peer's, our own commit, the peer's. */
  | (Leading & { readonly name: 'checking' })
  | (Leading & { readonly name: 'asking'; readonly giveUpAt: Millis })
  | (Leading & { readonly name: 'committing' })
  | (Leading & { readonly name: 'telling'; readonly giveUpAt: Millis })
  /** Led by the peer: our look at the text, the wait for its decision, our commit. */
  | (Following & { readonly name: 'preparing' })
  | (Following & { readonly name: 'prepared'; readonly giveUpAt: Millis })
  | (Following & { readonly name: 'obeying' });

export interface Leading {
  /** Also the transaction's name on the wire. */
  readonly op: number;
  readonly revision: ConfigRevision;
  readonly text: string;
  readonly file: string;
  /** Who waits for the outcome; null: nobody, the peer is brought up to what is in force here. */
  readonly token: number | null;
  readonly local: boolean;
  readonly dryRun: boolean;
  readonly changes: readonly string[];
}

export interface Following {
  readonly op: number;
  /** The peer's name for it. */
  readonly id: number;
  readonly revision: ConfigRevision;
  readonly text: string;
  readonly automatic: boolean;
  readonly dryRun: boolean;
}

export type Input =
  | { readonly type: 'link-open'; readonly version: number }
  | { readonly type: 'link-lost' }
  | { readonly type: 'message'; readonly message: ConfigMessage }
  | {
      readonly type: 'apply';
      readonly token: number;
      readonly proposal: Proposal;
      readonly local: boolean;
      readonly dryRun: boolean;
    }
  /** Results of `prepare` and `commit`; those of an operation that is over are ignored. */
  | Result<'prepared'>
  | Result<'committed'>
  /** The operator has changed the file by hand and had it read again. */
  | { readonly type: 'reloaded'; readonly text: string; readonly digest: string }
  | { readonly type: 'timeout' };

interface Result<Type extends string> {
  readonly type: Type;
  readonly op: number;
  readonly refusal: ConfigRefusal | null;
  readonly changes: readonly string[];
}

/** Carried out in order, each when the one before is done. */
export type Action =
  /** Check the text with this unit's own eyes; `stage`: write it down beside the file. Answer `prepared`. */
  | {
      readonly type: 'prepare';
      readonly op: number;
      readonly text: string;
      readonly file: string;
      readonly revision: ConfigRevision;
      readonly stage: boolean;
    }
  /** Put what was prepared in force and in the file's place, both or neither. Answer `committed`. */
  | { readonly type: 'commit'; readonly op: number }
  /** Forget what was prepared; `inDoubt`: but remember that it was, over a restart. */
  | { readonly type: 'abandon'; readonly inDoubt: boolean }
  | { readonly type: 'send'; readonly message: ConfigMessage }
  /** The units' configs are as equal as they will be: connections may be announced. */
  | { readonly type: 'release-bulk' }
  | { readonly type: 'answer'; readonly token: number; readonly outcome: Outcome };

export type Outcome =
  | {
      readonly ok: true;
      readonly what: 'applied' | 'unchanged' | 'valid';
      readonly revision: ConfigRevision | null;
      readonly changes: readonly string[];
      readonly peer: 'applied' | 'valid' | 'absent' | 'too-old' | 'in-doubt' | 'failed';
      /** Why, for `in-doubt` and `failed`. */
      readonly reason: string | null;
    }
  | { readonly ok: false; readonly refusal: ConfigRefusal };

export interface Step {
  readonly state: State;
  readonly actions: readonly Action[];
}

export function stay(state: State): Step {
  return { state, actions: [] };
}

export function refusalOf(
  code: string,
  message: string,
  mend: string | null = null,
  errors: readonly ConfigError[] = [],
): ConfigRefusal {
  return { code, message, mend, errors };
}

/** Whether the text in force is not the one that was applied: somebody changed the file by hand. */
export function isEdited({ revision, digest }: ConfigStanding): boolean {
  return revision !== null && revision.digest !== digest;
}

export function numberOf(standing: ConfigStanding | null): number {
  return standing?.revision?.number ?? 0;
}

export function nameOf({ number, digest }: ConfigRevision): string {
  return `revision ${number} (${digest.slice(0, 8)})`;
}
