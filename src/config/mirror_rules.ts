/** What goes with which mirror mode, and the mode with its defaults. */

import type { Draft } from './draft.js';
import type { Fault, Path } from './faults.js';
import type { MirrorConfig } from './model.js';
import type { ShapedVirtualServer } from './schema.js';

export const mirrorRules = [optionsFitTheirMode, udpIsMirroredLateOrNotAtAll];

/**
 * An ack takes well under a millisecond, a garbage collection of the peer some tens, and a client sends its SYN again
 * after a second.
 */
export const COMMIT_TIMEOUT_MS = 100;

export function mirrorOf({ mirror }: ShapedVirtualServer): MirrorConfig {
  const said = typeof mirror === 'string' ? { mode: mirror } : mirror;
  return {
    mode: said.mode,
    after: said.after === undefined ? null : { ageS: said.after.ageS ?? null, bytes: said.after.bytes ?? null },
    onTimeout: said.onTimeout ?? 'available',
    timeoutMs: said.timeoutMs ?? COMMIT_TIMEOUT_MS,
  };
}

const MODE_OF = { after: 'async', onTimeout: 'commit', timeoutMs: 'commit' } as const;

function optionsFitTheirMode({ virtualServers }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, { mirror }]): Fault[] => {
    if (typeof mirror === 'string') return [];
    const path: Path = ['virtualServers', name, 'mirror'];
    return (Object.keys(MODE_OF) as (keyof typeof MODE_OF)[])
      .filter((key) => mirror[key] !== undefined && mirror.mode !== MODE_OF[key])
      .map((key) => ({
        code: 'wrong_mirror_mode',
        message: `means nothing with mode: ${mirror.mode}`,
        hint: `leave it out, or write mode: ${MODE_OF[key]}`,
        path: [...path, key],
        atKey: true,
      }));
  });
}

/** Most of UDP is over before it is worth telling, and has no handshake that could wait. */
function udpIsMirroredLateOrNotAtAll({ virtualServers }: Draft): Fault[] {
  return [...virtualServers].flatMap(([name, server]): Fault[] => {
    const { mode, after } = mirrorOf(server);
    if (server.protocol !== 'udp' || mode === 'off' || (mode === 'async' && after !== null)) return [];
    return [
      {
        code: 'udp_mirror',
        message: 'UDP is mirrored only when its connections live longer',
        hint: 'write mirror: off, or mirror: { mode: async, after: { ageS: 1 } }',
        path: ['virtualServers', name, 'mirror'],
      },
    ];
  });
}
