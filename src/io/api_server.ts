/**
 * Serves a `Control` as JSON over HTTP on a unix socket (src/api.ts says what is asked and answered).
 *
 * The socket's mode is 0660: who may use it is decided by the file system, its owner and group. Every
 * request is bounded in size and time, and so is the number of connections, so a stuck or hostile local
 * client costs the daemon nothing but its own answer.
 */

import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';

import {
  CONFIG_TEXT_BYTES_MAX,
  CONNECTIONS_PAGE_MAX,
  type Control,
  ControlError,
  type ControlErrorBody,
  type ControlErrorKind,
} from '../api.js';

const REQUEST_BYTES_MAX = 16 * 1024;
/** A config, whose text may grow when it becomes JSON. */
const APPLY_BYTES_MAX = 2 * CONFIG_TEXT_BYTES_MAX + REQUEST_BYTES_MAX;
const REQUEST_TIMEOUT_MS = 5_000;
const CLIENTS_MAX = 64;
const SOCKET_MODE = 0o660;

export interface ApiServerOptions {
  readonly socketPath: string;
  readonly control: Control;
  /** Told of answers that failed for no fault of the asker's. */
  readonly onInternalError: (route: string, error: unknown) => void;
}

export interface ApiServer {
  /** Ends open answers and removes the socket. */
  close(): Promise<void>;
}

type Route = (control: Control, request: Asked) => Promise<unknown>;

interface Asked {
  readonly query: URLSearchParams;
  readonly body: Readonly<Record<string, unknown>>;
}

const ROUTES: Readonly<Record<string, Route>> = {
  'GET /v1/status': (control) => control.status(),
  'GET /v1/virtual-servers': (control) => control.virtualServers(),
  'GET /v1/pools': (control) => control.pools(),
  'GET /v1/connections': (control, { query }) =>
    control.connections({
      virtualServer: query.get('virtualServer'),
      cursor: wholeNumber(query.get('cursor') ?? '0', 'cursor', 0, Number.MAX_SAFE_INTEGER),
      limit: wholeNumber(query.get('limit') ?? '100', 'limit', 1, CONNECTIONS_PAGE_MAX),
    }),
  'GET /v1/mirror': (control) => control.mirror(),
  'GET /v1/failover': (control) => control.failover(),
  'GET /v1/counters': (control) => control.counters(),
  'POST /v1/reload': (control) => control.reload(),
  'POST /v1/apply': (control, { body }) =>
    control.apply({
      text: text(body, 'text'),
      file: textOrNull(body, 'file') ?? 'config',
      local: body['local'] === true,
      dryRun: body['dryRun'] === true,
    }),
  'POST /v1/standby': (control, { body }) => control.standby(textOrNull(body, 'trafficGroup'), body['force'] === true),
  'POST /v1/standby/release': (control, { body }) => control.releaseStandby(textOrNull(body, 'trafficGroup')),
  'POST /v1/mirror-mode': (control, { body }) =>
    control.setMirror(text(body, 'virtualServer'), mirrorMode(body['mode'])),
};

const HTTP_STATUS: Readonly<Record<ControlErrorKind, number>> = {
  bad_request: 400,
  not_found: 404,
  refused: 409,
  failed: 500,
};

/** Rejects with a sentence for the operator when the socket cannot be made. */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { socketPath } = options;
  await clearStaleSocket(socketPath);
  const server = createServer({ connectionsCheckingInterval: REQUEST_TIMEOUT_MS }, (request, response) => {
    void answer(options, request, response);
  });
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = CLIENTS_MAX;
  server.maxHeadersCount = 50;
  server.keepAliveTimeout = 1_000;
  await listen(server, socketPath);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A socket that a killed daemon left behind is removed; one that answers belongs to a daemon that runs. */
async function clearStaleSocket(path: string): Promise<void> {
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`no socket can be made at ${path}: ${why}; make its folder, or choose another --socket`);
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} is no socket; choose another --socket`);
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (alive) throw new Error(`${path}: another tandem daemon is listening there; stop it, or choose another --socket`);
  unlinkSync(path);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new Error(`cannot listen on ${path}: ${error.message}`)));
    // The socket must never be open to others, not even between listen and chmod.
    const umask = process.umask(0o777 & ~SOCKET_MODE);
    try {
      server.listen(path, () => {
        chmodSync(path, SOCKET_MODE);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
}

async function answer(
  { control, onInternalError }: ApiServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
) {
  // Split by hand: URL refuses some paths with an exception.
  const [path = '/', query = ''] = (request.url ?? '/').split('?', 2);
  const name = `${request.method} ${path}`;
  try {
    const route = Object.hasOwn(ROUTES, name) ? ROUTES[name] : undefined;
    if (route === undefined)
      throw new ControlError('not_found', 'unknown_route', `no such request: ${name.slice(0, 200)}`);
    const body =
      request.method === 'POST'
        ? await readJson(request, path === '/v1/apply' ? APPLY_BYTES_MAX : REQUEST_BYTES_MAX)
        : {};
    send(response, 200, await route(control, { query: new URLSearchParams(query), body }));
  } catch (error) {
    if (!(error instanceof ControlError)) onInternalError(name, error);
    const told =
      error instanceof ControlError
        ? error
        : new ControlError('failed', 'internal', 'the daemon could not answer', "the daemon's log says why");
    send(response, HTTP_STATUS[told.kind], { error: errorBody(told) });
  }
}

function send(response: ServerResponse, status: number, value: unknown): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(value);
  const length = Buffer.byteLength(text);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': length, connection: 'close' });
  response.end(text);
}

function errorBody({ kind, code, message, mend, configErrors }: ControlError): ControlErrorBody {
  return { kind, code, message, mend, configErrors };
}

async function readJson(request: IncomingMessage, bytesMax: number): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      throw new ControlError('bad_request', 'too_large', `a request has at most ${bytesMax} bytes`);
    }
    chunks.push(chunk);
  }
  if (bytes === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new ControlError('bad_request', 'not_json', 'the request is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ControlError('bad_request', 'not_an_object', 'the request is not a JSON object');
  }
  return value as Record<string, unknown>;
}

function wholeNumber(value: string, name: string, low: number, high: number): number {
  const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= low && number <= high) return number;
  throw new ControlError('bad_request', 'bad_number', `${name} must be a whole number from ${low} to ${high}`);
}

function text(body: Readonly<Record<string, unknown>>, name: string): string {
  const value = body[name];
  if (typeof value === 'string') return value;
  throw new ControlError('bad_request', 'missing', `${name} is missing`);
}

function textOrNull(body: Readonly<Record<string, unknown>>, name: string): string | null {
  return (body[name] ?? null) === null ? null : text(body, name);
}

function mirrorMode(value: unknown): 'off' | 'async' | 'commit' {
  if (value === 'off' || value === 'async' || value === 'commit') return value;
  throw new ControlError('bad_request', 'bad_mode', 'mode must be off, async or commit');
}
