/** What was read of a BIG-IP's objects so far; statements add to it. */

import type { Endpoint } from './bigip_words.js';
import { objectName } from './bigip_words.js';
import { emptyPool, type PlannedPool } from './plan.js';
import type { Place, Token } from './source.js';

export interface Virtual {
  readonly name: Token;
  destination: Token | null;
  pool: Token | null;
  protocol: 'tcp' | 'udp' | 'any';
  snat: 'automap' | 'none';
  /** Addresses; false is what BIG-IP calls nPath. */
  translated: boolean;
  mirror: 'off' | 'async';
  persistenceS: number | null;
  /** Why it cannot be taken over. */
  leftOut: string | null;
}

export interface Member {
  readonly place: Place;
  readonly end: Endpoint;
  /** Where the end is named by its node. */
  address: string | null;
  weight: number | null;
  priority: number | null;
  state: 'draining' | 'down' | null;
  maxConnections: number | null;
}

export interface Pool {
  readonly name: Token;
  readonly read: PlannedPool;
  members: Member[];
  monitors: Token[];
}

export interface Monitor {
  readonly name: Token;
  /** The monitor that it is made of. */
  from: Token | null;
  intervalS: number | null;
  timeoutS: number | null;
  port: number | null;
  path: string | null;
  host: string | null;
}

export interface Node {
  readonly name: Token;
  address: string | null;
}

export interface BigipState {
  readonly virtuals: Map<string, Virtual>;
  readonly pools: Map<string, Pool>;
  readonly monitors: Map<string, Monitor>;
  readonly nodes: Map<string, Node>;
  readonly note: (place: Place, message: string) => void;
}

export function newVirtual(name: Token): Virtual {
  return {
    name,
    destination: null,
    pool: null,
    protocol: 'tcp',
    snat: 'none',
    translated: true,
    mirror: 'off',
    persistenceS: null,
    leftOut: null,
  };
}

export function newPool(name: Token): Pool {
  return { name, read: emptyPool(objectName(name.text)), members: [], monitors: [] };
}

export function newMonitor(name: Token): Monitor {
  return { name, from: null, intervalS: null, timeoutS: null, port: null, path: null, host: null };
}

export function newNode(name: Token): Node {
  return { name, address: null };
}

/** The object of this name, made where it is new. */
export function objectOf<Kind>(objects: Map<string, Kind>, name: Token, make: (name: Token) => Kind): Kind {
  const key = objectName(name.text);
  const known = objects.get(key);
  if (known !== undefined) return known;
  const made = make(name);
  objects.set(key, made);
  return made;
}
