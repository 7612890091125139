/** What `tandem status` is told about the config's revision. */

import type { ConfigSyncStatus } from '../api.js';
import { isEdited, nameOf, numberOf, type State } from './state.js';

export function statusOf({ standing, peer, doubt, work, notice }: State): ConfigSyncStatus {
  const peers = peer.name === 'present' ? peer.standing : null;
  return {
    revision: standing.revision,
    digest: standing.digest,
    edited: isEdited(standing),
    peer: peers === null ? null : { ...peers, edited: isEdited(peers) },
    same: peers === null ? null : peers.digest === standing.digest && numberOf(peers) === numberOf(standing),
    inDoubt: doubt,
    applying: work.name !== 'idle',
    warnings: warningsOf({ standing, peer, doubt, work, notice }),
  };
}

function warningsOf({
  standing,
  peer,
  doubt,
  work,
  notice,
}: Pick<State, 'standing' | 'peer' | 'doubt' | 'work' | 'notice'>): string[] {
  const peers = peer.name === 'present' ? peer.standing : null;
  const differ = peers !== null && peers.digest !== standing.digest && work.name === 'idle';
  const edited = [
    ...(isEdited(standing) ? ['this unit'] : []),
    ...(peers !== null && isEdited(peers) ? ['the peer'] : []),
  ];
  const why = edited.length > 0 ? `; changed by hand on ${edited.join(' and ')}` : '';
  return [
    ...(doubt === null
      ? []
      : [
          `config ${nameOf(doubt)} was prepared with the peer and what became of it is not known: this unit keeps ` +
            `what it had until the peer is back`,
        ]),
    ...(differ ? [`the units run different configs${why}: tandem apply FILE on either makes them the same`] : []),
    ...(notice === null ? [] : [notice]),
  ];
}
