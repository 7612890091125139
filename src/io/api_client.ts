/** A `Control` at the far end of a daemon's unix socket (src/io/api_server.ts is the near end). */

import { type IncomingMessage, request } from 'node:http';
import { userInfo } from 'node:os';

import {
  type ApiEvent,
  type ApplyRequest,
  type ApplyResult,
  type BusiestConnections,
  type CaptureRequest,
  type CaptureStream,
  type ConnectionsPage,
  type ConnectionsQuery,
  type Control,
  ControlError,
  type ControlErrorBody,
  type Costs,
  type CountersStatus,
  DaemonUnreachable,
  type EndFilter,
  type EventStream,
  type FailoverStatus,
  type MemberChanged,
  type MemberOverride,
  type MirrorStatus,
  type PoolStatus,
  type ReloadResult,
  type StandbyResult,
  type Status,
  type Survival,
  type VirtualServerChange,
  type VirtualServerChanged,
  type VirtualServerStatus,
} from '../api.js';
import { formatEndpoint } from '../wire/ip_address.js';

const READ_TIMEOUT_MS = 10_000;
/** Handing over waits for the peer; reloading reads and applies a file. */
const ACT_TIMEOUT_MS = 60_000;
/** Larger than any answer can be: a page of connections is bounded, and so are names and counts. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

export class ApiClient implements Control, EventStream, CaptureStream {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  status(): Promise<Status> {
    return this.#ask('GET', '/v1/status');
  }

  virtualServers(): Promise<VirtualServerStatus[]> {
    return this.#ask('GET', '/v1/virtual-servers');
  }

  virtualServer(name: string): Promise<VirtualServerStatus> {
    return this.#ask('GET', `/v1/virtual-servers/${encodeURIComponent(name)}`);
  }

  pools(): Promise<PoolStatus[]> {
    return this.#ask('GET', '/v1/pools');
  }

  pool(name: string): Promise<PoolStatus> {
    return this.#ask('GET', `/v1/pools/${encodeURIComponent(name)}`);
  }

  connections({ virtualServer, client, member, cursor, limit }: ConnectionsQuery): Promise<ConnectionsPage> {
    const query = new URLSearchParams({ cursor: String(cursor), limit: String(limit) });
    if (virtualServer !== null) query.set('virtualServer', virtualServer);
    if (client) query.set('client', endText(client));
    if (member) query.set('member', endText(member));
    return this.#ask('GET', `/v1/connections?${query}`);
  }

  busiest(limit: number): Promise<BusiestConnections> {
    return this.#ask('GET', `/v1/connections/busiest?limit=${limit}`);
  }

  mirror(): Promise<MirrorStatus> {
    return this.#ask('GET', '/v1/mirror');
  }

  failover(): Promise<FailoverStatus> {
    return this.#ask('GET', '/v1/failover');
  }

  counters(): Promise<CountersStatus> {
    return this.#ask('GET', '/v1/counters');
  }

  survival(): Promise<Survival> {
    return this.#ask('GET', '/v1/survival');
  }

  costs(): Promise<Costs | null> {
    return this.#ask('GET', '/v1/costs');
  }

  reload(): Promise<ReloadResult> {
    return this.#ask('POST', '/v1/reload', {});
  }

  apply(request: ApplyRequest): Promise<ApplyResult> {
    return this.#ask('POST', '/v1/config', request);
  }

  standby(trafficGroup: string | null, force: boolean): Promise<StandbyResult> {
    return this.#ask('PATCH', '/v1/unit', { standby: true, trafficGroup, force });
  }

  releaseStandby(trafficGroup: string | null): Promise<StandbyResult> {
    return this.#ask('PATCH', '/v1/unit', { standby: false, trafficGroup });
  }

  setVirtualServer(name: string, change: VirtualServerChange): Promise<VirtualServerChanged> {
    return this.#ask('PATCH', `/v1/virtual-servers/${encodeURIComponent(name)}`, change);
  }

  setMember(pool: string, address: string, port: number, state: MemberOverride): Promise<MemberChanged> {
    const member = endText({ address, port });
    return this.#ask('PATCH', `/v1/pools/${encodeURIComponent(pool)}/members/${encodeURIComponent(member)}`, { state });
  }

  /** Ends with `signal`, throws DaemonUnreachable when the daemon goes. */
  async *events(signal: AbortSignal): AsyncGenerator<ApiEvent> {
    const socketPath = this.#socketPath;
    try {
      const stream = await openStream(socketPath, { path: '/v1/events' }, signal);
      stream.setEncoding('utf8');
      let text = '';
      for await (const chunk of stream) {
        text += chunk;
        if (text.length > ANSWER_BYTES_MAX) throw new Error(`an event is larger than ${ANSWER_BYTES_MAX} bytes`);
        const blocks = text.split('\n\n');
        text = blocks.pop() ?? '';
        for (const block of blocks) yield readEvent(block);
      }
    } catch (error) {
      if (signal.aborted) return;
      throw error instanceof ControlError ? error : unreachable(socketPath, error as Error);
    }
    if (!signal.aborted) throw unreachable(socketPath, new Error('the daemon has ended the events'));
  }

  /** Throws DaemonUnreachable when the daemon goes. */
  async *capture(asked: CaptureRequest, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const socketPath = this.#socketPath;
    const { client, ...rest } = asked;
    const body = { ...rest, client: client === null ? null : `${client.address}/${client.prefixBits}` };
    try {
      yield* (await openStream(socketPath, { path: '/v1/capture', body }, signal)) as AsyncIterable<Buffer>;
    } catch (error) {
      if (signal.aborted) return;
      throw error instanceof ControlError ? error : unreachable(socketPath, error as Error);
    }
  }

  /** The daemon is the same version of the same program: its answers are trusted to be what api.ts says. */
  #ask<Answer>(method: 'GET' | 'POST' | 'PATCH', path: string, body?: object): Promise<Answer> {
    const socketPath = this.#socketPath;
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? '' : JSON.stringify(body);
      const length = Buffer.byteLength(payload);
      const headers = { 'content-type': 'application/json', 'content-length': length, 'tandem-client': SELF };
      const timeout = method === 'GET' ? READ_TIMEOUT_MS : ACT_TIMEOUT_MS;
      const asked = request({ socketPath, method, path, headers, timeout, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > ANSWER_BYTES_MAX) asked.destroy(new Error(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`));
          chunks.push(chunk);
        });
        response.on('error', (error) => reject(unreachable(socketPath, error)));
        response.on('end', () => {
          try {
            resolve(readAnswer<Answer>(response.statusCode ?? 0, Buffer.concat(chunks).toString('utf8')));
          } catch (error) {
            reject(error);
          }
        });
      });
      asked.on('timeout', () => asked.destroy(new Error(`no answer within ${timeout / 1000} s`)));
      asked.on('error', (error) => reject(unreachable(socketPath, error)));
      asked.end(payload);
    });
  }
}

/** With a body: POST. */
function openStream(
  socketPath: string,
  { path, body }: { readonly path: string; readonly body?: object },
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? '' : JSON.stringify(body);
    const told = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
    const method = body === undefined ? 'GET' : 'POST';
    const headers = { 'tandem-client': SELF, ...(body === undefined ? {} : told) };
    const asked = request({ socketPath, path, method, headers, signal, agent: false }, (response) => {
      if (response.statusCode === 200) return resolve(response);
      response.setEncoding('utf8');
      let text = '';
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        try {
          reject(new Error(`an answer that is no stream: ${String(readAnswer(response.statusCode ?? 0, text))}`));
        } catch (error) {
          reject(error);
        }
      });
    });
    asked.on('error', reject);
    asked.end(payload);
  });
}

/** `event: rates`, then `data: ` with all of it on one line: what src/io/api_events.ts writes. */
function readEvent(block: string): ApiEvent {
  const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
  return { event, data: JSON.parse(data ?? 'null') } as ApiEvent;
}

/** What the daemon logs beside a change. */
const SELF = `cli user ${userName()}`;

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // No entry of /etc/passwd.
    return String(process.getuid?.() ?? 'unknown');
  }
}

function endText({ address, port }: EndFilter): string {
  return formatEndpoint(address, port);
}

function readAnswer<Answer>(status: number, text: string): Answer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ControlError(
      'failed',
      'not_json',
      `what answers on the socket is no tandem daemon (HTTP status ${status})`,
    );
  }
  if (status === 200) return value as Answer;
  const { kind, code, message, mend, configErrors, path } = (value as { error: ControlErrorBody }).error;
  throw new ControlError(kind, code, message, mend, configErrors, path);
}

function unreachable(socketPath: string, error: Error & { code?: string }): DaemonUnreachable {
  switch (error.code) {
    case 'ENOENT':
      return new DaemonUnreachable(
        `no daemon listens on ${socketPath}: there is no such socket`,
        'is tandem running? start it with: tandem run FILE --unit a; or name its socket with --socket or TANDEM_SOCKET',
      );
    case 'ECONNREFUSED':
      return new DaemonUnreachable(
        `no daemon listens on ${socketPath}: the socket was left behind`,
        'the daemon has died; start it with: tandem run FILE --unit a',
      );
    case 'EACCES':
    case 'EPERM':
      return new DaemonUnreachable(
        `permission denied on ${socketPath}`,
        'its owner and group may use it: join the group, or use sudo',
      );
    default:
      return new DaemonUnreachable(
        `the daemon on ${socketPath} does not answer: ${error.message}`,
        "see the daemon's log",
      );
  }
}
