/** Starts the traffic programs by name, each with its arguments and report spelled out once. */

import type { CaptureReport } from '../traffic/capture.js';
import type { ChurnReport } from '../traffic/churn_client.js';
import { suspectFilter } from '../traffic/frames.js';
import type { HttpReport } from '../traffic/http_client.js';
import type { IdleReport } from '../traffic/idle_client.js';
import type { StreamReport } from '../traffic/record.js';
import { monotonicMs } from '../traffic/time.js';
import type { UdpReport } from '../traffic/udp_client.js';
import type { Lab } from './lab.js';
import { TrafficProgram } from './program.js';
import { port, serverNames, virtualAddress } from './topology.js';

export type RunningEcho = TrafficProgram<StreamReport>;

/** All three servers, all services. They end with this process, unless they are to `stay`. */
export async function startServers(lab: Lab, until: 'we end' | 'stay' = 'we end'): Promise<void> {
  await Promise.all(serverNames.map((name) => TrafficProgram.start(lab, name, 'servers', name, until)));
}

/** One connection at 1 kHz, open when this resolves. */
export function startEcho(
  lab: Lab,
  address: string = virtualAddress.ipv4,
  at: number = port.echo,
): Promise<RunningEcho> {
  return TrafficProgram.start<StreamReport>(lab, 'client', 'echo_client', address, at, monotonicMs());
}

export function startDownload(
  lab: Lab,
  bytes: number,
  bytesPerSecond: number,
  address: string = virtualAddress.ipv4,
): Promise<TrafficProgram<StreamReport>> {
  return TrafficProgram.start(
    lab,
    'client',
    'download_client',
    address,
    port.download,
    monotonicMs(),
    bytes,
    bytesPerSecond,
  );
}

/** A row of short requests, and `held` ones that are answered after `heldForMs`. */
export function startHttp(
  lab: Lab,
  perSecond: number,
  held = 0,
  heldForMs = 0,
  address: string = virtualAddress.ipv4,
): Promise<TrafficProgram<HttpReport>> {
  return TrafficProgram.start(lab, 'client', 'http_client', address, port.http, perSecond, held, heldForMs);
}

/** Short connections at a steady rate, for as long as one likes. */
export function startChurn(lab: Lab, perSecond: number): Promise<TrafficProgram<ChurnReport>> {
  return TrafficProgram.start(lab, 'client', 'churn_client', virtualAddress.ipv4, port.echo, perSecond);
}

/** Many connections that stay idle until they are asked. */
export function startIdle(
  lab: Lab,
  count: number,
  address: string = virtualAddress.ipv4,
): Promise<TrafficProgram<IdleReport>> {
  return TrafficProgram.start(lab, 'client', 'idle_client', address, port.echo, count);
}

export function startUdp(
  lab: Lab,
  perSecond: number,
  address: string = virtualAddress.ipv4,
): Promise<TrafficProgram<UdpReport>> {
  return TrafficProgram.start(lab, 'client', 'udp_client', address, port.echo, perSecond);
}

/** What the client sees of ARP, ICMP and resets. */
export function startCapture(lab: Lab): Promise<TrafficProgram<CaptureReport>> {
  return TrafficProgram.start(lab, 'client', 'capture', 'client', suspectFilter);
}
