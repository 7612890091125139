/**
 * Entry point of the failover process, forked by the daemon (failover_child.ts). Descriptor 3 is the IPC
 * channel, descriptor 4 the shared state. It runs the elections of src/failover/groups.ts on real sockets
 * and the real clock, and does nothing else, so that an advert waits for nobody.
 *
 * It never outlives the daemon: when the channel ends it resigns every group at once and exits.
 */

import { setPriority } from 'node:os';

import type { RoleName } from '../datapath.js';
import { Groups, type World } from '../failover/groups.js';
import type { FromFailover, ToFailover } from '../failover/messages.js';
import { ipAddress } from '../wire/ip_address.js';
import { FailoverInterface, type InterfaceSettings } from './failover_interface.js';
import { native } from './native.js';

const SHARED_STATE_FD = 4;
/** Above ordinary processes: on a starved machine adverts go first. */
const PROCESS_PRIORITY = -10;
/** Carriers are read each advert interval, within these. */
const CARRIER_POLL_MS_MIN = 20;
const CARRIER_POLL_MS_MAX = 100;
/** Messages waiting for a daemon that does not read; beyond it counters are left out. */
const TELLING_MAX = 16;
/** How long the last adverts may take to reach the kernel. */
const FAREWELL_MS = 50;

const { SharedState } = native;
const shared = new SharedState(SHARED_STATE_FD);
const interfaces = new Map<string, FailoverInterface>();

const world: World = {
  now: () => shared.now(),
  readHeartbeats: (into) => shared.readHeartbeats(into),
  readMldQueries: (into) => shared.readMldQueries(into),
  sharedTerm: (group) => shared.group(group).term,
  setRole: (group: number, role: RoleName, term: number, leaseMs: number) => shared.setRole(group, role, term, leaseMs),
  extendLease: (group, leaseMs) => shared.extendLease(group, leaseMs),
  sendAdvert: (router, message) => interfaces.get(router.interface)?.sendAdvert(router.family, message),
  sendFrame: (interfaceName, frame) => interfaces.get(interfaceName)?.sendFrame(frame),
  tell,
};
const groups = new Groups(world);

/** The timer set, and for when. */
let timer: NodeJS.Timeout | null = null;
let timerAt = Number.POSITIVE_INFINITY;
let leaving = false;
/** Messages that the daemon has not taken yet. */
let telling = 0;

try {
  setPriority(PROCESS_PRIORITY);
} catch {
  // Without CAP_SYS_NICE it runs at the daemon's priority, which is enough unless the machine is starved.
}
// Ctrl-C reaches the whole process group; the daemon decides what it means.
process.on('SIGINT', () => {});
process.on('SIGTERM', leave);
process.on('disconnect', leave);
process.on('message', (message) => {
  const received = message as ToFailover;
  if (received.type === 'shutdown') return leave();
  if (received.type === 'configure') openInterfaces(received);
  groups.receiveMessage(received);
  if (received.type === 'configure') for (const one of interfaces.values()) one.pollCarrierEach(carrierPollMs());
  arm();
});
arm();
tell({ type: 'ready' });

/** Sets the timer for the next deadline. A later deadline keeps the timer: turning early does no harm. */
function arm(): void {
  if (leaving) return;
  const at = groups.wakeAt;
  if (timer !== null && timerAt <= at) return;
  if (timer !== null) clearTimeout(timer);
  timerAt = at;
  // Timers run before sockets are read. What waits there must count first: after a pause of this process,
  // the peer's adverts are in the socket, and its silence is only ours.
  timer = setTimeout(() => setImmediate(turn), Math.max(0, Math.ceil(at - shared.now())));
}

function turn(): void {
  timer = null;
  timerAt = Number.POSITIVE_INFINITY;
  if (leaving) return;
  groups.turn();
  for (const one of interfaces.values()) one.openMissing();
  arm();
}

/** Opens sockets of interfaces that are new or changed, and closes those of no group. */
function openInterfaces({ configuration }: Extract<ToFailover, { type: 'configure' }>): void {
  const wanted = new Map<string, InterfaceSettings>();
  for (const { links } of configuration.groups) {
    for (const { interface: name, addresses, floating } of links) {
      const families = new Set(wanted.get(name)?.families);
      for (const address of floating) families.add(ipAddress(address).family);
      const own = addresses.map(ipAddress).find(({ family }) => family === 4);
      wanted.set(name, { name, families, source: own?.octets ?? null });
    }
  }
  for (const [name, one] of interfaces) {
    const settings = wanted.get(name);
    if (settings !== undefined && isSame(settings, one.settings)) continue;
    one.close();
    interfaces.delete(name);
  }
  for (const [name, settings] of wanted) if (!interfaces.has(name)) interfaces.set(name, openInterface(settings));
}

function openInterface(settings: InterfaceSettings): FailoverInterface {
  const { name } = settings;
  return new FailoverInterface(settings, native, carrierPollMs(), groups.counts, {
    onAdvert: (received) => {
      groups.receiveAdvert(name, received);
      arm();
    },
    onBrokenPacket: () => groups.drop(name, 4, 'no_ip_header'),
    onCarrier: (up) => {
      groups.carrier(name, up);
      arm();
    },
    onFault: (fault) => tell({ type: 'fault', ...fault }),
  });
}

function isSame(left: InterfaceSettings, right: InterfaceSettings): boolean {
  const sameFamilies = ([4, 6] as const).every((family) => left.families.has(family) === right.families.has(family));
  return left.source === right.source && sameFamilies;
}

function carrierPollMs(): number {
  return Math.min(CARRIER_POLL_MS_MAX, Math.max(CARRIER_POLL_MS_MIN, groups.advertIntervalMs ?? CARRIER_POLL_MS_MAX));
}

function tell(message: FromFailover): void {
  // Counters are sums: a daemon that does not read now gets them later.
  if (message.type === 'counters' && telling >= TELLING_MAX) return;
  // A daemon that is gone is told by `disconnect`; a message that meets its end must not throw.
  if (!process.connected) return;
  telling++;
  process.send?.(message, undefined, undefined, () => telling--);
}

/** Resigns, waits until the adverts are out, and exits. */
function leave(): void {
  if (leaving) return;
  leaving = true;
  if (timer !== null) clearTimeout(timer);
  groups.stop();
  const until = shared.now() + FAREWELL_MS;
  const wait = () => {
    const sending = [...interfaces.values()].some((one) => one.sending > 0);
    if (sending && shared.now() < until) setImmediate(wait);
    else process.exit(0);
  };
  wait();
}
