/** Commands that ask the daemon: how they find it, and what they have in common. */

import { buildCommand } from '@stricli/core';

import { type Control, ControlError, DEFAULT_SOCKET } from '../api.js';
import { didYouMean } from '../config/suggest.js';
import { formatEndpoint } from '../wire/ip_address.js';
import { conclude, type Outcome } from './command.js';
import type { CliContext } from './context.js';
import { jsonFlag } from './flags.js';

export const socketFlag = {
  kind: 'parsed',
  parse: String,
  optional: true,
  placeholder: 'path',
  brief: `The daemon's socket; else $TANDEM_SOCKET, else ${DEFAULT_SOCKET}`,
} as const;
export const clientFlags = { socket: socketFlag, json: jsonFlag } as const;

export interface ClientFlags {
  readonly socket?: string;
  readonly json: boolean;
}

export function socketPath(context: CliContext, flag: string | undefined): string {
  return flag ?? context.process.env?.['TANDEM_SOCKET'] ?? DEFAULT_SOCKET;
}

/** A command that asks the daemon one thing. */
export function asking<Flags extends ClientFlags, Args extends unknown[]>(
  ask: (control: Control, now: number, flags: Flags, ...args: Args) => Promise<Outcome>,
) {
  return async function (this: CliContext, flags: Flags, ...args: Args): Promise<void> {
    const control = this.connect(socketPath(this, flags.socket));
    await conclude(this, flags.json, async () => {
      try {
        return await ask(control, this.now(), flags, ...args);
      } catch (error) {
        throw error instanceof ControlError ? await suggested(control, error, args) : error;
      }
    });
  };
}

export function showing<Answer>(
  brief: string,
  ask: (control: Control) => Promise<Answer>,
  show: (answer: Answer, now: number) => string,
) {
  return buildCommand<ClientFlags, [], CliContext>({
    docs: { brief },
    parameters: { flags: clientFlags },
    func: asking(async (control, now) => {
      const answer = await ask(control);
      return { json: answer, text: show(answer, now) };
    }),
  });
}

// ------------------------------------------------------------------------------------------------ names

export type Named = 'virtual server' | 'pool' | 'member' | 'traffic group';

/** Names that the daemon knows. */
export async function namesOf(control: Control, kind: Named): Promise<string[]> {
  switch (kind) {
    case 'virtual server':
      return (await control.virtualServers()).map(({ name }) => name);
    case 'traffic group':
      return (await control.status()).trafficGroups.map(({ name }) => name);
    case 'pool':
      return (await control.pools()).map(({ name }) => name);
    case 'member': {
      const members = (await control.pools()).flatMap((pool) => pool.members);
      return [...new Set(members.map(({ address, port }) => formatEndpoint(address, port)))];
    }
  }
}

/** For completion; without a daemon there is nothing to propose. */
export function proposing(kind: Named) {
  return async function (this: CliContext, partial: string): Promise<readonly string[]> {
    try {
      const names = await namesOf(this.connect(socketPath(this, undefined)), kind);
      return names.filter((name) => name.startsWith(partial));
    } catch {
      return [];
    }
  };
}

const KIND_OF_CODE: Readonly<Record<string, Named>> = {
  unknown_virtual_server: 'virtual server',
  unknown_pool: 'pool',
  unknown_member: 'member',
  unknown_traffic_group: 'traffic group',
};

/** The same refusal, with the name that was probably meant. */
async function suggested(control: Control, error: ControlError, args: readonly unknown[]): Promise<ControlError> {
  const kind = KIND_OF_CODE[error.code];
  if (kind === undefined) return error;
  const known = await namesOf(control, kind).catch(() => []);
  const typed = args.find((arg): arg is string => typeof arg === 'string' && error.message.includes(arg));
  const hint = typed === undefined ? null : didYouMean(typed, known);
  if (hint === null) return error;
  return new ControlError(error.kind, error.code, error.message, hint, error.configErrors, error.path);
}
