/** Where things are, whether this runs as TypeScript or compiled in out/js/. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repositoryRoot = findRoot(dirname(fileURLToPath(import.meta.url)));

/** A traffic program, compiled by `scripts/build-lab`: inside a namespace it runs under plain node. */
export function trafficProgram(name: string): string {
  return join(repositoryRoot, 'out', 'js', 'test', 'support', 'traffic', `${name}.js`);
}

function findRoot(from: string): string {
  if (existsSync(join(from, 'package.json'))) return from;
  if (dirname(from) === from) throw new Error('no package.json above this file');
  return findRoot(dirname(from));
}
