/** What may be changed while the daemon runs: virtual servers, members, who is active. */

import { buildCommand } from '@stricli/core';

import { didYouMean } from '../config/suggest.js';
import { formatEndpoint } from '../wire/ip_address.js';
import { asking, type ClientFlags, clientFlags, proposing } from './asking.js';
import { UsageError } from './command.js';
import type { CliContext } from './context.js';
import { type End, endOf } from './ends.js';

export const standby = buildCommand<
  ClientFlags & { readonly force: boolean; readonly release: boolean },
  [group?: string],
  CliContext
>({
  docs: {
    brief: 'Hand a traffic group, or all, to the peer',
    fullDescription: [
      'Hands over without losing a packet of an established connection: changes are flushed to the peer, the peer',
      'takes over, and this unit keeps out of the way until it is released or the peer fails. Refused while the peer',
      'does not hold our connections; --force hands over nevertheless, and connections may be lost.',
    ].join('\n'),
  },
  parameters: {
    flags: {
      ...clientFlags,
      force: { kind: 'boolean', default: false, withNegated: false, brief: 'Even if the peer is not in sync' },
      release: { kind: 'boolean', default: false, withNegated: false, brief: 'The unit may become active again' },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: String,
          optional: true,
          placeholder: 'GROUP',
          brief: 'The traffic group; default: all',
          proposeCompletions: proposing('traffic group'),
        },
      ],
    },
  },
  func: asking(async (control, _now, { release, force }, group) => {
    const name = group ?? null;
    const result = release ? await control.releaseStandby(name) : await control.standby(name, force);
    const rows = result.trafficGroups.map((row) => `traffic group ${row.name}: ${row.outcome} (now ${row.role})`);
    return { json: result, text: rows.join('\n') };
  }),
});

export const reload = buildCommand<ClientFlags, [], CliContext>({
  docs: { brief: 'Read the config file again; connections go on' },
  parameters: { flags: clientFlags },
  func: asking(async (control) => {
    const result = await control.reload();
    const text =
      result.changes.length === 0 ? 'reloaded: nothing changed' : ['reloaded:', ...result.changes].join('\n  ');
    return { json: result, text };
  }),
});

const MODE_OF_WORD = { enable: 'async', commit: 'commit', disable: 'off' } as const;
const MODE_WORDS = ['enable', 'commit', 'disable'] as const;
const VIRTUAL_WORDS = ['enable', 'disable', 'mirror'] as const;

type VirtualWords = [
  name: string,
  word: (typeof VIRTUAL_WORDS)[number],
  conn: 'conn' | undefined,
  mode: (typeof MODE_WORDS)[number] | undefined,
];

/** One of a few words; they are proposed as they are parsed. */
function choice<const Word extends string>(words: readonly Word[]) {
  return {
    parse: (text: string): Word => {
      const word = words.find((each) => each === text);
      if (word !== undefined) return word;
      throw new SyntaxError(`expected ${words.join(', ')}; ${didYouMean(text, words) ?? `found '${text}'`}`);
    },
    proposeCompletions: (partial: string) => words.filter((word) => word.startsWith(partial)),
  };
}

export const virtual = buildCommand<ClientFlags, VirtualWords, CliContext>({
  docs: {
    brief: 'Change a virtual server: virtual NAME enable|disable, virtual NAME mirror conn enable|commit|disable',
    fullDescription: [
      'enable, disable: a virtual server that is disabled schedules no new connection; those that are open go on.',
      'mirror conn enable: its connections are mirrored from now on (mirror: async); commit: a handshake waits until',
      'the peer has its connection; disable: they are not. Connections are not touched: those that are open are told',
      'to the peer when they next change. The config file says what holds after a reload or a restart.',
    ].join('\n'),
  },
  parameters: {
    flags: clientFlags,
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: String,
          placeholder: 'NAME',
          brief: 'The virtual server',
          proposeCompletions: proposing('virtual server'),
        },
        { ...choice(VIRTUAL_WORDS), placeholder: 'WORD', brief: 'enable, disable or mirror' },
        { ...choice(['conn']), optional: true, placeholder: 'conn', brief: 'Behind mirror: the word conn' },
        { ...choice(MODE_WORDS), optional: true, placeholder: 'MODE', brief: 'enable, commit or disable' },
      ],
    },
  },
  func: asking(async (control, _now, _flags, name, word, conn, mode) => {
    if (word !== 'mirror') {
      if (conn !== undefined)
        throw new UsageError(`nothing may stand behind ${word}`, `tandem virtual ${name} ${word}`);
      const result = await control.setVirtualServer(name, { enabled: word === 'enable' });
      const { was, now } = result;
      const same = was.enabled === now.enabled ? ', as it was' : '';
      const text = `virtual server ${result.name}: ${now.enabled ? 'enabled' : 'disabled'}${same}`;
      return { json: result, text };
    }
    if (mode === undefined)
      throw new UsageError('mirror: on or off?', `tandem virtual ${name} mirror conn enable|commit|disable`);
    const result = await control.setVirtualServer(name, { mirror: MODE_OF_WORD[mode] });
    const { was, now } = result;
    const same = was.mirror === now.mirror ? ', as it was' : `, was ${was.mirror}`;
    return { json: result, text: `virtual server ${result.name}: mirror ${now.mirror}${same}` };
  }),
});

const MEMBER_WORDS = ['up', 'draining', 'down'] as const;

export const pool = buildCommand<
  ClientFlags,
  [name: string, member: 'member', end: End, state: (typeof MEMBER_WORDS)[number]],
  CliContext
>({
  docs: {
    brief: 'Take a member out of a pool, and back: pool NAME member ADDRESS:PORT up|draining|down',
    fullDescription: [
      'draining: its connections go on, and new ones come of persistent clients only; down: none come, and',
      "what happens to those that are open is onMemberDown's matter; up: as its monitor says. It holds until a",
      'reload or a restart, on this unit; say it on the other one, too, or write it into the config and apply that.',
    ].join('\n'),
  },
  parameters: {
    flags: clientFlags,
    positional: {
      kind: 'tuple',
      parameters: [
        { parse: String, placeholder: 'NAME', brief: 'The pool', proposeCompletions: proposing('pool') },
        { ...choice(['member']), placeholder: 'member', brief: 'The word member' },
        {
          parse: endOf,
          placeholder: 'ADDRESS:PORT',
          brief: 'The member as the config names it: 10.2.0.11:80, [fd02::11]:80, or an address alone',
          proposeCompletions: proposing('member'),
        },
        { ...choice(MEMBER_WORDS), placeholder: 'STATE', brief: 'up, draining or down' },
      ],
    },
  },
  func: asking(async (control, _now, _flags, name, _member, { address, port }, state) => {
    const result = await control.setMember(name, address, port, state);
    const was = result.was === result.now ? ', as it was' : `, was ${result.was ?? 'as the config says'}`;
    const text = `pool ${result.pool}: member ${formatEndpoint(result.address, result.port)} ${result.now}${was}`;
    return { json: result, text };
  }),
});
