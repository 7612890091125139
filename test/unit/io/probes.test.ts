/**
 * Goal: what a member does is told in the operator's words, and a probe lets go of its connection whatever happens.
 * Method: real servers on loopback that answer well, badly, slowly and not at all.
 */
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';

import { afterEach, describe, expect, test } from 'vitest';

import type { MonitorConfig } from '../../../src/config/model.js';
import { httpProbe } from '../../../src/io/http_probe.js';
import { tcpProbe } from '../../../src/io/tcp_probe.js';

const monitor: MonitorConfig = {
  type: 'http',
  intervalMs: 1_000,
  timeoutMs: 500,
  rise: 2,
  fall: 3,
  port: null,
  path: '/health?full=1',
  host: null,
  expectStatus: [[200, 399]],
};

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function')
      server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function listen(server: Server, host = '127.0.0.1') {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return { address: host, port: (server.address() as AddressInfo).port, monitor };
}

/** A TCP server that writes `answer` to whoever connects. */
const speaking = (answer: string) =>
  createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.write(answer));
    socket.on('end', () => socket.end());
  });

const noSignal = new AbortController().signal;

describe('tcp', () => {
  test('a member that accepts is well', async () => {
    const target = await listen(createServer((socket) => socket.on('error', () => {}).resume()));
    expect(await tcpProbe(target, noSignal)).toEqual({ ok: true, reason: 'TCP connected' });
  });

  test('a member that refuses is not', async () => {
    const target = await listen(createServer());
    await new Promise((resolve) => servers.pop()?.close(resolve));
    expect(await tcpProbe(target, noSignal)).toEqual({ ok: false, reason: 'connection refused' });
  });
});

describe('http', () => {
  test('an expected status is well; path and Host are sent', async () => {
    const seen: string[] = [];
    const target = await listen(
      createHttpServer((request, response) => {
        seen.push(`${request.method} ${request.url} ${request.headers.host} ${request.headers.connection}`);
        response.end('well');
      }),
    );
    expect(await httpProbe(target, noSignal)).toEqual({ ok: true, reason: 'HTTP 200' });
    expect(seen).toEqual([`GET /health?full=1 127.0.0.1:${target.port} close`]);
  });

  test('a configured Host is sent as it is', async () => {
    let host: string | undefined;
    const target = await listen(
      createHttpServer((request, response) => {
        host = request.headers.host;
        response.end();
      }),
    );
    await httpProbe({ ...target, monitor: { ...monitor, host: 'www.example.org' } }, noSignal);
    expect(host).toBe('www.example.org');
  });

  test('IPv6: the Host has brackets', async () => {
    let host: string | undefined;
    const server = createHttpServer((request, response) => {
      host = request.headers.host;
      response.end();
    });
    const target = await listen(server, '::1');
    expect(await httpProbe(target, noSignal)).toMatchObject({ ok: true });
    expect(host).toBe(`[::1]:${target.port}`);
  });

  test('another status is told with what was wanted', async () => {
    const target = await listen(createHttpServer((_, response) => response.writeHead(503).end()));
    const expectStatus = [
      [200, 204],
      [301, 301],
    ] as const;
    expect(await httpProbe(target, noSignal)).toEqual({ ok: false, reason: 'HTTP 503, wanted 200-399' });
    expect(await httpProbe({ ...target, monitor: { ...monitor, expectStatus } }, noSignal)).toEqual({
      ok: false,
      reason: 'HTTP 503, wanted 200-204, 301',
    });
  });

  test('a body without end does not hold the probe, and its connection is let go', async () => {
    let closed = false;
    const server = createHttpServer((_, response) => {
      const timer = setInterval(() => response.write(Buffer.alloc(16_384)), 5);
      response.on('close', () => {
        clearInterval(timer);
        closed = true;
      });
    });
    const target = await listen(server);
    expect(await httpProbe(target, noSignal)).toEqual({ ok: true, reason: 'HTTP 200' });
    await expect.poll(() => closed).toBe(true);
  });

  test('what is not HTTP is not well', async () => {
    const target = await listen(speaking('SSH-2.0-OpenSSH_9.2\r\n'));
    const { ok, reason } = await httpProbe(target, noSignal);
    expect(ok).toBe(false);
    expect(reason).toContain('Parse Error');
  });

  test('an answer to a question that was not asked ends in words, not in silence', async () => {
    const target = await listen(
      speaking('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
    );
    expect((await httpProbe(target, noSignal)).ok).toBe(false);
  });

  test('headers without end are refused', async () => {
    const target = await listen(speaking(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`));
    expect((await httpProbe(target, noSignal)).ok).toBe(false);
  });

  test('cancelled: the probe ends and the connection is closed', async () => {
    let closed = false;
    const target = await listen(
      createServer((socket) =>
        socket
          .on('error', () => {})
          .resume()
          .on('close', () => (closed = true)),
      ),
    );
    const abort = new AbortController();
    const answer = httpProbe(target, abort.signal);
    setTimeout(() => abort.abort(), 50);
    expect(await answer).toEqual({ ok: false, reason: 'cancelled' });
    await expect.poll(() => closed).toBe(true);
  });
});
