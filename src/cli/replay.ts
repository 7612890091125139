/** `tandem replay`: its flags, and what it prints while it runs. */

import { buildCommand } from '@stricli/core';

import { formatConfigError } from '../config/faults.js';
import type { ExplainedFrame } from '../replay/explain.js';
import { conclude, UsageError } from './command.js';
import type { CliContext } from './context.js';
import { jsonFlag, unitFlag } from './flags.js';
import { showReplay } from './show.js';
import { showExplained } from './show_explained.js';

interface ReplayFlags {
  readonly config: string;
  readonly unit: 'a' | 'b';
  readonly standby: boolean;
  readonly keepMac: boolean;
  readonly explain: boolean;
  readonly json: boolean;
}

export const replay = buildCommand<ReplayFlags, [input: string, output?: string], CliContext>({
  docs: {
    brief: 'Send a capture through the datapath, offline: replay --config F in.pcap out.pcap',
    fullDescription: [
      'Forwards the frames of a capture as the unit would, with nothing sent anywhere, and writes what it would',
      'have sent. Every member is up. Times are those of the capture.',
      '',
      'A frame from a member arrives on the link whose addresses are nearest to the member; any other on the first',
      'link where its destination is answered. Members have the MAC addresses 02:00:00:00:00:01 and on, in the order',
      'of the config. A capture was made with other MAC addresses: frames to our addresses and frames from members',
      'are given the virtual MAC as destination, unless --keep-mac is given.',
      '',
      'With --explain, each frame: what it is, what was decided and why, what was changed; OUT may be left out. With',
      '--json, too, a line of JSON for each frame and one for the summary.',
      '',
      'Exit code 1 if the file is damaged, or forwarded + punted + dropped is not what was read.',
    ].join('\n'),
  },
  parameters: {
    flags: {
      config: { kind: 'parsed', parse: String, placeholder: 'file', brief: 'The config' },
      unit: { ...unitFlag, default: 'a' },
      standby: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'As the standby unit: nothing is forwarded',
      },
      keepMac: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: "Leave frames' destination MAC as captured",
      },
      explain: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Tell of each frame what was decided and why',
      },
      json: jsonFlag,
    },
    positional: {
      kind: 'tuple',
      parameters: [
        { parse: String, placeholder: 'IN', brief: 'Capture to read (pcap or pcapng, Ethernet)' },
        { parse: String, placeholder: 'OUT', brief: 'Capture to write: frames forwarded', optional: true },
      ],
    },
  },
  async func({ config: file, unit, standby: asStandby, keepMac, explain, json }, input, output) {
    await conclude(this, json, async () => {
      if (output === undefined && !explain) {
        throw new UsageError('replay: nothing is said of where to write', 'tandem replay ... IN OUT, or --explain IN');
      }
      const result = this.readConfig(file);
      if (!result.ok) throw new Error([`${file} is not valid`, ...result.errors.map(formatConfigError)].join('\n'));
      const options = {
        config: result.config,
        unit,
        input,
        output: output ?? null,
        role: asStandby ? 'standby' : 'active',
        keepMac,
      } as const;
      const tell = (explained: ExplainedFrame) => {
        this.process.stdout.write(`${json ? JSON.stringify(explained) : showExplained(explained)}\n`);
      };
      const summary = await this.replay(explain ? { ...options, onExplained: tell } : options);
      const failed = !summary.accounted || summary.damage !== null;
      return { json: summary, jsonLine: explain, text: showReplay(summary), failed };
    });
  },
});
