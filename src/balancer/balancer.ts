/**
 * The balancer: one unit's parts brought together. It decides what the datapath's policy is, what the failover
 * process must know, and what the mirror channel is told, and answers the operator (`Control`).
 *
 *   monitors, neighbours, config ──► policy ──► datapath
 *   mirror in sync ──► condition ──► failover process ──► roles ──► mirror channel
 *
 * It owns no socket and no timer; its parts come as ports, so a test can be the world.
 */

import type {
  ApplyRequest,
  ApplyResult,
  BusiestConnections,
  ConnectionRow,
  ConnectionsPage,
  ConnectionsQuery,
  Control,
  Costs,
  CountersStatus,
  FailoverStatus,
  MemberChanged,
  MemberOverride,
  MirrorStatus,
  PoolStatus,
  ReloadResult,
  StandbyResult,
  Status,
  Survival,
  TrafficGroupStatus,
  VirtualServerChange,
  VirtualServerChanged,
  VirtualServerStatus,
} from '../api.js';
import { ControlError } from '../api.js';
import { diffConfigs, formatRestartChange } from '../config/diff.js';
import type {
  Config,
  ConfigRefusal,
  MemberConfig,
  PoolConfig,
  UnitName,
  VirtualServerConfig,
} from '../config/model.js';
import { buildPolicy, memberKey, policyMirror } from '../config/policy.js';
import type { PolicyDescription } from '../datapath.js';
import { failoverConfiguration } from '../failover/configuration.js';
import type { RoleReport } from '../failover/messages.js';
import type { Hello } from '../mirror/messages.js';
import { VERSION_NACK } from '../mirror/state.js';
import { formatEndpoint } from '../wire/ip_address.js';
import { Changes } from './changes.js';
import { checkConfig } from './config_check.js';
import { Groups } from './groups.js';
import { channelState, mirrorView } from './mirror_view.js';
import type { ConfigChange, Ports } from './ports.js';
import { survivalOf } from './survival.js';
import {
  configNames,
  counterViews,
  linkViews,
  type MemberHealth,
  noCommits,
  peerDifferences,
  poolViews,
  virtualServerViews,
  warnings,
} from './views.js';

const HOLDS = 'until reload or restart';

export interface Identity {
  readonly unit: UnitName;
  readonly version: string;
  readonly pid: number;
  readonly configFile: string;
}

export class Balancer implements Control {
  readonly #identity: Identity;
  readonly #ports: Ports;
  readonly #groups: Groups;
  readonly #startedAt: Date;
  #config: Config;
  #configLoadedAt: Date;
  readonly #changes = new Changes();
  /** In force. */
  #policy: PolicyDescription | null = null;
  #policyQueued = false;
  #peer: Hello | null = null;
  #connectedSince: Date | null = null;
  #channelError: string | null = null;

  constructor(identity: Identity, config: Config, ports: Ports) {
    this.#identity = identity;
    this.#config = config;
    this.#ports = ports;
    this.#startedAt = ports.clock.now();
    this.#configLoadedAt = this.#startedAt;
    this.#groups = new Groups(config, identity.unit, ports);
  }

  /** The parts are running; gives each what it needs from the others. */
  start(): void {
    this.#setPolicy();
    this.#ports.mirror.updateDictionary();
    this.#ports.failover.configure(failoverConfiguration(this.#config, this.#identity.unit));
    this.#tellConditions();
  }

  /** In force now. */
  get config(): Config {
    return this.#config;
  }

  // ---------------------------------------------------------------------------------------- news of the parts

  onMember(): void {
    this.#queuePolicy();
    this.#tellConditions();
  }

  onNextHops(): void {
    // A member may have come to another device, and automap chooses by device.
    this.#queuePolicy();
  }

  onRole(report: RoleReport): void {
    this.#groups.onRole(report);
    this.#ports.mirror.updateRoles();
    this.#tellConditions();
  }

  onFailoverGone(): void {
    this.#groups.onFailoverGone();
    this.#ports.mirror.updateRoles();
  }

  /** The peer said hello, or changed a role since. */
  onPeer(peer: Hello): void {
    this.#connectedSince ??= this.#ports.clock.now();
    this.#setPeer(peer);
  }

  /** `byPeer`: its kernel ended the mirror channel, so its daemon has died or is stopping. */
  onPeerGone(reason: string, byPeer: boolean): void {
    if (byPeer) this.#groups.peerClosed();
    this.#connectedSince = null;
    this.#channelError = reason;
    this.#setPeer(null);
  }

  onInSync(): void {
    this.#tellConditions();
  }

  /** The peer hands a traffic group over. Returns why not, or null. */
  onHandOverAsked(trafficGroup: string, term: number, forced: boolean): string | null {
    return this.#groups.takeOver(trafficGroup, term, forced);
  }

  // -------------------------------------------------------------------------------------------------- Control

  async status(): Promise<Status> {
    const { datapath, failover, mirror, neighbours } = this.#ports;
    const config = this.#ports.configSync.status();
    const servers = this.#virtualServers();
    const pools = this.#pools();
    const groups = this.#groups.status();
    const links = linkViews(neighbours.links());
    const members = pools.flatMap((pool) => pool.members);
    const differences = this.#peer === null ? [] : peerDifferences(configNames(this.#config), this.#peer.config);
    return {
      version: this.#identity.version,
      unit: this.#identity.unit,
      pid: this.#identity.pid,
      configFile: this.#identity.configFile,
      startedAt: this.#startedAt.toISOString(),
      configLoadedAt: this.#configLoadedAt.toISOString(),
      config,
      trafficGroups: groups.map(({ name, role, term }) => ({ name, role, term })),
      links,
      workers: this.#config.datapath.workers,
      table: datapath.tableCounts(),
      mirror: { channel: channelState(mirror.status()), inSync: mirror.inSync.self && mirror.inSync.peer },
      failoverPid: failover.pid,
      virtualServers: { total: servers.length, available: servers.filter(({ membersUp }) => membersUp > 0).length },
      members: { total: members.length, up: members.filter(({ state }) => state === 'up').length },
      warnings: [
        ...warnings(groups, servers, links, {
          present: this.#peer !== null,
          confirms: (mirror.status().peer?.version ?? 0) >= VERSION_NACK,
          differences,
        }),
        ...config.warnings,
      ],
    };
  }

  async virtualServers(): Promise<VirtualServerStatus[]> {
    return this.#virtualServers();
  }

  async virtualServer(name: string): Promise<VirtualServerStatus> {
    this.#knownVirtualServer(name);
    return this.#virtualServers().find((server) => server.name === name)!;
  }

  async pools(): Promise<PoolStatus[]> {
    return this.#pools();
  }

  async pool(name: string): Promise<PoolStatus> {
    this.#knownPool(name);
    return this.#pools().find((pool) => pool.name === name)!;
  }

  async connections(query: ConnectionsQuery): Promise<ConnectionsPage> {
    const { virtualServer, client = null, member = null, cursor, limit } = query;
    if (virtualServer !== null) this.#knownVirtualServer(virtualServer);
    const { datapath } = this.#ports;
    const { rows, next } = datapath.connections(cursor, limit, virtualServer, client, member);
    return { rows: rows.map((row) => this.#shown(row)), next, used: datapath.tableCounts().used };
  }

  async busiest(limit: number): Promise<BusiestConnections> {
    const { clock, datapath, sampleTraffic } = this.#ports;
    const { forMs, seen, connections } = await sampleTraffic();
    const rows: BusiestConnections['rows'][number][] = [];
    for (const { slot, id, packets, bytes } of connections) {
      if (rows.length === limit) break;
      const [row] = datapath.connections(slot, 1, null).rows;
      if (row?.id !== id) continue;
      const perS = 1_000 / (forMs * seen);
      rows.push({ ...this.#shown(row), packetsPerS: packets * perS, bytesPerS: bytes * perS });
    }
    return { at: clock.now().toISOString(), forMs, seen, rows };
  }

  /** What was told to a peer that is gone is held by nobody. */
  #shown(row: ConnectionRow): ConnectionRow {
    return this.#peer === null ? { ...row, mirrored: false } : row;
  }

  async survival(): Promise<Survival> {
    const { clock, datapath, mirror } = this.#ports;
    return survivalOf({
      at: clock.now().toISOString(),
      servers: this.#virtualServers(),
      told: datapath.digests('told'),
      channel: mirror.status(),
    });
  }

  async costs(): Promise<Costs | null> {
    return this.#ports.costs();
  }

  async mirror(): Promise<MirrorStatus> {
    const counts = new Map(this.#ports.datapath.virtualServerCounts().map(({ name, commit }) => [name, commit]));
    const virtualServers = this.#config.virtualServers.map((server) => {
      const { name } = server;
      return { name, mode: this.#changes.standing(server).mirror, commit: counts.get(name) ?? noCommits };
    });
    const peer = this.#config.units[this.#identity.unit === 'a' ? 'b' : 'a'].mirror;
    const history = {
      peerAddress: formatEndpoint(peer.address, peer.port),
      connectedSince: this.#connectedSince,
      lastError: this.#channelError,
    };
    const { datapath } = this.#ports;
    const measured = { latency: datapath.commitLatency(), connections: datapath.tableCounts().used };
    return mirrorView(this.#ports.mirror.status(), history, virtualServers, measured);
  }

  async failover(): Promise<FailoverStatus> {
    const { configSync, failover } = this.#ports;
    return {
      unit: this.#identity.unit,
      failoverPid: failover.pid,
      config: configSync.status(),
      advertLateness: failover.lateness,
      trafficGroups: this.#groups.status(),
    };
  }

  async counters(): Promise<CountersStatus> {
    const { datapath, dropNames, countNames } = this.#ports;
    const values = new BigUint64Array(dropNames.length + countNames.length);
    datapath.readCounters(values);
    return counterViews(dropNames, countNames, values);
  }

  async reload(): Promise<ReloadResult> {
    const { configSync, log, readConfig } = this.#ports;
    if (configSync.busy) {
      const mend = 'it changes the file itself; reload when it is done';
      throw new ControlError('refused', 'apply_in_progress', 'a config is being applied', mend);
    }
    const { result, text } = await readConfig();
    if (!result.ok) {
      const count = result.errors.length;
      throw new ControlError(
        'refused',
        'config_invalid',
        `${this.#identity.configFile} has ${count === 1 ? 'an error' : `${count} errors`}; the config in force stays`,
        'mend the file (tandem check shows the same errors) and reload again',
        result.errors,
      );
    }
    const { changes, needRestart } = diffConfigs(this.#config, result.config, this.#identity.unit);
    if (needRestart.length > 0) {
      throw new ControlError(
        'refused',
        'needs_restart',
        `cannot be changed while the unit runs: ${needRestart.map(formatRestartChange).join('; ')}`,
        'hand over with tandem standby and restart this unit, or undo these changes; nothing was changed',
      );
    }
    await this.#putInForce(result.config);
    configSync.reloaded(text);
    log.info({ changes }, 'config reloaded');
    return { changes, loadedAt: this.#configLoadedAt.toISOString() };
  }

  async apply(request: ApplyRequest): Promise<ApplyResult> {
    return this.#ports.configSync.apply(request);
  }

  /** Whether this unit could run a text, whoever asks; changes nothing. */
  async checkConfig(text: string, file: string): Promise<ConfigChange | ConfigRefusal> {
    const before = this.#config;
    const checked = await checkConfig(text, file, before, this.#identity.unit, this.#ports.checkLinks);
    if ('code' in checked) return checked;
    return {
      changes: checked.changes,
      putInForce: () => this.#putInForce(checked.config),
      takeBack: () => this.#putInForce(before),
    };
  }

  async standby(trafficGroup: string | null, force: boolean): Promise<StandbyResult> {
    return this.#groups.standby(trafficGroup, force);
  }

  async releaseStandby(trafficGroup: string | null): Promise<StandbyResult> {
    return this.#groups.release(trafficGroup);
  }

  async setVirtualServer(name: string, change: VirtualServerChange): Promise<VirtualServerChanged> {
    const server = this.#knownVirtualServer(name);
    const was = this.#changes.standing(server);
    this.#changes.changeServer(server, change);
    const now = this.#changes.standing(server);
    if (was.enabled !== now.enabled) this.#setPolicy();
    if (was.mirror !== now.mirror) {
      this.#ports.datapath.setMirror(name, policyMirror(server, now.mirror));
      // Connections that are open already are announced, or no longer are.
      this.#ports.mirror.resync();
      this.#tellConditions();
    }
    return { name, was, now, holds: HOLDS };
  }

  async setMember(poolName: string, address: string, port: number, state: MemberOverride): Promise<MemberChanged> {
    const pool = this.#knownPool(poolName);
    const member = pool.members.find((each) => each.address === address && each.port === port);
    if (member === undefined) {
      const members = pool.members.map((each) => formatEndpoint(each.address, each.port));
      throw new ControlError(
        'not_found',
        'unknown_member',
        `pool ${poolName} has no member ${formatEndpoint(address, port)}`,
        `there are: ${members.join(', ')}`,
      );
    }
    const was = this.#changes.memberOverride(poolName, member);
    this.#changes.changeMember(poolName, member, state);
    this.#setPolicy();
    this.#tellConditions();
    return { pool: poolName, address, port, was, now: state, holds: HOLDS };
  }

  // -------------------------------------------------------------------------------------------------- inside

  async #putInForce(config: Config): Promise<void> {
    const { clock, failover, mirror, monitors, neighbours } = this.#ports;
    this.#config = config;
    this.#configLoadedAt = clock.now();
    this.#changes.forget();
    this.#groups.reconfigure(config);
    await neighbours.update(config.pools.flatMap(({ members }) => members));
    monitors.update(config.pools);
    this.#setPolicy();
    mirror.updateDictionary();
    failover.configure(failoverConfiguration(config, this.#identity.unit));
    this.#tellConditions();
  }

  #setPeer(peer: Hello | null): void {
    this.#peer = peer;
    this.#groups.setPeer(peer);
    this.#tellConditions();
  }

  /** Changes come in bursts (a monitor's round, a link that comes up): one policy for all of them. */
  #queuePolicy(): void {
    if (this.#policyQueued) return;
    this.#policyQueued = true;
    this.#ports.clock.soon(() => {
      this.#policyQueued = false;
      this.#setPolicy();
    });
  }

  #setPolicy(): void {
    const { datapath, monitors, neighbours } = this.#ports;
    const memberStates = new Map<string, 'up' | 'down'>();
    for (const { pool, address, port, health } of monitors.states()) {
      if (health !== 'unknown') memberStates.set(memberKey(pool, address, port), health);
    }
    const memberDevices = new Map<string, number>();
    // A new member is scheduled once its MAC address is known: a SYN that is dropped costs its client a second.
    for (const { address, device, mac } of neighbours.status()) {
      if (device !== null && mac !== null) memberDevices.set(address, device);
    }
    const { mirrorOverrides, disabled } = this.#changes;
    const inputs = { memberStates, memberDevices, mirrorOverrides, disabled };
    const policy = buildPolicy(this.#changes.over(this.#config), inputs, this.#policy);
    datapath.setPolicy(policy);
    this.#policy = policy;
    datapath.setNextHops(neighbours.nextHops());
  }

  #tellConditions(): void {
    this.#groups.tellConditions((trafficGroup) =>
      this.#config.virtualServers.some(
        (server) => server.trafficGroup === trafficGroup && this.#changes.standing(server).mirror !== 'off',
      ),
    );
  }

  #knownVirtualServer(name: string): VirtualServerConfig {
    const server = this.#config.virtualServers.find((each) => each.name === name);
    if (server !== undefined) return server;
    const names = this.#config.virtualServers.map((each) => each.name);
    throw new ControlError(
      'not_found',
      'unknown_virtual_server',
      `no virtual server '${name}'`,
      `there are: ${names.join(', ')}`,
    );
  }

  #knownPool(name: string): PoolConfig {
    const pool = this.#config.pools.find((each) => each.name === name);
    if (pool !== undefined) return pool;
    const names = this.#config.pools.map((each) => each.name);
    throw new ControlError('not_found', 'unknown_pool', `no pool '${name}'`, `there are: ${names.join(', ')}`);
  }

  #pools(): PoolStatus[] {
    const { datapath, monitors, neighbours } = this.#ports;
    const health = new Map<string, MemberHealth>(
      monitors.states().map((state) => [memberKey(state.pool, state.address, state.port), state]),
    );
    const hops = new Map(neighbours.status().map((hop) => [hop.address, hop]));
    const overrideOf = (pool: string, member: MemberConfig) => this.#changes.memberOverride(pool, member);
    const members = { health, hops, counts: datapath.memberCounts(), overrideOf };
    return poolViews(this.#changes.over(this.#config), members);
  }

  #virtualServers(): VirtualServerStatus[] {
    const roles = new Map<string, TrafficGroupStatus['role']>(
      this.#groups.roles().map(({ name, role }) => [name, role]),
    );
    return virtualServerViews(
      this.#config,
      this.#pools(),
      this.#ports.datapath.virtualServerCounts(),
      (name) => roles.get(name) ?? 'standby',
      (server) => this.#changes.standing(server),
    );
  }
}
