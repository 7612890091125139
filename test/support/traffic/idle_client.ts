/**
 * Many TCP connections that say one thing when opened, then nothing until told to stop, then one thing more.
 * Arguments: host, port, connections. Shows what a single busy stream cannot: how many of N survived.
 */

import { connect, type Socket } from 'node:net';

import { failLoudly, reportOnStop, tell } from './messages.js';
import { pause } from './time.js';

export interface IdleReport {
  readonly survived: number;
  readonly hung: number;
  readonly reset: number;
}

const greeting = Buffer.from('opened');
const farewell = Buffer.from('still here');
const answerTimeoutMs = 2_000;
/** So that opening does not look like a SYN flood to the two cores. */
const openAtOnce = 25;

interface Connection {
  readonly socket: Socket;
  received: string;
  fault: string | null;
}

failLoudly();
const [host = '', port = '', wanted = '100'] = process.argv.slice(2);
const connections: Connection[] = [];
while (connections.length < Number(wanted)) {
  const few = Math.min(openAtOnce, Number(wanted) - connections.length);
  connections.push(...(await Promise.all(Array.from({ length: few }, open))));
}
tell({ type: 'ready' });

reportOnStop(async (): Promise<IdleReport> => {
  for (const each of connections) if (each.fault === null) each.socket.write(farewell);
  const expected = `${greeting}${farewell}`;
  const until = Date.now() + answerTimeoutMs;
  while (connections.some((each) => each.fault === null && each.received !== expected) && Date.now() < until) {
    await pause(20);
  }
  const reset = connections.filter((each) => each.fault !== null).length;
  const survived = connections.filter((each) => each.fault === null && each.received === expected).length;
  return { survived, reset, hung: connections.length - survived - reset };
});

/** Resolves once the greeting has come back. */
function open(): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), noDelay: true });
    const connection: Connection = { socket, received: '', fault: null };
    socket.once('connect', () => socket.write(greeting));
    socket.on('data', (part) => {
      connection.received += part.toString();
      if (connection.received === greeting.toString()) resolve(connection);
    });
    const failed = (why: string) => {
      connection.fault ??= why;
      reject(new Error(`connection ${connections.length} to ${host}:${port}: ${why}`));
    };
    socket.on('error', (error) => failed(error.message));
    socket.on('end', () => failed('ended early'));
  });
}
