/**
 * The API over TCP, for whoever has the token: TLS 1.3, and `authorization: Bearer TOKEN` with every request but those
 * for the web page's own files, which tell nothing and ask for the token themselves. Only where the config says so.
 */

import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { createSecureContext } from 'node:tls';

import { ControlError } from '../api.js';
import type { ApiListenerConfig } from '../config/model.js';
import { errorBody } from '../http/errors.js';
import { formatEndpoint } from '../wire/ip_address.js';

const TOKEN_LENGTH = { least: 32, most: 512 } as const;

/** What the config names, read. */
export interface ListenerFiles {
  readonly address: string;
  readonly port: number;
  readonly certificate: string;
  readonly key: string;
  readonly tokenFile: string;
  readonly token: string;
}

/** Throws one sentence that says which file is wrong, and how to mend it. `path`: of the config, `units.a.api`. */
export function readListenerFiles(config: ApiListenerConfig, path: string): ListenerFiles {
  const { address, port, tokenFile } = config;
  const certificate = readText(config.certificate, `${path}.certificate`);
  const key = readSecret(config.key, `${path}.key`);
  try {
    createSecureContext({ cert: certificate, key });
    void new X509Certificate(certificate);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${path}: ${config.certificate} and ${config.key} are no certificate and its key in PEM: ${why}`);
  }
  const token = readSecret(tokenFile, `${path}.tokenFile`).trim();
  if (!/^[\x21-\x7e]+$/.test(token) || token.length < TOKEN_LENGTH.least || token.length > TOKEN_LENGTH.most) {
    const { least, most } = TOKEN_LENGTH;
    const mend = `make one: (umask 077; openssl rand -hex 32 > ${tokenFile})`;
    throw new Error(`${path}.tokenFile: ${tokenFile} has no token of ${least} to ${most} characters; ${mend}`);
  }
  return { address, port, certificate, key, tokenFile, token };
}

/** Resolves when it listens. `answer` is asked only for what the token allows. */
export async function startListener(files: ListenerFiles, answer: RequestListener): Promise<Server> {
  const { address, port, certificate, key } = files;
  const known = digestOf(files.token);
  const server = createServer({ cert: certificate, key, minVersion: 'TLSv1.3' }, (request, response) => {
    const fault = isPage(request) ? null : tokenFault(request, known);
    if (fault === null) answer(request, response);
    else refuse(response, fault);
  });
  await new Promise<void>((resolve, reject) => {
    const where = formatEndpoint(address, port);
    server.once('error', (error) => reject(new Error(`the API cannot listen on ${where}: ${error.message}`)));
    server.listen(port, address, resolve);
  });
  return server;
}

function isPage({ method, url = '' }: IncomingMessage): boolean {
  return method === 'GET' && (url === '/' || /^\/assets\/[\w.-]+$/.test(url));
}

function tokenFault({ headers }: IncomingMessage, known: Buffer): ControlError | null {
  const given = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  const mend = 'send the header authorization: Bearer TOKEN';
  if (given === undefined) return new ControlError('refused', 'no_token', 'a token is needed here', mend);
  // Digests have one length whatever was given, and their comparison takes one time.
  if (timingSafeEqual(digestOf(given), known)) return null;
  return new ControlError('refused', 'wrong_token', 'the token is not the one of this unit', mend);
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function refuse(response: ServerResponse, fault: ControlError): void {
  const text = JSON.stringify({ error: errorBody(fault) });
  response.writeHead(401, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'www-authenticate': 'Bearer realm="tandem"',
    connection: 'close',
  });
  response.end(text);
}

function readText(file: string, path: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`${path}: cannot read ${file}: ${(error as Error).message}`);
  }
}

function readSecret(file: string, path: string): string {
  const text = readText(file, path);
  if ((statSync(file).mode & 0o007) === 0) return text;
  throw new Error(`${path}: ${file} is open to every user of this host; mend it: chmod o= ${file}`);
}
