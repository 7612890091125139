/**
 * One bulk download, hashed as it comes and compared with the hash of what was asked for.
 * Arguments: host, port, origin of times in milliseconds on CLOCK_MONOTONIC, octets, octets per second.
 */

import { createHash } from 'node:crypto';
import { connect } from 'node:net';

import { contentAt, contentChunkBytes, isContent } from './content.js';
import { failLoudly, reportOnStop, tell } from './messages.js';
import { ReceiveRecord, type StreamReport } from './record.js';
import { monotonicMs } from './time.js';

failLoudly();
const [host = '', port = '', origin = '0', bytes = '0', bytesPerSecond = '0'] = process.argv.slice(2);
const record = new ReceiveRecord(Number(origin));
const hash = createHash('sha256');
let openedAtMs: number | null = null;
let corruptAt: number | null = null;
let ended = false;
let error: string | null = null;
let errorAtMs: number | null = null;

const socket = connect({ host, port: Number(port) });
socket.once('connect', () => {
  openedAtMs = monotonicMs();
  socket.write(`${bytes} ${bytesPerSecond}\n`);
  tell({ type: 'ready' });
});
socket.on('data', (received) => {
  if (corruptAt === null && !isContent(received, record.receivedBytes)) corruptAt = record.receivedBytes;
  hash.update(received);
  record.received(received.length, monotonicMs());
});
socket.once('end', () => {
  ended = true;
  if (record.receivedBytes < Number(bytes)) failed('ended early');
});
socket.on('error', (fault: NodeJS.ErrnoException) => failed(fault.code ?? fault.message));

reportOnStop((): StreamReport => {
  const complete = ended && hash.digest('hex') === expectedHash(Number(bytes));
  return { ...record.report(), openedAtMs, sentBytes: 0, corruptAt, complete, error, errorAtMs };
});

function expectedHash(length: number): string {
  const expected = createHash('sha256');
  for (let at = 0; at < length; at += contentChunkBytes) {
    expected.update(contentAt(at, Math.min(contentChunkBytes, length - at)));
  }
  return expected.digest('hex');
}

function failed(why: string): void {
  if (error !== null) return;
  error = why;
  errorAtMs = monotonicMs();
  if (openedAtMs === null) tell({ type: 'failed', message: `download from ${host}:${port}: ${why}` });
}
