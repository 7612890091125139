/** Colours for a terminal, laid over text that says the same without them. Pure. */

const PAINT = { bold: 1, red: 31, green: 32, yellow: 33 } as const;

function painted(text: string, paint: keyof typeof PAINT): string {
  return `\x1b[${PAINT[paint]}m${text}\x1b[0m`;
}

/** Cells of tables, and values behind a name: a word counts where it stands by itself. */
const WELL = /(?<=^|: | {2}|, )(up|active|in sync|agree|in use|yes|paired)(?=$| {2}|,| \()/g;
const ILL = /(?<=^|: | {2}|, )(down|not in sync|differ|NOT [A-Z]+|unpaired|connecting)(?=$| {2}|,| \()/g;
/** Titles of columns: capitals alone. */
const TITLES = /^[A-Z][A-Z ]+(?: {2,}[A-Z][A-Z ]*)+$/;

export function coloured(text: string): string {
  return text
    .split('\n')
    .map((line) => {
      if (line.startsWith('! ')) return painted(line, 'yellow');
      if (TITLES.test(line)) return painted(line, 'bold');
      return line.replace(ILL, (word) => painted(word, 'red')).replace(WELL, (word) => painted(word, 'green'));
    })
    .join('\n');
}
