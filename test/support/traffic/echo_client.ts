/**
 * One TCP connection that sends 32 octets every millisecond and checks what comes back.
 * Arguments: host, port, origin of times in milliseconds on CLOCK_MONOTONIC.
 *
 * Told to stop it sends no more, waits for the echo of all it sent, and reports. A connection that hangs is not
 * closed: closing is something the other side could answer.
 */

import { connect } from 'node:net';

import { contentAt, isContent } from './content.js';
import { failLoudly, reportOnStop, tell } from './messages.js';
import { ReceiveRecord, type StreamReport } from './record.js';
import { monotonicMs, pause } from './time.js';

const messageBytes = 32;
const intervalMs = 1;
/** How many messages a late timer may send at once. */
const catchUpMax = 50;
const lastEchoTimeoutMs = 1_000;

failLoudly();
const [host = '', port = '', origin = '0'] = process.argv.slice(2);
const record = new ReceiveRecord(Number(origin));
let openedAtMs: number | null = null;
let sentBytes = 0;
let corruptAt: number | null = null;
let error: string | null = null;
let errorAtMs: number | null = null;

const socket = connect({ host, port: Number(port), noDelay: true });
socket.once('connect', () => {
  openedAtMs = monotonicMs();
  tell({ type: 'ready' });
});
socket.on('data', (received) => {
  if (corruptAt === null && !isContent(received, record.receivedBytes)) corruptAt = record.receivedBytes;
  record.received(received.length, monotonicMs());
});
socket.on('error', (fault: NodeJS.ErrnoException) => failed(fault.code ?? fault.message));
socket.on('end', () => failed('ended early'));

let nextAtMs = 0;
const timer = setInterval(() => {
  if (openedAtMs === null || error !== null) return;
  const now = monotonicMs();
  // A machine that was busy owes no more than a few messages.
  nextAtMs = Math.max(nextAtMs, now - catchUpMax * intervalMs);
  for (; nextAtMs <= now; nextAtMs += intervalMs) {
    socket.write(contentAt(sentBytes, messageBytes));
    sentBytes += messageBytes;
  }
}, intervalMs);

reportOnStop(async (): Promise<StreamReport> => {
  clearInterval(timer);
  const until = monotonicMs() + lastEchoTimeoutMs;
  while (record.receivedBytes < sentBytes && error === null && monotonicMs() < until) {
    await pause(10);
  }
  const complete = openedAtMs !== null && record.receivedBytes === sentBytes && corruptAt === null;
  return { ...record.report(), openedAtMs, sentBytes, corruptAt, complete, error, errorAtMs };
});

function failed(why: string): void {
  if (error !== null) return;
  error = why;
  errorAtMs = monotonicMs();
  if (openedAtMs === null) tell({ type: 'failed', message: `echo client to ${host}:${port}: ${why}` });
}
