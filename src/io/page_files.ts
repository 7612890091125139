/** The web page's built files (out/web), at `/` and `/assets/`. Reads files below one folder, and nothing else. */

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  json: 'application/json',
  map: 'application/json',
  svg: 'image/svg+xml',
  png: 'image/png',
  ico: 'image/x-icon',
  woff2: 'font/woff2',
};

/** uPlot and the page set styles of elements; scripts come from here alone. */
const SAFE = {
  'content-security-policy':
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};

export type PageFiles = (path: string) => Promise<Response>;

/** `folder` ends with a slash. */
export function pageFiles(folder = fileURLToPath(new URL('../../out/web/', import.meta.url))): PageFiles {
  return async (path) => {
    const name = path === '/' ? 'index.html' : path.slice(1);
    const type = TYPES[/\.(\w+)$/.exec(name)?.[1] ?? ''];
    // Each part begins with a letter, a digit, a dash or an underscore: no `..`, nothing hidden, nothing encoded.
    if (type === undefined || !/^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/.test(name)) return plain('no such file');
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      bytes = new Uint8Array(await readFile(`${folder}${name}`));
    } catch {
      return plain(
        path === '/' ? 'There is no page in out/web here; /v1/openapi.json says what may be asked.' : 'no such file',
      );
    }
    // vite puts a hash of what is in them into the names of assets.
    const cached = path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache';
    return new Response(bytes, { headers: { ...SAFE, 'content-type': type, 'cache-control': cached } });
  };
}

function plain(sentence: string): Response {
  return new Response(`${sentence}\n`, {
    status: 404,
    headers: { ...SAFE, 'content-type': 'text/plain; charset=utf-8' },
  });
}
