/**
 * Traffic for the device tests, one job by its first argument; the result is one line of JSON.
 *
 *   serve PORT                            echoes TCP and UDP on every address; for ever
 *   tcp ADDRESS PORT CONNECTIONS OCTETS   how many connections got back exactly what they sent
 *   udp ADDRESS PORT DATAGRAMS            how many datagrams came back
 *   hold ADDRESS PORT                     one connection, an echo each 20 ms until told to stop: echoes, longest gap
 *   send INTERFACE HEX                    one frame
 */

import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

import type { NativeModule } from '../../../src/datapath.js';

export interface Held {
  readonly echoes: number;
  readonly longestGapMs: number;
  readonly failure: string | null;
}

const giveUpMs = 15_000;
const [job, address = '', port = '', ...rest] = process.argv.slice(2);
const finish = (result: unknown) => process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));

switch (job) {
  case 'serve':
    serve(Number(address));
    break;
  case 'tcp': {
    const octets = Number(rest[1]);
    const each = Array.from({ length: Number(rest[0]) }, async () => exchange(octets));
    finish((await Promise.all(each)).filter((same) => same).length);
    break;
  }
  case 'udp':
    udp(Number(rest[0]));
    break;
  case 'hold':
    hold();
    break;
  case 'send': {
    const addon = fileURLToPath(new URL('../../../../../build/Release/tandem.node', import.meta.url));
    const { FrameSender } = createRequire(import.meta.url)(addon) as NativeModule;
    new FrameSender(address).send(Buffer.from(port, 'hex'));
    finish('sent');
    break;
  }
  default:
    throw new Error(`no job ${job}`);
}

function serve(at: number): void {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  const datagrams = createSocket({ type: 'udp6', ipv6Only: false });
  datagrams.on('message', (message, from) => datagrams.send(message, from.port, from.address));
  datagrams.bind(at, () => server.listen(at, '::', () => process.send?.('ready')));
  process.once('disconnect', () => process.exit(0));
}

/** Whether everything came back as it was sent. */
function exchange(octets: number): Promise<boolean> {
  const sent = randomBytes(octets);
  return new Promise((resolve) => {
    const got = createHash('sha256');
    let count = 0;
    const socket = connect({ host: address, port: Number(port), noDelay: true }, () => socket.write(sent));
    const end = (same: boolean) => {
      socket.destroy();
      resolve(same);
    };
    socket.setTimeout(giveUpMs, () => end(false));
    socket.on('error', () => end(false));
    socket.on('data', (part: Buffer) => {
      got.update(part);
      count += part.length;
      if (count >= octets) end(got.digest('hex') === createHash('sha256').update(sent).digest('hex'));
    });
  });
}

/** Sizes from 1 octet to what an MTU of 1500 takes. */
function udp(datagrams: number): void {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const waiting = new Map<string, Buffer>();
  let back = 0;
  const over = () => finish(back);
  // 3 s after the last datagram that left or came back.
  const silence = setTimeout(over, datagrams + 3_000);
  socket.on('message', (message) => {
    if (!waiting.delete(message.toString('latin1'))) return;
    back += 1;
    silence.refresh();
    if (back === datagrams) over();
  });
  for (let index = 0; index < datagrams; index++) {
    const message = randomBytes(4 + Math.round((index / datagrams) * 1_440));
    waiting.set(message.toString('latin1'), message);
    setTimeout(() => socket.send(message, Number(port), address), index);
  }
}

function hold(): void {
  let echoes = 0;
  let longestGapMs = 0;
  let last = performance.now();
  let failure: string | null = null;
  const socket = connect({ host: address, port: Number(port), noDelay: true }, () => {
    last = performance.now();
    setInterval(() => socket.write('x'), 20);
    process.send?.('ready');
  });
  socket.on('error', (error) => {
    failure = error.message;
  });
  socket.on('data', () => {
    echoes += 1;
    longestGapMs = Math.max(longestGapMs, performance.now() - last);
    last = performance.now();
  });
  process.once('message', () => {
    longestGapMs = Math.max(longestGapMs, performance.now() - last);
    process.send?.({ echoes, longestGapMs, failure } satisfies Held, () => process.exit(0));
  });
}
