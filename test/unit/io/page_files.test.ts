/**
 * Goal: the page's files are served, and nothing else on this machine is.
 * Method: a folder of made-up files, asked for by every path that one might try.
 */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { pageFiles } from '../../../src/io/page_files.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-page-'));
  mkdirSync(join(folder, 'web', 'assets'), { recursive: true });
  writeFileSync(join(folder, 'web', 'index.html'), '<!doctype html>');
  writeFileSync(join(folder, 'web', 'assets', 'main-1a2b3c.js'), 'export {};');
  writeFileSync(join(folder, 'web', 'assets', '.hidden.js'), 'secret');
  writeFileSync(join(folder, 'secret.js'), 'secret');
});
afterAll(() => rmSync(folder, { recursive: true }));

const ask = (path: string) => pageFiles(join(folder, 'web/'))(path);

test('the page is asked for anew each time, an asset whose name has a hash never again', async () => {
  const page = await ask('/');
  expect(page.status).toBe(200);
  expect(await page.text()).toBe('<!doctype html>');
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(page.headers.get('cache-control')).toBe('no-cache');
  expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
  const asset = await ask('/assets/main-1a2b3c.js');
  expect(asset.headers.get('content-type')).toMatch(/^text\/javascript/);
  expect(asset.headers.get('cache-control')).toContain('immutable');
});

test.each([
  '/assets/../../secret.js',
  '/assets/..%2f..%2fsecret.js',
  '/assets//../secret.js',
  '/assets/.hidden.js',
  '/assets/nothing.js',
  '/assets/',
  '/assets',
  '//etc/passwd',
  '/assets/main-1a2b3c.js\0.png',
])('%s is not served', async (path) => {
  const answer = await ask(path);
  expect(answer.status).toBe(404);
  expect(await answer.text()).toBe('no such file\n');
});

test('a page that was not built says so', async () => {
  const answer = await pageFiles(join(folder, 'nowhere/'))('/');
  expect(answer.status).toBe(404);
  expect(await answer.text()).toMatch(/no page in out\/web here/);
});
