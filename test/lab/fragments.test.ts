/**
 * Goal: datagrams longer than a link go through the pair in both directions, whichever worker meets a fragment.
 * Method: two workers; datagrams of 4,000 octets from many source ports to the UDP echo service and back, so that each
 * is three fragments either way.
 */

import { expect } from 'vitest';

import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { port, virtualAddress } from '../support/lab/topology.js';
import { startServers } from '../support/lab/traffic.js';
import { startPair } from '../support/lab/unit.js';

const datagrams = 300;

const client = `
const { createSocket } = require('node:dgram');
const echoed = new Set();
const end = () => { console.log(echoed.size); process.exit(); };
setTimeout(end, 20_000);
for (let number = 0; number < ${datagrams}; number++) {
  const sent = Buffer.alloc(4000, String(number) + ' ');
  const socket = createSocket('udp4');
  socket.on('message', (got) => {
    if (got.equals(sent)) echoed.add(number);
    if (echoed.size === ${datagrams}) end();
  });
  setTimeout(() => socket.send(sent, ${port.echo}, '${virtualAddress.ipv4}'), 3 * number);
}
`;

function echoedDatagrams(lab: Lab): number {
  return Number(lab.run('client', process.execPath, ['-e', client]).trim());
}

labTest('datagrams in fragments go through two workers, and the answers come back', async (lab) => {
  await startServers(lab);
  await startPair(lab, { mirror: 'async', workers: 2 });
  expect(echoedDatagrams(lab)).toBe(datagrams);
});
