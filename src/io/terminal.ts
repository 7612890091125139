/** The terminal that a live view takes over, and gives back as it was whatever ends the program. */

export interface Terminal {
  /** Whether what is printed goes to a terminal. */
  readonly isTerminal: boolean;
  readonly size: () => { readonly columns: number; readonly rows: number };
  /** Shows another screen and reads keys one by one; what is returned gives all of it back. */
  readonly takeOver: (onKey: (key: string) => void, onSignal: () => void) => () => void;
  /** Until `ms` have passed, or `end` is aborted, or the terminal has another size. */
  readonly wait: (ms: number, end: AbortSignal) => Promise<void>;
}

/** xterm's control sequences: the alternate screen, and the cursor, which would blink about. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[2J';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** When a terminal does not tell its size. */
const COLUMNS = 80;
const ROWS = 24;

export const systemTerminal: Terminal = {
  isTerminal: process.stdout.isTTY === true,
  size: () => ({ columns: process.stdout.columns || COLUMNS, rows: process.stdout.rows || ROWS }),
  takeOver,
  wait,
};

function takeOver(onKey: (key: string) => void, onSignal: () => void): () => void {
  const { stdin, stdout } = process;
  const keys = (typed: Buffer) => {
    for (const key of typed.toString('utf8')) onKey(key);
  };
  let open = true;
  const giveBack = () => {
    if (!open) return;
    open = false;
    stdout.write(LEAVE);
    for (const signal of SIGNALS) process.off(signal, onSignal);
    process.off('exit', giveBack);
    if (!stdin.isTTY) return;
    stdin.off('data', keys);
    stdin.setRawMode(false);
    stdin.pause();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  process.on('exit', giveBack);
  if (stdin.isTTY) {
    stdin.setRawMode(true);
    stdin.on('data', keys);
  }
  stdout.write(ENTER);
  return giveBack;
}

function wait(ms: number, end: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      process.stdout.off('resize', done);
      end.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    process.stdout.on('resize', done);
    end.addEventListener('abort', done);
    if (end.aborted) done();
  });
}
