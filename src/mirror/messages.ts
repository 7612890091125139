/**
 * What two units say to each other over the mirror channel, as values. `codec.ts` puts them on the wire.
 *
 * Names cross here, never ids: the one exception is `dictionary`, which says what the ids inside the
 * records of a batch are called. Records themselves stay opaque bytes (native/wire/mirror.h).
 */

import { z } from 'zod';
import type { ConfigRefusal, ConfigRevision, ConfigStanding, UnitName } from '../config/model.js';
import type { Digests, MirrorDictionary, RoleName } from '../datapath.js';

/** What a unit is for one traffic group. */
export interface GroupRole {
  /** Name of the traffic group. */
  readonly name: string;
  readonly role: RoleName;
  /** Raised by one at each takeover; 0: never taken over. */
  readonly term: number;
}

/** The first message of either side. Fields unknown to this version are ignored. */
export interface Hello {
  /** Versions of the channel's protocol that the sender speaks; both sides use the highest in common. */
  readonly versionMin: number;
  readonly versionMax: number;
  readonly unit: UnitName;
  /** Another one after each start of the daemon, at most 64 characters. */
  readonly bootId: string;
  readonly groups: readonly GroupRole[];
  /** By the unit that dials: a number for this channel, by which connections on another path join it. Not 0. */
  readonly channel?: number | undefined;
  /** Names in the sender's config, so that a difference can be shown to the operator. */
  readonly config: { readonly links: readonly string[]; readonly virtualServers: readonly string[] };
}

/** Records by what became of them, since the connection of the channel was made. */
export interface RecordCounts {
  readonly applied: number;
  /** Not newer than what the table held. */
  readonly stale: number;
  /** The table was full: these connections would not survive a takeover. */
  readonly refusedFull: number;
  /** A virtual server or member that the receiver does not have. */
  readonly unknown: number;
}

export type Message =
  | { readonly type: 'hello'; readonly hello: Hello }
  | { readonly type: 'dictionary'; readonly dictionary: MirrorDictionary }
  | { readonly type: 'terms'; readonly groups: readonly GroupRole[] }
  /** `records` is a view that holds until the next byte is read. Batches are numbered from 1 per connection. */
  | {
      readonly type: 'batch';
      readonly generation: number;
      readonly sequence: number;
      readonly count: number;
      readonly records: Uint8Array;
    }
  /** Everything up to `sequence` is in the sender's table, or counted as refused. Both are cumulative. */
  | { readonly type: 'ack'; readonly sequence: number; readonly counts: RecordCounts }
  /**
   * Records of the batch `sequence` after which the sender's table does not hold their connection: no room, or names it
   * does not have. Before the batch's ack. Since version 3.
   */
  | { readonly type: 'nack'; readonly sequence: number; readonly refused: Uint32Array }
  /** From here on batches announce every connection that the sender is active for. */
  | { readonly type: 'bulk-begin'; readonly generation: number }
  /** What was not announced since `bulk-begin` is gone; `sequence` is the last batch before the marker. */
  | { readonly type: 'bulk-end'; readonly generation: number; readonly sequence: number; readonly count: number }
  /** The bulk is applied and `count` connections that it did not announce are closed: in sync. */
  | { readonly type: 'bulk-ack'; readonly generation: number; readonly count: number }
  /** "Tell me everything once more": the receiver now knows names that it refused before. */
  | { readonly type: 'bulk-request' }
  /** Sums of what was told, behind batch `sequence`. */
  | ({ readonly type: 'digest'; readonly generation: number; readonly sequence: number } & Digests)
  /** Virtual servers whose sums were others here: once, and for at least the second time; and those not compared. */
  | {
      readonly type: 'digest-answer';
      readonly suspected: readonly string[];
      readonly differing: readonly string[];
      readonly uncompared: readonly string[];
    }
  /** Batches behind batch `sequence` announce every connection of these virtual servers. */
  | {
      readonly type: 'server-bulk-begin';
      readonly number: number;
      readonly sequence: number;
      readonly virtualServers: readonly string[];
    }
  /** What of them was not announced up to batch `sequence` is gone. */
  | { readonly type: 'server-bulk-end'; readonly number: number; readonly sequence: number }
  /** "Tell me everything of these once more." */
  | { readonly type: 'server-bulk-request'; readonly virtualServers: readonly string[] }
  | { readonly type: 'keepalive' }
  /** The active unit asks its peer to take a traffic group over. `term` is the asking unit's. */
  | { readonly type: 'hand-over'; readonly group: string; readonly term: number; readonly forced: boolean }
  /** The answer: `refusal` says why not, null when the peer takes over. */
  | { readonly type: 'take-over'; readonly group: string; readonly term: number; readonly refusal: string | null }
  /** First on another path: this connection belongs to the channel `generation`. Answered in kind. */
  | { readonly type: 'join'; readonly generation: number }
  /** From here on the channel goes by this path; `sequence` messages of the other end were received. */
  | { readonly type: 'switch'; readonly generation: number; readonly sequence: number }
  /** So many messages of the other end were received: they need not be kept. Also says that a path lives. */
  | { readonly type: 'receipt'; readonly sequence: number }
  /** The last message before a connection is closed on purpose. */
  | { readonly type: 'goodbye'; readonly reason: string }
  | ConfigMessage;

/** What the units say about their config (src/config_sync/), from version 3 on. `id` is the leader's name for it. */
export type ConfigMessage =
  /** What the sender runs: said when the channel opens, before connections are announced, and at each change. */
  | { readonly type: 'config-offer'; readonly standing: ConfigStanding }
  | {
      readonly type: 'config-prepare';
      readonly id: number;
      readonly revision: ConfigRevision;
      readonly text: string;
      /** For the places of errors. */
      readonly file: string;
      /** Nobody asked for it: the sender has the higher revision. */
      readonly automatic: boolean;
      /** Nothing is to be written down, and nothing follows. */
      readonly dryRun: boolean;
    }
  /** The text is checked and written down, or `refusal`. */
  | { readonly type: 'config-prepared'; readonly id: number; readonly refusal: ConfigRefusal | null }
  | { readonly type: 'config-commit'; readonly id: number }
  /** It is in force at the sender, or `refusal`. */
  | { readonly type: 'config-committed'; readonly id: number; readonly refusal: ConfigRefusal | null }
  | { readonly type: 'config-abort'; readonly id: number; readonly reason: string };

export type MessageType = Message['type'];

// Bounds of native/limits.h, and generous ones for text.
const GROUPS_MAX = 16;
const DEVICES_MAX = 16;
const VIRTUAL_SERVERS_MAX = 4096;
const name = z.string().min(1).max(128);
const whole = z.number().int().nonnegative();
const id = whole.max(0xffff);

const groups = z
  .array(z.object({ name, role: z.enum(['standby', 'active', 'handing-over']), term: whole.max(0xffff_ffff) }))
  .max(GROUPS_MAX);

/** Errors of a config that one refusal tells, and characters of each text in it: with escapes they fit in a message. */
export const REFUSAL_ERRORS_MAX = 64;
export const REFUSAL_TEXT_MAX = 512;

const shortText = z.string().max(REFUSAL_TEXT_MAX);
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const transaction = whole;
export const revisionSchema = z.object({
  number: whole.min(1),
  digest,
  unit: z.enum(['a', 'b']),
  appliedAt: z.string().max(64),
});
const refusal = z
  .object({
    code: z.string().min(1).max(64),
    message: shortText,
    mend: shortText.nullable(),
    errors: z
      .array(
        z.object({
          code: z.string().max(64),
          message: shortText,
          hint: shortText.nullable(),
          file: shortText,
          path: shortText,
          line: whole,
          column: whole,
        }),
      )
      .max(REFUSAL_ERRORS_MAX),
  })
  .nullable();

const names = z.array(name).max(VIRTUAL_SERVERS_MAX);

/** 64 bits cross as 16 hexadecimal digits: JSON's numbers end at 2^53. */
const sums = z
  .array(
    z.object({
      name,
      connections: whole,
      identities: z
        .string()
        .regex(/^[0-9a-f]{16}$/)
        .transform((digits) => BigInt(`0x${digits}`)),
    }),
  )
  .max(VIRTUAL_SERVERS_MAX);

/** Bodies that cross as JSON. Parsing throws a ZodError that names the field. */
export const bodies = {
  hello: z.object({
    versionMin: whole.max(0xffff),
    versionMax: whole.max(0xffff),
    unit: z.enum(['a', 'b']),
    bootId: z.string().min(1).max(64),
    groups,
    channel: whole.max(0xffff_ffff).optional(),
    config: z.object({
      links: z.array(name).max(DEVICES_MAX),
      virtualServers: z.array(name).max(VIRTUAL_SERVERS_MAX),
    }),
  }),
  dictionary: z.object({
    virtualServers: z.array(z.object({ id, name })).max(VIRTUAL_SERVERS_MAX),
    devices: z.array(name).max(DEVICES_MAX),
  }),
  terms: z.object({ groups }),
  'hand-over': z.object({ group: name, term: whole.max(0xffff_ffff), forced: z.boolean() }),
  'take-over': z.object({ group: name, term: whole.max(0xffff_ffff), refusal: z.string().max(256).nullable() }),
  goodbye: z.object({ reason: z.string().max(256) }),
  'config-offer': z.object({ standing: z.object({ revision: revisionSchema.nullable(), digest }) }),
  'config-prepare': z.object({
    id: transaction,
    revision: revisionSchema,
    text: z.string(),
    file: shortText,
    automatic: z.boolean(),
    dryRun: z.boolean(),
  }),
  'config-prepared': z.object({ id: transaction, refusal }),
  'config-commit': z.object({ id: transaction }),
  'config-committed': z.object({ id: transaction, refusal }),
  'config-abort': z.object({ id: transaction, reason: shortText }),
  digest: z.object({ generation: whole.max(0xffff_ffff), sequence: whole, sums, unsummed: names.default([]) }),
  'digest-answer': z.object({ suspected: names, differing: names, uncompared: names.default([]) }),
  'server-bulk-begin': z.object({ number: whole.max(0xffff_ffff), sequence: whole, virtualServers: names }),
  'server-bulk-end': z.object({ number: whole.max(0xffff_ffff), sequence: whole }),
  'server-bulk-request': z.object({ virtualServers: names }),
} as const;
