/**
 * Goal: what every file here promises its reader, kept by a machine.
 * Method: read the sources of src/, native/, test/ and scripts/ line by line.
 */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const columnsMax = 120;
const emptyName = /(^|[/_.-])(utils?|helpers?|common|manager)([/_.-]|$)/i;
// Built from parts, so that this file does not find itself.
const leftBehind = new RegExp(`\\b(${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')}|${'X'.repeat(3)})\\b`);

test('no file or folder has a name that says nothing', () => {
  expect(sources().filter((file) => emptyName.test(file))).toEqual([]);
});

test('every file begins with what it is', () => {
  const silent = sources().filter((file) => {
    const lines = linesOf(file);
    // What a .cc file is stands in the header of its name.
    if (existsSync(join(root, file.replace(/\.cc$/, '.h'))) && file.endsWith('.cc')) return false;
    const first = lines[0]?.startsWith('#!') ? lines[1] : lines[0];
    return first === undefined || !/^(\/\/|\/\*|#)/.test(first) || /^(#include|#pragma)/.test(first);
  });
  expect(silent).toEqual([]);
});

test(`no line is wider than ${columnsMax} columns, ends in blanks or leaves work behind`, () => {
  const offences = sources().flatMap((file) =>
    linesOf(file).flatMap((line, index) => {
      const place = `${file}:${index + 1}`;
      return [
        ...([...line].length > columnsMax ? [`${place} is ${[...line].length} columns wide`] : []),
        ...(/[ \t]+$/.test(line) ? [`${place} ends in blanks`] : []),
        ...(leftBehind.test(line) ? [`${place} leaves work behind`] : []),
      ];
    }),
  );
  expect(offences).toEqual([]);
});

function linesOf(file: string): string[] {
  return readFileSync(join(root, file), 'utf8').split('\n');
}

function sources(): string[] {
  return ['src', 'native', 'test', 'scripts'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((file) => `${folder}/${file}`)
      .filter((file) => /(\.(ts|tsx|h|cc)|^scripts\/[^.]+)$/.test(file) && statSync(join(root, file)).isFile())
      .toSorted(),
  );
}
