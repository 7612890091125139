/**
 * Goal: a capture of one client's connections through one virtual server holds both their directions and nothing else,
 * octet for octet what is on the wire; what the unit dropped is there with its reason; tshark reads it without a word.
 * Method: one exchange while others run, captured by the unit and by libpcap at both ends; then connections that must
 * be dropped; the command is ended by Ctrl-C, and another one writes into a pipe.
 */

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from 'vitest';

import { ApiClient } from '../../src/io/api_client.js';
import type { PcapngFrame } from '../../src/wire/pcapng.js';
import { PcapngReader } from '../../src/wire/pcapng_reader.js';
import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { TrafficProgram } from '../support/lab/program.js';
import { floatingAddress, port, serverAddress, virtualAddress } from '../support/lab/topology.js';
import { startHttp, startServers } from '../support/lab/traffic.js';
import { startPair } from '../support/lab/unit.js';
import type { CaptureReport } from '../support/traffic/capture.js';

/** The client's second address: the one that is captured. */
const captured = '10.1.0.77';
const clientLink = 0;
const serverLink = 1;

labTest("one client's connections through one virtual server, as they are on the wire", async (lab) => {
  lab.run('client', 'ip', ['address', 'add', `${captured}/24`, 'dev', 'client']);
  await startServers(lab);
  const pair = await startPair(lab, { mirror: 'async', members: ['s1'] });
  const others = await startHttp(lab, 100);
  const atClient = await wire(lab, 'client', 'client', `tcp port ${port.echo} and host ${captured}`);
  const atServer = await wire(lab, 's1', 'server', `tcp port ${port.echo} and host ${floatingAddress.server.ipv4}`);

  const file = join(lab.directory, 'echo.pcapng');
  const command = lab.spawn('a', 'capture.log', join(repositoryRoot, 'scripts', 'tandem'), [
    ...['capture', '--socket', pair.a.socket, '--virtual', 'echo', '--client', '10.1.0.76/31', '-o', file],
  ]);
  const ended = once(command, 'exit');
  await expect.poll(() => existsSync(`${file}.unfinished`) && statSync(`${file}.unfinished`).size > 0, long).toBe(true);
  await expect(pair.a.tandem('capture', '-o', '-', '--packets', '1')).rejects.toThrow(/a capture .* is running/);

  expect(exchange(lab, captured)).toBe('20 answers');
  const [client, server] = [await atClient.stop(), await atServer.stop()];
  expect(exchange(lab, '10.1.0.50')).toBe('20 answers');
  const api = new ApiClient(pair.a.socket);
  await api.setMember('echo', serverAddress.s1.ipv4, port.echo, 'down');
  expect(exchange(lab, captured)).toBe('no connection');
  await expect.poll(() => readFileSync(`${file}.unfinished`).includes('no_member'), long).toBe(true);
  command.kill('SIGINT');
  expect((await ended)[0]).toBe(0);
  expect((await others.stop()).row.length).toBeGreaterThan(0);

  const frames = framesIn(readFileSync(file));
  const dropped = frames.filter(({ comment }) => comment.startsWith('dropped '));
  const passed = frames.filter((frame) => !dropped.includes(frame));
  const at = (link: number) => passed.filter(({ interfaceIndex }) => interfaceIndex === link);
  expect(octets(at(clientLink))).toEqual(seen(client));
  expect(octets(at(serverLink))).toEqual(seen(server));
  expect(new Set(passed.map(({ comment }) => comment.replace(/^(received|sent) /, ''))).size).toBe(1);
  expect(passed[0]!.comment).toMatch(/^received connection=\d+\.\d+ virtual=echo$/);
  for (const { comment } of dropped)
    expect(comment).toMatch(/^dropped reason=no_member connection=none virtual=echo \(/);
  expect(dropped.length).toBeGreaterThan(0);

  const read = tshark(
    '-r',
    file,
    '-T',
    'fields',
    '-e',
    'frame.comment',
    '-e',
    'frame.interface_name',
    '-e',
    'frame.packet_flags_direction',
  );
  expect(read.errors).toBe('');
  const lines = read.out.trimEnd().split('\n');
  expect(lines).toHaveLength(frames.length);
  expect(lines[0]).toMatch(/^received connection=\d+\.\d+ virtual=echo\tclient\t(0x0*)?1$/);
  expect(tshark('-r', file, '-q', '-z', 'io,stat,0').errors).toBe('');

  expect(await dropsOfNoConnection(lab, pair.a.socket)).toMatch(
    /^dropped reason=closed_port connection=none virtual=none \(to a virtual or floating address on a port/,
  );
});

/** Through a pipe, of one that has no virtual server. */
async function dropsOfNoConnection(lab: Lab, socket: string): Promise<string> {
  const said = join(lab.directory, 'pipe.txt');
  const flags = `--socket ${socket} --client ${captured} --packets 1 -o -`;
  const command = `scripts/tandem capture ${flags} | tshark -r - -T fields -e frame.comment > ${said}`;
  const capture = lab.spawn('a', 'pipe.log', 'bash', ['-c', command], { cwd: repositoryRoot });
  const ended = () => {
    exchange(lab, captured, 4242);
    return capture.exitCode;
  };
  await expect.poll(ended, long).toBe(0);
  return readFileSync(said, 'utf8');
}

const long = { timeout: 15_000 };

function wire(lab: Lab, host: 'client' | 's1', device: string, filter: string) {
  return TrafficProgram.start<CaptureReport>(lab, host, 'capture', device, filter);
}

/** Twenty questions over one connection from `address`, one after the other, and a close. */
function exchange(lab: Lab, address: string, at: number = port.echo): string {
  return lab.run('client', process.execPath, ['-e', client, address, virtualAddress.ipv4, String(at)]).trim();
}

const client = `
const [localAddress, host, port] = process.argv.slice(1);
let answers = 0;
const socket = require('node:net').connect({ localAddress, host, port: Number(port), noDelay: true });
const give = setTimeout(() => { console.log('no connection'); socket.destroy(); }, 1200);
socket.on('connect', () => { clearTimeout(give); socket.write('?'); });
socket.on('data', () => { answers++; answers < 20 ? socket.write('?') : socket.end(); });
socket.on('error', () => {});
socket.on('close', () => { if (answers > 0) console.log(answers + ' answers'); });
`;

function framesIn(bytes: Uint8Array): PcapngFrame[] {
  const reader = new PcapngReader();
  const frames: PcapngFrame[] = [];
  for (const { block } of reader.read(bytes)) if (block.kind === 'frame') frames.push(block.frame);
  expect(reader.pendingBytes).toBe(0);
  return frames;
}

const octets = (frames: readonly PcapngFrame[]) =>
  frames.map(({ bytes }) => Buffer.from(bytes).toString('base64')).toSorted();
const seen = ({ frames }: CaptureReport) => frames.map(({ frame }) => frame).toSorted();

/** Without what it says of running as root. */
function tshark(...args: readonly string[]): { readonly out: string; readonly errors: string } {
  const { stdout, stderr } = spawnSync('tshark', args, { encoding: 'utf8' });
  return { out: stdout, errors: stderr.replace(/^Running as user "root".*\n?/m, '').trim() };
}
