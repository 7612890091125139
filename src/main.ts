/**
 * The daemon of one unit: makes every part, joins them in a `Balancer`, and takes them down in order.
 *
 * Start: config and links are checked, the datapath gets its devices and memory, members' next hops are looked up,
 * and only then does the failover process begin to take part. Stop (SIGTERM, SIGINT): groups are handed to the peer
 * if it holds the connections, the failover process resigns, then everything else ends. SIGHUP reads the config again.
 */

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { type Logger, pino } from 'pino';

import { Balancer } from './balancer/balancer.js';
import type { LinkFault } from './balancer/ports.js';
import { configNames } from './balancer/views.js';
import { formatConfigError } from './config/faults.js';
import type { Config, UnitConfig, UnitName } from './config/model.js';
import type { Datapath, SharedStateHandle, StartReport } from './datapath.js';
import { type ListenerFiles, readListenerFiles } from './io/api_listener.js';
import { startApiServer } from './io/api_server.js';
import { capabilityAdvice, missingCapabilities } from './io/capabilities.js';
import { Captures } from './io/captures.js';
import { ConfigStore } from './io/config_store.js';
import { ConfigSync } from './io/config_sync.js';
import { FailoverChild } from './io/failover_child.js';
import { findLinkFaults, unitDevices } from './io/links.js';
import { measuredCosts } from './io/measured_costs.js';
import { MirrorChannel } from './io/mirror_channel.js';
import { securedTransport, UNPAIRED } from './io/mirror_security.js';
import { MonitorRunner } from './io/monitor_runner.js';
import { native } from './io/native.js';
import { Neighbours } from './io/neighbours.js';
import { CredentialStore } from './io/pair_credentials.js';
import { ServiceNotices, statusLine } from './io/service_notices.js';
import { systemTimers } from './io/timers.js';

export interface DaemonOptions {
  readonly file: string;
  readonly unit: UnitName;
  readonly socket: string;
  /** The directory of what outlives the daemon. */
  readonly state: string;
  readonly logLevel: string;
}

/** What keeps the daemon from starting; the message is for the operator and may have several lines. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** How long a stopping unit waits for its peer to take over. */
const STOP_MS = 3_000;
/** How long the units' configs have to become equal before connections are announced all the same. */
const BULK_HOLD_MS = 2_000;

/** Resolves when the daemon has been stopped by a signal. Throws StartError. */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const { file, unit, socket } = options;
  const log = pino({ level: options.logLevel, base: { unit } });
  const store = new ConfigStore(file, options.state);
  const { config, text } = readConfigOrThrow(store);
  const missing = missingCapabilities();
  if (missing.length > 0) throw new StartError(capabilityAdvice(missing));
  const listener = readListenerOrThrow(config, unit);
  const warnings = await checkLinksOrThrow(config, unit);
  for (const { path, message } of warnings) log.warn({ path }, message);

  const { SharedState, Datapath, dropNames, countNames } = native;
  const sharedState = new SharedState();
  const datapath = makeDatapath(() => new Datapath(datapathOptions(config, unit, sharedState)));
  startDatapath(datapath, config, log);
  const neighbours = new Neighbours(log);
  const monitors = new MonitorRunner();
  const failover = new FailoverChild(sharedState);
  const peer = unit === 'a' ? 'b' : 'a';
  let balancer: Balancer | null = null;
  const credentials = new CredentialStore(options.state);
  const transport = securedTransport({
    credentials: () => credentials.current(),
    plaintext: config.mirror.plaintext,
  });
  const mirror = new MirrorChannel({
    unit,
    paths: mirrorPaths(config.units[unit].mirror, config.units[peer].mirror),
    limits: config.mirror,
    bootId: randomUUID(),
    datapath,
    groups: () =>
      config.trafficGroups.map(({ name }, index) => {
        const { role, term } = sharedState.group(index);
        return { name, role, term };
      }),
    config: () => configNames(balancer?.config ?? config),
    transport,
    bulkHoldMs: BULK_HOLD_MS,
    log,
  });
  const { standing, doubt, fault } = store.remember(text);
  if (fault !== null) log.warn({}, fault);
  const configSync = new ConfigSync({
    unit,
    text,
    standing,
    doubt,
    channel: mirror,
    store,
    check: async (candidate, name) => {
      if (balancer === null) throw new Error('the unit is still starting');
      return balancer.checkConfig(candidate, name);
    },
    timers: systemTimers,
    time: () => new Date().toISOString(),
    log,
  });
  if (transport.security() === 'unpaired') log.warn({ state: options.state }, UNPAIRED);
  const version = packageVersion();
  const captures = new Captures({
    datapath,
    interfaces: unitDevices(config, unit).map((device) => device.interface),
    dropNames,
    version,
    onEnd: (end) => log.info(end, `the capture asked for by ${end.caller} has ended`),
  });
  balancer = new Balancer({ unit, version, pid: process.pid, configFile: file }, config, {
    datapath,
    dropNames,
    countNames,
    sharedState,
    failover,
    mirror,
    monitors,
    neighbours,
    configSync,
    readConfig: async () => store.read(),
    checkLinks: (candidate) => findLinkFaults(candidate, unit),
    costs: measuredCosts,
    sampleTraffic: () => captures.sample(),
    log,
    clock: { now: () => new Date(), monotonicMs: () => performance.now(), soon: setImmediate },
  });

  neighbours.on('next-hops', () => balancer.onNextHops());
  monitors.on('member', (member) => {
    log.info(
      { pool: member.pool, address: member.address, port: member.port },
      `member is ${member.up ? 'up' : 'down'}: ${member.reason}`,
    );
    if (!member.up) neighbours.doubt(member.address);
    balancer.onMember();
  });
  failover.on('role', (report) => balancer.onRole(report));
  failover.on('gone', () => balancer.onFailoverGone());
  failover.on('fault', ({ code, message }) => log.warn({ code }, message));
  mirror.on('peer', (hello) => {
    balancer.onPeer(hello);
    configSync.linkOpen(mirror.version ?? 0);
  });
  mirror.on('peer-gone', (reason, byPeer) => {
    configSync.linkLost();
    balancer.onPeerGone(reason, byPeer);
  });
  mirror.on('config', (message) => configSync.hear(message));
  mirror.on('in-sync', () => balancer.onInSync());
  mirror.on('take-over', ({ group, term, forced }) => {
    mirror.answerTakeOver(group, term, balancer.onHandOverAsked(group, term, forced));
  });

  await neighbours.start(
    config.pools.flatMap(({ members }) => members),
    unitDevices(config, unit),
  );
  monitors.start(config.pools);
  balancer.start();
  mirror.start();
  failover.start();
  const api = await startApiServer({
    captures,
    socketPath: socket,
    control: balancer,
    version,
    listener,
    onChange: ({ route, caller, asked, outcome }) => {
      log.info({ route, caller, asked: logged(asked), outcome }, `${route} asked by ${caller}: ${outcome}`);
    },
    onInternalError: (route, error) => log.error({ route, error: String(error) }, 'the API failed to answer'),
  });
  log.info({ version, socket }, `unit ${unit} is running`);
  const notices = new ServiceNotices({
    environment: process.env,
    pid: process.pid,
    send: (path, text) => native.sendDatagram(path, text),
    timers: systemTimers,
    monotonicUs: () => process.hrtime.bigint() / 1000n,
    readHeartbeats: (into) => sharedState.readHeartbeats(into),
    status: async () => statusLine(await balancer.status()),
    onFault: (message) => log.warn({}, message),
  });
  notices.ready();

  process.on('SIGHUP', () => {
    notices.reloading();
    const refused = (error: unknown) =>
      log.error({ error: error instanceof Error ? error.message : String(error) }, 'reload refused');
    void balancer
      .reload()
      .catch(refused)
      .finally(() => notices.ready());
  });
  const signal = await stopSignal();
  notices.stopping();
  log.info({ signal }, 'stopping');
  await Promise.race([balancer.standby(null, false).catch(() => undefined), delay(STOP_MS)]);
  await failover.stop();
  monitors.stop();
  await mirror.stop();
  neighbours.stop();
  await api.close();
  datapath.stop();
  log.info({}, 'stopped');
}

function readConfigOrThrow(store: ConfigStore): { config: Config; text: string } {
  const { result, text } = store.read();
  if (result.ok) return { config: result.config, text };
  throw new StartError(result.errors.map(formatConfigError).join('\n'));
}

function readListenerOrThrow(config: Config, unit: UnitName): ListenerFiles | null {
  const { api } = config.units[unit];
  try {
    return api === undefined ? null : readListenerFiles(api, `units.${unit}.api`);
  } catch (error) {
    throw new StartError((error as Error).message);
  }
}

/** Returns the warnings. */
async function checkLinksOrThrow(config: Config, unit: UnitName): Promise<LinkFault[]> {
  const faults = await findLinkFaults(config, unit);
  const errors = faults.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new StartError(errors.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  return faults;
}

function datapathOptions(config: Config, unit: UnitName, sharedState: SharedStateHandle) {
  return {
    kind: config.datapath.device,
    wait: config.datapath.wait,
    devices: unitDevices(config, unit),
    workers: config.datapath.workers,
    connections: config.datapath.connections,
    halfOpen: config.datapath.halfOpen,
    unit: unit === 'a' ? (0 as const) : (1 as const),
    sharedState,
  };
}

function mirrorPaths(ours: UnitConfig['mirror'], theirs: UnitConfig['mirror']) {
  const primary = { local: ours, peer: theirs };
  if (ours.secondary === undefined || theirs.secondary === undefined) return [primary];
  return [primary, { local: ours.secondary, peer: theirs.secondary }];
}

/** The datapath's own words say what is wrong (memory, an interface, a capability). */
function makeDatapath(make: () => Datapath): Datapath {
  try {
    return make();
  } catch (error) {
    throw new StartError(error instanceof Error ? error.message : String(error));
  }
}

/** Before anything else runs, so that a refusal ends the daemon; without a policy the workers forward nothing. */
function startDatapath(datapath: Datapath, config: Config, log: Logger): void {
  let started: StartReport;
  try {
    started = datapath.start();
  } catch (error) {
    throw new StartError(error instanceof Error ? error.message : String(error));
  }
  const { devices, workers } = started;
  const chosen = devices.map(({ device, mode, reason }) => `${device}: ${mode} (${reason})`);
  log.info({ devices, workers }, `frames go through ${chosen.join('; ')}`);
  const wanted = config.datapath.workers;
  if (workers < wanted) {
    const why = 'with XDP each needs a receive queue of every interface (ethtool -L INTERFACE combined N)';
    log.warn({ wanted, workers }, `${workers} of ${wanted} workers run: ${why}`);
  }
}

/** A config's text is not written into the log. */
function logged(asked: object): object {
  return 'text' in asked ? { ...asked, text: `${String(asked.text).length} characters` } : asked;
}

function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
