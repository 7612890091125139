/**
 * One UDP flow: a numbered packet every few milliseconds from one socket, and which of them came back.
 * Arguments: host, port, packets per second.
 */

import { createSocket } from 'node:dgram';

import { failLoudly, reportOnStop, tell } from './messages.js';
import { monotonicMs, pause } from './time.js';

export interface UdpReport {
  readonly sent: number;
  readonly received: number;
  readonly lastReceivedAtMs: number | null;
}

failLoudly();
const [host = '', port = '', perSecond = '100'] = process.argv.slice(2);
const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
const seen = new Set<number>();
let sent = 0;
let lastReceivedAtMs: number | null = null;

socket.on('message', (message) => {
  if (message.length !== 4) return;
  seen.add(message.readUInt32BE());
  lastReceivedAtMs = monotonicMs();
});
socket.on('error', () => undefined);
const timer = setInterval(() => {
  const message = Buffer.alloc(4);
  message.writeUInt32BE(sent++);
  socket.send(message, Number(port), host);
}, 1000 / Number(perSecond));

reportOnStop(async (): Promise<UdpReport> => {
  clearInterval(timer);
  await pause(200);
  return { sent, received: seen.size, lastReceivedAtMs };
});
tell({ type: 'ready' });
