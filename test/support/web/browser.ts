/** Debian's Chromium for the tests of the web page, and a way from it to a daemon's unix socket. */

import { existsSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';

import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';

const program = '/usr/bin/chromium';

/** Said in the name of what is skipped; empty: there is one. */
export const noBrowser = existsSync(program) ? '' : ` (skipped: there is no ${program}; scripts/setup installs it)`;

/** Headless, with a profile of its own that is deleted; asks nothing of any network by itself. A second or more. */
export function launchBrowser(): Promise<Browser> {
  const quiet = ['--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  return chromium.launch({
    executablePath: program,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', ...quiet],
  });
}

const LAUNCH_MS = 60_000;

/** One for all tests of a file, which are skipped where there is `noBrowser`. To be called outside of them. */
export function browserOfFile(): () => Browser {
  let browser: Browser | null = null;
  beforeAll(async () => {
    if (noBrowser === '') browser = await launchBrowser();
  }, LAUNCH_MS);
  afterAll(() => browser?.close());
  return () => browser!;
}

export interface Door {
  readonly server: Server;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
}

/** A TCP port of this host's loopback that leads to a unix socket, as `ssh -L` makes one. */
export async function openDoor(socketPath: string): Promise<Door> {
  const server = createServer((client) => {
    const daemon = connect(socketPath);
    client.on('error', () => daemon.destroy()).on('close', () => daemon.destroy());
    daemon.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(daemon).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
