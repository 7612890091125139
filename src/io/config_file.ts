/** Reads a config file, bounded; everything that is wrong with it comes back as config errors. */

import { closeSync, openSync, readSync } from 'node:fs';

import { type ConfigResult, loadConfig } from '../config/load.js';
import type { ConfigError } from '../config/model.js';
import { CONFIG_BYTES_MAX } from '../config/yaml_source.js';

/** A file's text, or the one error that kept it from being read. */
export type ConfigText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly errors: readonly ConfigError[] };

export function readConfig(file: string): ConfigResult {
  const read = readConfigText(file);
  return read.ok ? loadConfig(read.text, file) : read;
}

export function readConfigText(file: string): ConfigText {
  const unreadable = (code: string, message: string): ConfigText => ({
    ok: false,
    errors: [{ code, message, hint: null, file, path: '', line: 1, column: 1 }],
  });
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (error) {
    return unreadable('unreadable', `cannot be opened: ${(error as Error).message}`);
  }
  try {
    const bytes = readBounded(descriptor);
    if (bytes === null) return unreadable('too_large', `the file is larger than ${CONFIG_BYTES_MAX} bytes`);
    return { ok: true, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (error) {
    if (error instanceof TypeError) return unreadable('not_utf8', 'the file is not UTF-8 text');
    return unreadable('unreadable', `cannot be read: ${(error as Error).message}`);
  } finally {
    closeSync(descriptor);
  }
}

/** Null beyond CONFIG_BYTES_MAX. The file may be a pipe, whose size nobody knows before its end. */
function readBounded(descriptor: number): Uint8Array | null {
  const bytes = new Uint8Array(CONFIG_BYTES_MAX + 1);
  let filled = 0;
  while (filled < bytes.length) {
    const count = readSync(descriptor, bytes, filled, bytes.length - filled, null);
    if (count === 0) return bytes.subarray(0, filled);
    filled += count;
  }
  return null;
}
