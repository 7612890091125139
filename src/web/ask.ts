/** Requests to the daemon's API, and its refusals as one sentence. */

import { signal } from '@preact/signals';

const ANSWER_WITHIN_MS = 4_000;

const TOKEN_KEY = 'tandem-token';

/** What the TCP listener asks for; the unix socket asks for none. Kept until the tab is closed. */
let token = sessionStorage.getItem(TOKEN_KEY);
/** The daemon was asked without a token, or with a wrong one. */
export const isTokenWanted = signal(false);

export const hasToken = () => token !== null;

export function giveToken(text: string): void {
  token = text;
  sessionStorage.setItem(TOKEN_KEY, text);
  isTokenWanted.value = false;
}

/** Nobody answers, or what answers is not the daemon. */
export class Unanswered extends Error {}

/** The daemon answered, and refused. */
export class Refused extends Error {}

/** GET. Rejects with Unanswered or Refused. */
export const ask = <Answer>(path: string): Promise<Answer> => request<Answer>(path, {});

/** PATCH. Rejects likewise. */
export const change = <Answer>(path: string, body: object): Promise<Answer> =>
  request<Answer>(path, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json', 'tandem-client': 'web page' },
    body: JSON.stringify(body),
  });

async function request<Answer>(path: string, init: RequestInit): Promise<Answer> {
  let response: Response;
  let answer: unknown;
  try {
    const headers = { ...init.headers, ...(token === null ? {} : { authorization: `Bearer ${token}` }) };
    response = await fetch(path, { ...init, headers, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    answer = await response.json();
  } catch {
    throw new Unanswered('The daemon does not answer');
  }
  if (response.ok) return answer as Answer;
  if (response.status === 401) isTokenWanted.value = true;
  const { error } = answer as { readonly error?: { readonly message: string; readonly mend: string | null } };
  if (error === undefined) throw new Unanswered(`What answers is not the daemon (status ${response.status})`);
  throw new Refused(error.mend === null ? error.message : `${error.message}: ${error.mend}`);
}
