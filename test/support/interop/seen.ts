/** What a capture of a link shows of who is active there: adverts and announcements, as tshark reads them. */

import { run } from '../lab/namespaces.js';

export interface SeenFrame {
  /** Seconds since 1970. */
  readonly at: number;
  /** Ethernet source. */
  readonly mac: string;
  /** Of an advert; null: no advert. */
  readonly priority: number | null;
  /** Source of an advert. */
  readonly from: string;
  /** Announced by a gratuitous ARP or an unsolicited neighbour advertisement; null: no announcement. */
  readonly announced: string | null;
  /** tshark's objection of a warning or worse; empty: none. */
  readonly complaint: string;
}

const FIELDS = [
  'frame.time_epoch',
  'eth.src',
  'ip.src',
  'ipv6.src',
  'vrrp.prio',
  'arp.isannouncement',
  'arp.isgratuitous',
  'arp.src.proto_ipv4',
  'icmpv6.nd.na.target_address',
  '_ws.expert.severity',
  '_ws.expert.message',
] as const;
const SEVERITY_WARNING = 0x600000;

export function seen(file: string): SeenFrame[] {
  const text = run('tshark', ['-r', file, '-T', 'fields', ...FIELDS.flatMap((field) => ['-e', field])]);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const values = line.split('\t');
      const value = (name: (typeof FIELDS)[number]): string => values[FIELDS.indexOf(name)] ?? '';
      const isArp = value('arp.isannouncement') === '1' || value('arp.isgratuitous') === '1';
      const announced = isArp ? value('arp.src.proto_ipv4') : value('icmpv6.nd.na.target_address');
      const severe = value('_ws.expert.severity')
        .split(',')
        .some((severity) => Number(severity) >= SEVERITY_WARNING);
      return {
        at: Number(value('frame.time_epoch')),
        mac: value('eth.src'),
        priority: value('vrrp.prio') === '' ? null : Number(value('vrrp.prio')),
        from: value('ip.src') || value('ipv6.src'),
        announced: announced === '' ? null : announced,
        complaint: severe ? value('_ws.expert.message') : '',
      };
    });
}
