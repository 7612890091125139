/**
 * Goal: whoever asks for a capture gets pcapng of what the filter wants, with directions, connections and reasons; one
 * at a time, and it ends at its bounds, or when who asked goes away.
 * Method: a real datapath in memory behind the real server and client; frames are replayed while the capture runs.
 */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import type { CaptureRequest } from '../../../src/api.js';
import { ApiClient } from '../../../src/io/api_client.js';
import { type ApiServer, startApiServer } from '../../../src/io/api_server.js';
import { captureInto } from '../../../src/io/capture_file.js';
import type { Captures } from '../../../src/io/captures.js';
import { readPcap } from '../../../src/io/pcap_reader.js';
import { type PcapngBlock, PcapngReader } from '../../../src/wire/pcapng_reader.js';
import { stubControl } from '../../support/control_stub.js';
import { type CaptureEnd, memoryCaptures } from '../../support/memory_captures.js';
import {
  CLIENT,
  CLIENT_DEVICE,
  CLIENT_MAC,
  MemoryDatapath,
  VIRTUAL_ADDRESS,
  VIRTUAL_MAC,
} from '../../support/memory_datapath.js';
import { ipFrame, tcp } from '../../support/packets.js';

const everything: CaptureRequest = {
  virtualServer: null,
  client: null,
  packets: 1000,
  seconds: 30,
  snaplenBytes: 65_554,
};

let folder: string;
let unit: MemoryDatapath;
let server: ApiServer;
let client: ApiClient;
let ends: CaptureEnd[];
let captures: Captures;
let changes: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-captures-'));
  unit = new MemoryDatapath().activate();
  ends = [];
  changes = [];
  captures = memoryCaptures(unit, ends);
  const socketPath = join(folder, 'tandem.sock');
  server = await startApiServer({
    socketPath,
    control: stubControl(),
    captures,
    version: '0.1.0',
    onInternalError: (route, error) => expect.fail(`${route}: ${String(error)}`),
    onChange: ({ route, outcome }) => changes.push(`${route}: ${outcome}`),
  });
  client = new ApiClient(socketPath);
});
afterEach(async () => {
  await server.close();
  unit.datapath.stop();
  rmSync(folder, { recursive: true });
});

function segment(
  flags: string,
  { source = CLIENT, sourcePort = 40_000, destinationPort = 80, payload = '' } = {},
): Uint8Array {
  const segmentOf = tcp({ sourcePort, destinationPort, flags, payload });
  return ipFrame({ from: CLIENT_MAC, to: VIRTUAL_MAC }, { source, destination: VIRTUAL_ADDRESS }, segmentOf);
}

const arrive = (...frames: readonly Uint8Array[]) =>
  unit.replay(frames.map((frame) => ({ atS: 1, device: CLIENT_DEVICE, frame })));

type FrameBlock = Extract<PcapngBlock, { kind: 'frame' }>;

/** Replays `frames` once the capture runs, and gives what it holds when it has ended. */
async function captured(request: CaptureRequest, frames: readonly Uint8Array[]): Promise<PcapngBlock[]> {
  const reader = new PcapngReader();
  const blocks: PcapngBlock[] = [];
  let begun = false;
  for await (const chunk of client.capture(request, new AbortController().signal)) {
    for (const { block } of reader.read(chunk)) blocks.push(block);
    if (!begun) arrive(...frames);
    begun = true;
  }
  expect(reader.pendingBytes).toBe(0);
  return blocks;
}

const framesOf = (blocks: readonly PcapngBlock[]) =>
  blocks.filter((block): block is FrameBlock => block.kind === 'frame').map(({ frame }) => frame);

test('frames come with device, direction, connection and reason, and the end tells what was missed', async () => {
  const syn = segment('S');
  const blocks = await captured({ ...everything, packets: 3 }, [syn, segment('A', { sourcePort: 41_000 })]);
  expect(blocks.map(({ kind }) => kind)).toEqual([
    ...['section', 'interface', 'interface', 'frame', 'frame', 'frame', 'statistics', 'statistics'],
  ]);
  expect(blocks[0]).toEqual({ kind: 'section', application: 'tandem 0.1.0' });
  expect(blocks.slice(1, 3).map((block) => block.kind === 'interface' && block.name)).toEqual(['eth1', 'eth2']);
  const [received, dropped, sent] = framesOf(blocks);
  expect(received).toMatchObject({ interfaceIndex: 0, direction: 'inbound', bytes: syn, originalBytes: syn.length });
  expect(received!.comment).toMatch(/^received connection=\d+\.\d+ virtual=www$/);
  expect(dropped).toMatchObject({ interfaceIndex: 0, direction: 'inbound' });
  expect(dropped!.comment).toMatch(/^dropped reason=unknown connection=none virtual=www \(TCP of no known connection/);
  expect(sent).toMatchObject({ interfaceIndex: 1, direction: 'outbound' });
  expect(sent!.comment).toBe(received!.comment.replace('received', 'sent'));
  expect(blocks.at(-1)).toEqual({ kind: 'statistics', interfaceIndex: 1, dropped: 0n });
  expect(changes).toEqual(['POST /v1/capture: done']);
  expect(ends).toMatchObject([{ frames: 3, missed: 0 }]);
  expect(ends[0]!.caller).toContain('calls itself cli user');
});

test('times are those of the clock', async () => {
  const before = BigInt(Date.now()) * 1_000_000n;
  const [frame] = framesOf(await captured({ ...everything, packets: 1 }, [segment('S')]));
  // Replayed as of second 1 of the datapath.
  expect(frame!.timeNs).toBeGreaterThan(before);
  expect(frame!.timeNs).toBeLessThan(before + 60_000_000_000n);
});

test('a virtual server and a client are filtered by', async () => {
  const frames = [
    segment('S', { source: '10.1.0.11' }),
    segment('S', { destinationPort: 81 }),
    segment('S', { source: '10.1.0.8' }),
  ];
  const client4 = { address: '10.1.0.8', prefixBits: 31 };
  const found = framesOf(await captured({ ...everything, virtualServer: 'www', client: client4, packets: 2 }, frames));
  expect(found.map(({ bytes, direction }) => [direction, bytes[29]])).toEqual([
    ['inbound', 8],
    ['outbound', 1],
  ]);
  const byClient = framesOf(
    await captured({ ...everything, client: { address: CLIENT, prefixBits: 32 }, packets: 1 }, frames),
  );
  expect(byClient[0]!.comment).toMatch(/^dropped reason=closed_port connection=none virtual=none/);
});

test('a frame is cut where the request says, and its length told', async () => {
  const [frame] = framesOf(await captured({ ...everything, packets: 1, snaplenBytes: 64 }, [segment('S')]));
  expect([frame!.bytes.length, frame!.originalBytes]).toEqual([54, 54]);
  const long = segment('S', { sourcePort: 40_001, payload: 'x'.repeat(100) });
  const [cut] = framesOf(await captured({ ...everything, packets: 1, snaplenBytes: 64 }, [long]));
  expect(cut).toMatchObject({ bytes: long.subarray(0, 64), originalBytes: long.length });
});

test('it ends when its time is up', async () => {
  expect(framesOf(await captured({ ...everything, seconds: 1 }, [segment('S')]))).toHaveLength(2);
  expect(ends).toMatchObject([{ frames: 2, missed: 0 }]);
});

test('frames beyond what the unit has room for are told as missed', async () => {
  const flood = Array.from({ length: 1000 }, () => segment('S'));
  const reader = new PcapngReader();
  const [kept, missed] = [{ frames: 0 }, new Map<number, bigint>()];
  let begun = false;
  for await (const chunk of client.capture(
    { ...everything, packets: 1_000_000, seconds: 1 },
    new AbortController().signal,
  )) {
    for (const { block } of reader.read(chunk)) {
      if (block.kind === 'frame') kept.frames++;
      if (block.kind === 'statistics') missed.set(block.interfaceIndex, block.dropped);
    }
    // In one turn of the event loop, so nobody drains meanwhile.
    if (!begun) for (let times = 0; times < 40; times++) arrive(...flood);
    begun = true;
  }
  const lost = Number([...missed.values()].reduce((sum, each) => sum + each, 0n));
  expect(lost).toBeGreaterThan(0);
  expect(kept.frames + lost).toBe(80_000);
  expect(unit.counters()).toMatchObject({ received: 40_000, forwarded: 40_000 });
});

test('one at a time, refused by a code; whoever goes away makes room', async () => {
  const leaving = new AbortController();
  const first = client.capture(everything, leaving.signal)[Symbol.asyncIterator]();
  await first.next();
  await expect(captured({ ...everything, packets: 1 }, [])).rejects.toMatchObject({ code: 'capture_running' });
  leaving.abort();
  await first.next();
  await expect.poll(() => ends.length).toBe(1);
  expect(framesOf(await captured({ ...everything, packets: 1 }, [segment('S')]))).toHaveLength(1);
  expect(changes).toEqual(['POST /v1/capture: done', 'POST /v1/capture: capture_running', 'POST /v1/capture: done']);
});

test('a name that is none is refused, and leaves no file behind', async () => {
  const path = join(folder, 'none.pcapng');
  const asked = captureInto(path, client, { ...everything, virtualServer: 'wwww' });
  await expect(asked).rejects.toMatchObject({ code: 'unknown_virtual_server', mend: 'there are: www' });
  expect(readdirSync(folder)).toEqual(['tandem.sock']);
});

test('bounds that are none are refused', async () => {
  for (const wrong of [{ packets: 0 }, { seconds: 4000 }, { snaplenBytes: 1 }])
    await expect(captured({ ...everything, ...wrong }, [])).rejects.toMatchObject({
      kind: 'bad_request',
      path: Object.keys(wrong)[0],
    });
});

test('a file has its name when it is whole, and replay takes what was received', async () => {
  const path = join(folder, 'some.pcapng');
  const summary = captureInto(path, client, { ...everything, packets: 2 });
  await expect.poll(() => existsSync(`${path}.unfinished`) && readFileSync(`${path}.unfinished`).length).toBeTruthy();
  expect(existsSync(path)).toBe(false);
  const syn = segment('S');
  arrive(syn);
  expect(await summary).toEqual({ frames: 2, missed: 0 });
  expect(existsSync(`${path}.unfinished`)).toBe(false);
  const frames: Uint8Array[] = [];
  for await (const { bytes } of readPcap(path)) frames.push(Uint8Array.from(bytes));
  expect(frames).toEqual([syn]);
});

test('when the daemon ends the capture fails, and the file has what came before', async () => {
  const path = join(folder, 'cut.pcapng');
  const summary = captureInto(path, client, everything).catch((error: unknown) => error);
  await expect.poll(() => existsSync(`${path}.unfinished`) && readFileSync(`${path}.unfinished`).length).toBeTruthy();
  arrive(segment('S'));
  const header = readFileSync(`${path}.unfinished`).length;
  await expect.poll(() => readFileSync(`${path}.unfinished`).length).toBeGreaterThan(header);
  await server.close();
  expect(await summary).toMatchObject({ name: 'DaemonUnreachable' });
  const frames: Uint8Array[] = [];
  for await (const { bytes } of readPcap(path)) frames.push(bytes);
  expect(frames).toHaveLength(1);
});

test('a moment is sampled by connection, both directions, and whoever asks meanwhile is told the same', async () => {
  const sampled = captures.sample();
  const again = captures.sample();
  const syn = segment('S');
  arrive(syn, segment('S', { sourcePort: 40_001, payload: 'more octets' }), segment('A', { sourcePort: 41_000 }));
  const { connections, forMs, seen } = await sampled;
  expect(await again).toBe(await sampled);
  expect(await captures.sample()).toMatchObject({ connections: [] });
  const rows = unit.datapath.connections(0, 10, null).rows;
  const idOf = Object.fromEntries(rows.map(({ client: end, id }) => [end, id] as const));
  expect(connections).toMatchObject([
    { id: idOf[`${CLIENT}:40001`], packets: 1, bytes: syn.length + 'more octets'.length },
    { id: idOf[`${CLIENT}:40000`], packets: 1, bytes: syn.length },
  ]);
  expect(connections.every(({ slot, id }) => id.startsWith(`${slot}.`))).toBe(true);
  expect(forMs).toBeGreaterThanOrEqual(200);
  expect(seen).toBe(1);
  expect(unit.datapath.captureCounts()).toEqual([]);
});

test('a capture ends a sample early, which gives what it saw; and while it runs none is taken', async () => {
  const sampled = captures.sample();
  const blocks = await captured({ ...everything, packets: 2 }, [segment('S')]);
  expect(framesOf(blocks)).toHaveLength(2);
  expect((await sampled).connections).toEqual([]);
  const ended = new AbortController();
  const running = client.capture(everything, ended.signal)[Symbol.asyncIterator]();
  await running.next();
  await expect(captures.sample()).rejects.toMatchObject({ code: 'capture_running' });
  ended.abort();
});
