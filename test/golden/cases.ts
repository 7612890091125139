/**
 * The golden cases: one packet after the other, and what must become of each. The frames that were sent for
 * them lie in frames/NAME.out.pcap; read those with tshark. The config is tandem.yaml beside this file.
 *
 * A verdict is `forward LINK`, `punt` or `drop REASON`. An answer (ARP, ND, echo, reset) is a forward on the
 * link where the question came from.
 */

import { connectionCases } from './cases_connections.js';
import { errorCases } from './cases_errors.js';
import { strangerCases } from './cases_strangers.js';
import type { Case } from './network.js';

export const cases: readonly Case[] = [...connectionCases, ...errorCases, ...strangerCases];
