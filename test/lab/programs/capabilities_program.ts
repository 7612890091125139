/**
 * Does once everything that a unit needs capabilities for, and tells its parent how it went, as one line of JSON:
 * `ok`, or what it was refused with. As `child`, only what the failover process needs.
 */

import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import type { MonitorConfig } from '../../../src/config/model.js';
import type { NativeModule } from '../../../src/datapath.js';
import { capabilityAdvice, missingCapabilities } from '../../../src/io/capabilities.js';
import { IcmpProber } from '../../../src/io/icmp_probe.js';
import { Rtnetlink } from '../../../src/io/rtnetlink.js';
import { ipAddress } from '../../../src/wire/ip_address.js';
import { encodeNeighbourUse, FLAG_CREATE, MessageType } from '../../../src/wire/rtnetlink.js';

export interface CapabilitiesReport {
  readonly uid: number;
  readonly missing: readonly string[];
  /** The line that the daemon prints; null: it has what it needs. */
  readonly advice: string | null;
  readonly rawSocketIpv4: string;
  readonly rawSocketIpv6: string;
  readonly netlink: string;
  /** AF_PACKET, as announcements and as the datapath use it, on `veth`; null: the addon is not built. */
  readonly frameSender: string | null;
  readonly datapath: string | null;
  readonly child: CapabilitiesReport | null;
}

const addonPath = fileURLToPath(new URL('../../../../../build/Release/tandem.node', import.meta.url));

const native = existsSync(addonPath) ? (createRequire(import.meta.url)(addonPath) as NativeModule) : null;
const missing = missingCapabilities();
const report: CapabilitiesReport = {
  uid: process.getuid?.() ?? -1,
  missing,
  advice: missing.length === 0 ? null : capabilityAdvice(missing),
  rawSocketIpv4: await ping('127.0.0.1'),
  rawSocketIpv6: await ping('::1'),
  netlink: await resolveNeighbour(),
  frameSender: native === null ? null : attempt(() => new native.FrameSender('veth').close()),
  datapath: native === null ? null : attempt(() => runDatapath(native)),
  child: process.argv[2] === 'child' ? null : await askChild(),
};
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));

async function ping(address: string): Promise<string> {
  const prober = new IcmpProber();
  const monitor = { type: 'icmp', timeoutMs: 1_000 } as MonitorConfig;
  const { ok, reason } = await prober.probe({ address, port: 0, monitor }, AbortSignal.timeout(monitor.timeoutMs));
  prober.close();
  return ok ? 'ok' : reason;
}

/** An address nobody has, on the loopback interface: index 1 in every namespace. */
async function resolveNeighbour(): Promise<string> {
  const rtnetlink = new Rtnetlink();
  try {
    const payload = encodeNeighbourUse(1, ipAddress('127.9.9.9'));
    await rtnetlink.request(MessageType.newNeighbour, payload, FLAG_CREATE);
    return 'ok';
  } catch (error) {
    return (error as Error).message;
  } finally {
    rtnetlink.close();
  }
}

function attempt(action: () => void): string {
  try {
    action();
    return 'ok';
  } catch (error) {
    return (error as Error).message;
  }
}

function runDatapath({ Datapath, SharedState }: NativeModule): void {
  const datapath = new Datapath({
    kind: 'packet',
    devices: [{ name: 'client', interface: 'veth' }],
    workers: 1,
    connections: 1_024,
    unit: 0,
    sharedState: new SharedState(),
  });
  datapath.start();
  datapath.stop();
}

/** As the failover process is made: fork(), which is fork and exec. */
function askChild(): Promise<CapabilitiesReport> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ['child'], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
    let text = '';
    child.stdout?.on('data', (part: Buffer) => {
      text += part.toString();
    });
    child.once('error', reject);
    child.once('close', () => resolve(JSON.parse(text) as CapabilitiesReport));
  });
}
