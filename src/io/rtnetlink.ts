/**
 * Two rtnetlink sockets: one asks, one listens. Reading needs no capability; changing a neighbour needs
 * CAP_NET_ADMIN.
 *
 * Two, because a change that arrives between the parts of a dump breaks the `netlink` package's gathering of the
 * parts; for the same reason requests go out one after the other.
 */

import { createNetlink, type NetlinkMessage, type NetlinkSocket, Protocol } from 'netlink';

/** What the kernel refused, by errno's name. `TIMEOUT`: it did not answer. */
export class RtnetlinkError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'RtnetlinkError';
    this.code = code;
  }
}

const REQUEST_TIMEOUT_MS = 2_000;
const DUMP_TRIES = 3;
const NLM_F_DUMP = 0x300;
const NLM_F_DUMP_INTR = 0x10;
/** What the kernel queues for us before it drops changes and says ENOBUFS; net.core.rmem_max caps it. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
const SEND_BUFFER_BYTES = 256 * 1024;

export class Rtnetlink {
  readonly #asking: NetlinkSocket;
  #listening: NetlinkSocket | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor() {
    this.#asking = open();
    // A request that fails rejects by itself; what is left here belongs to no request.
    this.#asking.on('error', () => {});
  }

  /** One answer, or none for a change. Rejects with an RtnetlinkError. */
  async request(type: number, payload: Uint8Array, flags = 0): Promise<Uint8Array | null> {
    const messages = await this.#exchange(type, payload, flags);
    return messages[0]?.data ?? null;
  }

  /** Everything there is of a kind, consistent: a dump that was overtaken by a change is taken again. */
  async dump(type: number, payload: Uint8Array): Promise<readonly Uint8Array[]> {
    let messages: NetlinkMessage[] = [];
    for (let tries = 0; tries < DUMP_TRIES; tries++) {
      messages = await this.#exchange(type, payload, NLM_F_DUMP);
      if (messages.every((message) => (message.flags & NLM_F_DUMP_INTR) === 0)) break;
    }
    return messages.map((message) => message.data);
  }

  /** Calls back for every change in the groups. `onLost`: changes were lost, so read everything again. */
  listen(groups: readonly number[], onChange: (type: number, payload: Uint8Array) => void, onLost: () => void): void {
    if (this.#listening !== null) throw new Error('this rtnetlink is listening already');
    const socket = open();
    socket.on('message', (messages) => {
      for (const message of messages) onChange(message.type, message.data);
    });
    socket.on('invalid', onLost);
    socket.on('truncatedMessage', onLost);
    socket.on('error', onLost);
    for (const group of groups) socket.addMembership(group);
    this.#listening = socket;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#asking.close();
    this.#listening?.close();
  }

  #exchange(type: number, payload: Uint8Array, flags: number): Promise<NetlinkMessage[]> {
    const exchange = this.#last.then(async () => {
      if (this.#closed) throw new RtnetlinkError('ECANCELED', 'rtnetlink is closed');
      try {
        const [messages] = await this.#asking.request(type, Buffer.from(payload), {
          flags,
          timeout: REQUEST_TIMEOUT_MS,
        });
        return messages;
      } catch (error) {
        throw toRtnetlinkError(error);
      }
    });
    this.#last = exchange.catch(() => {});
    return exchange;
  }
}

function open(): NetlinkSocket {
  return createNetlink(Protocol.ROUTE, { recvBufferSize: RECEIVE_BUFFER_BYTES, sendBufferSize: SEND_BUFFER_BYTES });
}

/** The package says `Request rejected: EPERM` and `Timeout has been reached`, in prose only. */
function toRtnetlinkError(error: unknown): RtnetlinkError {
  if (error instanceof RtnetlinkError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const rejected = /^Request rejected: (\S+)$/.exec(message);
  if (rejected !== null) return new RtnetlinkError(rejected[1]!, `the kernel refused: ${rejected[1]}`);
  if (message.startsWith('Timeout')) return new RtnetlinkError('TIMEOUT', 'the kernel did not answer');
  return new RtnetlinkError('EIO', message);
}
