/**
 * Loads the native addon, once for the process. Nothing else names its file.
 *
 * It stands below the directory of package.json, wherever this file was compiled to: src/ (tests run TypeScript
 * directly), dist/, or out/ (programs of the lab).
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NativeModule } from '../datapath.js';

const addonPath = join(packageDirectory(fileURLToPath(import.meta.url)), 'build', 'Release', 'tandem.node');

const classes = ['Datapath', 'SharedState', 'FrameSender', 'CarrierWatch', 'Ipv6AdvertSocket'] as const;
const functions = ['sendDatagram', 'socketPeer'] as const;

/** The nearest directory above `path` that holds a package.json; the root of the file system if none does. */
function packageDirectory(path: string): string {
  const directory = dirname(path);
  return existsSync(join(directory, 'package.json')) || directory === path ? directory : packageDirectory(directory);
}

/** A list of [snake_case name, sentence], no name twice: what counters are shown by. */
function checkNames(list: unknown, what: string): void {
  if (!Array.isArray(list) || list.length === 0) throw new Error(`${addonPath}: ${what} is no list`);
  const seen = new Set<unknown>();
  for (const entry of list as unknown[]) {
    const [name, sentence] = Array.isArray(entry) ? (entry as unknown[]) : [];
    if (typeof name !== 'string' || !/^[a-z][a-z0-9_]*$/.test(name) || typeof sentence !== 'string' || seen.has(name)) {
      throw new Error(`${addonPath}: ${what} has a wrong entry ${JSON.stringify(entry)}`);
    }
    seen.add(name);
  }
}

/** Throws a sentence that says how to mend it: not built, built for another node, or out of step with this code. */
function load(): NativeModule {
  if (!existsSync(addonPath)) {
    throw new Error(`the native addon is not built (${addonPath} does not exist); run scripts/build`);
  }
  let loaded: Readonly<Record<string, unknown>>;
  try {
    loaded = createRequire(import.meta.url)(addonPath) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the native addon does not load (${why}); run scripts/build`, { cause });
  }
  for (const name of classes) {
    if (typeof loaded[name] !== 'function') throw new Error(`${addonPath} has no class ${name}; run scripts/build`);
  }
  for (const name of functions) {
    if (typeof loaded[name] !== 'function') throw new Error(`${addonPath} has no function ${name}; run scripts/build`);
  }
  checkNames(loaded['dropNames'], 'dropNames');
  checkNames(loaded['countNames'], 'countNames');
  return loaded as unknown as NativeModule;
}

export const native: NativeModule = load();
