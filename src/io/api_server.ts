/**
 * Serves a `Control` as JSON over HTTP on a unix socket (src/api.ts says what is asked and answered, src/http/routes.ts
 * where).
 *
 * The socket's mode is 0660: who may use it is decided by the file system, its owner and group. Every
 * request is bounded in size and time, and so is the number of connections, so a stuck or hostile local
 * client costs the daemon nothing but its own answer.
 */

import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';

import { getRequestListener } from '@hono/node-server';

import type { Control } from '../api.js';
import { type App, apiRoutes, type Change, type Env } from '../http/routes.js';
import { ApiEvents } from './api_events.js';
import { type ListenerFiles, startListener } from './api_listener.js';
import type { Captures } from './captures.js';
import { Metrics } from './metrics.js';
import { native } from './native.js';
import { type PageFiles, pageFiles } from './page_files.js';

const REQUEST_TIMEOUT_MS = 5_000;
const CLIENTS_MAX = 64;
const SOCKET_MODE = 0o660;

export interface ApiServerOptions {
  readonly socketPath: string;
  readonly control: Control;
  readonly version: string;
  /** Told of answers that failed for no fault of the asker's. */
  readonly onInternalError: (route: string, error: unknown) => void;
  readonly onChange: (change: Change) => void;
  /** The web page's; default: as built. */
  readonly page?: PageFiles;
  readonly captures: Captures;
  /** Over TCP, too. */
  readonly listener?: ListenerFiles | null;
  /** Milliseconds between two looks at what events are about; default: 500. */
  readonly eventsEachMs?: number;
}

export interface ApiServer {
  /** Ends open answers and removes the socket. */
  close(): Promise<void>;
}

/** Rejects with a sentence for the operator when the socket cannot be made. */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { socketPath } = options;
  await clearStaleSocket(socketPath);
  const { app, events } = makeApp(options);
  const answer = answering(app, ({ socket }) => ({ caller: localCaller(socket), isTrusted: true }));
  const server = bounded(createServer({ connectionsCheckingInterval: REQUEST_TIMEOUT_MS }, answer));
  await listen(server, socketPath);
  const servers = [server];
  if (options.listener) {
    const { tokenFile } = options.listener;
    const remote = answering(app, ({ socket }) => {
      return { caller: `token of ${tokenFile}, from ${socket.remoteAddress ?? 'nowhere'}` };
    });
    try {
      servers.push(bounded(await startListener(options.listener, remote)));
    } catch (error) {
      server.close();
      throw error;
    }
  }
  return {
    close: async () => {
      events.close();
      options.captures.close();
      await Promise.all(servers.map(closeServer));
    },
  };
}

function answering(app: App, known: (request: IncomingMessage) => Env['Bindings']): RequestListener {
  const answer = getRequestListener(
    (request, bindings) => app.fetch(request, known(bindings.incoming as IncomingMessage)),
    { overrideGlobalObjects: false },
  );
  return (request, response) => void answer(request, response);
}

/** Node has no word for who is at the other end of a unix socket; its handle knows the descriptor. */
function localCaller(socket: Socket): string {
  const { fd } = (socket as Socket & { readonly _handle?: { readonly fd?: number } | null })._handle ?? {};
  if (fd === undefined || fd < 0) return 'a process that is gone';
  const { uid, pid } = native.socketPeer(fd);
  return `uid ${uid}, process ${pid}`;
}

function bounded<AnyServer extends Server>(server: AnyServer): AnyServer {
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = CLIENTS_MAX;
  server.maxHeadersCount = 50;
  server.keepAliveTimeout = 1_000;
  return server;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function makeApp(options: ApiServerOptions): { readonly app: App; readonly events: ApiEvents } {
  const { eventsEachMs } = options;
  const events = new ApiEvents({ ...options, ...(eventsEachMs === undefined ? {} : { lookMs: eventsEachMs }) });
  const metrics = new Metrics(options.control);
  const app = apiRoutes({
    ...options,
    served: {
      events: () => events.response(),
      capture: (request, caller) => options.captures.response(request, caller),
      metrics: async () => new Response(await metrics.text(), { headers: { 'content-type': metrics.contentType } }),
      page: options.page ?? pageFiles(),
    },
  });
  return { app, events };
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
