/** Golden cases in which members go down, drain, come up or leave the config between two packets. */

import {
  type Case,
  CLIENT_PORT,
  client,
  member,
  query,
  reply,
  SNAT,
  type Step,
  syn,
  toClient,
  toServer,
} from './network.js';

function opened(virtual: string, memberAddress: string, floating: string): Step[] {
  return [
    { frame: client(virtual, syn), verdict: toServer },
    { frame: member(memberAddress, floating, { flags: 'SA' }), verdict: toClient },
    { frame: client(virtual, { flags: 'A', sequence: 1001, acknowledgment: 5001 }), verdict: toServer },
  ];
}

const openedResetting = opened('10.1.0.131', '10.2.0.11', '10.2.0.1');
const openedReselecting = opened('10.1.0.132', '10.2.0.11', '10.2.0.1');
const data = { flags: 'PA', sequence: 1001, acknowledgment: 5001, payload: 'GET / HTTP/1.0' } as const;
const answer = { flags: 'PA', sequence: 5001, acknowledgment: 1001, payload: 'HTTP/1.0 200 OK' } as const;
const resettingDown = { 'resetting 10.2.0.11': 'down' } as const;
const reselectingDown = { 'reselecting 10.2.0.11': 'down' } as const;

export const changingCases: readonly Case[] = [
  // ---- keep
  {
    name: 'down_keep',
    sentence: 'keep: a connection whose member is down goes on both ways, and a new one goes to .12',
    steps: [
      ...opened('10.1.0.100', '10.2.0.11', '10.2.0.1'),
      { frame: client('10.1.0.100', data), verdict: toServer, states: { 'web 10.2.0.11': 'down' } },
      { frame: member('10.2.0.11', '10.2.0.1', answer), verdict: toClient },
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_001 }), verdict: toServer },
      { frame: client('10.1.0.100', { ...syn, sourcePort: 40_002 }), verdict: toServer },
    ],
  },
  // ---- reset
  {
    name: 'down_reset_client',
    sentence: 'reset: the client is answered with a RST at its next packet, and its connection is gone',
    steps: [
      ...openedResetting,
      { frame: client('10.1.0.131', data), verdict: toClient, states: resettingDown },
      { frame: client('10.1.0.131', data), verdict: 'drop unknown' },
      { frame: member('10.2.0.11', '10.2.0.1', answer), verdict: 'drop unknown_return' },
    ],
  },
  {
    name: 'down_reset_member',
    sentence: 'reset: a member that is down and sends all the same is answered so, too',
    steps: [
      ...openedResetting,
      { frame: member('10.2.0.11', '10.2.0.1', answer), verdict: toServer, states: resettingDown },
      { frame: client('10.1.0.131', data), verdict: 'drop unknown' },
    ],
  },
  {
    name: 'down_reset_syn',
    sentence: 'reset: a SYN that is sent again is refused, and the one after that opens at .12',
    steps: [
      { frame: client('10.1.0.131', syn), verdict: toServer },
      { frame: client('10.1.0.131', syn), verdict: toClient, states: resettingDown },
      { frame: client('10.1.0.131', syn), verdict: toServer },
    ],
  },
  {
    name: 'down_reset_fin',
    sentence: 'reset: a FIN is answered, too; the RST has the sequence number that the FIN acknowledges',
    steps: [
      ...openedResetting,
      {
        frame: client('10.1.0.131', { flags: 'FA', sequence: 1001, acknowledgment: 5001 }),
        verdict: toClient,
        states: resettingDown,
      },
    ],
  },
  {
    name: 'down_reset_of_reset',
    sentence: 'reset: a RST is answered by nobody: it goes on to the member',
    steps: [
      ...openedResetting,
      { frame: client('10.1.0.131', { flags: 'R', sequence: 1001 }), verdict: toServer, states: resettingDown },
      { frame: client('10.1.0.131', data), verdict: toClient },
    ],
  },
  {
    name: 'down_reset_udp',
    sentence: 'reset: UDP is closed with its packet, and the next one opens at .12',
    steps: [
      { frame: query('10.1.0.131'), verdict: toServer },
      { frame: query('10.1.0.131'), verdict: 'drop member_down', states: { 'resetting-dns 10.2.0.11': 'down' } },
      { frame: query('10.1.0.131'), verdict: toServer },
    ],
  },
  {
    name: 'down_reset_ipv6',
    sentence: 'reset: the same over IPv6',
    steps: [
      ...opened('fd01::131', 'fd02::11', 'fd02::1'),
      { frame: client('fd01::131', data), verdict: toClient, states: { 'resetting6 fd02::11': 'down' } },
      { frame: client('fd01::131', data), verdict: 'drop unknown' },
    ],
  },
  {
    name: 'down_reset_vlan',
    sentence: 'reset: the RST goes back with the tag that the packet came with',
    steps: [
      { frame: client('10.1.0.131', syn, { vlan: [7] }), verdict: toServer },
      { frame: client('10.1.0.131', data, { vlan: [7] }), verdict: toClient, states: resettingDown },
    ],
  },
  {
    name: 'down_reset_others',
    sentence: 'reset: connections of members that are up, and of the same member in another pool, go on',
    steps: [
      ...openedResetting,
      { frame: client('10.1.0.131', { ...syn, sourcePort: 40_001 }), verdict: toServer },
      { frame: client('10.1.0.132', { ...syn, sourcePort: 40_002 }), verdict: toServer },
      { frame: client('10.1.0.131', { ...syn, sourcePort: 40_001 }), verdict: toServer, states: resettingDown },
      { frame: client('10.1.0.132', { ...syn, sourcePort: 40_002 }), verdict: toServer },
      { frame: client('10.1.0.131', data), verdict: toClient },
    ],
  },
  {
    name: 'down_and_up_again',
    sentence: 'reset: who was silent while its member was down has lost nothing',
    steps: [
      ...openedResetting,
      {
        frame: client('10.1.0.131', { ...syn, sourcePort: 40_001 }),
        verdict: toServer,
        states: resettingDown,
      },
      { frame: client('10.1.0.131', data), verdict: toServer, states: { 'resetting 10.2.0.11': 'up' } },
      { frame: member('10.2.0.11', '10.2.0.1', answer), verdict: toClient },
    ],
  },
  {
    name: 'draining_is_not_down',
    sentence: 'reset: connections of a draining member go on, new ones go to .12',
    steps: [
      ...openedResetting,
      { frame: client('10.1.0.131', data), verdict: toServer, states: { 'resetting 10.2.0.11': 'draining' } },
      { frame: member('10.2.0.11', '10.2.0.1', answer), verdict: toClient },
      { frame: client('10.1.0.131', { ...syn, sourcePort: 40_001 }), verdict: toServer },
      { frame: client('10.1.0.131', { ...syn, sourcePort: 40_002 }), verdict: toServer },
    ],
  },
  {
    name: 'removed_is_not_down',
    sentence: 'reset: connections of a member that the config no longer has go on, even if it was down before',
    steps: [
      ...openedResetting,
      { frame: client('10.1.0.131', { ...syn, sourcePort: 40_001 }), verdict: toServer, states: resettingDown },
      { frame: client('10.1.0.131', data), verdict: toServer, states: { 'resetting 10.2.0.11': 'gone' } },
      { frame: member('10.2.0.11', '10.2.0.1', answer), verdict: toClient },
    ],
  },
  // ---- reselect
  {
    name: 'down_reselect_syn',
    sentence: 'reselect: a SYN that is sent again goes to .12, whose answer the client gets',
    steps: [
      { frame: client('10.1.0.132', syn), verdict: toServer },
      { frame: client('10.1.0.132', syn), verdict: toServer, states: reselectingDown },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'SA' }), verdict: toClient },
      { frame: member('10.2.0.11', '10.2.0.1', { flags: 'SA' }), verdict: 'drop unknown_return' },
    ],
  },
  {
    name: 'down_reselect_established',
    sentence: 'reselect: an established connection is adopted by .12 with the packet that finds .11 down',
    steps: [
      ...openedReselecting,
      { frame: client('10.1.0.132', data), verdict: toServer, states: reselectingDown },
      { frame: member('10.2.0.12', '10.2.0.1', answer), verdict: toClient },
      { frame: client('10.1.0.132', { ...data, sequence: 1015 }), verdict: toServer },
    ],
  },
  {
    name: 'down_reselect_member',
    sentence: 'reselect: what the member still sends goes on until the client has moved',
    steps: [
      ...openedReselecting,
      { frame: member('10.2.0.11', '10.2.0.1', answer), verdict: toClient, states: reselectingDown },
      { frame: client('10.1.0.132', data), verdict: toServer },
      { frame: member('10.2.0.11', '10.2.0.1', answer), verdict: 'drop unknown_return' },
    ],
  },
  {
    name: 'down_reselect_udp',
    sentence: 'reselect: the next datagram of the client goes to .12, whose reply comes back',
    steps: [
      { frame: query('10.1.0.132'), verdict: toServer },
      { frame: query('10.1.0.132'), verdict: toServer, states: { 'reselecting-dns 10.2.0.11': 'down' } },
      { frame: reply('10.2.0.12', '10.2.0.1'), verdict: toClient },
    ],
  },
  {
    name: 'down_reselect_ipv6',
    sentence: 'reselect: the same over IPv6, from ::11 to ::12',
    steps: [
      ...opened('fd01::132', 'fd02::11', 'fd02::1'),
      { frame: client('fd01::132', data), verdict: toServer, states: { 'reselecting6 fd02::11': 'down' } },
      { frame: member('fd02::12', 'fd02::1', answer), verdict: toClient },
    ],
  },
  {
    name: 'down_reselect_nobody',
    sentence: 'reselect: with no other member the connection waits for the one it has, and moves when another comes up',
    steps: [
      ...openedReselecting,
      {
        frame: client('10.1.0.132', data),
        verdict: toServer,
        states: { 'reselecting 10.2.0.11': 'down', 'reselecting 10.2.0.12': 'down' },
      },
      { frame: client('10.1.0.132', data), verdict: toServer, states: { 'reselecting 10.2.0.12': 'up' } },
      { frame: member('10.2.0.12', '10.2.0.1', answer), verdict: toClient },
    ],
  },
  {
    name: 'down_reselect_reset',
    sentence: 'reselect: a RST moves nothing: it goes to the member it was for',
    steps: [
      ...openedReselecting,
      { frame: client('10.1.0.132', { flags: 'R', sequence: 1001 }), verdict: toServer, states: reselectingDown },
    ],
  },
  // ---- persistence, priority and slow start
  {
    name: 'persistence_down',
    sentence: 'the client of a member that is down goes to .12 and stays there when .11 is back',
    steps: [
      { frame: client('10.1.0.120', syn), verdict: toServer },
      {
        frame: client('10.1.0.120', { ...syn, sourcePort: 40_001 }),
        verdict: toServer,
        states: { 'web 10.2.0.11': 'down' },
      },
      {
        frame: client('10.1.0.120', { ...syn, sourcePort: 40_002 }),
        verdict: toServer,
        states: { 'web 10.2.0.11': 'up' },
      },
      { frame: client('10.1.0.120', { ...syn, sourcePort: 40_003 }), verdict: toServer },
    ],
  },
  {
    name: 'persistence_draining',
    sentence: 'a draining member keeps its persistent clients, .11 and .11, and gets no others: .12 and .12',
    steps: [
      { frame: client('10.1.0.120', syn), verdict: toServer },
      {
        frame: client('10.1.0.120', { ...syn, sourcePort: 40_001 }),
        verdict: toServer,
        states: { 'web 10.2.0.11': 'draining' },
      },
      { frame: client('10.1.0.120', syn, { source: '198.51.100.8' }), verdict: toServer },
      { frame: client('10.1.0.120', syn, { source: '198.51.100.9' }), verdict: toServer },
    ],
  },
  {
    name: 'priority_comes_back',
    sentence: 'the lower priority serves while the higher is down, .12, and no longer: .11; what is open stays',
    steps: [
      { frame: client('10.1.0.124', syn), verdict: toServer, states: { 'staged 10.2.0.11': 'down' } },
      {
        frame: client('10.1.0.124', { ...syn, sourcePort: 40_001 }),
        verdict: toServer,
        states: { 'staged 10.2.0.11': 'up' },
      },
      { frame: client('10.1.0.124', { ...syn, sourcePort: 40_002 }), verdict: toServer },
      { frame: member('10.2.0.12', '10.2.0.1', { flags: 'SA', destinationPort: SNAT }), verdict: toClient },
    ],
  },
  {
    name: 'slow_start',
    sentence: 'of 12 clients .11, up since a moment ago, gets none; after 100 s it gets every other one',
    steps: [
      { frame: client('10.1.0.133', syn), verdict: toServer, states: { 'slow 10.2.0.11': 'down' } },
      ...[...Array(12).keys()].map((index): Step => {
        const step = {
          frame: client('10.1.0.133', { ...syn, sourcePort: CLIENT_PORT + 1 + index }),
          verdict: toServer,
        };
        return index === 0 ? { ...step, states: { 'slow 10.2.0.11': 'up' } } : step;
      }),
      ...[...Array(4).keys()].map((index): Step => {
        const step = {
          frame: client('10.1.0.133', { ...syn, sourcePort: CLIENT_PORT + 20 + index }),
          verdict: toServer,
        };
        return index === 0 ? { ...step, afterMs: 100_000 } : step;
      }),
    ],
  },
];
