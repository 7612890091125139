/** keepalived.conf as a tree: one entry a line, `keyword word word`, some with a block. keepalived.conf(5). */

import { Cursor, isBrace, type Token, tokensOf } from './source.js';

export interface Entry {
  readonly keyword: Token;
  readonly words: readonly Token[];
  /** Null: none. */
  readonly body: readonly Entry[] | null;
}

/** `#` and `!` begin comments. Throws a SourceFault. */
export function keepalivedEntries(text: string): Entry[] {
  return entriesOf(new Cursor(tokensOf(text, '#!')));
}

function entriesOf(cursor: Cursor): Entry[] {
  const entries: Entry[] = [];
  for (let keyword = cursor.next(); keyword !== undefined; keyword = cursor.next()) {
    const words: Token[] = [];
    const goesOn = (token: Token | undefined) => token !== undefined && !token.first && !isBrace(token, '{');
    while (goesOn(cursor.peek())) words.push(cursor.next()!);
    const block = cursor.block();
    entries.push({ keyword, words, body: block === null ? null : entriesOf(block) });
  }
  return entries;
}
