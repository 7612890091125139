/** The text of another program's config as tokens that know where they stand, and what is said of them. Pure. */

/** 1-based. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface Token extends Place {
  readonly text: string;
  readonly quoted: boolean;
  /** The first of its line, where the line does not continue the one before. */
  readonly first: boolean;
}

/** What has no counterpart, or was read in a way that the operator should know of. */
export interface Note extends Place {
  readonly message: string;
}

/** The source is not what it should be; nothing is converted. */
export class SourceFault extends Error {
  readonly place: Place;
  readonly hint: string | null;

  constructor(place: Place, message: string, hint: string | null = null) {
    super(message);
    this.place = place;
    this.hint = hint;
  }
}

/** Larger than any config that a person keeps. */
export const SOURCE_BYTES_MAX = 4 * 1024 * 1024;
const DEPTH_MAX = 32;

/**
 * Words, quoted texts and braces. `comments`: the characters that begin one, at the beginning of a word. A backslash at
 * the end of a line continues it.
 */
export function tokensOf(text: string, comments: string): Token[] {
  if (text.length > SOURCE_BYTES_MAX)
    throw new SourceFault({ line: 1, column: 1 }, `the file is larger than ${SOURCE_BYTES_MAX} bytes`);
  const tokens: Token[] = [];
  let continued = false;
  let quote: Quote | null = null;
  for (const [index, row] of text.split(/\r?\n/).entries()) {
    let first = !continued;
    continued = false;
    let at = 0;
    while (at < row.length || quote !== null) {
      if (quote !== null) {
        const end = closingQuote(row, at);
        quote.text += row.slice(at, end ?? row.length);
        if (end === null) break;
        tokens.push({ ...quote.place, text: quote.text, quoted: true, first: quote.first });
        quote = null;
        at = end + 1;
        continue;
      }
      const place = { line: index + 1, column: at + 1 };
      const letter = row[at]!;
      if (/\s/.test(letter)) at++;
      else if (comments.includes(letter)) break;
      else if (letter === '\\' && row.slice(at + 1).trim() === '') {
        continued = true;
        break;
      } else if (letter === '"') {
        quote = { place, text: '', first };
        first = false;
        at++;
      } else {
        const word = /^(?:[{}]|[^\s{}"]+)/.exec(row.slice(at))![0];
        tokens.push({ ...place, text: word, quoted: false, first });
        first = false;
        at += word.length;
      }
    }
    if (quote !== null) quote.text += '\n';
  }
  const unclosed = quote as Quote | null;
  if (unclosed !== null)
    throw new SourceFault(unclosed.place, 'a quoted text begins here and never ends', 'close it with "');
  bracesMatch(tokens);
  return tokens;
}

interface Quote {
  readonly place: Place;
  text: string;
  readonly first: boolean;
}

function closingQuote(row: string, from: number): number | null {
  for (let at = from; at < row.length; at++) {
    if (row[at] === '\\') at++;
    else if (row[at] === '"') return at;
  }
  return null;
}

function bracesMatch(tokens: readonly Token[]): void {
  const open: Token[] = [];
  for (const token of tokens) {
    if (isBrace(token, '{')) open.push(token);
    else if (isBrace(token, '}') && open.pop() === undefined)
      throw new SourceFault(token, '} closes nothing', 'remove it, or add the { that it belongs to');
    if (open.length > DEPTH_MAX) throw new SourceFault(token, 'the file is nested too deeply');
  }
  const unclosed = open.at(-1);
  if (unclosed !== undefined) throw new SourceFault(unclosed, '{ is never closed', 'add the } that it belongs to');
}

export function isBrace(token: Token | undefined, brace: '{' | '}'): boolean {
  return token !== undefined && !token.quoted && token.text === brace;
}

/** Walks over tokens once. */
export class Cursor {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  peek(ahead = 0): Token | undefined {
    return this.#tokens[this.#at + ahead];
  }

  next(): Token | undefined {
    return this.#tokens[this.#at++];
  }

  /** What stands between the braces that begin here, or null where none begin. */
  block(): Cursor | null {
    if (!isBrace(this.peek(), '{')) return null;
    const from = ++this.#at;
    let depth = 1;
    while (depth > 0) {
      const token = this.next();
      if (isBrace(token, '{')) depth++;
      if (isBrace(token, '}')) depth--;
    }
    return new Cursor(this.#tokens.slice(from, this.#at - 1));
  }

  rest(): Token[] {
    const rest = this.#tokens.slice(this.#at);
    this.#at = this.#tokens.length;
    return rest;
  }
}
