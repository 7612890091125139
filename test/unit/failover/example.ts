/** A traffic group on two links in both families, as unit a of a pair has it; tests change what they are about. */

import type { FailoverLink, GroupSettings } from '../../../src/failover/messages.js';

export const clientLink: FailoverLink = {
  name: 'client',
  device: 0,
  interface: 'a-client',
  addresses: ['10.1.0.2', 'fd01::2'],
  peerAddresses: ['10.1.0.3', 'fd01::3'],
  floating: ['10.1.0.1', 'fd01::1'],
  announced: ['10.1.0.100', 'fd01::100'],
};

export const serverLink: FailoverLink = {
  name: 'server',
  device: 1,
  interface: 'a-server',
  addresses: ['10.2.0.2', 'fd02::2'],
  peerAddresses: ['10.2.0.3', 'fd02::3'],
  floating: ['10.2.0.1', 'fd02::1'],
  announced: [],
};

export function group(changes: Partial<GroupSettings> = {}): GroupSettings {
  return {
    index: 0,
    name: 'main',
    virtualRouterId: 51,
    priority: 150,
    preempt: true,
    preemptDelayMs: 0,
    advertIntervalMs: 100,
    notInSyncDemotion: 100,
    checksum: 'pseudo-header',
    links: [clientLink, serverLink],
    ...changes,
  };
}

/** The same group as the other unit has it. */
export function peerOf(settings: GroupSettings, priority: number): GroupSettings {
  const links = settings.links.map((link) => ({
    ...link,
    interface: link.interface.replace('a-', 'b-'),
    addresses: link.peerAddresses,
    peerAddresses: link.addresses,
  }));
  return { ...settings, priority, links };
}
