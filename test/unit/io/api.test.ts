/**
 * Goal: what is asked at one end of the socket is what the daemon is asked, answers and refusals come back whole, and
 * no client can hurt the daemon.
 * Method: the real server and the real client over a unix socket, with a Control of made-up answers behind them.
 */
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { type Control, ControlError, DaemonUnreachable } from '../../../src/api.js';
import type { Change } from '../../../src/http/routes.js';
import { ApiClient } from '../../../src/io/api_client.js';
import { type ApiServer, startApiServer } from '../../../src/io/api_server.js';
import {
  connection,
  counters,
  failover,
  mirror,
  pools,
  status,
  stubControl,
  virtualServers,
} from '../../support/control_stub.js';
import { memoryCaptures } from '../../support/memory_captures.js';

let folder: string;
let socketPath: string;
let server: ApiServer | null;
let internalErrors: string[];
let changes: Change[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-api-'));
  socketPath = join(folder, 'run', 'tandem.sock');
  server = null;
  internalErrors = [];
  changes = [];
});
afterEach(async () => {
  await server?.close();
  rmSync(folder, { recursive: true });
});

async function serve(control: Control): Promise<ApiClient> {
  server = await startApiServer({
    socketPath,
    control,
    captures: memoryCaptures(),
    version: '0.1.0',
    onInternalError: (route, error) => internalErrors.push(`${route}: ${error}`),
    onChange: (change) => changes.push(change),
  });
  return new ApiClient(socketPath);
}

describe('what is asked', () => {
  test('is answered as it was', async () => {
    const client = await serve(stubControl());
    expect(await client.status()).toEqual(status);
    expect(await client.virtualServers()).toEqual(virtualServers);
    expect(await client.pools()).toEqual(pools);
    expect(await client.mirror()).toEqual(mirror);
    expect(await client.failover()).toEqual(failover);
    expect(await client.counters()).toEqual(counters);
    expect(await client.connections({ virtualServer: null, cursor: 0, limit: 1 })).toEqual({
      rows: [connection],
      next: 1,
      used: 2500,
    });
  });

  test('arrives with its details', async () => {
    const control = stubControl();
    const client = await serve(control);
    await client.connections({ virtualServer: 'www & co', cursor: 17, limit: 1000 });
    await client.standby('main', true);
    await client.standby(null, false);
    await client.releaseStandby('main');
    await client.setVirtualServer('www & co', { mirror: 'async', enabled: false });
    await client.setMember('web', 'fd02::12', 80, 'draining');
    await client.setMember('any', '10.2.0.11', 0, 'up');
    const client4 = { address: '10.1.0.10', port: 0 };
    const member6 = { address: 'fd02::12', port: 80 };
    await client.connections({ virtualServer: null, client: client4, member: member6, cursor: 0, limit: 1 });
    await client.reload();
    // Larger than any other request may be.
    await client.apply({ text: '#'.repeat(300_000), file: 'f', local: true, dryRun: false });
    expect(control.asked).toEqual([
      'connections "www & co" 17 1000',
      'standby "main" true',
      'standby null false',
      'releaseStandby "main"',
      'setVirtualServer "www & co" {"enabled":false,"mirror":"async"}',
      'setMember "web" "fd02::12" 80 "draining"',
      'setMember "any" "10.2.0.11" 0 "up"',
      'connections null 0 1 {"address":"10.1.0.10","port":0} {"address":"fd02::12","port":80}',
      'reload',
      `apply {"text":"${'#'.repeat(300_000)}","file":"f","local":true,"dryRun":false}`,
    ]);
  });

  test('is told with who asked, when it changes something, and what came of it', async () => {
    const refused = new ControlError('refused', 'peer_not_there', 'no');
    const client = await serve({ ...stubControl(), standby: () => Promise.reject(refused) });
    await client.status();
    await client.setMember('web', '10.2.0.11', 80, 'down');
    await client.standby(null, false).catch(() => {});
    expect(changes.map(({ route, outcome }) => [route, outcome])).toEqual([
      ['PATCH /v1/pools/web/members/10.2.0.11:80', 'done'],
      ['PATCH /v1/unit', 'peer_not_there'],
    ]);
    expect(changes[0]!.asked).toEqual({ state: 'down' });
    const known = `uid ${process.getuid!()}, process ${process.pid}, calls itself cli user `;
    expect(changes[0]!.caller.startsWith(known), changes[0]!.caller).toBe(true);
  });
});

describe('a refusal', () => {
  const configErrors = [
    { code: 'missing', message: 'is missing', hint: null, file: 'f', path: 'links', line: 1, column: 1 },
  ];

  test.each(['bad_request', 'not_found', 'refused', 'failed'] as const)('of kind %s comes back whole', async (kind) => {
    const refused = new ControlError(kind, 'why', 'because', 'do this', configErrors);
    const client = await serve({ ...stubControl(), reload: () => Promise.reject(refused) });
    const told: unknown = await client.reload().catch((error: unknown) => error);
    expect(told).toBeInstanceOf(ControlError);
    expect(told).toMatchObject({ kind, code: 'why', message: 'because', mend: 'do this', configErrors });
    expect(internalErrors).toEqual([]);
  });

  test('that nobody meant is logged and says nothing of the inside', async () => {
    const client = await serve({ ...stubControl(), status: () => Promise.reject(new Error('secret')) });
    await expect(client.status()).rejects.toMatchObject({
      kind: 'failed',
      code: 'internal',
      message: 'the daemon could not answer',
    });
    expect(internalErrors).toEqual(['GET /v1/status: Error: secret']);
  });
});

describe('the socket', () => {
  test('is for its owner and group only', async () => {
    await serve(stubControl());
    expect(statSync(socketPath).mode & 0o777).toBe(0o660);
  });

  test('goes when the server does', async () => {
    await serve(stubControl());
    await server?.close();
    server = null;
    expect(existsSync(socketPath)).toBe(false);
  });

  test('that a killed daemon left behind is replaced', async () => {
    mkdirSync(join(folder, 'run'));
    // Bound, then closed without unlinking: what kill -9 leaves.
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(socketPath, resolve));
    const kept = join(folder, 'kept');
    linkSync(socketPath, kept);
    await new Promise((resolve) => dead.close(resolve));
    renameSync(kept, socketPath);
    await expect(new ApiClient(socketPath).status()).rejects.toThrow(/left behind/);
    const client = await serve(stubControl());
    expect(await client.status()).toEqual(status);
  });

  test('of a daemon that runs is left alone', async () => {
    const first = await serve(stubControl());
    await expect(serve(stubControl())).rejects.toThrow(/another tandem daemon is listening/);
    expect(await first.status()).toEqual(status);
  });

  test('is never made over a file that is none', async () => {
    mkdirSync(join(folder, 'run'));
    writeFileSync(socketPath, 'precious');
    await expect(serve(stubControl())).rejects.toThrow(/is no socket/);
    expect(existsSync(socketPath)).toBe(true);
  });
});

test('a name that another site could have made its own is refused', async () => {
  await serve(stubControl());
  const answer = await new Promise<string>((resolve, reject) => {
    const asked = request({ socketPath, path: '/v1/status', headers: { host: 'evil.example:8080' } }, (response) => {
      response.setEncoding('utf8').on('data', (text: string) => resolve(`${response.statusCode} ${text}`));
    });
    asked.on('error', reject).end();
  });
  expect(answer).toMatch(/^409 .*other_host/);
});

describe('no daemon', () => {
  test.each([
    ['no socket', () => {}, /there is no such socket/],
    ['a plain file', () => writeFileSync(socketPath, ''), /left behind|ENOTSOCK|does not answer/],
  ])('%s', async (_name, prepare, message) => {
    mkdirSync(join(folder, 'run'));
    prepare();
    const error: unknown = await new ApiClient(socketPath).status().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DaemonUnreachable);
    expect((error as Error).message).toMatch(message);
  });

  test.skipIf(process.getuid?.() !== 0)('permission denied', async () => {
    await serve(stubControl());
    chmodSync(folder, 0o700);
    // As root only: become somebody else for the length of the question.
    process.seteuid?.(65_534);
    try {
      await expect(new ApiClient(socketPath).status()).rejects.toMatchObject({
        name: 'DaemonUnreachable',
        message: expect.stringMatching(/permission denied/),
      });
    } finally {
      process.seteuid?.(0);
    }
  });

  test('something else that answers', async () => {
    mkdirSync(join(folder, 'run'));
    const other = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'));
    await new Promise<void>((resolve) => other.listen(socketPath, resolve));
    await expect(new ApiClient(socketPath).status()).rejects.toThrow(/is no tandem daemon/);
    other.close();
  });

  test('a daemon that dies amid its answer', async () => {
    mkdirSync(join(folder, 'run'));
    const other = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{'));
    await new Promise<void>((resolve) => other.listen(socketPath, resolve));
    await expect(new ApiClient(socketPath).status()).rejects.toBeInstanceOf(DaemonUnreachable);
    other.close();
  });
});

describe('a client that is wrong', () => {
  const json = 'application/json';
  async function ask(method: string, path: string, body = '', type = json): Promise<{ status: number; code: string }> {
    return new Promise((resolve, reject) => {
      const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body) };
      const asked = request({ socketPath, method, path, headers }, (response) => {
        let text = '';
        response.on('data', (chunk) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, code: JSON.parse(text).error.code }));
      });
      asked.on('error', reject);
      asked.end(body);
    });
  }

  test.each([
    ['GET', '//', '', 404, 'unknown_route'],
    ['GET', '/v1', '', 404, 'unknown_route'],
    ['GET', '/v1/status/%', '', 404, 'unknown_route'],
    ['GET', '/v1/../etc/passwd', '', 404, 'unknown_route'],
    ['POST', '/v1/status', '{}', 404, 'unknown_route'],
    ['DELETE', '/v1/virtual-servers/www', '', 404, 'unknown_route'],
    ['GET', '/v1/connections?limit=1001', '', 400, 'bad_number'],
    ['GET', '/v1/connections?limit=0', '', 400, 'bad_number'],
    ['GET', '/v1/connections?cursor=-1', '', 400, 'bad_number'],
    ['GET', '/v1/connections?cursor=1e3', '', 400, 'bad_number'],
    ['GET', '/v1/connections?client=10.0.0', '', 400, 'bad_address'],
    ['GET', '/v1/connections?member=10.0.0.1:99999', '', 400, 'bad_address'],
    ['GET', '/v1/connections?clinet=10.0.0.1', '', 400, 'unknown_key'],
    ['PATCH', '/v1/unit', '{', 400, 'not_json'],
    ['PATCH', '/v1/unit', '[]', 400, 'not_an_object'],
    ['PATCH', '/v1/unit', '{}', 400, 'missing'],
    ['PATCH', '/v1/unit', '{"standby":true,"trafficGroup":3}', 400, 'bad_value'],
    ['PATCH', '/v1/unit', JSON.stringify({ trafficGroup: 'x'.repeat(20_000) }), 400, 'too_large'],
    ['PATCH', '/v1/virtual-servers/www', '{"mirror":"on"}', 400, 'bad_value'],
    ['PATCH', '/v1/virtual-servers/www', '{"mirorr":"off"}', 400, 'unknown_key'],
    ['PATCH', '/v1/pools/web/members/nowhere', '{"state":"down"}', 400, 'bad_address'],
    ['POST', '/v1/config', '{"file":"f"}', 400, 'missing'],
  ])('%s %s %s', async (method, path, body, expectedStatus, code) => {
    const control = stubControl();
    await serve(control);
    expect(await ask(method, path, body)).toEqual({ status: expectedStatus, code });
    expect(control.asked).toEqual([]);
    expect(internalErrors).toEqual([]);
  });

  test('is a page of another origin, which can send no JSON unasked', async () => {
    const control = stubControl();
    await serve(control);
    expect(await ask('POST', '/v1/reload', '{}', 'text/plain')).toEqual({ status: 400, code: 'not_json' });
    expect(control.asked).toEqual([]);
  });

  test('says nothing for long: others are served meanwhile', async () => {
    const client = await serve(stubControl());
    const silent = Array.from({ length: 20 }, () => connect(socketPath));
    expect(await client.status()).toEqual(status);
    for (const socket of silent) socket.destroy();
  });

  test('sends what is no HTTP', async () => {
    const client = await serve(stubControl());
    const rude = connect(socketPath);
    rude.on('error', () => {});
    rude.end(Buffer.alloc(100_000, 0x41));
    expect(await client.status()).toEqual(status);
    rude.destroy();
  });

  test('leaves before it is answered', async () => {
    const late = new Promise<typeof status>((resolve) => setTimeout(() => resolve(status), 50));
    const client = await serve({ ...stubControl(), status: () => late });
    const gone = connect(socketPath, () =>
      gone.end('GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n', () => gone.destroy()),
    );
    expect(await client.status()).toEqual(status);
    expect(internalErrors).toEqual([]);
  });
});
