/**
 * HTTP monitor: one GET on a connection of its own; the status decides. Read: RFC 9110 section 15, RFC 9112.
 *
 * The body says nothing. It is read and thrown away, so that the member's connection ends in order, but only so much
 * of it and only so long.
 */

import { type IncomingMessage, request } from 'node:http';

import { formatEndpoint } from '../wire/ip_address.js';
import { type Probe, type ProbeTarget, probeFault } from './probe.js';

const BODY_BYTES_MAX = 64 * 1024;
const BODY_MS_MAX = 1_000;
const HEADER_BYTES_MAX = 16 * 1024;

export const httpProbe: Probe = (target, signal) =>
  new Promise((resolve) => {
    const { address, port, monitor } = target;
    const outgoing = request({
      host: address,
      port,
      path: monitor.path,
      method: 'GET',
      headers: { Host: hostHeader(target), 'User-Agent': 'tandem-monitor', Accept: '*/*', Connection: 'close' },
      // A connection kept from an earlier probe would say nothing about new ones.
      agent: false,
      maxHeaderSize: HEADER_BYTES_MAX,
    });
    const finish = (ok: boolean, reason: string) => {
      signal.removeEventListener('abort', cancel);
      resolve({ ok, reason });
    };
    const cancel = () => {
      finish(false, 'cancelled');
      outgoing.destroy();
    };
    signal.addEventListener('abort', cancel);
    // What comes after the verdict changes nothing: a promise settles once.
    outgoing.on('error', (error) => finish(false, probeFault(error)));
    outgoing.on('close', () => finish(false, 'connection closed without an HTTP answer'));
    outgoing.once('response', (response) => {
      const status = response.statusCode ?? 0;
      finish(isExpected(status, target), verdict(status, target));
      discardBody(response);
    });
    outgoing.end();
  });

function discardBody(response: IncomingMessage): void {
  const timer = setTimeout(() => response.destroy(), BODY_MS_MAX);
  timer.unref();
  let bytes = 0;
  response.on('data', (part: Buffer) => {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) response.destroy();
  });
  response.on('error', () => {});
  response.once('close', () => clearTimeout(timer));
}

function isExpected(status: number, { monitor }: ProbeTarget): boolean {
  return monitor.expectStatus.some(([first, last]) => status >= first && status <= last);
}

function verdict(status: number, target: ProbeTarget): string {
  if (isExpected(status, target)) return `HTTP ${status}`;
  const wanted = target.monitor.expectStatus.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  return `HTTP ${status}, wanted ${wanted.join(', ')}`;
}

/** RFC 9112 section 3.2: the authority, with its port unless it is 80. */
function hostHeader({ address, port, monitor }: ProbeTarget): string {
  if (monitor.host !== null) return monitor.host;
  if (port !== 80) return formatEndpoint(address, port);
  return address.includes(':') ? `[${address}]` : address;
}
