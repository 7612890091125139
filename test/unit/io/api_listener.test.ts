/**
 * Goal: over TCP nobody reads or changes anything without TLS and the token; files that are not fit are refused.
 * Method: a certificate of our own making, the real server on loopback, and clients with and without the token.
 */

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Change } from '../../../src/http/routes.js';
import { readListenerFiles } from '../../../src/io/api_listener.js';
import { type ApiServer, startApiServer } from '../../../src/io/api_server.js';
import { makeIdentity } from '../../../src/io/pair_credentials.js';
import { stubControl } from '../../support/control_stub.js';
import { memoryCaptures } from '../../support/memory_captures.js';

const TOKEN = '0123456789abcdef'.repeat(4);
let folder: string;
let port: number;
let certificate: string;
let server: ApiServer | null = null;
const changes: Change[] = [];
const file = (name: string) => join(folder, name);
const config = () => ({
  address: '127.0.0.1',
  port,
  certificate: file('cert.pem'),
  key: file('key.pem'),
  tokenFile: file('token'),
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-listener-'));
  port = await freePort();
  const identity = await makeIdentity('localhost');
  certificate = identity.certificate;
  writeFileSync(file('cert.pem'), certificate);
  writeFileSync(file('key.pem'), identity.key, { mode: 0o600 });
  writeFileSync(file('token'), `${TOKEN}\n`, { mode: 0o600 });
  changes.length = 0;
});
afterEach(async () => {
  await server?.close();
  server = null;
  rmSync(folder, { recursive: true });
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port: free } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return free;
}

async function serve(listens: boolean): Promise<ReturnType<typeof stubControl>> {
  const control = stubControl();
  server = await startApiServer({
    socketPath: file('tandem.sock'),
    control,
    captures: memoryCaptures(),
    version: '0.1.0',
    listener: listens ? readListenerFiles(config(), 'units.a.api') : null,
    page: async () => new Response('the page'),
    onInternalError: (route, error) => expect.fail(`${route}: ${String(error)}`),
    onChange: (change) => changes.push(change),
  });
  return control;
}

interface Asked {
  readonly method?: string;
  readonly path: string;
  readonly authorization?: string;
  readonly body?: string;
}

function ask({ method = 'GET', path, authorization, body = '' }: Asked): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) };
    // The certificate names no host; that it is the one we made is what counts here.
    const checkServerIdentity = () => undefined;
    const options = {
      host: '127.0.0.1',
      port,
      method,
      path,
      headers,
      ca: certificate,
      checkServerIdentity,
      agent: false,
    };
    const asked = request(options, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

const codeOf = ({ text }: { readonly text: string }) =>
  (JSON.parse(text) as { readonly error: { readonly code: string } }).error.code;

test('nothing listens unless the config says so', async () => {
  await serve(false);
  await expect(ask({ path: '/v1/status' })).rejects.toThrow(/ECONNREFUSED/);
});

test('with the token all is answered, and changes say where they came from', async () => {
  const control = await serve(true);
  const authorization = `Bearer ${TOKEN}`;
  expect((await ask({ path: '/v1/status', authorization })).status).toBe(200);
  expect((await ask({ path: '/metrics', authorization })).text).toContain('tandem_info');
  const body = '{"state":"draining"}';
  const path = '/v1/pools/web/members/10.2.0.11:80';
  expect((await ask({ method: 'PATCH', path, authorization, body })).status).toBe(200);
  expect(control.asked.at(-1)).toBe('setMember "web" "10.2.0.11" 80 "draining"');
  expect(changes[0]!.caller).toBe(`token of ${file('token')}, from 127.0.0.1`);
});

describe('without the token', () => {
  test.each([
    ['none', undefined, 'no_token'],
    ['an empty one', 'Bearer ', 'no_token'],
    ['another scheme', `Basic ${TOKEN}`, 'no_token'],
    ['a wrong one', `Bearer ${TOKEN.replace('0', '1')}`, 'wrong_token'],
    ['its beginning', `Bearer ${TOKEN.slice(0, -1)}`, 'wrong_token'],
    ['more than it', `Bearer ${TOKEN}0`, 'wrong_token'],
  ])('%s: refused, and nothing is asked of the unit', async (_name, authorization, code) => {
    const control = await serve(true);
    for (const asked of [
      { path: '/v1/status' },
      { path: '/v1/events' },
      { path: '/metrics' },
      { path: '/v1/openapi.json' },
      { path: '/assets/../v1/status' },
      { method: 'PATCH', path: '/v1/unit', body: '{"standby":true}' },
      { method: 'POST', path: '/', body: '{}' },
    ]) {
      const answer = await ask({ ...asked, ...(authorization === undefined ? {} : { authorization }) });
      expect([asked.path, answer.status, codeOf(answer)]).toEqual([asked.path, 401, code]);
    }
    expect(control.asked).toEqual([]);
  });

  test("the page's files are, which tell nothing", async () => {
    await serve(true);
    expect(await ask({ path: '/' })).toEqual({ status: 200, text: 'the page' });
    expect((await ask({ path: '/assets/main-1a.js' })).status).toBe(200);
  });
});

test('plain HTTP gets no answer', async () => {
  await serve(true);
  const asked = new Promise((resolve, reject) => {
    plainRequest({ host: '127.0.0.1', port, path: '/v1/status', agent: false }, resolve).on('error', reject).end();
  });
  await expect(asked).rejects.toThrow();
});

describe('files that are not fit', () => {
  test.each([
    ['a token that is short', () => writeFileSync(file('token'), 'secret'), /tokenFile: .* no token of 32 to 512/],
    ['a token that others read', () => chmodSync(file('token'), 0o644), /tokenFile: .* open to every user/],
    ['a key that others read', () => chmodSync(file('key.pem'), 0o604), /key: .* open to every user/],
    ['no token', () => rmSync(file('token')), /tokenFile: cannot read/],
    ['a certificate that is none', () => writeFileSync(file('cert.pem'), 'x'), /units\.a\.api: .* no certificate/],
  ])('%s', (_name, spoil, message) => {
    spoil();
    expect(() => readListenerFiles(config(), 'units.a.api')).toThrow(message);
  });
});
