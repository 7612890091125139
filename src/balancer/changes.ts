/**
 * What an operator changed since the config was read: virtual servers enabled and mirrored, members up, draining or
 * down. It lies over the config and is forgotten with the next one. Pure: the balancer puts it in force.
 */

import type { MemberOverride, VirtualServerChange } from '../api.js';
import { ControlError } from '../api.js';
import type { Config, MemberConfig, MirrorMode, PoolConfig, VirtualServerConfig } from '../config/model.js';
import { memberKey } from '../config/policy.js';
import { formatEndpoint } from '../wire/ip_address.js';

/** Of a virtual server, in force. */
export interface Standing {
  readonly enabled: boolean;
  readonly mirror: MirrorMode;
}

export class Changes {
  readonly #mirror = new Map<string, MirrorMode>();
  readonly #disabled = new Set<string>();
  readonly #members = new Map<string, MemberOverride>();

  forget(): void {
    this.#mirror.clear();
    this.#disabled.clear();
    this.#members.clear();
  }

  get mirrorOverrides(): ReadonlyMap<string, MirrorMode> {
    return this.#mirror;
  }

  get disabled(): ReadonlySet<string> {
    return this.#disabled;
  }

  standing(server: VirtualServerConfig): Standing {
    const mirror = this.#mirror.get(server.name) ?? server.mirror.mode;
    return { enabled: !this.#disabled.has(server.name), mirror };
  }

  /** Refused whole, changing nothing. */
  changeServer(server: VirtualServerConfig, { enabled, mirror }: VirtualServerChange): void {
    if (mirror !== undefined) checkMirror(server, mirror);
    if (mirror !== undefined) this.#mirror.set(server.name, mirror);
    if (enabled === true) this.#disabled.delete(server.name);
    if (enabled === false) this.#disabled.add(server.name);
  }

  memberOverride(pool: string, { address, port }: Pick<MemberConfig, 'address' | 'port'>): MemberOverride | null {
    return this.#members.get(memberKey(pool, address, port)) ?? null;
  }

  changeMember(pool: string, { address, port, weight }: MemberConfig, state: MemberOverride): void {
    if (state === 'up' && weight === 0) {
      throw new ControlError(
        'refused',
        'weight_zero',
        `member ${formatEndpoint(address, port)} of pool ${pool} has weight 0 in the config, so it drains`,
        'give it a weight in the config and reload',
        [],
        'state',
      );
    }
    this.#members.set(memberKey(pool, address, port), state);
  }

  /** The config with the members' states as they are in force. */
  over(config: Config): Config {
    if (this.#members.size === 0) return config;
    return { ...config, pools: config.pools.map((pool) => this.#overPool(pool)) };
  }

  #overPool(pool: PoolConfig): PoolConfig {
    const members = pool.members.map((member) => {
      const override = this.memberOverride(pool.name, member);
      return override === null ? member : { ...member, state: STATE_OF[override] };
    });
    return { ...pool, members };
  }
}

const STATE_OF = { up: 'enabled', draining: 'draining', down: 'down' } as const;

function checkMirror({ name, protocol, mirror }: VirtualServerConfig, mode: MirrorMode): void {
  if (protocol !== 'udp' || mode === 'off' || (mode === 'async' && mirror.after !== null)) return;
  throw new ControlError(
    'refused',
    'udp_not_mirrored',
    `virtual server '${name}' is UDP, which is mirrored only when its connections live longer`,
    'write mirror: { mode: async, after: { ageS: 1 } } in the config',
    [],
    'mirror',
  );
}
