/** The network of one contender: generator, unit and sink, each in a namespace of its own, joined by veths. */

import { ipBatch, namespaceExists, run, runInside } from '../support/lab/namespaces.js';

export const macs = {
  generator: '02:00:00:00:00:01',
  client: '02:00:00:00:00:02',
  server: '02:00:00:00:00:03',
  sink: '02:00:00:00:00:04',
} as const;
export const virtualAddress = '10.1.0.100';
export const members = Array.from({ length: 8 }, (_, index) => `10.2.0.${11 + index}`);
/** Enough ports for a million connections: 8 members, and half of the ports of each address are a unit's. */
export const snatAddresses = Array.from({ length: 5 }, (_, index) => `10.2.1.${1 + index}`);

export interface Network {
  readonly generator: string;
  readonly unit: string;
  readonly sink: string;
  down(): void;
}

/** Namespaces bench-NAME-gen, -unit, -sink. The unit's interfaces are `client` and `server`. */
export function makeNetwork(name: string): Network {
  const [generator, unit, sink] = ['gen', 'unit', 'sink'].map((part) => `bench-${name}-${part}`) as [
    string,
    string,
    string,
  ];
  const down = () => {
    for (const each of [generator, unit, sink]) if (namespaceExists(each)) run('ip', ['netns', 'del', each]);
  };
  down();
  try {
    for (const each of [generator, unit, sink]) run('ip', ['netns', 'add', each]);
    ipBatch(null, [
      `link add out netns ${generator} type veth peer name client netns ${unit}`,
      `link add server netns ${unit} type veth peer name in netns ${sink}`,
      // Holds the generator's program, see wire.cc.
      `link add idle netns ${generator} type veth peer name idle-peer netns ${generator}`,
    ]);
    ipBatch(generator, [`link set out address ${macs.generator} up`, 'link set idle up', 'link set idle-peer up']);
    // IPv6 off: nothing but the generator's frames may move.
    runInside(unit, 'sysctl', [
      '-qw',
      ...['all', 'default', 'client', 'server'].map((device) => `net.ipv4.conf.${device}.rp_filter=0`),
      'net.ipv4.ip_forward=1',
      'net.ipv6.conf.all.disable_ipv6=1',
    ]);
    ipBatch(unit, [
      `link set client address ${macs.client} up`,
      `link set server address ${macs.server} up`,
      'addr add 10.1.0.2/24 dev client',
      'addr add 10.2.0.2/16 dev server',
      ...members.map((member) => `neigh replace ${member} lladdr ${macs.sink} dev server nud permanent`),
    ]);
    ipBatch(sink, [`link set in address ${macs.sink} up`]);
    // A veth takes redirected frames only while its peer runs NAPI; offloads would leave checksums to nobody.
    runInside(unit, 'ethtool', ['-K', 'client', 'gro', 'on']);
    runInside(unit, 'ethtool', ['-K', 'server', 'tx', 'off']);
    runInside(sink, 'ethtool', ['-K', 'in', 'gro', 'on']);
  } catch (error) {
    down();
    throw error;
  }
  return { generator, unit, sink, down };
}
