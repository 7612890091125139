/** `scripts/lab`: makes a lab that stays, with servers and both units running, and takes it down again. */

import { spawnSync } from 'node:child_process';

import { waysToGoOn } from './go_on.js';
import { isAlive, readJournal } from './journal.js';
import { Lab, labId, whyNoLab } from './lab.js';
import { type HostName, hostNames } from './topology.js';
import { startServers } from './traffic.js';
import { startPair } from './unit.js';

const usage = `usage: scripts/lab up                      make the lab, start three servers and both units
       scripts/lab status                  what stands and what runs
       scripts/lab enter HOST [COMMAND...] a shell or a command inside ${hostNames.join(', ')}
       scripts/lab down [PURPOSE]          end and remove everything; PURPOSE: lab (default), demo, test`;

const [action, ...rest] = process.argv.slice(2);
// Servers that stay behind must not hold this process.
process.exit(await act());

async function act(): Promise<number> {
  const why = whyNoLab();
  if (why !== null) {
    console.error(`scripts/lab: ${why}`);
    return 1;
  }
  switch (action) {
    case 'up':
      return up();
    case 'down':
      return down(rest[0] ?? 'lab');
    case 'status':
      return status();
    case 'enter':
      return enter(rest[0] as HostName, rest.slice(1));
    default:
      console.error(usage);
      return 2;
  }
}

async function up(): Promise<number> {
  const lab = Lab.up('lab');
  await startServers(lab, 'stay');
  await startPair(lab, { mirror: 'async' });
  lab.release();
  console.log(`Unit a is active, unit b stands by; config and logs in ${lab.directory}.
${waysToGoOn(lab, 'lab')}`);
  return 0;
}

function down(purpose: string): number {
  const id = labId(purpose);
  if (readJournal(id) === null) console.log(`there is no lab ${id}`);
  else Lab.attach(purpose).down();
  return 0;
}

function status(): number {
  for (const purpose of ['lab', 'demo', 'test', 'soak']) {
    const journal = readJournal(labId(purpose));
    if (journal === null) continue;
    console.log(`lab ${journal.id}: ${journal.namespaces.join(' ')}`);
    for (const each of journal.processes.filter(isAlive))
      console.log(`  ${String(each.pid).padStart(7)}  ${each.what}`);
  }
  return 0;
}

function enter(host: HostName, command: readonly string[]): number {
  if (!hostNames.includes(host)) {
    console.error(usage);
    return 2;
  }
  const inside = command.length > 0 ? command : ['bash'];
  const namespace = Lab.attach('lab').namespace(host);
  return spawnSync('ip', ['netns', 'exec', namespace, ...inside], { stdio: 'inherit' }).status ?? 1;
}
