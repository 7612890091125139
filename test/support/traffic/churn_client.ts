/**
 * Short connections at a steady rate: each says a word, gets it back, and ends. Only counts are kept, so it may run
 * as long as one likes. Arguments: host, port, connections per second.
 */

import { connect } from 'node:net';

import { failLoudly, reportOnStop, tell } from './messages.js';
import { monotonicMs, pause } from './time.js';

export interface ChurnReport {
  readonly opened: number;
  readonly answered: number;
  readonly failed: number;
  readonly seconds: number;
}

const timeoutMs = 5_000;
const turnMs = 10;
/** A machine that falls behind catches up by no more than this in one turn. */
const atOnceMax = 200;
const word = Buffer.from('churn');

failLoudly();
const [host = '', port = '', perSecond = '100'] = process.argv.slice(2);
const startedAtMs = monotonicMs();
const counts = { opened: 0, answered: 0, failed: 0 };

const turn = setInterval(() => {
  const due = ((monotonicMs() - startedAtMs) / 1000) * Number(perSecond);
  for (let few = 0; few < atOnceMax && counts.opened < due; few += 1) open();
}, turnMs);

reportOnStop(async (): Promise<ChurnReport> => {
  clearInterval(turn);
  const seconds = (monotonicMs() - startedAtMs) / 1000;
  const until = monotonicMs() + timeoutMs;
  while (counts.answered + counts.failed < counts.opened && monotonicMs() < until) await pause(20);
  return { ...counts, failed: counts.opened - counts.answered, seconds };
});
tell({ type: 'ready' });

function open(): void {
  counts.opened += 1;
  let isDone = false;
  const done = (outcome: 'answered' | 'failed'): void => {
    if (isDone) return;
    isDone = true;
    counts[outcome] += 1;
    clearTimeout(timeout);
    socket.destroy();
  };
  const socket = connect({ host, port: Number(port), noDelay: true }, () => socket.write(word));
  const timeout = setTimeout(() => done('failed'), timeoutMs);
  socket.on('data', () => {
    // It ends as clients do, and does not wait for the other end's FIN.
    socket.end(() => done('answered'));
  });
  socket.on('error', () => done('failed'));
}
