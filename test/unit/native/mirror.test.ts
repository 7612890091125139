/**
 * Goal: what one unit opens, the other holds, by names and not by ids; told when there is something to tell.
 * Method: two datapaths in one process; batches are carried by hand.
 */

import { expect, test } from 'vitest';

import {
  CLIENT,
  CLIENT_DEVICE,
  CLIENT_MAC,
  FLOATING,
  MEMBER,
  MEMBER_MAC,
  MemoryDatapath,
  policy,
  SERVER_DEVICE,
  VIRTUAL_ADDRESS,
  VIRTUAL_MAC,
  virtualServer,
} from '../../support/memory_datapath.js';
import { ipFrame, tcp } from '../../support/packets.js';

function segmentOf(source: string, flags: string, sourcePort: number): Uint8Array {
  return ipFrame(
    { from: CLIENT_MAC, to: VIRTUAL_MAC },
    { source, destination: VIRTUAL_ADDRESS },
    tcp({ sourcePort, destinationPort: 80, flags, acknowledgment: flags === 'S' ? 0 : 1001 }),
  );
}

function segment(flags: string, sourcePort = 40_000) {
  return { atS: 1, device: CLIENT_DEVICE, frame: segmentOf(CLIENT, flags, sourcePort) };
}

function reply(flags: string, snatPort: number, sourcePort = 8080) {
  const frame = ipFrame(
    { from: MEMBER_MAC, to: VIRTUAL_MAC },
    { source: MEMBER, destination: FLOATING },
    tcp({ sourcePort, destinationPort: snatPort, flags }),
  );
  return { atS: 1, device: SERVER_DEVICE, frame };
}

/** Opens one connection through the handshake and gives its SNAT port. */
function connect(unit: MemoryDatapath): number {
  unit.replay([segment('S')]);
  const snatPort = Number(unit.datapath.connections(0, 1, null).rows[0]?.snat.split(':')[1]);
  unit.replay([reply('SA', snatPort), segment('A')]);
  return snatPort;
}

function take(unit: MemoryDatapath): Uint8Array {
  const into = new Uint8Array(65_536);
  const [bytes] = unit.datapath.takeMirror(into);
  return into.subarray(0, bytes);
}

/** Unit a active, unit b standby; b's ids differ from a's, since it has another virtual server first. */
function pair() {
  const a = new MemoryDatapath({ unit: 0 }).activate();
  const b = new MemoryDatapath({ unit: 1 }).activate({
    ...policy,
    virtualServers: [{ ...virtualServer, name: 'first', port: 79 }, virtualServer],
  });
  b.shared.setRole(0, 'standby', 1, 0);
  a.datapath.setMirrorWanted(true);
  b.datapath.setMirrorDictionary(a.datapath.mirrorDictionary());
  return { a, b };
}

test('a connection of the active unit goes on at the standby unit after a takeover', () => {
  const { a, b } = pair();
  const snatPort = connect(a);
  expect(b.datapath.applyMirror(take(a), 1)).toMatchObject({ stale: 0, refusedFull: 0, unknown: 0, malformed: false });
  const [row] = a.datapath.connections(0, 10, null).rows;
  const [idleS, id] = [expect.any(Number) as number, expect.any(String) as string];
  expect(b.datapath.connections(0, 10, 'www').rows).toEqual([{ ...row, id, fromPeer: true, idleS }]);
  b.shared.setRole(0, 'active', 2, Number.POSITIVE_INFINITY);
  expect(b.replay([segment('A'), reply('A', snatPort)]).map(({ verdict }) => verdict)).toEqual(['forward', 'forward']);
});

test('a client goes to the same member after a takeover, as long as its persistence says', () => {
  const others = Array.from({ length: 7 }, (_, index) => ({ ...policy.pools[0]!.members[0]!, port: 8081 + index }));
  const many = {
    ...policy,
    pools: policy.pools.map((pool) => ({ ...pool, members: [...pool.members, ...others] })),
    virtualServers: [{ ...virtualServer, persistence: { prefix4: 32, prefix6: 64, timeoutS: 300 } }],
  };
  const [a, b] = ([0, 1] as const).map((unit) => new MemoryDatapath({ unit }).activate(many)) as [
    MemoryDatapath,
    MemoryDatapath,
  ];
  for (const { datapath } of [a, b]) {
    const hop = { address: MEMBER, device: SERVER_DEVICE, mac: MEMBER_MAC, vlan: 0 };
    datapath.setNextHops(others.map(({ port }) => ({ ...hop, port })));
  }
  b.shared.setRole(0, 'standby', 0, 0);
  a.datapath.setMirrorWanted(true, true);
  b.datapath.setMirrorDictionary(a.datapath.mirrorDictionary());
  // The scheduler's turn is at another member by the time that the client comes.
  a.replay([1, 2, 3].map((last) => ({ ...segment('S'), frame: segmentOf(`10.1.0.${last + 20}`, 'S', 40_000) })));
  a.replay([segment('S')]);
  const opened = a.datapath.connections(0, 10, null).rows.find(({ client }) => client === `${CLIENT}:40000`)!;
  const [, memberPort] = opened.member.split(':');
  a.replay([reply('SA', Number(opened.snat.split(':')[1]), Number(memberPort)), segment('A')]);
  expect(b.datapath.applyMirror(take(a), 1)).toMatchObject({ applied: 2, stale: 0, unknown: 0, malformed: false });
  b.shared.setRole(0, 'active', 2, Number.POSITIVE_INFINITY);
  b.replay([41_000, 42_000, 43_000].map((port) => segment('S', port)));
  const members = b.datapath.connections(0, 10, null).rows.map(({ member }) => member);
  expect(members).toEqual(Array.from({ length: 4 }, () => `${MEMBER}:${memberPort}`));
  expect(b.counters()['persisted']).toBe(3);
});

test('without the peer wanting it, or with mirroring off, nothing is pending', () => {
  const { a } = pair();
  a.datapath.setMirror('www', { mode: 'off' });
  connect(a);
  expect(take(a)).toHaveLength(0);
});

test('a bulk announces what was there before, and what it does not announce is dropped by the peer', () => {
  const { a, b } = pair();
  connect(a);
  b.datapath.applyMirror(take(a), 1);
  expect(b.datapath.tableCounts().used).toBe(1);
  a.datapath.startBulk();
  expect(a.datapath.bulkRunning()).toBe(true);
  for (let turns = 0; a.datapath.bulkRunning() && turns < 100; turns++) b.datapath.applyMirror(take(a), 2);
  expect(a.datapath.bulkAnnounced()).toBe(1);
  expect(b.datapath.dropUnannounced(2, true)).toEqual([true, 0]);
  expect(b.datapath.dropUnannounced(3, true)).toEqual([true, 1]);
  expect(b.datapath.tableCounts().used).toBe(0);
});

test('a virtual server that the peer does not have is refused and counted', () => {
  const { a, b } = pair();
  b.datapath.setPolicy({ ...policy, virtualServers: [] });
  connect(a);
  const counts = b.datapath.applyMirror(take(a), 1);
  expect(counts.unknown).toBeGreaterThan(0);
  expect(b.datapath.tableCounts().used).toBe(0);
  // It comes with a later policy: the dictionary is translated again.
  b.datapath.setPolicy(policy);
  a.datapath.startBulk();
  while (a.datapath.bulkRunning()) b.datapath.applyMirror(take(a), 2);
  expect(b.datapath.tableCounts().used).toBe(1);
});

test('bytes that are no records are called malformed', () => {
  const { b } = pair();
  expect(b.datapath.applyMirror(new Uint8Array(7).fill(0xff), 1)).toMatchObject({ applied: 0, malformed: true });
});

test('whoever waits for a change is called once, and at once when one is pending', async () => {
  const { a } = pair();
  let calls = 0;
  a.datapath.onMirrorPending(() => calls++);
  await turn();
  expect(calls).toBe(0);
  connect(a);
  await turn();
  expect(calls).toBe(1);
  a.replay([segment('S', 40_001)]);
  await turn();
  expect(calls).toBe(1);
  a.datapath.armMirror();
  await turn();
  expect(calls).toBe(2);
});

/** Time for a call from native to arrive. */
const turn = () => new Promise((resolve) => setTimeout(resolve, 50));
