/** What each run of the demo must show; what it does not show is a failure of the command. Pure. */

import type { RunResult } from './story.js';

/** Sentences; empty when the run told the story that it must tell. */
export function faults(run: RunResult): string[] {
  const found: string[] = [];
  const expect = (holds: boolean, sentence: string) => {
    if (!holds) found.push(sentence);
  };
  const survives = run.mirror === 'async';
  const expected = survives ? 'survived' : 'hung';
  expect(run.stream === expected, `the echo stream should have ${expected}, it ${run.stream}`);
  expect(run.download === expected, `the download should have ${expected}, it ${run.download}`);
  for (const [name, stream] of Object.entries(run.streams)) {
    expect(stream.corruptAt === null, `${name}: octet ${stream.corruptAt} was not what was sent`);
  }
  const { before, across, after } = run.requests;
  expect(before.ok > 0 && before.hung + before.reset === 0, 'requests failed before the fault');
  expect(after.ok > 0 && after.hung + after.reset === 0, 'new requests failed after the takeover');
  expect(across.reset === 0, `${across.reset} open requests were reset`);
  if (survives) {
    expect(across.hung === 0, `${across.hung} open requests hung`);
    expect(run.mirroredConnections > 0, 'no connection was mirrored');
  } else {
    expect(across.ok === 0, `${across.ok} open requests were answered although nothing was mirrored`);
    expect(
      run.mirroredConnections === 0,
      `${run.mirroredConnections} connections were mirrored although mirroring is off`,
    );
  }
  expect(run.newUnit === 'b', `unit b should be active, ${run.newUnit ?? 'no unit'} is`);
  for (const each of run.suspicions.slice(0, 5)) found.push(`a unit's kernel spoke: ${each.kind}, ${each.detail}`);
  return found;
}
