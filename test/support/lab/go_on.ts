/** What whoever made a lab by hand is told of it. */

import { join } from 'node:path';

import type { Lab } from './lab.js';
import { virtualAddress } from './topology.js';

/** `purpose`: as `scripts/lab down` has it. */
export function waysToGoOn(lab: Lab, purpose: string): string {
  const socket = join(lab.socketDirectory, 'a.sock');
  return `Ask a unit:      export TANDEM_SOCKET=${socket}; scripts/tandem status
Its page:        ssh -L 8080:${socket} root@THIS-HOST, then http://localhost:8080
Be the client:   ip netns exec ${lab.namespace('client')} curl http://${virtualAddress.ipv4}/
Take it down:    scripts/lab down ${purpose}`;
}
