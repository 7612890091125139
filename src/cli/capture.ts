/** `tandem capture`: frames of the unit as they are received, sent and dropped, into a pcapng file. */

import { buildCommand, numberParser } from '@stricli/core';

import {
  CAPTURE_PACKETS_DEFAULT,
  CAPTURE_PACKETS_MAX,
  CAPTURE_SECONDS_DEFAULT,
  CAPTURE_SECONDS_MAX,
  CAPTURE_SNAPLEN_BYTES_MAX,
  CAPTURE_SNAPLEN_BYTES_MIN,
} from '../api.js';
import { type AddressPrefix, parsePrefix } from '../wire/ip_address.js';
import { type ClientFlags, clientFlags, proposing, socketPath } from './asking.js';
import { conclude, UsageError } from './command.js';
import type { CliContext } from './context.js';

interface CaptureFlags extends ClientFlags {
  readonly output: string;
  readonly virtual?: string;
  readonly client?: AddressPrefix;
  readonly packets: number;
  readonly seconds: number;
  readonly snaplen: number;
}

export const captureCommand = buildCommand<CaptureFlags, [], CliContext>({
  docs: {
    brief: 'Frames as they are received, sent and dropped, into a pcapng file: capture -o FILE',
    fullDescription: [
      'Copies frames inside the unit: each as it came and as it left, with its connection in the comment; one that',
      'was dropped with the reason. Both directions of a connection are taken. Frames of no connection are taken where',
      'the virtual server they are sent to, or either of their addresses, is what was asked for. What is left to the',
      'kernel is not taken.',
      '',
      'Ends after --packets or --seconds, or with Ctrl-C; the file is whole then, too. Forwarding does not wait for a',
      'capture: frames that find no room are missed, and their number is told at the end.',
      '-o - writes to the standard output: tandem capture -o - | tshark -r -',
    ].join('\n'),
  },
  parameters: {
    flags: {
      ...clientFlags,
      output: {
        kind: 'parsed',
        parse: String,
        placeholder: 'file',
        brief: 'Also -o: the file to write; - is the output',
      },
      virtual: {
        kind: 'parsed',
        parse: String,
        optional: true,
        placeholder: 'name',
        brief: 'Of this virtual server alone',
        proposeCompletions: proposing('virtual server'),
      },
      client: {
        kind: 'parsed',
        parse: prefixOf,
        optional: true,
        placeholder: 'address',
        brief: 'Of clients with this address or prefix: 192.0.2.7, 2001:db8::/64',
      },
      packets: {
        kind: 'parsed',
        parse: within(1, CAPTURE_PACKETS_MAX),
        default: String(CAPTURE_PACKETS_DEFAULT),
        placeholder: 'number',
        brief: 'End after so many frames',
      },
      seconds: {
        kind: 'parsed',
        parse: within(1, CAPTURE_SECONDS_MAX),
        default: String(CAPTURE_SECONDS_DEFAULT),
        placeholder: 'seconds',
        brief: 'End after so long',
      },
      snaplen: {
        kind: 'parsed',
        parse: within(CAPTURE_SNAPLEN_BYTES_MIN, CAPTURE_SNAPLEN_BYTES_MAX),
        default: String(CAPTURE_SNAPLEN_BYTES_MAX),
        placeholder: 'bytes',
        brief: 'Keep so much of each frame',
      },
    },
    aliases: { o: 'output' },
  },
  async func({ output, virtual, client, packets, seconds, snaplen, socket, json }) {
    await conclude(this, json, async () => {
      const toOutput = output === '-';
      if (toOutput && json)
        throw new UsageError('-o - and --json both want the standard output', 'leave one of them out');
      const request = {
        virtualServer: virtual ?? null,
        client: client ?? null,
        packets,
        seconds,
        snaplenBytes: snaplen,
      };
      const summary = await this.capture(socketPath(this, socket), output, request);
      const text = `${summary.frames} frames${toOutput ? '' : ` in ${output}`}, ${summary.missed} missed`;
      return { json: { file: output, ...summary }, text: toOutput ? '' : text, notes: toOutput ? [text] : [] };
    });
  },
});

function prefixOf(text: string): AddressPrefix {
  const prefix = parsePrefix(text);
  if (prefix !== null) return prefix;
  throw new SyntaxError(`'${text}' is no address or prefix: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64`);
}

function within(low: number, high: number) {
  return (text: string): number => {
    const value = numberParser(text);
    if (Number.isInteger(value) && value >= low && value <= high) return value;
    throw new SyntaxError(`${text} is no whole number from ${low} to ${high}`);
  };
}
