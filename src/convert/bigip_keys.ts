/** The keys of BIG-IP's objects, in both its languages: how much each takes, and what it means here. */

import type { BigipState, Member, Monitor, Node, Pool, Virtual } from './bigip_state.js';
import {
  endpointOf,
  isAddress,
  isLayer4Profile,
  METHOD_WORDS,
  NEAREST_SCHEDULER,
  objectName,
  SCHEDULERS,
} from './bigip_words.js';
import { Cursor, isBrace, SourceFault, type Token } from './source.js';

type Read<Kind> = (object: Kind, cursor: Cursor, state: BigipState, key: Token) => void;
/** By key, its words joined by blanks, `_` as `-`. */
export type Keys<Kind> = Readonly<Record<string, Read<Kind>>>;
const KEY_WORDS_MAX = 4;

export function readKeys<Kind>(cursor: Cursor, keys: Keys<Kind>, object: Kind, state: BigipState): void {
  for (let key = cursor.peek(); key !== undefined; key = cursor.peek()) {
    const words = keyAt(cursor, keys);
    if (words === null) skipUnknown(cursor, keys, state);
    else {
      for (let word = 0; word < words; word++) cursor.next();
      const name = keyText(key, words);
      keys[name]!(object, cursor, state, key);
    }
  }

  function keyText(first: Token, words: number): string {
    return words === 1 ? plain(first) : joined.get(first)!;
  }
}

/** Keys of several words as they were found, by their first word. */
const joined = new WeakMap<Token, string>();

function keyAt<Kind>(cursor: Cursor, keys: Keys<Kind>): number | null {
  for (let words = KEY_WORDS_MAX; words > 0; words--) {
    const tokens = Array.from({ length: words }, (_, index) => cursor.peek(index));
    if (tokens.some((token) => token === undefined || token.quoted)) continue;
    const text = tokens.map((token) => plain(token!)).join(' ');
    if (!Object.hasOwn(keys, text)) continue;
    if (words > 1) joined.set(tokens[0]!, text);
    return words;
  }
  return null;
}

function plain({ text }: Token): string {
  return text.toLowerCase().replaceAll('_', '-');
}

/** To the next key or line, its block included. */
function skipUnknown<Kind>(cursor: Cursor, keys: Keys<Kind>, { note }: BigipState): void {
  const key = cursor.next()!;
  const words = [key.text];
  for (let token = cursor.peek(); token !== undefined; token = cursor.peek()) {
    if (cursor.block() !== null) break;
    if (token.first || keyAt(cursor, keys) !== null) break;
    words.push(cursor.next()!.text);
  }
  note(key, `${words.join(' ').slice(0, 60)}: has no counterpart`);
}

// -------------------------------------------------------------------------------------------- value readers

function value(cursor: Cursor, key: Token): Token {
  const token = cursor.next();
  if (token !== undefined && !isBrace(token, '{')) return token;
  throw new SourceFault(token ?? key, `${key.text} has no value`);
}

function whole(cursor: Cursor, key: Token): number {
  const token = value(cursor, key);
  if (/^\d+$/.test(token.text)) return Number(token.text);
  throw new SourceFault(token, `${key.text} needs a whole number, found '${token.text}'`);
}

/** The words of a list, in braces or to the line's end: `{ tcp { } http { context all } }`, `tcp http`. */
function list(cursor: Cursor, keys: Keys<never>): Token[] {
  if (/^(add|replace-all-with|modify|all)$/.test(cursor.peek()?.text ?? '')) cursor.next();
  const inner = cursor.block();
  const words: Token[] = [];
  if (inner !== null) {
    for (let token = inner.next(); token !== undefined; token = inner.next()) {
      words.push(token);
      inner.block();
    }
    return words;
  }
  for (let token = cursor.peek(); token !== undefined; token = cursor.peek()) {
    if (words.length > 0 && (token.first || keyAt(cursor, keys) !== null)) break;
    words.push(cursor.next()!);
    cursor.block();
  }
  return words;
}

const ignored = (_object: unknown, cursor: Cursor, _state: unknown, key: Token): void => {
  if (cursor.block() === null) value(cursor, key);
};
const nothing = (): void => {};

// ------------------------------------------------------------------------------------------------- pool

export const MEMBER_KEYS: Keys<Member> = {
  address: (member, cursor, _state, key) => {
    const text = value(cursor, key).text.split('%')[0]!;
    if (isAddress(text)) member.address = text;
  },
  ratio: (member, cursor, { note }, key) => {
    const weight = whole(cursor, key);
    if (weight > 256) note(key, `ratio ${weight}: 256 is the highest weight`);
    member.weight = Math.min(weight, 256);
  },
  priority: memberPriority,
  'priority-group': memberPriority,
  limit: memberLimit,
  'connection-limit': memberLimit,
  session: (member, cursor, _state, key) => {
    const word = value(cursor, key).text;
    if (word.includes('disable')) member.state ??= 'draining';
  },
  state: (member, cursor, _state, key) => {
    if (value(cursor, key).text === 'user-down') member.state = 'down';
  },
  down: (member) => {
    member.state = 'down';
  },
  up: nothing,
  description: ignored,
};

function memberPriority(member: Member, cursor: Cursor, _state: BigipState, key: Token): void {
  member.priority = Math.min(whole(cursor, key), 65_535);
}

function memberLimit(member: Member, cursor: Cursor, _state: BigipState, key: Token): void {
  member.maxConnections = whole(cursor, key);
}

function readMembers(pool: Pool, cursor: Cursor, state: BigipState, key: Token): void {
  if (/^(add|replace-all-with|modify)$/.test(cursor.peek()?.text ?? '')) cursor.next();
  if (cursor.peek()?.text === 'none') {
    cursor.next();
    return;
  }
  const inner = cursor.block();
  const from = inner ?? cursor;
  let read = 0;
  for (let token = from.peek(); token !== undefined; token = from.peek()) {
    const end = endpointOf(token.text);
    if (end === null) {
      if (inner === null && read > 0) return;
      throw new SourceFault(token, `'${token.text}' is no member`, 'an address and a port, 10.2.0.11:80');
    }
    from.next();
    read++;
    const fresh = { address: null, weight: null, priority: null, state: null, maxConnections: null };
    const member: Member = { place: token, end, ...fresh };
    const block = from.block();
    if (block !== null) readKeys(block, MEMBER_KEYS, member, state);
    else while (keyAt(from, MEMBER_KEYS) !== null) readKeys(upToKey(from), MEMBER_KEYS, member, state);
    if (end.routeDomain !== null) state.note(token, `route domain %${end.routeDomain}: has no counterpart`);
    pool.members = [...pool.members.filter((other) => !sameEnd(other, member)), member];
    // `member` names one, unless several follow.
    if (inner === null && plain(key) === 'member' && endpointOf(from.peek()?.text ?? '') === null) return;
  }
}

/** One member key and its value. */
function upToKey(cursor: Cursor): Cursor {
  const key = cursor.next()!;
  const flag = plain(key) === 'up' || plain(key) === 'down';
  const operand = flag ? undefined : cursor.next();
  return new Cursor(operand === undefined ? [key] : [key, operand]);
}

function sameEnd(left: Member, right: Member): boolean {
  return left.end.host === right.end.host && left.end.port === right.end.port;
}

function readMethod({ read }: Pool, cursor: Cursor, { note }: BigipState, key: Token): void {
  const words: string[] = [];
  for (let token = cursor.peek(); token !== undefined; token = cursor.peek()) {
    const word = plain(token);
    // In `lb method member ratio` a word of the method, in `lb method rr member 10.2.0.11:80` the next key.
    const scope = /^(member|node)$/.test(word) && METHOD_WORDS.has(plain(cursor.peek(1) ?? token));
    if (words.length > 0 && !METHOD_WORDS.has(word) && !scope) break;
    words.push(word);
    cursor.next();
  }
  const method = words.join(' ');
  const scheduler = SCHEDULERS[method];
  read.scheduler = scheduler ?? NEAREST_SCHEDULER;
  if (scheduler === undefined) note(key, `${method}: has no counterpart; ${NEAREST_SCHEDULER} comes nearest`);
}

/** `monitor all http and tcp`, `monitor min 1 of { http tcp }`. */
function readPoolMonitor(pool: Pool, cursor: Cursor): void {
  if (cursor.peek()?.text === 'all') cursor.next();
  if (cursor.peek()?.text === 'min') {
    for (let word = 0; word < 3; word++) cursor.next();
    pool.monitors = list(cursor, {});
    return;
  }
  pool.monitors = [];
  for (let token = cursor.next(); token !== undefined; token = cursor.next()) {
    if (token.text !== 'none') pool.monitors.push(token);
    if (cursor.peek()?.text !== 'and') return;
    cursor.next();
  }
}

const onDown: Read<Pool> = ({ read }, cursor, { note }, key) => {
  const word = value(cursor, key).text;
  if (word === 'reset' || word === 'reselect') read.onMemberDown = word;
  else if (word !== 'none') note(key, `${key.text} ${word}: has no counterpart; connections are kept`);
};
const minActive: Read<Pool> = ({ read }, cursor, _state, key) => {
  read.minActiveMembers = Math.min(Math.max(whole(cursor, key), 1), 1024);
};
const slowRamp: Read<Pool> = ({ read }, cursor, _state, key) => {
  read.slowStartS = Math.min(whole(cursor, key), 3600);
};

export const POOL_KEYS: Keys<Pool> = {
  'lb method': readMethod,
  'lb-method': readMethod,
  'load-balancing-mode': readMethod,
  monitor: readPoolMonitor,
  member: readMembers,
  members: readMembers,
  'min active members': minActive,
  'min-active-members': minActive,
  'slow ramp time': slowRamp,
  'slow-ramp-time': slowRamp,
  'action on svcdown': onDown,
  'service-down-action': onDown,
  'allow-snat': ignored,
  'allow-nat': ignored,
  description: ignored,
  partition: ignored,
};

// --------------------------------------------------------------------------------------------- the others

const monitorFrom: Read<Monitor> = (monitor, cursor, _state, key) => {
  monitor.from = value(cursor, key);
};

export const MONITOR_KEYS: Keys<Monitor> = {
  use: monitorFrom,
  'defaults-from': monitorFrom,
  'defaults from': monitorFrom,
  interval: (monitor, cursor, _state, key) => {
    monitor.intervalS = Math.min(Math.max(whole(cursor, key), 1), 3600);
  },
  timeout: (monitor, cursor, _state, key) => {
    monitor.timeoutS = whole(cursor, key);
  },
  send: (monitor, cursor, { note }, key) => {
    const text = value(cursor, key).text;
    const path = /^(?:GET|HEAD) (\/[\x21-\x5b\x5d-\x7e]*)/.exec(text)?.[1];
    const host = /\\r\\n[Hh]ost: *([A-Za-z0-9.:-]+)/.exec(text)?.[1];
    if (path === undefined) note(key, `send "${text.slice(0, 40)}": only a path that is asked for is taken over`);
    monitor.path = path ?? null;
    monitor.host = host ?? null;
  },
  recv: (_monitor, cursor, { note }, key) => {
    const text = value(cursor, key).text;
    if (text !== 'none' && text !== '')
      note(key, `recv "${text.slice(0, 40)}": has no counterpart; the status is looked at (expectStatus)`);
  },
  destination: (monitor, cursor, _state, key) => {
    const end = endpointOf(value(cursor, key).text);
    if (end !== null && end.port !== 0) monitor.port = end.port;
  },
  'time-until-up': ignored,
  'up-interval': ignored,
  description: ignored,
  partition: ignored,
};

export const NODE_KEYS: Keys<Node> = {
  address: (node, cursor, _state, key) => {
    node.address = value(cursor, key).text.split('%')[0]!;
  },
  description: ignored,
  partition: ignored,
};

const setPool: Read<Virtual> = (virtual, cursor, _state, key) => {
  const token = value(cursor, key);
  if (token.text !== 'none') virtual.pool = token;
};
const setProtocol: Read<Virtual> = (virtual, cursor, _state, key) => {
  const { text } = value(cursor, key);
  if (text === 'tcp' || text === 'udp') virtual.protocol = text;
  else if (text === '*' || text === 'any') virtual.protocol = 'any';
  else virtual.leftOut = `protocol ${text} is not forwarded by itself`;
};
const setMirror: Read<Virtual> = (virtual, cursor, _state, key) => {
  virtual.mirror = value(cursor, key).text.startsWith('enable') ? 'async' : 'off';
};
const setSnat: Read<Virtual> = (virtual, cursor, { note }, key) => {
  const word = value(cursor, key);
  virtual.snat = word.text === 'none' ? 'none' : 'automap';
  // tmsh says `type snat` and names the pool beside it.
  if (word.text === 'automap' || word.text === 'none' || word.text === 'snat') return;
  const pool = word.text === 'pool' ? value(cursor, key).text : word.text;
  note(key, `SNAT pool ${pool}: automap is written; its addresses may stand there as a list`);
};
const setTranslation: Read<Virtual> = (virtual, cursor, state, key) => {
  const inner = cursor.block();
  if (inner !== null) readKeys(inner, TRANSLATION_KEYS, virtual, state);
  else setSnat(virtual, cursor, state, key);
};
const TRANSLATION_KEYS: Keys<Virtual> = { type: setSnat, pool: setSnat };
const setTranslated: Read<Virtual> = (virtual, cursor, _state, key) => {
  virtual.translated = !value(cursor, key).text.startsWith('disable');
};
const setProfiles: Read<Virtual> = (_virtual, cursor, { note }) => {
  for (const profile of list(cursor, VIRTUAL_KEYS))
    if (!isLayer4Profile(profile.text)) note(profile, `profile ${profile.text}: layer 4 has no counterpart for it`);
};
const setRules: Read<Virtual> = (_virtual, cursor, { note }) => {
  for (const rule of list(cursor, VIRTUAL_KEYS))
    if (rule.text !== 'none') note(rule, `rule ${rule.text}: there are no rules`);
};
const F5_PERSISTENCE_S = 180;
const setPersistence: Read<Virtual> = (virtual, cursor, { note }) => {
  for (const method of list(cursor, VIRTUAL_KEYS)) {
    const name = objectName(method.text).replaceAll('-', '_');
    if (name === 'source_addr' || name === 'simple') virtual.persistenceS = F5_PERSISTENCE_S;
    else if (name !== 'none') note(method, `persist ${method.text}: only persistence by the client's address exists`);
  }
};
const setMask: Read<Virtual> = (virtual, cursor, _state, key) => {
  const { text } = value(cursor, key);
  if (!/^(255\.255\.255\.255|host|none|ffff(:ffff){7})$/i.test(text))
    virtual.leftOut = `it is a network (mask ${text})`;
};
const forwards: Read<Virtual> = (virtual) => {
  virtual.leftOut = 'it forwards by route; there is no pool';
};

export const VIRTUAL_KEYS: Keys<Virtual> = {
  destination: (virtual, cursor, _state, key) => {
    virtual.destination = value(cursor, key);
  },
  pool: setPool,
  'use pool': setPool,
  'ip protocol': setProtocol,
  'ip-protocol': setProtocol,
  protocol: setProtocol,
  mirror: setMirror,
  'mirror conn': setMirror,
  snat: setSnat,
  'snat pool': setSnat,
  snatpool: setSnat,
  'source-address-translation': setTranslation,
  'translate address': setTranslated,
  'translate-address': setTranslated,
  'translate addr': setTranslated,
  'translate port': ignored,
  'translate-port': ignored,
  'translate service': ignored,
  profile: setProfiles,
  profiles: setProfiles,
  rule: setRules,
  rules: setRules,
  persist: setPersistence,
  mask: setMask,
  netmask: setMask,
  'ip forward': forwards,
  'ip-forward': forwards,
  'l2 forward': forwards,
  'l2-forward': forwards,
  source: (_virtual, cursor, { note }, key) => {
    const { text } = value(cursor, key);
    if (!/^(0\.0\.0\.0\/0|::\/0)$/.test(text)) note(key, `source ${text}: clients are not told apart`);
  },
  disable: disabled,
  disabled,
  enable: nothing,
  enabled: nothing,
  description: ignored,
  partition: ignored,
  'vs-index': ignored,
  'creation-time': ignored,
  'last-modified-time': ignored,
};

function disabled({ name }: Virtual, _cursor: Cursor, { note }: BigipState, key: Token): void {
  note(key, `disabled: it begins enabled here; tandem virtual ${objectName(name.text)} disable`);
}
