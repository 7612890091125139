/** How the virtual servers of a survival run are mirrored. */

import { hastily } from '../lab/hasty_unit.js';
import type { PairOptions } from '../lab/pair_config.js';
import type { Launch } from '../lab/unit.js';

export interface Mode {
  readonly mirror: PairOptions['mirror'];
  /** What is started instead of the product; without it, the product. */
  readonly launch?: Launch;
}

/** `hasty` is the control of `commit`: the same config, and a SYN-ACK waits for nothing. */
export const modes = {
  off: { mirror: 'off' },
  async: { mirror: 'async' },
  commit: { mirror: 'commit' },
  hasty: { mirror: 'commit', launch: hastily },
} as const satisfies Readonly<Record<string, Mode>>;

export type ModeName = keyof typeof modes;
export const modeNames = Object.keys(modes) as ModeName[];
