/**
 * The unit's traffic groups: what role each has and had, what the failover process is told about the peer, and
 * the hand-over on purpose. The election itself is the failover process's.
 */

import { ControlError, type StandbyResult, type TrafficGroupStatus } from '../api.js';
import type { Config, TrafficGroupConfig, UnitName } from '../config/model.js';
import type { RoleReport } from '../failover/messages.js';
import type { GroupRole, Hello } from '../mirror/messages.js';
import type { Ports } from './ports.js';

const TRANSITIONS_MAX = 32;

interface Group {
  config: TrafficGroupConfig;
  report: RoleReport | null;
  transitionCount: number;
  /** The peer's bulks completed here when the unit last fell out of step; null: it did not. */
  bulksAtLoss: number | null;
  /** Newest first. */
  transitions: TrafficGroupStatus['transitions'];
}

export class Groups {
  readonly #unit: UnitName;
  readonly #ports: Ports;
  readonly #groups = new Map<string, Group>();
  #peer: Hello | null = null;

  constructor(config: Config, unit: UnitName, ports: Ports) {
    this.#unit = unit;
    this.#ports = ports;
    this.reconfigure(config);
  }

  /** Names stay: a change of the groups themselves needs a restart. */
  reconfigure(config: Config): void {
    for (const group of config.trafficGroups) {
      const known = this.#groups.get(group.name);
      if (known === undefined) {
        this.#groups.set(group.name, {
          config: group,
          report: null,
          transitionCount: 0,
          bulksAtLoss: null,
          transitions: [],
        });
      } else {
        known.config = group;
      }
    }
  }

  roles(): GroupRole[] {
    return [...this.#groups.values()].map(({ config, report }) => {
      return { name: config.name, role: report?.role ?? 'standby', term: report?.term ?? 0 };
    });
  }

  onRole(report: RoleReport): void {
    const group = this.#groups.get(report.group);
    if (group === undefined) return;
    const before = group.report;
    group.report = report;
    // The unit lost its lease or a link while it was active: what the peer does from then on is not in our table, and
    // only its next bulk makes us in sync again. A standby that lost a link missed nothing of the mirror channel.
    if (!report.inSync && before?.role === 'active' && report.role !== 'active')
      group.bulksAtLoss = this.#ports.mirror.status().counters.bulks_received;
    if (before?.role === report.role && before.term === report.term) return;
    const { role, term, reason } = report;
    const silenceMs = report.silenceMs === null ? null : Math.round(10 * report.silenceMs) / 10;
    group.transitionCount += 1;
    const transition = { at: this.#ports.clock.now().toISOString(), role, reason, silenceMs };
    group.transitions = [transition, ...group.transitions].slice(0, TRANSITIONS_MAX);
    const silence = silenceMs === null ? '' : ` after ${silenceMs} ms of silence`;
    this.#ports.log.info(
      { trafficGroup: report.group, role, term, reason, silenceMs },
      `traffic group ${report.group} is ${role}: ${words(reason)}${silence}`,
    );
  }

  /** The failover process died: nobody extends the leases. */
  onFailoverGone(): void {
    for (const group of this.#groups.values()) {
      if (group.report === null) continue;
      this.onRole({ ...group.report, role: 'standby', state: 'initialize', reason: 'lease_lost', silenceMs: null });
    }
  }

  peerClosed(): void {
    for (const name of this.#groups.keys()) this.#ports.failover.peerClosed(name);
  }

  /** The peer as its hello and its later news have it; null: not connected. */
  setPeer(peer: Hello | null): void {
    this.#peer = peer;
    for (const { name, term, role } of peer?.groups ?? []) {
      if (this.#groups.has(name)) this.#ports.failover.termSeen(name, term, role === 'active');
    }
  }

  /** `mirrored`: whether any virtual server of the group is. Without one there is nothing to be in sync with. */
  tellConditions(mirrored: (trafficGroup: string) => boolean): void {
    const { inSync } = this.#ports.mirror;
    const peer = this.#peer;
    const bulks = this.#ports.mirror.status().counters.bulks_received;
    for (const [name, { config, bulksAtLoss }] of this.#groups) {
      const caughtUp = bulksAtLoss === null || bulks > bulksAtLoss;
      this.#ports.failover.condition(name, {
        demotion: this.#demotion(config),
        inSync: !mirrored(name) || (peer !== null && inSync.self && caughtUp),
        peerCanServe: peer !== null && (inSync.peer || !mirrored(name)),
      });
    }
  }

  /** Of pools that are down here: every member, as this unit's monitors see it. */
  #demotion({ demotion: { pools } }: TrafficGroupConfig): number {
    const names = Object.keys(pools);
    if (names.length === 0) return 0;
    const states = this.#ports.monitors.states();
    return names
      .filter((name) => {
        const members = states.filter(({ pool }) => pool === name);
        return members.length > 0 && members.every(({ health }) => health === 'down');
      })
      .reduce((sum, name) => sum + (pools[name] ?? 0), 0);
  }

  // ------------------------------------------------------------------------------------ hand-over on purpose

  async standby(trafficGroup: string | null, force: boolean): Promise<StandbyResult> {
    const outcomes: { name: string; outcome: string }[] = [];
    for (const group of this.#chosen(trafficGroup)) {
      const { name } = group.config;
      outcomes.push({
        name,
        outcome: group.report?.role === 'active' ? await this.#handOver(name, force) : 'was standby already',
      });
    }
    return this.#result(outcomes);
  }

  async release(trafficGroup: string | null): Promise<StandbyResult> {
    const outcomes: { name: string; outcome: string }[] = [];
    for (const { config, report } of this.#chosen(trafficGroup)) {
      this.#ports.failover.release(config.name);
      outcomes.push({ name: config.name, outcome: report?.forcedStandby ? 'released' : 'was not held back' });
    }
    return this.#result(outcomes);
  }

  /**
   * Flush, then hand over: the peer holds every connection before it is asked. This unit stops opening and
   * answering first, so at no moment do both announce; what it forwards meanwhile leaves from its own MAC.
   */
  async #handOver(name: string, force: boolean): Promise<string> {
    const { mirror, failover, log, clock } = this.#ports;
    const peer = this.#peer;
    if (!force && (peer === null || !mirror.inSync.peer)) {
      const why = peer === null ? 'the peer is not connected' : 'the peer does not hold our connections yet';
      throw new ControlError(
        'refused',
        peer === null ? 'peer_not_there' : 'peer_not_in_sync',
        `traffic group ${name} stays here: ${why}`,
        'see tandem show mirror; tandem standby --force hands over all the same and may cut connections',
      );
    }
    const began = clock.monotonicMs();
    if (peer !== null && mirror.inSync.peer) await mirror.flush();
    const handedOver = failover.handOver(name);
    const term = this.#groups.get(name)?.report?.term ?? 0;
    if (peer !== null) {
      try {
        await mirror.requestTakeOver(name, term, force);
      } catch (error) {
        // Priority 0 was sent, so the peer takes over after its skew time unless it cannot serve at all.
        log.warn({ trafficGroup: name, error: String(error) }, 'the peer did not answer the hand-over at once');
      }
    }
    const seen = await handedOver;
    const took = Math.round(clock.monotonicMs() - began);
    return seen ? `handed over in ${took} ms` : `handed over, but the peer was not seen active within ${took} ms`;
  }

  /** The peer asks. Returns why not, or null. */
  takeOver(trafficGroup: string, term: number, forced: boolean): string | null {
    if (!this.#groups.has(trafficGroup)) return `this unit has no traffic group '${trafficGroup}'`;
    if (!forced && !this.#ports.mirror.inSync.self) return 'this unit does not hold the connections yet';
    this.#ports.failover.termSeen(trafficGroup, term, false);
    this.#ports.failover.takeOver(trafficGroup);
    return null;
  }

  #chosen(trafficGroup: string | null): Group[] {
    const all = [...this.#groups.values()];
    if (trafficGroup === null) return all;
    const group = this.#groups.get(trafficGroup);
    if (group !== undefined) return [group];
    const names = [...this.#groups.keys()].join(', ');
    throw new ControlError(
      'not_found',
      'unknown_traffic_group',
      `no traffic group '${trafficGroup}'`,
      `there are: ${names}`,
    );
  }

  #result(outcomes: readonly { readonly name: string; readonly outcome: string }[]): StandbyResult {
    const roles = new Map(this.roles().map(({ name, role }) => [name, role]));
    return {
      trafficGroups: outcomes.map(({ name, outcome }) => ({ name, role: roles.get(name) ?? 'standby', outcome })),
    };
  }

  // ------------------------------------------------------------------------------------------------- shown

  status(): TrafficGroupStatus[] {
    const { sharedState, failover } = this.#ports;
    const now = sharedState.now();
    return [...this.#groups.values()].map(
      ({ config, report, transitionCount, transitions }, index): TrafficGroupStatus => {
        const leaseMs = Number(sharedState.group(index).leaseNs) / 1e6 - now;
        return {
          name: config.name,
          role: report?.role ?? 'standby',
          term: report?.term ?? 0,
          priority: config.priority[this.#unit],
          effectivePriority: report?.effectivePriority ?? config.priority[this.#unit],
          preempt: config.preempt,
          heldBack: heldBack(report),
          leaseMs: Math.max(0, Math.round(leaseMs)),
          virtualRouters: failover.virtualRouters
            .filter(({ group }) => group === config.name)
            .map(
              ({
                link,
                family,
                virtualRouterId,
                state,
                peerAdvertAgeMs,
                peerPriority,
                advertsSent,
                advertsReceived,
                advertsDropped,
              }) => {
                return {
                  link,
                  family,
                  vrid: virtualRouterId,
                  state,
                  peerAdvertAgeMs,
                  peerPriority,
                  advertsSent,
                  advertsReceived,
                  advertsDropped,
                };
              },
            ),
          transitionCount,
          transitions,
        };
      },
    );
  }
}

/** Why the unit does not take the group although its priority might say so. */
function heldBack(report: RoleReport | null): string | null {
  if (report === null || report.role === 'active') return null;
  if (report.state === 'initialize') return `cannot serve: ${words(report.reason)}`;
  if (report.forcedStandby) return 'standby on request (tandem standby --release ends it)';
  if (!report.inSync) return 'not in sync: it does not take over while the peer lives';
  return null;
}

function words(reason: string): string {
  return reason.replaceAll('_', ' ');
}
