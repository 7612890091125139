/**
 * The config's file and what is remembered beside it: the text in force, its revision, and what was prepared.
 *
 *   FILE             the text in force, replaced by rename alone
 *   FILE.previous    what it was before the last apply
 *   FILE.prepared    a text that is checked and may be committed: on disk before anybody is promised anything
 *   STATE/config-revision.json   the revision in force, and the one that is prepared
 *
 * The rename of FILE is the commit. A crash at any moment leaves a whole old or a whole new text; which of the
 * two revisions it is, its digest says.
 */

import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { copyFile, mkdir, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { z } from 'zod';

import { type ConfigResult, loadConfig } from '../config/load.js';
import type { ConfigRevision, ConfigStanding } from '../config/model.js';
import { revisionSchema } from '../mirror/messages.js';
import { readConfigText } from './config_file.js';

/** What is left of earlier applies when the daemon starts. */
export interface Remembered {
  readonly standing: ConfigStanding;
  /** Prepared before the daemon ended, and not committed. */
  readonly doubt: ConfigRevision | null;
  /** Why the revision is not known although there may have been one. */
  readonly fault: string | null;
}

export interface ReadConfig {
  readonly result: ConfigResult;
  /** Empty if the file could not be read. */
  readonly text: string;
}

const memorySchema = z.object({ revision: revisionSchema.nullable(), prepared: revisionSchema.nullable() });
type Memory = z.infer<typeof memorySchema>;

const MEMORY_BYTES_MAX = 4096;

export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export class ConfigStore {
  readonly #file: string;
  readonly #memoryFile: string;
  #memory: Memory = { revision: null, prepared: null };

  constructor(file: string, stateDirectory: string) {
    this.#file = file;
    this.#memoryFile = join(stateDirectory, 'config-revision.json');
  }

  read(): ReadConfig {
    const read = readConfigText(this.#file);
    if (!read.ok) return { result: read, text: '' };
    return { result: loadConfig(read.text, this.#file), text: read.text };
  }

  /** To be called once, with the file's text; what an interrupted apply left behind is removed. */
  remember(text: string): Remembered {
    const digest = digestOf(text);
    let fault: string | null = null;
    try {
      this.#memory = readMemory(this.#memoryFile);
    } catch (error) {
      fault = `${this.#memoryFile}: ${messageOf(error)}; the config's revision is not known`;
    }
    try {
      rmSync(`${this.#file}.prepared`, { force: true });
    } catch {
      // In a folder that this user may not write in there is none of ours.
    }
    const { revision, prepared } = this.#memory;
    // The daemon ended between the rename of the file and the note of it.
    if (prepared?.digest === digest) {
      this.#memory = { revision: prepared, prepared: null };
      return { standing: { revision: prepared, digest }, doubt: null, fault };
    }
    return { standing: { revision, digest }, doubt: prepared, fault };
  }

  /** Writes the text beside the file, and that it is prepared. Rejects with what stands in the way. */
  async stage(text: string, revision: ConfigRevision): Promise<void> {
    const file = await realpath(this.#file);
    const { mode } = await stat(file);
    await writeDurably(`${file}.prepared`, text, mode & 0o777);
    await this.#note({ ...this.#memory, prepared: revision });
  }

  /** What was staged takes the file's place. */
  async commit(): Promise<void> {
    const file = await realpath(this.#file);
    await copyFile(file, `${file}.previous`);
    await rename(`${file}.prepared`, file);
    await syncDirectory(dirname(file));
    // The file says it already; a note that fails is made up for by its digest at the next start.
    await this.#note({ revision: this.#memory.prepared, prepared: null });
  }

  /** `inDoubt`: that something was prepared is remembered. */
  async abandon(inDoubt: boolean): Promise<void> {
    await rm(`${await realpath(this.#file)}.prepared`, { force: true });
    if (!inDoubt && this.#memory.prepared !== null) await this.#note({ ...this.#memory, prepared: null });
  }

  async #note(memory: Memory): Promise<void> {
    await mkdir(dirname(this.#memoryFile), { recursive: true, mode: 0o750 });
    const written = `${this.#memoryFile}.new`;
    await writeDurably(written, `${JSON.stringify(memory, null, 2)}\n`, 0o640);
    await rename(written, this.#memoryFile);
    await syncDirectory(dirname(this.#memoryFile));
    this.#memory = memory;
  }
}

function readMemory(file: string): Memory {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { revision: null, prepared: null };
    throw error;
  }
  if (text.length > MEMORY_BYTES_MAX) throw new Error('is larger than what Tandem writes there');
  const parsed = memorySchema.safeParse(parseJson(text));
  if (!parsed.success) throw new Error('does not hold what Tandem writes there');
  return parsed.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** On disk when it resolves. */
async function writeDurably(file: string, text: string, mode: number): Promise<void> {
  const handle = await open(file, 'w', mode);
  try {
    await handle.chmod(mode);
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    throw new Error(`${basename(file)}: ${messageOf(error)}`);
  } finally {
    await handle.close();
  }
}

/** A rename is durable once its directory is. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
