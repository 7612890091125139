/**
 * The framing of the mirror channel: messages to bytes, and a byte stream back to messages.
 *
 * Every message is a header of 32 octets, big endian, and a payload:
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                     magic: 54 44 4d 43                        |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |    version    |     type      |     flags     |   reserved    |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                          generation                           |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                           sequence                            |
 *   |                          (64 bits)                            |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                            count                              |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                        payload octets                         |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                          reserved                             |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * `version` is the version of this layout. What both units understand beyond it is agreed on in `hello`.
 * Fields that a type does not use, and the reserved ones, are zero and checked. A batch's payload is
 * records (native/wire/mirror.h), an ack's is four 64-bit counts, a nack's 32-bit sequences of records, that of the
 * rest is nothing or JSON.
 *
 * Reading is strict: the first octet that cannot be right ends the stream with one named fault, and
 * nothing behind it is looked at.
 */

import { ZodError } from 'zod';

import { bodies, type Message, type MessageType, type RecordCounts } from './messages.js';

export const HEADER_BYTES = 32;
export const LAYOUT_VERSION = 1;
/** A message that claims more is a fault; nothing is reserved for it. */
export const PAYLOAD_BYTES_MAX = 1 << 20;
/** Whole records of one batch. */
export const BATCH_BYTES_MAX = 256 * 1024;
/** The largest record (IPv6 state) and a persistence entry's behind it: a batch with less room than this is full. */
export const RECORD_BYTES_MAX = 94 + 48;
/** The smallest record (IPv4 close). */
const RECORD_BYTES_MIN = 24;
const MAGIC = 0x54444d43; // "TDMC"
const ACK_PAYLOAD_BYTES = 32;
const SEQUENCE_BYTES = 4;

/** Why a byte stream or what it says was not believed. Each closes the connection and is counted. */
export const FAULTS = {
  bad_magic: 'the stream is not a mirror channel, or lost its framing',
  wrong_layout_version: 'the header has a layout version that this unit does not read',
  unknown_type: 'a message type that this unit does not know',
  oversized: 'a message claims a payload larger than allowed',
  bad_header: 'a header field has a value that its message type does not allow',
  bad_payload: 'a payload is not what its message type says',
  unauthenticated: 'not from the address of the peer, or not with its certificate',
  no_hello: 'the first message was not a hello, or none came in time',
  wrong_unit: 'the other end is not the peer unit',
  no_common_version: 'the units share no version of the channel protocol',
  out_of_order: 'a message that the state of the channel does not allow',
  bad_sequence: 'a batch or an ack is out of sequence',
  malformed_records: 'a batch did not hold whole records',
  not_reading: 'the peer does not read what it is sent',
} as const satisfies Readonly<Record<string, string>>;

export type FaultName = keyof typeof FAULTS;

export interface Fault {
  readonly name: FaultName;
  /** What exactly was found. */
  readonly detail: string;
}

interface Layout {
  readonly code: number;
  readonly payload: 'none' | 'json' | 'records' | 'counts' | 'sequences';
  readonly generation: boolean;
  readonly sequence: boolean;
  readonly count: boolean;
}

const LAYOUTS: Readonly<Record<MessageType, Layout>> = {
  hello: { code: 1, payload: 'json', generation: false, sequence: false, count: false },
  dictionary: { code: 2, payload: 'json', generation: false, sequence: false, count: false },
  terms: { code: 3, payload: 'json', generation: false, sequence: false, count: false },
  batch: { code: 4, payload: 'records', generation: true, sequence: true, count: true },
  ack: { code: 5, payload: 'counts', generation: false, sequence: true, count: false },
  'bulk-begin': { code: 6, payload: 'none', generation: true, sequence: false, count: false },
  'bulk-end': { code: 7, payload: 'none', generation: true, sequence: true, count: true },
  'bulk-ack': { code: 8, payload: 'none', generation: true, sequence: false, count: true },
  'bulk-request': { code: 9, payload: 'none', generation: false, sequence: false, count: false },
  keepalive: { code: 10, payload: 'none', generation: false, sequence: false, count: false },
  'hand-over': { code: 11, payload: 'json', generation: false, sequence: false, count: false },
  'take-over': { code: 12, payload: 'json', generation: false, sequence: false, count: false },
  goodbye: { code: 13, payload: 'json', generation: false, sequence: false, count: false },
  nack: { code: 14, payload: 'sequences', generation: false, sequence: true, count: true },
  'config-offer': { code: 20, payload: 'json', generation: false, sequence: false, count: false },
  'config-prepare': { code: 21, payload: 'json', generation: false, sequence: false, count: false },
  'config-prepared': { code: 22, payload: 'json', generation: false, sequence: false, count: false },
  'config-commit': { code: 23, payload: 'json', generation: false, sequence: false, count: false },
  'config-committed': { code: 24, payload: 'json', generation: false, sequence: false, count: false },
  'config-abort': { code: 25, payload: 'json', generation: false, sequence: false, count: false },
  receipt: { code: 19, payload: 'none', generation: false, sequence: true, count: false },
  join: { code: 26, payload: 'none', generation: true, sequence: false, count: false },
  switch: { code: 27, payload: 'none', generation: true, sequence: true, count: false },
  digest: { code: 15, payload: 'json', generation: false, sequence: false, count: false },
  'server-bulk-begin': { code: 16, payload: 'json', generation: false, sequence: false, count: false },
  'server-bulk-end': { code: 17, payload: 'json', generation: false, sequence: false, count: false },
  'server-bulk-request': { code: 18, payload: 'json', generation: false, sequence: false, count: false },
  'digest-answer': { code: 28, payload: 'json', generation: false, sequence: false, count: false },
};

const TYPE_OF_CODE = new Map(Object.entries(LAYOUTS).map(([type, layout]) => [layout.code, type as MessageType]));

// ---- writing

/** A whole message in bytes of its own. Batches are better written in place with writeBatchHeader(). */
export function encode(message: Message): Uint8Array {
  const payload = payloadOf(message);
  if (payload.length > PAYLOAD_BYTES_MAX) {
    throw new RangeError(`a ${message.type} message of ${payload.length} bytes; at most ${PAYLOAD_BYTES_MAX} are sent`);
  }
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const layout = LAYOUTS[message.type];
  writeHeader(bytes, message.type, {
    generation: layout.generation && 'generation' in message ? message.generation : 0,
    sequence: layout.sequence && 'sequence' in message ? message.sequence : 0,
    count: countOf(message),
    payloadBytes: payload.length,
  });
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** Writes a batch's header into the first 32 octets of `into`; `payloadBytes` of records follow it there. */
export function writeBatchHeader(
  into: Uint8Array,
  batch: { readonly generation: number; readonly sequence: number; readonly count: number },
  payloadBytes: number,
): void {
  writeHeader(into, 'batch', { ...batch, payloadBytes });
}

function countOf(message: Message): number {
  if (message.type === 'nack') return message.refused.length;
  return 'count' in message ? message.count : 0;
}

interface HeaderFields {
  readonly generation: number;
  readonly sequence: number;
  readonly count: number;
  readonly payloadBytes: number;
}

function writeHeader(into: Uint8Array, type: MessageType, fields: HeaderFields): void {
  const view = new DataView(into.buffer, into.byteOffset, HEADER_BYTES);
  view.setUint32(0, MAGIC);
  view.setUint8(4, LAYOUT_VERSION);
  view.setUint8(5, LAYOUTS[type].code);
  view.setUint16(6, 0);
  view.setUint32(8, fields.generation);
  setUint53(view, 12, fields.sequence);
  view.setUint32(20, fields.count);
  view.setUint32(24, fields.payloadBytes);
  view.setUint32(28, 0);
}

function payloadOf(message: Message): Uint8Array {
  switch (message.type) {
    case 'batch':
      return message.records;
    case 'ack':
      return encodeCounts(message.counts);
    case 'nack':
      return encodeSequences(message.refused);
    case 'hello':
      return encodeJson(message.hello);
    case 'dictionary':
      return encodeJson(message.dictionary);
    case 'terms':
      return encodeJson({ groups: message.groups });
    case 'digest': {
      const sums = message.sums.map((sum) => ({ ...sum, identities: sum.identities.toString(16).padStart(16, '0') }));
      const { generation, sequence, unsummed } = message;
      return encodeJson({ generation, sequence, sums, unsummed });
    }
    case 'hand-over':
    case 'take-over':
    case 'config-offer':
    case 'config-prepare':
    case 'config-prepared':
    case 'config-commit':
    case 'config-committed':
    case 'config-abort':
    case 'digest-answer':
    case 'server-bulk-begin':
    case 'server-bulk-end':
    case 'server-bulk-request':
    case 'goodbye': {
      const { type: _, ...body } = message;
      return encodeJson(body);
    }
    default:
      return new Uint8Array(0);
  }
}

function encodeJson(body: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(body));
}

function encodeCounts(counts: RecordCounts): Uint8Array {
  const bytes = new Uint8Array(ACK_PAYLOAD_BYTES);
  const view = new DataView(bytes.buffer);
  setUint53(view, 0, counts.applied);
  setUint53(view, 8, counts.stale);
  setUint53(view, 16, counts.refusedFull);
  setUint53(view, 24, counts.unknown);
  return bytes;
}

function encodeSequences(sequences: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(sequences.length * SEQUENCE_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [index, sequence] of sequences.entries()) view.setUint32(index * SEQUENCE_BYTES, sequence);
  return bytes;
}

// ---- reading

/**
 * Cuts one byte stream into messages, whatever the boundaries of its chunks. Holds at most one message,
 * which is bounded; a message that lies whole in a chunk is not copied.
 */
export class MessageReader {
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerFilled = 0;
  /** The header of the message whose payload is being read; null between messages. */
  #open: OpenMessage | null = null;
  #payload = new Uint8Array(0);
  #payloadFilled = 0;
  #ended = false;
  #fault: Fault | null = null;

  /**
   * Calls `onMessage` for each message that `chunk` completes; it returns false to stop reading for good.
   * Views in a message hold until it returns. Returns the fault that ended the stream, if one did; an
   * ended stream stays ended and reads nothing more.
   */
  read(chunk: Uint8Array, onMessage: (message: Message) => boolean): Fault | null {
    let offset = 0;
    while (!this.#ended) {
      if (this.#open === null) {
        offset += this.#fillHeader(chunk, offset);
        if (this.#headerFilled < HEADER_BYTES) return null;
        this.#headerFilled = 0;
        const header = readHeader(this.#header);
        if ('name' in header) return this.#end(header);
        this.#open = header;
        this.#payloadFilled = 0;
      }
      const payload = this.#takePayload(this.#open.payloadBytes, chunk, offset);
      offset += payload.used;
      if (payload.bytes === null) return null;
      const message = readMessage(this.#open, payload.bytes);
      this.#open = null;
      if ('name' in message) return this.#end(message);
      if (!onMessage(message)) this.#ended = true;
    }
    return this.#fault;
  }

  #end(fault: Fault): Fault {
    this.#ended = true;
    this.#fault = fault;
    return fault;
  }

  #fillHeader(chunk: Uint8Array, offset: number): number {
    const part = chunk.subarray(offset, offset + HEADER_BYTES - this.#headerFilled);
    this.#header.set(part, this.#headerFilled);
    this.#headerFilled += part.length;
    return part.length;
  }

  #takePayload(bytes: number, chunk: Uint8Array, offset: number): { used: number; bytes: Uint8Array | null } {
    const left = chunk.length - offset;
    if (this.#payloadFilled === 0 && left >= bytes)
      return { used: bytes, bytes: chunk.subarray(offset, offset + bytes) };

    if (this.#payload.length < bytes) this.#payload = new Uint8Array(Math.max(bytes, BATCH_BYTES_MAX));
    const part = chunk.subarray(offset, offset + bytes - this.#payloadFilled);
    this.#payload.set(part, this.#payloadFilled);
    this.#payloadFilled += part.length;
    return { used: part.length, bytes: this.#payloadFilled === bytes ? this.#payload.subarray(0, bytes) : null };
  }
}

interface OpenMessage extends HeaderFields {
  readonly type: MessageType;
}

function readHeader(header: Uint8Array): OpenMessage | Fault {
  const view = new DataView(header.buffer, header.byteOffset, HEADER_BYTES);
  const magic = view.getUint32(0);
  if (magic !== MAGIC) return fault('bad_magic', `0x${magic.toString(16)} where the magic should be`);

  const version = view.getUint8(4);
  if (version !== LAYOUT_VERSION) return fault('wrong_layout_version', `${version}, this unit reads ${LAYOUT_VERSION}`);

  const type = TYPE_OF_CODE.get(view.getUint8(5));
  if (type === undefined) return fault('unknown_type', `${view.getUint8(5)}`);

  const layout = LAYOUTS[type];
  const generation = view.getUint32(8);
  const sequence = getUint53(view, 12);
  const count = view.getUint32(20);
  const payloadBytes = view.getUint32(24);
  if (view.getUint16(6) !== 0 || view.getUint32(28) !== 0)
    return fault('bad_header', `${type}: reserved field not zero`);
  if (!layout.generation && generation !== 0) return fault('bad_header', `${type}: generation ${generation}`);
  if (!layout.sequence && sequence !== 0) return fault('bad_header', `${type}: sequence ${sequence}`);
  if (!layout.count && count !== 0) return fault('bad_header', `${type}: count ${count}`);
  if (!Number.isSafeInteger(sequence)) return fault('bad_header', `${type}: sequence beyond 2^53`);

  const most = payloadBytesMax(layout);
  if (payloadBytes > most) return fault('oversized', `${type}: ${payloadBytes} bytes, at most ${most}`);
  if (layout.payload === 'counts' && payloadBytes !== ACK_PAYLOAD_BYTES) {
    return fault('bad_payload', `${type}: ${payloadBytes} bytes, not ${ACK_PAYLOAD_BYTES}`);
  }
  if (layout.payload === 'records' && (count === 0 || count * RECORD_BYTES_MIN > payloadBytes)) {
    return fault('bad_header', `${type}: ${count} records in ${payloadBytes} bytes`);
  }
  if (layout.payload === 'sequences' && (count === 0 || count * SEQUENCE_BYTES !== payloadBytes)) {
    return fault('bad_header', `${type}: ${count} sequences in ${payloadBytes} bytes`);
  }
  return { type, generation, sequence, count, payloadBytes };
}

function payloadBytesMax(layout: Layout): number {
  switch (layout.payload) {
    case 'none':
      return 0;
    case 'counts':
      return ACK_PAYLOAD_BYTES;
    case 'records':
      return BATCH_BYTES_MAX;
    // One for each record of a batch at most.
    case 'sequences':
      return Math.floor(BATCH_BYTES_MAX / RECORD_BYTES_MIN) * SEQUENCE_BYTES;
    case 'json':
      return PAYLOAD_BYTES_MAX;
  }
}

function readMessage(header: OpenMessage, payload: Uint8Array): Message | Fault {
  const { type, generation, sequence, count } = header;
  switch (type) {
    case 'batch':
      return { type, generation, sequence, count, records: payload };
    case 'ack': {
      const counts = readCounts(payload);
      return counts === null ? fault('bad_payload', 'ack: a count beyond 2^53') : { type, sequence, counts };
    }
    case 'nack':
      return { type, sequence, refused: readSequences(payload) };
    case 'bulk-begin':
    case 'join':
      return { type, generation };
    case 'switch':
      return { type, generation, sequence };
    case 'receipt':
      return { type, sequence };
    case 'bulk-end':
      return { type, generation, sequence, count };
    case 'bulk-ack':
      return { type, generation, count };
    case 'bulk-request':
    case 'keepalive':
      return { type };
    default:
      return readJson(type, payload);
  }
}

function readJson(type: keyof typeof bodies, payload: Uint8Array): Message | Fault {
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch {
    return fault('bad_payload', `${type}: not JSON`);
  }
  try {
    return JSON_READERS[type](body);
  } catch (error) {
    const issue = error instanceof ZodError ? error.issues[0] : undefined;
    return fault('bad_payload', `${type}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`);
  }
}

const JSON_READERS: Readonly<Record<keyof typeof bodies, (body: unknown) => Message>> = {
  hello: (body) => ({ type: 'hello', hello: bodies.hello.parse(body) }),
  dictionary: (body) => ({ type: 'dictionary', dictionary: bodies.dictionary.parse(body) }),
  terms: (body) => ({ type: 'terms', ...bodies.terms.parse(body) }),
  'hand-over': (body) => ({ type: 'hand-over', ...bodies['hand-over'].parse(body) }),
  'take-over': (body) => ({ type: 'take-over', ...bodies['take-over'].parse(body) }),
  goodbye: (body) => ({ type: 'goodbye', ...bodies.goodbye.parse(body) }),
  'config-offer': (body) => ({ type: 'config-offer', ...bodies['config-offer'].parse(body) }),
  'config-prepare': (body) => ({ type: 'config-prepare', ...bodies['config-prepare'].parse(body) }),
  'config-prepared': (body) => ({ type: 'config-prepared', ...bodies['config-prepared'].parse(body) }),
  'config-commit': (body) => ({ type: 'config-commit', ...bodies['config-commit'].parse(body) }),
  'config-committed': (body) => ({ type: 'config-committed', ...bodies['config-committed'].parse(body) }),
  'config-abort': (body) => ({ type: 'config-abort', ...bodies['config-abort'].parse(body) }),
  digest: (body) => ({ type: 'digest', ...bodies.digest.parse(body) }),
  'digest-answer': (body) => ({ type: 'digest-answer', ...bodies['digest-answer'].parse(body) }),
  'server-bulk-begin': (body) => ({ type: 'server-bulk-begin', ...bodies['server-bulk-begin'].parse(body) }),
  'server-bulk-end': (body) => ({ type: 'server-bulk-end', ...bodies['server-bulk-end'].parse(body) }),
  'server-bulk-request': (body) => ({ type: 'server-bulk-request', ...bodies['server-bulk-request'].parse(body) }),
};

function readCounts(payload: Uint8Array): RecordCounts | null {
  const view = new DataView(payload.buffer, payload.byteOffset, ACK_PAYLOAD_BYTES);
  const counts = {
    applied: getUint53(view, 0),
    stale: getUint53(view, 8),
    refusedFull: getUint53(view, 16),
    unknown: getUint53(view, 24),
  };
  return Object.values(counts).every(Number.isSafeInteger) ? counts : null;
}

function readSequences(payload: Uint8Array): Uint32Array {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  return Uint32Array.from({ length: payload.length / SEQUENCE_BYTES }, (_, index) =>
    view.getUint32(index * SEQUENCE_BYTES),
  );
}

function fault(name: FaultName, detail: string): Fault {
  return { name, detail };
}

// A 64-bit field that JavaScript can count in; 2^53 batches last longer than the hardware.
function setUint53(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value % 2 ** 32);
}

function getUint53(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}
