/**
 * Short HTTP requests, each on a connection of its own: a steady row of them from start to stop, and a few that are
 * asked for before the fault and answered after it.
 * Arguments: host, port, requests per second, then for the held requests: how many, answered after how many ms.
 */

import { get } from 'node:http';

import { failLoudly, reportOnStop, tell } from './messages.js';
import { monotonicMs } from './time.js';

export type RequestOutcome = 'ok' | 'hung' | 'reset' | 'refused';

export interface RequestReport {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly outcome: RequestOutcome;
  /** Which server answered, and the client's address as it saw it. */
  readonly server: string | null;
  readonly from: string | null;
  readonly error: string | null;
}

export interface HttpReport {
  readonly row: readonly RequestReport[];
  readonly held: readonly RequestReport[];
}

const rowTimeoutMs = 1_000;
const heldTimeoutMs = 60_000;
const requestsMax = 20_000;

failLoudly();
const [host = '', port = '', perSecond = '20', heldCount = '0', heldForMs = '0'] = process.argv.slice(2);
const row: RequestReport[] = [];
const held: RequestReport[] = [];
const openHeld = new Map<object, number>();

for (let index = 0; index < Number(heldCount); index++) {
  const request = {};
  openHeld.set(request, monotonicMs());
  void ask(`/?afterMs=${heldForMs}`, heldTimeoutMs).then((report) => {
    openHeld.delete(request);
    held.push(report);
  });
}
setInterval(() => {
  if (row.length < requestsMax) void ask('/', rowTimeoutMs).then((report) => row.push(report));
}, 1000 / Number(perSecond));

reportOnStop((): HttpReport => {
  const now = monotonicMs();
  const hung = [...openHeld.values()].map(
    (startedAtMs): RequestReport => ({
      startedAtMs,
      endedAtMs: now,
      outcome: 'hung',
      server: null,
      from: null,
      error: null,
    }),
  );
  return { row: row.toSorted((left, right) => left.startedAtMs - right.startedAtMs), held: [...held, ...hung] };
});
tell({ type: 'ready' });

function ask(path: string, timeoutMs: number): Promise<RequestReport> {
  const startedAtMs = monotonicMs();
  return new Promise((resolve) => {
    const done = (
      outcome: RequestOutcome,
      error: string | null,
      server: string | null = null,
      from: string | null = null,
    ) => resolve({ startedAtMs, endedAtMs: monotonicMs(), outcome, server, from, error });
    const timeout = setTimeout(() => {
      done('hung', `no answer in ${timeoutMs} ms`);
      // The socket stays as it is: a reset from us would be seen by the capture.
    }, timeoutMs);
    const request = get({ host, port: Number(port), path, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        body += part;
      });
      response.on('end', () => {
        clearTimeout(timeout);
        const answer = JSON.parse(body) as { readonly name: string; readonly from: string };
        done('ok', null, answer.name, answer.from);
      });
    });
    request.on('error', (fault: NodeJS.ErrnoException) => {
      clearTimeout(timeout);
      done(fault.code === 'ECONNREFUSED' ? 'refused' : 'reset', fault.code ?? fault.message);
    });
  });
}
