/**
 * The shape of the config file: keys, types, ranges and defaults, each said once and here.
 *
 * What needs more than one place of the file to decide (references, families, addresses used twice) is in
 * semantics.ts. `configSchema` also gives the JSON Schema that editors use, hence the descriptions.
 */

import * as z from 'zod';

import { formatIpAddress, type IpAddress, parseIpAddress } from '../wire/ip_address.js';

// -------------------------------------------------------------------------------------------- bounds

/** native/limits.h says the same; a policy beyond them would be refused there. */
export const LINKS_MAX = 16;
export const TRAFFIC_GROUPS_MAX = 16;
export const VIRTUAL_SERVERS_MAX = 4096;
export const MEMBERS_MAX = 16384;
export const SNAT_ADDRESSES_MAX = 256;
const WORKERS_MAX = 16;
const ADDRESSES_PER_LINK_MAX = 64;
const MEMBERS_PER_POOL_MAX = 1024;
/** Linux IFNAMSIZ, without the terminating zero. */
const INTERFACE_NAME_MAX = 15;

// ------------------------------------------------------------------------------------------- scalars

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** Names are keys of plain objects here and there: one that every object has would be found where none is. */
const name = z.string().refine((text) => NAME.test(text) && !(text in {}), {
  params: {
    code: 'bad_name',
    hint: 'names are 1 to 63 letters, digits, dots, dashes and underscores, and begin with a letter or digit',
  },
  message: 'not a usable name',
});

const address = z
  .string()
  .transform((text, context) => {
    const parsed = parseIpAddress(text.trim());
    if (!('fault' in parsed)) return formatIpAddress(parsed.octets);
    context.addIssue({ code: 'custom', ...addressFault(text, parsed) });
    return z.NEVER;
  })
  .meta({ description: 'IPv4 or IPv6 address, without a prefix length' });

function addressFault(text: string, fault: Exclude<ReturnType<typeof parseIpAddress>, IpAddress>) {
  switch (fault.fault) {
    case 'prefix':
      return {
        message: `'${text}' has a prefix length; an address stands here alone`,
        params: { code: 'address_with_prefix', hint: `write ${fault.without}` },
      };
    case 'zone':
      return {
        message: `'${text}' has a zone id; the link says which interface is meant`,
        params: { code: 'address_with_zone', hint: `write ${fault.without}` },
      };
    case 'mapped':
      return {
        message: `'${text}' is an IPv4 address in IPv6 clothes`,
        params: { code: 'address_mapped', hint: `write ${fault.ipv4}` },
      };
    case 'leading_zero':
      return {
        message: `'${text}' has a leading zero, which some programs read as octal`,
        params: { code: 'address_leading_zero', hint: 'write each octet without leading zeros' },
      };
    case 'syntax':
      return {
        message: `'${text}' is no IP address`,
        params: { code: 'bad_address', hint: 'for example 10.1.0.2 or fd01::2; names are not looked up' },
      };
  }
}

const port = z.int().min(1).max(65535);
const seconds = (lowest: number, highest: number) => z.number().min(lowest).max(highest);

// ------------------------------------------------------------------------------------------- sections

const unitLink = z.strictObject({
  interface: z
    .string()
    .refine((text) => text.length <= INTERFACE_NAME_MAX && /^[^\s/:]+$/.test(text) && text !== '.' && text !== '..', {
      message: 'not an interface name',
      params: { code: 'bad_interface', hint: `1 to ${INTERFACE_NAME_MAX} characters, as ip link shows it` },
    })
    .meta({ description: "The unit's network interface on this link" }),
  addresses: z.array(address).min(1).max(ADDRESSES_PER_LINK_MAX).meta({
    description: "The unit's own addresses there, as the kernel has them; the first of a family sends adverts",
  }),
});

const file = z
  .string()
  .max(4096)
  .regex(/^\/[^\0\n]+$/, { message: 'not the path of a file, which begins with /' });

const apiListener = z.strictObject({
  address: address.meta({ description: 'Address of this unit to listen on' }),
  port: port.default(8443).meta({ description: 'TCP port' }),
  certificate: file.meta({ description: 'Its certificate, and those it hangs from, in PEM' }),
  key: file.meta({ description: "The certificate's key, in PEM, closed to other users" }),
  tokenFile: file.meta({ description: 'File with the token that clients send, closed to other users' }),
});

const unit = z.strictObject({
  links: z.record(name, unitLink),
  mirror: z.strictObject({
    address: address.meta({ description: 'Where the peer reaches this unit for mirroring' }),
    port: port.default(3780).meta({ description: 'TCP port of the mirror channel' }),
    secondary: z
      .strictObject({ address, port: port.default(3780) })
      .optional()
      .meta({ description: 'Another path to this unit; the channel moves there when the first one fails' }),
  }),
  api: apiListener
    .optional()
    .meta({ description: 'The API over TCP, with TLS and a token; else it is on the unix socket alone' }),
});

const trafficGroup = z.strictObject({
  virtualRouterId: z.int().min(1).max(255).meta({ description: 'VRRP VRID, unique on each link' }),
  priority: z
    .strictObject({ a: z.int().min(1).max(254), b: z.int().min(1).max(254) })
    .meta({ description: 'The unit with the higher one is active' }),
  preempt: z
    .boolean()
    .default(true)
    .meta({ description: 'Whether the better unit takes the group back, once in sync' }),
  preemptDelayS: seconds(0, 3600).default(0),
  advertIntervalMs: z
    .int()
    .min(10)
    .max(40950)
    .multipleOf(10)
    .default(100)
    .meta({ description: 'VRRP counts in centiseconds, so a multiple of 10; the peer takes over after three of them' }),
  demotion: z
    .strictObject({
      notInSync: z
        .int()
        .min(0)
        .max(253)
        .default(100)
        .meta({ description: "Subtracted from the priority while the unit does not hold the peer's connections" }),
      pools: z.record(name, z.int().min(1).max(253)).default({}).meta({
        description: 'By pool: subtracted while this unit sees all of its members down, and the group goes to the peer',
      }),
    })
    .prefault({}),
  checksum: z
    .enum(['pseudo-header', 'plain'])
    .default('pseudo-header')
    .meta({ description: 'Form of the IPv4 adverts sent; both are accepted' }),
  floating: z.record(name, z.array(address).min(1).max(ADDRESSES_PER_LINK_MAX)).meta({
    description: 'By link: addresses that move with the group; automap uses them, servers route through them',
  }),
});

const statusRange = z
  .union([z.int().min(100).max(599), z.string().regex(/^[1-5]\d\d(-[1-5]\d\d)?$/)])
  .transform((text, context): readonly [number, number] => {
    const [low, high] = String(text).split('-').map(Number) as [number, number?];
    if (low <= (high ?? low)) return [low, high ?? low];
    context.addIssue({ code: 'custom', message: `${text} ends before it begins`, params: { code: 'bad_range' } });
    return z.NEVER;
  });

const monitor = z.strictObject({
  type: z.enum(['tcp', 'http', 'icmp']),
  intervalMs: z
    .int()
    .min(50)
    .max(3_600_000)
    .default(1000)
    .meta({ description: 'From the start of a probe to the next' }),
  timeoutMs: z
    .int()
    .min(10)
    .max(3_600_000)
    .optional()
    .meta({ description: 'A probe without an answer by then has failed; default: the interval, at most 1000' }),
  rise: z.int().min(1).max(100).default(2).meta({ description: 'Successes in a row before a member is up' }),
  fall: z.int().min(1).max(100).default(3).meta({ description: 'Failures in a row before a member is down' }),
  port: port.optional().meta({ description: "Port to probe; default: the member's" }),
  path: z
    .string()
    .regex(/^\/[\x21-\x7e]*$/)
    .max(2048)
    .optional()
    .meta({ description: 'http: what to ask for; default: /' }),
  host: z
    .string()
    .regex(/^[\x21-\x7e]+$/)
    .max(255)
    .optional()
    .meta({ description: "http: Host header; default: the member's address" }),
  expectStatus: z
    .array(statusRange)
    .min(1)
    .max(16)
    .optional()
    .meta({ description: 'http: statuses that count as success, 200 or 200-299; default: 200-399' }),
});

const member = z.strictObject({
  address,
  port: port.default(0).meta({ description: 'Default: the port that the client asked for' }),
  weight: z.int().min(0).max(256).default(1).meta({ description: '0: drains, as `state: draining`' }),
  state: z
    .enum(['enabled', 'draining', 'down'])
    .default('enabled')
    .meta({ description: 'draining: connections go on, new ones come of persistent clients only; down: none come' }),
  priority: z
    .int()
    .min(0)
    .max(65535)
    .default(0)
    .meta({ description: 'Members of the highest serve; lower ones when fewer than minActiveMembers are left' }),
  maxConnections: z
    .int()
    .min(1)
    .max(100_000_000)
    .optional()
    .meta({ description: 'Connections that its address and port may have, whatever pool they came by' }),
});

const pool = z.strictObject({
  scheduler: z
    .enum([
      'round-robin',
      'weighted-round-robin',
      'least-connections',
      'weighted-least-connections',
      'maglev',
      'source-hash',
    ])
    .default('round-robin')
    .meta({ description: 'round-robin and least-connections do not look at weights, except that 0 drains' }),
  monitor: monitor.optional(),
  minActiveMembers: z
    .int()
    .min(1)
    .max(MEMBERS_PER_POOL_MAX)
    .default(1)
    .meta({ description: 'With fewer available members of higher priority, those of the next lower serve, too' }),
  slowStartS: seconds(0, 3600)
    .default(0)
    .meta({ description: 'A member that comes up gets a share of new connections that grows to its whole over this' }),
  onMemberDown: z
    .enum(['keep', 'reset', 'reselect'])
    .default('keep')
    .meta({ description: 'What the next packet of a connection meets when its member is down' }),
  members: z.array(member).max(MEMBERS_PER_POOL_MAX),
});

/** As long as F5's for TCP (300 s); the rest follows what Linux waits itself, a FIN or RST cuts short. */
const idleTimeoutS = z.strictObject({
  halfOpen: seconds(0.1, 3600).default(10).meta({ description: 'TCP, handshake not complete' }),
  established: seconds(0.1, 1_000_000).default(300).meta({ description: 'TCP, handshake complete' }),
  halfClosed: seconds(0.1, 86_400).default(60).meta({ description: 'TCP, one side has sent its FIN' }),
  closing: seconds(0.1, 3600).default(10).meta({ description: 'TCP, both FINs or a RST seen' }),
  udp: seconds(0.1, 86_400).default(30).meta({ description: 'UDP' }),
  other: seconds(0.1, 86_400).default(60).meta({ description: 'Every other protocol' }),
});

/** native/client_limits.h says the same. */
const CLIENT_RATE_MAX = 100_000;
const CLIENT_BURST_MAX_S = 3600;

const newConnectionsPerClient = z
  .strictObject({
    perS: z.int().min(1).max(CLIENT_RATE_MAX).meta({ description: 'In the long run' }),
    burst: z
      .int()
      .min(1)
      .max(CLIENT_RATE_MAX * CLIENT_BURST_MAX_S)
      .meta({ description: 'At once after a silence' }),
  })
  .refine(({ perS, burst }) => burst <= perS * CLIENT_BURST_MAX_S, {
    path: ['burst'],
    message: `more than perS allows in ${CLIENT_BURST_MAX_S} s`,
    params: { code: 'burst_too_long', hint: 'lower burst or raise perS' },
  });
const persistence = z.strictObject({
  source: z.strictObject({
    prefix4: z
      .int()
      .min(1)
      .max(32)
      .default(32)
      .meta({ description: 'IPv4 addresses alike in these bits are one client' }),
    prefix6: z.int().min(1).max(128).default(128).meta({ description: 'The same of IPv6; 64 is one network' }),
    timeoutS: seconds(1, 86_400).default(300).meta({ description: "After the client's last new connection" }),
    mirror: z
      .boolean()
      .default(true)
      .meta({ description: "Where the virtual server's connections are mirrored, its entries are, too" }),
  }),
});

const MIRROR_MODES = ['off', 'async', 'commit'] as const;
/** native/mirror_rule.h counts an age in 16 bits of tenths of a second and octets in 16 bits of 64. */
const AFTER_AGE_MAX_S = 3600;
const AFTER_BYTES_MAX = 4_000_000;

const after = z
  .strictObject({
    ageS: seconds(0.1, AFTER_AGE_MAX_S).optional().meta({ description: 'Once it is as old as this' }),
    bytes: z
      .int()
      .min(64)
      .max(AFTER_BYTES_MAX)
      .optional()
      .meta({ description: 'Once so many octets of frames have passed, either way; counted in steps of 64' }),
  })
  .refine(({ ageS, bytes }) => ageS !== undefined || bytes !== undefined, {
    message: 'says neither ageS nor bytes',
    params: { code: 'empty_after', hint: 'write after: { ageS: 1 }, or leave it out' },
  });

const mirrorRule = z.union([
  z.enum(MIRROR_MODES),
  z.strictObject({
    mode: z.enum(MIRROR_MODES),
    after: after.optional().meta({ description: 'async: only connections that live longer, whichever comes first' }),
    onTimeout: z
      .enum(['strict', 'available'])
      .optional()
      .meta({
        description:
          'commit, when the peer does not answer in time or is not there. strict: nothing opens; available, the ' +
          'default: the connection opens and is shown as unprotected until the peer has it',
      }),
    timeoutMs: z
      .int()
      .min(1)
      .max(10_000)
      .optional()
      .meta({ description: "commit: how long a handshake waits for the peer's answer; default: 100" }),
  }),
]);

const forwarding = z.union([
  z.enum(['nat', 'dsr']),
  z.strictObject({
    tunnel: z.enum(['ipip', 'gue']),
    port: port.optional().meta({ description: "gue: the members' UDP port; default: 6080" }),
  }),
]);

/** 0 to 65535 stands for any port. */
export interface PortSpan {
  readonly first: number;
  readonly last: number;
}

const PORT_SPAN_HINT = '80, 8000-8099 or any';
const ports = z
  .union([port, z.string()])
  .transform((text, context): PortSpan => {
    if (text === 'any') return { first: 0, last: 65535 };
    const [first, last = first, more] = String(text).split('-').map(Number) as [number, number?, number?];
    const isPort = (value: number) => Number.isInteger(value) && value >= 1 && value <= 65535;
    if (/^\d+(-\d+)?$/.test(String(text)) && isPort(first) && isPort(last) && more === undefined) {
      if (first <= last) return { first, last };
      context.addIssue({ code: 'custom', message: `${text} ends before it begins`, params: { code: 'bad_range' } });
      return z.NEVER;
    }
    const params = { code: 'bad_port', hint: PORT_SPAN_HINT };
    context.addIssue({ code: 'custom', message: `'${text}' is no port and no range of ports`, params });
    return z.NEVER;
  })
  .meta({ description: 'A port, a range (8000-8099), or any' });

const virtualServer = z.strictObject({
  address,
  port: ports.optional(),
  protocol: z
    .enum(['tcp', 'udp', 'any'])
    .default('tcp')
    .meta({ description: 'any: every protocol and every port; GRE, ESP and the like by their addresses alone' }),
  pool: z.string(),
  trafficGroup: z.string(),
  links: z
    .array(z.string())
    .min(1)
    .max(LINKS_MAX)
    .optional()
    .meta({ description: "Links on which the address is answered; default: the group's links of its family" }),
  forwarding: forwarding.default('nat').meta({
    description: 'nat: translated; dsr: only the MAC address is; tunnel: in IP or UDP. Members answer past the pair',
  }),
  snat: z
    .union([z.enum(['automap', 'none']), z.array(address).min(1).max(SNAT_ADDRESSES_MAX)])
    .optional()
    .meta({
      description:
        "automap, nat's default: the group's floating address on the member's link; none: servers route through it",
    }),
  mirror: mirrorRule.default('off').meta({
    description:
      'Connection mirroring: async, told after the handshake; commit, the handshake waits until the peer has it',
  }),
  unknown: z
    .enum(['drop', 'reset', 'adopt'])
    .default('drop')
    .meta({ description: 'What TCP of no known connection gets, SYN aside' }),
  closed: z
    .enum(['drop', 'reset'])
    .optional()
    .meta({ description: 'What a port of the address without a virtual server gets; default: drop' }),
  idleTimeoutS: idleTimeoutS.prefault({}),
  onePacket: z.boolean().default(false).meta({
    description: 'UDP only: each datagram is scheduled by itself, and what waits for its answer is over with it',
  }),
  newConnectionsPerClient: newConnectionsPerClient.optional().meta({
    description: 'Connections that one client (an IPv4 address, an IPv6 /64) may open; default: no limit',
  }),
  persistence: persistence.optional().meta({ description: 'New connections of a client go where its last one went' }),
});

const datapathShape = z.strictObject({
  workers: z.int().min(1).max(WORKERS_MAX).default(1).meta({
    description:
      'Threads that move packets. With `xdp` each has queues of its own: give every link as many (`ethtool -L`)',
  }),
  connections: z
    .int()
    .min(1024)
    .max(100_000_000)
    .default(1_000_000)
    .meta({ description: 'Connections the table holds; memory for them is reserved at start' }),
  halfOpen: z.int().min(1).optional().meta({
    description: 'How many of these may be half-open; beyond, the oldest of them makes way; default: a quarter',
  }),
  device: z
    .enum(['auto', 'xdp', 'packet'])
    .default('auto')
    .meta({ description: 'xdp: past the kernel (AF_XDP); packet: AF_PACKET; auto: xdp where it works, else packet' }),
  wait: z
    .enum(['poll', 'busy-poll', 'spin'])
    .default('poll')
    .meta({ description: 'When nothing arrives, workers sleep; poll the driver a while, then sleep; or never sleep' }),
});

const datapath = datapathShape.refine(({ connections, halfOpen = 0 }) => halfOpen <= connections, {
  path: ['halfOpen'],
  message: 'more than the table holds',
  params: { code: 'half_open_over_connections', hint: 'lower it, or raise datapath.connections' },
});

const mirror = z.strictObject({
  maxDelayMs: z.int().min(1).max(1000).default(5).meta({ description: 'A change is sent no later than this' }),
  queueBytesMax: z
    .int()
    .min(64 * 1024)
    .max(1024 * 1024 * 1024)
    .default(8 * 1024 * 1024)
    .meta({ description: 'Bytes of unacked batches kept; beyond it changes stay pending in the table' }),
  keepaliveMs: z.int().min(50).max(60_000).default(1000),
  plaintext: z
    .boolean()
    .default(false)
    .meta({ description: 'Mirror without TLS while the units are not paired; a paired unit never does' }),
});

/** Entities by name, parsed one by one so that a fault of one does not hide the faults of the others. */
export const entitySchemas = { trafficGroups: trafficGroup, pools: pool, virtualServers: virtualServer } as const;

export const configSchema = z.strictObject({
  $schema: z.string().optional().meta({ description: 'For editors; means nothing to Tandem' }),
  links: z.array(name).min(1).max(LINKS_MAX).meta({ description: 'Names of the networks that both units stand on' }),
  units: z.strictObject({ a: unit, b: unit }),
  trafficGroups: z.record(name, trafficGroup),
  pools: z.record(name, pool).default({}),
  virtualServers: z.record(name, virtualServer).default({}),
  datapath: datapath.prefault({}),
  mirror: mirror.prefault({}),
});

export type ShapedUnit = z.output<typeof unit>;
export type ShapedTrafficGroup = z.output<typeof trafficGroup>;
export type ShapedPool = z.output<typeof pool>;
export type ShapedMonitor = z.output<typeof monitor>;
export type ShapedVirtualServer = z.output<typeof virtualServer>;
export const unitSchema = unit;
export const datapathSchema = datapath;
export const mirrorSchema = mirror;
export const linksSchema = configSchema.shape.links;

/** JSON Schema (2020-12) of the file, for editors. */
export function configJsonSchema(): unknown {
  return z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' });
}
