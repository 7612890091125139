/**
 * The capabilities that a unit needs, and the one line that says how to give them.
 *
 * CAP_NET_RAW: packet sockets (frames), raw sockets (VRRP, ICMP monitors). CAP_NET_ADMIN: promiscuous packet
 * sockets, offload settings, neighbours. Read: capabilities(7). Ambient ones survive fork and exec, so the failover
 * process has what the daemon has.
 */

import { readFileSync } from 'node:fs';

/** Bit numbers of <linux/capability.h>; the last two are of use. */
const BITS = { CAP_NET_RAW: 13n, CAP_NET_ADMIN: 12n, CAP_IPC_LOCK: 14n, CAP_BPF: 39n } as const;
export type Capability = keyof typeof BITS;
const NEEDED: readonly Capability[] = ['CAP_NET_RAW', 'CAP_NET_ADMIN'];

/** Those of the four that this process has in effect. `status`: text of /proc/PID/status. */
export function effectiveCapabilities(status: string = readFileSync('/proc/self/status', 'utf8')): Capability[] {
  const line = /^CapEff:\s*([0-9a-fA-F]+)$/m.exec(status);
  if (line === null) throw new Error('/proc/self/status has no line CapEff: is /proc mounted?');
  const effective = BigInt(`0x${line[1]}`);
  return (Object.keys(BITS) as Capability[]).filter((name) => ((effective >> BITS[name]) & 1n) === 1n);
}

/** Names of needed capabilities that this process does not have in effect. */
export function missingCapabilities(status?: string): Capability[] {
  const effective = effectiveCapabilities(status);
  return NEEDED.filter((name) => !effective.includes(name));
}

/** One line for the operator; `missing` is not empty. */
export function capabilityAdvice(missing: readonly string[]): string {
  return (
    `tandem needs ${missing.join(' and ')}: run it as a service with AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN, ` +
    'or with `setpriv --reuid tandem --regid tandem --init-groups --inh-caps +net_raw,+net_admin ' +
    '--ambient-caps +net_raw,+net_admin tandem run ...` as root'
  );
}
