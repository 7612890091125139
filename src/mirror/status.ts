/** What `tandem show mirror` and the metrics are told about the mirror channel. */

import type { UnitName } from '../config/model.js';
import { inSync } from './agreement.js';
import type { FaultName } from './codec.js';
import type { GroupRole } from './messages.js';
import type { Agreements, Counters, InSync, Millis, State } from './state.js';

/** `unpaired`: nothing is mirrored until the units are paired, or the config asks for plaintext. */
export type MirrorSecurity = 'tls' | 'plaintext' | 'unpaired';

export interface PathStatus {
  readonly name: 'primary' | 'secondary';
  /** The peer's address of it. */
  readonly peer: string;
  readonly state: 'down' | 'dialling' | 'greeting' | 'standing by' | 'in use';
}

export interface MirrorStatus {
  /** `open`: the hello was exchanged. */
  readonly link: 'stopped' | 'waiting' | 'dialling' | 'greeting' | 'open';
  readonly peer: {
    readonly unit: UnitName;
    readonly bootId: string;
    readonly version: number;
    readonly groups: readonly GroupRole[];
  } | null;
  readonly inSync: InSync;
  /** Age of the oldest unacked batch, 0 when all is acked. */
  readonly lagMs: Millis;
  /** From taking a batch to its ack, the last time. */
  readonly lastAckMs: Millis | null;
  readonly queueBytes: number;
  readonly queueBatches: number;
  readonly sequence: number;
  readonly generation: number;
  /** Our bulk, and the peer's. */
  readonly bulk: {
    readonly phase: 'none' | 'running' | 'ended' | 'acked';
    readonly announced: number;
    /** Since it began, or as long as it took. */
    readonly forMs: Millis;
  };
  readonly peerBulk: { readonly phase: 'none' | 'announcing' | 'announced' | 'dropping' | 'complete' };
  /** What comparing digests has shown, by virtual server. */
  readonly agreements: Agreements;
  readonly counters: Counters;
  /** Connections of the channel closed because of what they said, by reason. */
  readonly faults: Readonly<Partial<Record<FaultName, number>>>;
  /** Connections turned away before their hello: not the peer's address or certificate, or not its hello. */
  readonly strangers: number;
  readonly security: MirrorSecurity;
  readonly paths: readonly PathStatus[];
  /** Times that the channel moved to another path. */
  readonly switches: number;
}

/** What the channel's owner knows of its connections. */
export type ConnectionStatus = Pick<MirrorStatus, 'strangers' | 'security' | 'paths' | 'switches'>;

export function statusOf(state: State, announced: number, connections: ConnectionStatus, now: Millis): MirrorStatus {
  const { link, generation, agreements, counters, faults } = state;
  const common = { link: link.name, inSync: inSync(state), generation, agreements, counters, faults, ...connections };
  if (link.name !== 'open') {
    return {
      ...common,
      peer: null,
      lagMs: 0,
      lastAckMs: null,
      queueBytes: 0,
      queueBatches: 0,
      sequence: 0,
      bulk: { phase: 'none', announced: 0, forMs: 0 },
      peerBulk: { phase: 'none' },
    };
  }
  const { send, receive, peer, version } = link;
  const oldest = send.unacked[0];
  return {
    ...common,
    peer: { unit: peer.unit, bootId: peer.bootId, version, groups: peer.groups },
    lagMs: oldest === undefined ? 0 : now - oldest.takenAt,
    lastAckMs: send.lastAckMs,
    queueBytes: send.unackedBytes,
    queueBatches: send.unacked.length,
    sequence: send.sequence,
    bulk: { phase: send.bulk, announced, forMs: (send.bulkEndedAt ?? now) - send.bulkBeganAt },
    peerBulk: { phase: receive.phase },
  };
}
