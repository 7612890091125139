/**
 * Goal: whatever real networks put into a frame, the datapath neither falls over nor loses count.
 * Method: captures that others published, each through `tandem replay`, once as they are, once with every frame given
 * to us (a virtual server on every address that the capture sends to would need a config per file; the destination
 * MAC is rewritten to our virtual MAC instead, so that the parser sees them all). Every frame must be accounted for.
 * A file that is no Ethernet pcap must be refused with a sentence.
 *
 * The sets are Debian's golang-github-google-gopacket-dev, pcap-parser's own, and tcpdump's tests
 * (scripts/fetch-captures). A set that is not there is skipped and says how to get it.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { loadConfig } from '../../src/config/load.js';
import { native } from '../../src/io/native.js';
import { PcapError, readPcap } from '../../src/io/pcap_reader.js';
import { replayCapture } from '../../src/replay.js';
import { pcapFileHeader, pcapFrame } from '../../src/wire/pcap.js';

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

const sets = [
  {
    name: 'gopacket',
    folder: '/usr/share/gocode/src/github.com/google/gopacket',
    get: 'apt-get install golang-github-google-gopacket-dev',
    filesMin: 50,
  },
  { name: 'pcap-parser', folder: here('../../node_modules/pcap-parser/test'), get: 'npm ci', filesMin: 3 },
  { name: 'tcpdump', folder: here('../../out/captures/tcpdump'), get: 'scripts/fetch-captures', filesMin: 600 },
];

const result = loadConfig(readFileSync(here('tandem.yaml'), 'utf8'), 'tandem.yaml');
if (!result.ok) throw new Error('the golden config is not valid');
// A small table is soon made: there are hundreds of files.
const config = { ...result.config, datapath: { ...result.config.datapath, connections: 4096 } };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-captures-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(sets)('captures of $name', ({ folder: from, get, filesMin }) => {
  const missing = !existsSync(from);
  const files = missing ? [] : capturesBelow(from);

  test.skipIf(missing)(missing ? `skipped: ${from} is not there; ${get}` : `there are at least ${filesMin}`, () => {
    expect(files.length).toBeGreaterThanOrEqual(filesMin);
  });

  test.skipIf(missing)('every frame is accounted for', { timeout: 300_000 }, async () => {
    let frames = 0;
    for (const file of files) {
      const summary = await replay(file).catch(refusal);
      if (summary === null) continue;
      frames += summary.read;
      const dropped = summary.dropped.reduce((sum, { value }) => sum + value, 0);
      expect(summary.forwarded + summary.punted + dropped, file).toBe(summary.read);
      expect(summary.accounted, file).toBe(true);
    }
    expect(frames).toBeGreaterThan(0);
  });

  test.skipIf(missing)('and so it is when each is sent to our virtual MAC', { timeout: 300_000 }, async () => {
    let seen = 0;
    for (const file of files) {
      const ours = await sentToUs(file).catch(refusal);
      if (ours === null) continue;
      const summary = await replay(ours);
      expect(summary.accounted, file).toBe(true);
      seen += summary.read - summary.punted;
    }
    // Frames to us that are IP are never the kernel's.
    expect(seen).toBeGreaterThan(0);
  });
});

function replay(input: string) {
  const output = join(folder, 'out.pcap');
  return replayCapture(native, { config, unit: 'a', input, output, role: 'active', keepMac: true });
}

/** Only what the reader refuses with a sentence may fail. */
function refusal(error: unknown): null {
  if (!(error instanceof PcapError)) throw error;
  expect(error.message).toMatch(/ (is|has) /);
  return null;
}

async function sentToUs(file: string): Promise<string> {
  const parts = [pcapFileHeader()];
  for await (const { timeNs, bytes } of readPcap(file)) {
    const frame = Uint8Array.from(bytes);
    if (frame.length >= 14) frame.set([0, 0, 0x5e, 0, frame[12] === 0x86 ? 2 : 1, 51]);
    parts.push(pcapFrame(timeNs, frame));
  }
  const copy = join(folder, basename(file));
  writeFileSync(copy, Buffer.concat(parts));
  return copy;
}

function capturesBelow(from: string): string[] {
  return readdirSync(from, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.p?cap(ng)?$/.test(file))
    .map((file) => join(from, file))
    .sort();
}
