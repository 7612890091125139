/**
 * The servers of one host, one process: TCP and UDP echo, HTTP, and a paced download. Arguments: the server's name,
 * and `stay` to go on when whoever started it has gone.
 *
 *   echo      sends back what it gets
 *   http      answers `GET /` with the server's name at once, `GET /?afterMs=N` N milliseconds later
 *   download  reads `<bytes> <bytes per second>\n`, sends that much of `content.ts` at that pace, and closes
 */

import { createSocket } from 'node:dgram';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';

import { port } from '../lab/topology.js';
import { contentAt, contentChunkBytes } from './content.js';
import { failLoudly, reportOnStop, tell } from './messages.js';
import { monotonicMs } from './time.js';

/** As long as a silence may be without the kernel's buffer growing past it. */
const unsentBytesMax = 1 << 20;
const paceMs = 5;

failLoudly();
const name = process.argv[2] ?? 'server';
const counts = { echoConnections: 0, httpRequests: 0, downloads: 0, udpPackets: 0 };

const echo = createServer({ noDelay: true }, (socket) => {
  counts.echoConnections++;
  ignoreErrors(socket);
  socket.pipe(socket);
});

const udpEcho = createSocket({ type: 'udp6', reuseAddr: true });
udpEcho.on('message', (message, from) => {
  counts.udpPackets++;
  udpEcho.send(message, from.port, from.address);
});

const http = createHttpServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  counts.httpRequests++;
  const afterMs = Number(new URL(request.url ?? '/', 'http://server').searchParams.get('afterMs') ?? 0);
  const from = request.socket.remoteAddress ?? '';
  setTimeout(() => response.setHeader('content-type', 'application/json').end(JSON.stringify({ name, from })), afterMs);
});

const download = createServer((socket) => {
  counts.downloads++;
  ignoreErrors(socket);
  socket.once('data', (line) => {
    const [bytes = 0, bytesPerSecond = 0] = line.toString().trim().split(' ').map(Number);
    sendPaced(socket, bytes, bytesPerSecond);
  });
});

/** Sends on schedule; what a silence held up is sent when it can be. */
function sendPaced(socket: Socket, bytes: number, bytesPerSecond: number): void {
  const startedAt = monotonicMs();
  let sent = 0;
  const timer = setInterval(() => {
    if (socket.destroyed) return clearInterval(timer);
    const due = Math.min(bytes, ((monotonicMs() - startedAt) / 1000) * bytesPerSecond);
    while (sent < due && socket.writableLength < unsentBytesMax) {
      const chunk = Math.min(contentChunkBytes, Math.ceil(due - sent));
      socket.write(contentAt(sent, chunk));
      sent += chunk;
    }
    if (sent >= bytes) {
      clearInterval(timer);
      socket.end();
    }
  }, paceMs);
}

/** A client that went away is no fault of the server. */
function ignoreErrors(socket: Socket): void {
  socket.on('error', () => socket.destroy());
}

// `::` takes IPv4 as well.
const listening = [
  new Promise<void>((resolve) => echo.listen(port.echo, '::', resolve)),
  new Promise<void>((resolve) => http.listen(port.http, '::', resolve)),
  new Promise<void>((resolve) => download.listen(port.download, '::', resolve)),
  new Promise<void>((resolve) => udpEcho.bind(port.echo, '::', resolve)),
];
await Promise.all(listening);
if (process.argv[3] === 'stay') process.once('disconnect', () => undefined);
else reportOnStop(() => counts);
tell({ type: 'ready' });

export type ServersReport = typeof counts;
