/**
 * Names that the unix socket answers to, where `ssh -L` or the like has made it a port of somebody's own machine. Pure.
 *
 * A page of another site can have its own name lead to that port (DNS rebinding), and is then of the same origin as
 * what answers there. Such a name has a dot; `localhost`, `tandem` and addresses are nobody's on the internet.
 */

import { ControlError } from '../api.js';

/** `host`: the header's text. Null: nothing is wrong with it. */
export function hostFault(host: string | undefined): ControlError | null {
  if (host === undefined || OWN.test(host)) return null;
  const mend = 'use http://localhost:PORT/';
  return new ControlError('refused', 'other_host', `this unit does not answer to the name ${host.slice(0, 100)}`, mend);
}

/** A name without a dot, below localhost, or an address; with or without a port. */
const OWN = /^([\w-]+|([\w-]+\.)+localhost|\d{1,3}(\.\d{1,3}){3}|\[[\da-f:.]+\])?(:\d+)?$/i;
