/** Which page is shown: `#/connections?client=10.0.0.1`. The address bar has it, so it can be sent and reloaded. */

import { signal } from '@preact/signals';

export interface Route {
  /** `pair`, `virtual-servers`, ... */
  readonly page: string;
  /** Of one object; null: the list. */
  readonly name: string | null;
  readonly query: URLSearchParams;
}

export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const [page = '', name = ''] = path.split('/');
  return { page: page || 'pair', name: name === '' ? null : decoded(name), query: new URLSearchParams(query) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = signal(parseRoute(location.hash));

addEventListener('hashchange', () => {
  route.value = parseRoute(location.hash);
});
