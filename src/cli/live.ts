/** `tandem watch` and `tandem top`: a view that is drawn anew each second, until q, Ctrl-C or a signal. */

import { buildCommand, numberParser } from '@stricli/core';

import { CONNECTIONS_PAGE_MAX, type ConnectionRow, type Control, ControlError } from '../api.js';
import { type ClientFlags, clientFlags, socketPath } from './asking.js';
import { coloured } from './colours.js';
import { conclude } from './command.js';
import type { CliContext } from './context.js';
import { type ConnectionSample, type Sample, topLines, topRates, watchLines, watchRates } from './live_screen.js';

/** Connections that top looks at, each time; of a larger table the first ones. */
const CONNECTIONS_READ_MAX = 10_000;
const BUSIEST_SHOWN = 10;

interface LiveFlags extends ClientFlags {
  readonly interval: number;
  readonly once: boolean;
}

const liveFlags = {
  ...clientFlags,
  interval: {
    kind: 'parsed',
    parse: intervalSeconds,
    default: '1',
    placeholder: 'seconds',
    brief: 'From one look to the next, 0.2 to 60',
  },
  once: {
    kind: 'boolean',
    default: false,
    withNegated: false,
    brief: 'Print one look as plain lines and end; the same without a terminal',
  },
} as const;

function intervalSeconds(text: string): number {
  const value = numberParser(text);
  if (value >= 0.2 && value <= 60) return value;
  throw new SyntaxError(`${text} is not between 0.2 and 60 seconds`);
}

export const watch = buildCommand<LiveFlags, [], CliContext>({
  docs: {
    brief: 'Watch the unit: roles, mirroring, what a failure would cost, rates of virtual servers and members',
    fullDescription: [
      'Draws the unit anew each second: who is active and since when, whether the peer holds the connections, what',
      'would be lost if the unit failed now, and packets, bytes and new connections a second. q or Ctrl-C ends it.',
      'While the daemon does not answer that is said, and asked again.',
    ].join('\n'),
  },
  parameters: { flags: liveFlags },
  func(flags) {
    return show(this, flags, {
      sample: takeSample,
      lines: watchLines,
      json: watchRates,
    });
  },
});

export const top = buildCommand<LiveFlags, [], CliContext>({
  docs: {
    brief: 'The busiest virtual servers, connections, members and clients',
    fullDescription: [
      'Rates are from one look to the next. Those of connections are of a fifth of a second, or less on a busy unit,',
      'in which every frame is looked at; not while a capture runs. Clients are those with most connections in the',
      `table, whose first ${CONNECTIONS_READ_MAX} rows are read. q or Ctrl-C ends it.`,
    ].join('\n'),
  },
  parameters: { flags: liveFlags },
  func(flags) {
    return show(this, flags, {
      sample: takeConnectionSample,
      lines: topLines,
      json: topRates,
    });
  },
});

interface View<Kind> {
  readonly sample: (control: Control, now: () => number) => Promise<Kind>;
  readonly lines: (now: Kind, before: Kind | null) => string[];
  readonly json: (now: Kind, before: Kind) => unknown;
}

async function show<Kind>(context: CliContext, flags: LiveFlags, view: View<Kind>): Promise<void> {
  const control = context.connect(socketPath(context, flags.socket));
  const look = () => view.sample(control, context.now);
  const ms = flags.interval * 1000;
  if (context.terminal.isTerminal && !flags.once && !flags.json) return keepDrawing(context, ms, view, look);
  // A rate needs two looks.
  await conclude(context, flags.json, async () => {
    const before = await look();
    await context.terminal.wait(ms, new AbortController().signal);
    const now = await look();
    return { json: view.json(now, before), text: view.lines(now, before).join('\n') };
  });
}

async function keepDrawing<Kind>(
  context: CliContext,
  ms: number,
  { lines }: View<Kind>,
  look: () => Promise<Kind>,
): Promise<void> {
  const { terminal, process } = context;
  const ended = new AbortController();
  const end = () => ended.abort();
  const giveBack = terminal.takeOver((key) => {
    if (key === 'q' || key === 'Q' || key === '\x03') end();
  }, end);
  try {
    let last: Kind | null = null;
    while (!ended.signal.aborted) {
      let text: string[];
      try {
        const now = await look();
        text = lines(now, last);
        last = now;
      } catch (error) {
        // The daemon may be started again: what is shown then begins anew.
        last = null;
        text = [`! ${error instanceof Error ? error.message : String(error)}`, '', 'asking again'];
      }
      if (ended.signal.aborted) break;
      process.stdout.write(frame(text, terminal.size(), context.colours));
      await terminal.wait(ms, ended.signal);
    }
  } finally {
    giveBack();
  }
}

/** One picture, over the last one: nothing is cleared first, so nothing flickers. */
export function frame(
  lines: readonly string[],
  { columns, rows }: { readonly columns: number; readonly rows: number },
  colours: boolean,
): string {
  const fitting = lines.length > rows ? [...lines.slice(0, rows - 1), '...'] : lines;
  const cut = fitting.map((line) => (line.length > columns ? line.slice(0, columns) : line));
  const text = cut.map((line) => `${colours ? coloured(line) : line}\x1b[K`);
  return `\x1b[H${text.join('\r\n')}\x1b[J`;
}

// ---------------------------------------------------------------------------------------------- samples

async function takeSample(control: Control, now: () => number): Promise<Sample> {
  const [status, virtualServers, pools, mirror, failover, survival] = await Promise.all([
    control.status(),
    control.virtualServers(),
    control.pools(),
    control.mirror(),
    control.failover(),
    control.survival(),
  ]);
  return { at: now(), status, virtualServers, pools, mirror, failover, survival };
}

async function takeConnectionSample(control: Control, now: () => number): Promise<ConnectionSample> {
  const [virtualServers, pools] = await Promise.all([control.virtualServers(), control.pools()]);
  const at = now();
  const busiest = await control.busiest(BUSIEST_SHOWN).catch((error: unknown) => {
    if (error instanceof ControlError) return error.message;
    throw error;
  });
  const rows: ConnectionRow[] = [];
  let [cursor, used]: [number | null, number] = [0, 0];
  while (cursor !== null && rows.length < CONNECTIONS_READ_MAX) {
    const page = await control.connections({ virtualServer: null, cursor, limit: CONNECTIONS_PAGE_MAX });
    rows.push(...page.rows);
    [cursor, used] = [page.next, page.used];
  }
  return { at, virtualServers, pools, busiest, connections: rows, used };
}
