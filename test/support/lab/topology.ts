/**
 * What the lab is made of: seven network namespaces, three bridges, and the addresses on them. Data only;
 * `lab.ts` makes it real.
 *
 *     client ──┐                                            ┌── s1
 *              ├── client bridge ──┬── a ──┬── server bridge ├── s2
 *              │   (MLD querier)   └── b ──┘                └── s3
 *                                    a, b ── mirror bridge
 *
 * All bridges stand in one namespace, `switch`, so that every link of a unit can be cut by one netlink message.
 * The virtual and floating addresses appear here because traffic and config name them; they stand on no interface.
 */

export type UnitName = 'a' | 'b';
export type HostName = 'client' | UnitName | 's1' | 's2' | 's3' | 'switch';
export type LinkName = 'client' | 'server' | 'mirror';

export const hostNames: readonly HostName[] = ['switch', 'client', 'a', 'b', 's1', 's2', 's3'];
export const serverNames = ['s1', 's2', 's3'] as const;
export type ServerName = (typeof serverNames)[number];

/** One veth pair: the host's end carries the link's name, the bridge's end `<link>-<host>`. */
export interface Attachment {
  readonly host: Exclude<HostName, 'switch'>;
  readonly link: LinkName;
  /** With prefix length, on the host's end. */
  readonly addresses: readonly string[];
}

export const attachments: readonly Attachment[] = [
  { host: 'client', link: 'client', addresses: ['10.1.0.50/24', 'fd01::50/64'] },
  { host: 'a', link: 'client', addresses: ['10.1.0.2/24', 'fd01::2/64'] },
  { host: 'b', link: 'client', addresses: ['10.1.0.3/24', 'fd01::3/64'] },
  { host: 'a', link: 'server', addresses: ['10.2.0.2/24', 'fd02::2/64'] },
  { host: 'b', link: 'server', addresses: ['10.2.0.3/24', 'fd02::3/64'] },
  { host: 's1', link: 'server', addresses: ['10.2.0.11/24', 'fd02::11/64'] },
  { host: 's2', link: 'server', addresses: ['10.2.0.12/24', 'fd02::12/64'] },
  { host: 's3', link: 'server', addresses: ['10.2.0.13/24', 'fd02::13/64'] },
  { host: 'a', link: 'mirror', addresses: ['10.9.0.1/24'] },
  { host: 'b', link: 'mirror', addresses: ['10.9.0.2/24'] },
];

/** What clients connect to. */
export const virtualAddress = { ipv4: '10.1.0.100', ipv6: 'fd01::100' } as const;
/** Of a second traffic group, IPv4 only: what clients connect to, and its floating addresses. */
export const secondGroup = { virtual: '10.1.0.101', floating: { client: '10.1.0.5', server: '10.2.0.5' } } as const;
/** What servers route through, and what they see as client when SNAT is on. */
export const floatingAddress = {
  client: { ipv4: '10.1.0.1', ipv6: 'fd01::1' },
  server: { ipv4: '10.2.0.1', ipv6: 'fd02::1' },
} as const;

/** Addresses that no kernel may answer for. */
export const tandemAddresses: readonly string[] = [
  virtualAddress.ipv4,
  virtualAddress.ipv6,
  ...Object.values(floatingAddress).flatMap((family) => [family.ipv4, family.ipv6]),
];

export const serverAddress: Readonly<Record<ServerName, { readonly ipv4: string; readonly ipv6: string }>> = {
  s1: { ipv4: '10.2.0.11', ipv6: 'fd02::11' },
  s2: { ipv4: '10.2.0.12', ipv6: 'fd02::12' },
  s3: { ipv4: '10.2.0.13', ipv6: 'fd02::13' },
};

/** Ports that the servers listen on; virtual servers use the same, and one more each without SNAT. */
export const port = { echo: 7, http: 80, download: 8080 } as const;

/** The bridge's end of a veth pair; at most 15 characters, as interface names are. */
export function bridgeEnd(attachment: Pick<Attachment, 'host' | 'link'>): string {
  return `${attachment.link}-${attachment.host}`;
}

/** Interface group of a unit's bridge ends: one netlink message sets all of them down. */
export const cutGroup: Readonly<Record<UnitName, number>> = { a: 101, b: 102 };
