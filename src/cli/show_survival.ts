/** What a failure would cost, and what mirroring does: for people. Pure: `now` is passed in. */

import type { Costs, Survival } from '../api.js';
import { ago, figure, left, right, table } from './table.js';

/** `if this unit failed now`. */
export function showSurvival(survival: Survival, now: number): string {
  const { wouldSurvive, wouldBeLost, reasons, virtualServers } = survival;
  const total = wouldSurvive + wouldBeLost;
  const head =
    total === 0
      ? 'If this unit failed now: it has no connections'
      : `If this unit failed now: ${figure(wouldSurvive)} of ${figure(total)} connections would survive, ${
          wouldBeLost === 0 ? 'none' : figure(wouldBeLost)
        } would be lost`;
  const rows = table(
    [left('VIRTUAL SERVER'), left('MIRROR'), right('CONNS'), right('SURVIVE'), right('LOST'), left('WHY')],
    virtualServers.map((server) => [
      server.name,
      server.mode,
      figure(server.connections),
      figure(server.wouldSurvive),
      figure(server.wouldBeLost),
      server.reason ?? '',
    ]),
  );
  const why = reasons.map((reason) => `! ${reason}`);
  const old = now - Date.parse(survival.at) > 5000 ? [`as of ${ago(survival.at, now)} ago`] : [];
  return [head, ...old, ...why, ...(virtualServers.length === 0 ? [] : ['', rows])].join('\n');
}

export function showCosts(costs: Costs | null): string {
  if (costs === null) return 'never measured here: scripts/bench measures it';
  const { measuredAt, machine, commit, rows } = costs;
  const head = `measured ${measuredAt.slice(0, 10)} on ${machine}, commit ${commit}`;
  const text = (value: number) => String(Number(value.toPrecision(3)));
  const lines = table(
    [left('SECTION'), left('WHAT'), right('MEDIAN'), right('LEAST'), right('MOST'), left('UNIT')],
    rows.map((row) => [row.section, row.name, text(row.median), text(row.least), text(row.most), row.unit]),
  );
  return `${head}\n\n${lines}`;
}
