/** Captures of a datapath without interfaces. */

import { Captures } from '../../src/io/captures.js';
import { native } from '../../src/io/native.js';
import { MemoryDatapath } from './memory_datapath.js';

export interface CaptureEnd {
  readonly caller: string;
  readonly frames: number;
  readonly missed: number;
}

export function memoryCaptures({ datapath } = new MemoryDatapath(), ends: CaptureEnd[] = []): Captures {
  return new Captures({
    datapath,
    interfaces: ['eth1', 'eth2'],
    dropNames: native.dropNames,
    version: '0.1.0',
    onEnd: (end) => ends.push(end),
  });
}
