/** What a traffic program and whoever started it say to each other over node's IPC. */

/** Every program: sent once it is ready, and answered with one report after `stop`. */
export type FromProgram<Report> =
  | { readonly type: 'ready' }
  | { readonly type: 'report'; readonly report: Report }
  | { readonly type: 'failed'; readonly message: string };

export type ToProgram = { readonly type: 'stop' };

export function tell<Report>(message: FromProgram<Report>): void {
  process.send?.(message);
}

/** Calls `report` once when told to stop, sends what it returns and ends the process. */
export function reportOnStop<Report>(report: () => Report | Promise<Report>): void {
  process.once('message', () => void answer(report));
  // Whoever started us is gone: nobody is left to report to.
  process.once('disconnect', () => process.exit(1));
}

async function answer<Report>(report: () => Report | Promise<Report>): Promise<void> {
  const message: FromProgram<Report> = { type: 'report', report: await report() };
  process.send?.(message, () => process.exit(0));
}

/** A fault of the program itself, not of the traffic. */
export function failLoudly(): void {
  process.on('uncaughtException', (error) => {
    console.error(error);
    process.send?.({ type: 'failed', message: error.message } satisfies FromProgram<never>, () => process.exit(1));
  });
}
