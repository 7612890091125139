/**
 * A config file's text in, a `Config` or every fault of it out. Pure: the file is read in src/io/.
 *
 *   text -> YAML (yaml_source) -> shape (schema) + names (references) + rules (semantics) -> Config
 */

import { type Draft, draftOf } from './draft.js';
import { type Fault, formatPath } from './faults.js';
import { mirrorOf } from './mirror_rules.js';
import type {
  Config,
  ConfigError,
  ForwardingConfig,
  MonitorConfig,
  TrafficGroupConfig,
  VirtualServerConfig,
} from './model.js';
import { referenceFaults } from './references.js';
import { configSchema, datapathSchema, mirrorSchema, type ShapedMonitor, type ShapedVirtualServer } from './schema.js';
import { answeredOn, semanticFaults } from './semantics.js';
import { shapeFaults } from './shape_faults.js';
import { parseYaml, type YamlSource } from './yaml_source.js';

export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly errors: readonly ConfigError[] };

/** A file with more faults than this is not a config; the rest are not told. */
export const ERRORS_MAX = 1000;

/** `file` is only named in errors. */
export function loadConfig(text: string, file: string): ConfigResult {
  const source = parseYaml(text);
  if (source.faults.length > 0)
    return { ok: false, errors: source.faults.slice(0, ERRORS_MAX).map((fault) => ({ ...fault, path: '', file })) };

  const raw = source.value;
  const shaped = configSchema.safeParse(raw);
  const draft = draftOf(raw);
  const faults = [
    ...(shaped.success ? [] : shapeFaults(configSchema, raw, shaped.error.issues)),
    ...referenceFaults(raw),
    ...semanticFaults(draft),
  ];
  if (faults.length > 0) return { ok: false, errors: inOrderOfPlace(faults, source, file).slice(0, ERRORS_MAX) };
  return { ok: true, config: build(draft, raw as object) };
}

/** Faults that were found in a config that is valid as such. */
export function placeFaults(text: string, file: string, faults: readonly Fault[]): ConfigError[] {
  return inOrderOfPlace(faults, parseYaml(text), file).slice(0, ERRORS_MAX);
}

function inOrderOfPlace(faults: readonly Fault[], source: YamlSource, file: string): ConfigError[] {
  return faults
    .map(({ code, message, hint = null, path, atKey = false }) => {
      return { code, message, hint, file, path: formatPath(path), ...source.place(path, atKey) };
    })
    .sort((left, right) => left.line - right.line || left.column - right.column);
}

/** Fills in the defaults that depend on other entries. Only for a config without faults. */
function build(draft: Draft, raw: { datapath?: unknown; mirror?: unknown }): Config {
  const closed = closedByAddress(draft);
  return {
    links: draft.links,
    units: { a: draft.units.get('a')!, b: draft.units.get('b')! },
    trafficGroups: [...draft.trafficGroups].map(([name, group]): TrafficGroupConfig => ({ name, ...group })),
    pools: [...draft.pools].map(([name, pool]) => ({
      ...pool,
      name,
      monitor: pool.monitor ? buildMonitor(pool.monitor) : null,
      members: pool.members.map((member) => ({ ...member, maxConnections: member.maxConnections ?? null })),
    })),
    virtualServers: [...draft.virtualServers].map(
      ([name, server]): VirtualServerConfig => ({
        ...server,
        name,
        port: server.port?.first ?? 0,
        portLast: server.port?.last ?? 65535,
        forwarding: forwardingOf(server),
        mirror: mirrorOf(server),
        snat: server.snat ?? (server.forwarding === 'nat' ? 'automap' : 'none'),
        links: linksOfAddress(draft, server.address),
        closed: closed.get(server.address) ?? 'drop',
        persistence: server.persistence?.source ?? null,
      }),
    ),
    datapath: datapathSchema.parse(raw.datapath ?? {}),
    mirror: mirrorSchema.parse(raw.mirror ?? {}),
  };
}

/** IANA's port for GUE. */
const GUE_PORT = 6080;

function forwardingOf({ forwarding }: ShapedVirtualServer): ForwardingConfig {
  if (typeof forwarding === 'string') return forwarding;
  return { tunnel: forwarding.tunnel, port: forwarding.port ?? GUE_PORT };
}

function buildMonitor(monitor: ShapedMonitor): MonitorConfig {
  return {
    ...monitor,
    timeoutMs: monitor.timeoutMs ?? Math.min(monitor.intervalMs, 1000),
    port: monitor.port ?? null,
    path: monitor.path ?? '/',
    host: monitor.host ?? null,
    expectStatus: monitor.expectStatus ?? [[200, 399]],
  };
}

/** Said once for an address, it holds for every virtual server there. */
function closedByAddress({ virtualServers }: Draft): ReadonlyMap<string, 'drop' | 'reset'> {
  const said = [...virtualServers.values()].flatMap(({ address, closed }) =>
    closed === undefined ? [] : [[address, closed] as const],
  );
  return new Map(said);
}

function linksOfAddress(draft: Draft, address: string): readonly string[] {
  const sharing = [...draft.virtualServers.values()].filter((server) => server.address === address);
  const explicit = sharing.find(({ links }) => links !== undefined);
  const answered = answeredOn(draft, explicit ?? sharing[0]!);
  return draft.links.filter((link) => answered.includes(link));
}
