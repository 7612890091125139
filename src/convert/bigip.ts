/**
 * BIG-IP's virtual servers, pools and monitors into a plan: `b virtual`, `b pool` and `b monitor` lines, tmsh's
 * `create ltm ...` and `modify ltm ...`, and bigip.conf of either age. Statements about one name add up, in order.
 *
 * Both languages are words without separators: what ends a value is the next word that is a key. Each key therefore
 * says itself how much it takes (bigip_keys.ts).
 */

import { type Keys, MONITOR_KEYS, NODE_KEYS, POOL_KEYS, readKeys, VIRTUAL_KEYS } from './bigip_keys.js';
import { type BigipState, newMonitor, newNode, newPool, newVirtual, objectOf } from './bigip_state.js';
import { endpointOf, isAddress, monitorKind, objectName } from './bigip_words.js';
import {
  emptyGroup,
  emptyPool,
  freeName,
  nameOf,
  type Plan,
  type PlannedMember,
  type PlannedMonitor,
  type PlannedPool,
  type PlannedServer,
} from './plan.js';
import { Cursor, isBrace, type Note, type Place, SourceFault, type Token, tokensOf } from './source.js';

/** F5's defaults, in seconds: an interval, and three of them and one more until a member is down. */
const MONITOR_INTERVAL_S = 5;
const MONITOR_TIMEOUT_S = 16;
const GROUP = 'main';

export function planOfBigip(text: string): { plan: Plan; notes: Note[] } {
  const notes: Note[] = [];
  const note = ({ line, column }: Place, message: string) => {
    notes.push({ line, column, message });
  };
  const state: BigipState = { virtuals: new Map(), pools: new Map(), monitors: new Map(), nodes: new Map(), note };
  for (const statement of statements(tokensOf(text, '#'))) readStatement(state, statement);
  const plan = planOf(state);
  return { plan, notes: notes.toSorted((left, right) => left.line - right.line || left.column - right.column) };
}

/** A statement ends with its line, its blocks included. */
function statements(tokens: readonly Token[]): Token[][] {
  const all: Token[][] = [];
  let depth = 0;
  for (const token of tokens) {
    if (depth === 0 && token.first && !isBrace(token, '{')) all.push([]);
    all.at(-1)?.push(token);
    if (isBrace(token, '{')) depth++;
    if (isBrace(token, '}')) depth--;
  }
  return all;
}

function readStatement(state: BigipState, tokens: readonly Token[]): void {
  // Only in front: a pool may be called ltm.
  const at = tokens.findIndex(({ text }) => !/^(b|bigpipe|tmsh|create|modify|add|\/?ltm)$/.test(text));
  const head = tokens[at] ?? tokens[0]!;
  const cursor = new Cursor(tokens.slice(at + 1));
  switch (head.text) {
    case 'virtual':
      readObject(cursor, head, state, state.virtuals, newVirtual, VIRTUAL_KEYS);
      break;
    case 'pool':
      readObject(cursor, head, state, state.pools, newPool, POOL_KEYS);
      break;
    case 'node':
      readObject(cursor, head, state, state.nodes, newNode, NODE_KEYS);
      break;
    case 'monitor': {
      // `ltm monitor http NAME { ... }`, `monitor NAME { use http ... }`.
      const second = cursor.peek(1);
      const kind = second === undefined || isBrace(second, '{') ? null : cursor.next()!;
      const monitor = readObject(cursor, head, state, state.monitors, newMonitor, MONITOR_KEYS);
      monitor.from ??= kind;
      break;
    }
    default: {
      const words = tokens.slice(0, 4).filter(({ text }) => text !== '{');
      const what = words.map(({ text }) => text).join(' ');
      state.note(tokens[0]!, `${what}: is no virtual server, pool, node or monitor; left out`);
    }
  }
}

function readObject<Kind>(
  cursor: Cursor,
  head: Token,
  state: BigipState,
  objects: Map<string, Kind>,
  make: (name: Token) => Kind,
  keys: Keys<Kind>,
): Kind {
  const name = cursor.next();
  if (name === undefined || isBrace(name, '{')) throw new SourceFault(head, `${head.text} has no name`);
  const object = objectOf(objects, name, make);
  readKeys(cursor.block() ?? cursor, keys, object, state);
  return object;
}

// ------------------------------------------------------------------------------------------------- plan

function planOf(state: BigipState): Plan {
  const pools: PlannedPool[] = [];
  const names = new Map<string, string>();
  for (const [key, { read: planned }] of state.pools) {
    const name = freeName(
      nameOf(key),
      pools.map((pool) => pool.name),
    );
    names.set(key, name);
    pools.push({ ...planned, name, members: membersOf(state, key), monitor: monitorOf(state, key) });
  }
  const servers: PlannedServer[] = [];
  for (const [key, virtual] of state.virtuals) {
    const destination = virtual.destination ?? virtual.name;
    const end = endpointOf(destination.text);
    const leave = (why: string) => state.note(virtual.name, `virtual ${key}: left out, ${why}`);
    if (virtual.leftOut !== null) leave(virtual.leftOut);
    else if (end === null || !isAddress(end.host)) leave(`'${destination.text}' is no address and port`);
    else if (virtual.pool === null) leave('it has no pool');
    else if (/^(0\.0\.0\.0|::)$/.test(end.host)) leave('a virtual server has an address of its own');
    else {
      if (end.routeDomain !== null) state.note(destination, `route domain %${end.routeDomain}: has no counterpart`);
      const poolKey = objectName(virtual.pool.text);
      let pool = names.get(poolKey);
      if (pool === undefined) {
        pool = freeName(
          nameOf(poolKey),
          pools.map(({ name }) => name),
        );
        names.set(poolKey, pool);
        pools.push(emptyPool(pool));
        state.note(virtual.pool, `pool ${poolKey} is not in this file: it has no members yet`);
      }
      const name = nameOf(virtual.destination === null ? `vs-${key.replace(':', '-')}` : key);
      servers.push({
        name: freeName(
          name,
          servers.map((server) => server.name),
        ),
        address: end.host,
        port: virtual.protocol === 'any' ? 0 : end.port,
        protocol: virtual.protocol,
        pool,
        group: GROUP,
        forwarding: virtual.translated ? 'nat' : 'dsr',
        snat: virtual.translated ? virtual.snat : null,
        mirror: virtual.mirror,
        persistence: virtual.persistenceS === null ? null : { timeoutS: virtual.persistenceS },
        onePacket: false,
      });
    }
  }
  const link = (name: string) => ({ name, interface: null, own: { a: [], b: [] } });
  return {
    links: [link('client'), link('server')],
    groups: [emptyGroup(GROUP)],
    pools: ownPorts(pools, servers),
    servers,
  };
}

/** A member that gets the packet as it came keeps the client's port. */
function ownPorts(pools: readonly PlannedPool[], servers: readonly PlannedServer[]): PlannedPool[] {
  const kept = new Set(servers.filter(({ forwarding }) => forwarding !== 'nat').map(({ pool }) => pool));
  return pools.map((pool) =>
    kept.has(pool.name) ? { ...pool, members: pool.members.map((member) => ({ ...member, port: 0 })) } : pool,
  );
}

function membersOf({ pools, nodes, note }: BigipState, key: string): PlannedMember[] {
  return pools.get(key)!.members.flatMap((member): PlannedMember[] => {
    const host = member.address ?? member.end.host;
    const address = isAddress(host) ? host : (nodes.get(objectName(host))?.address ?? null);
    if (address === null) {
      note(member.place, `member ${host}: left out, no address of it stands in this file`);
      return [];
    }
    const { weight, priority, state, maxConnections } = member;
    return [
      {
        address,
        port: member.end.port,
        ...(weight === null || weight === 1 ? {} : { weight }),
        ...(priority === null || priority === 0 ? {} : { priority }),
        ...(state === null ? {} : { state }),
        ...(maxConnections === null || maxConnections === 0 ? {} : { maxConnections }),
      },
    ];
  });
}

function monitorOf({ pools, monitors, note }: BigipState, key: string): PlannedMonitor | null {
  const [first, ...more] = pools.get(key)!.monitors;
  if (first === undefined) return null;
  for (const other of more) note(other, `monitor ${other.text}: a pool has one monitor, ${first.text}`);
  const own = monitors.get(objectName(first.text));
  // A monitor made of another of the file: followed as far as F5's own, a few steps at most.
  let kind = monitorKind(first.text);
  for (let at = own, steps = 0; kind === null && at?.from != null && steps < 8; steps++) {
    kind = monitorKind(at.from.text);
    at = monitors.get(objectName(at.from.text));
  }
  if (kind === null) {
    note(first, `monitor ${first.text}: has no counterpart; the pool is not monitored`);
    return null;
  }
  if (kind.loss !== null) note(first, `monitor ${first.text}: ${kind.loss}`);
  const intervalS = own?.intervalS ?? MONITOR_INTERVAL_S;
  const timeoutS = own?.timeoutS ?? MONITOR_TIMEOUT_S;
  return {
    type: kind.type,
    intervalMs: Math.max(intervalS * 1000, 50),
    timeoutMs: Math.min(intervalS * 1000, 5000),
    // Down after so long: after as many probes as fit in.
    fall: Math.min(Math.max(Math.floor(timeoutS / intervalS), 1), 100),
    ...(own?.port == null || kind.type === 'icmp' ? {} : { port: own.port }),
    ...(kind.type === 'http' && own?.path != null ? { path: own.path } : {}),
    ...(kind.type === 'http' && own?.host != null ? { host: own.host } : {}),
  };
}
