/**
 * The golden cases: one packet after the other, and what must become of each. The frames that were sent for
 * them lie in frames/NAME.out.pcap; read those with tshark. The config is tandem.yaml beside this file.
 *
 * A verdict is `forward LINK`, `punt`, `drop REASON` or, of a fragment before its first one, `hold`; verdicts of
 * fragments that a frame releases stand behind its own. An answer (ARP, ND, echo, reset, refusal) is a forward on
 * the link where the question came from.
 */

import { connectionCases } from './cases_connections.js';
import { datagramCases } from './cases_datagrams.js';
import { errorCases } from './cases_errors.js';
import { errorCases6 } from './cases_errors_ipv6.js';
import { floodCases } from './cases_flood.js';
import { fragmentCases } from './cases_fragments.js';
import { moreFragmentCases } from './cases_fragments_more.js';
import { ipCases } from './cases_ip.js';
import { localCases } from './cases_links.js';
import { memberCases } from './cases_members.js';
import { modeCases } from './cases_modes.js';
import { rangeCases } from './cases_ranges.js';
import { strangerCases } from './cases_strangers.js';
import { moreStrangerCases } from './cases_strangers_more.js';
import { tcpCases } from './cases_tcp.js';
import type { Case } from './network.js';

export const cases: readonly Case[] = [
  ...connectionCases,
  ...tcpCases,
  ...ipCases,
  ...localCases,
  ...errorCases,
  ...errorCases6,
  ...fragmentCases,
  ...moreFragmentCases,
  ...strangerCases,
  ...moreStrangerCases,
  ...floodCases,
  ...memberCases,
  ...modeCases,
  ...rangeCases,
  ...datagramCases,
];
