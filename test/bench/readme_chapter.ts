/** What scripts/bench measured as a chapter of README: what was promised, then each section's charts and rows. Pure. */

import type { Machine } from './machine.js';
import { headOfTable, said, saidMachine, tableRow } from './report.js';
import type { SectionResult } from './section.js';

/** A section as it stands in out/bench/SECTION.json. */
export interface Written extends SectionResult {
  readonly machine: Machine;
  readonly quick: boolean;
  readonly rounds: number;
}

export const markers = { begin: '<!-- scripts/bench readme: begin -->', end: '<!-- scripts/bench readme: end -->' };

/** `between` are the lines around the chapter. */
export function withChapter(readme: string, text: string, between = markers): string {
  const [begin, end] = [readme.indexOf(between.begin), readme.indexOf(between.end)];
  if (begin < 0 || end < begin) throw new Error(`README lacks '${between.begin}' and '${between.end}'`);
  return `${readme.slice(0, begin + between.begin.length)}\n${text}${readme.slice(end)}`;
}

/** `folder` holds the charts. */
export function chapter(sections: readonly Written[], folder: string): string {
  return [
    ...promises(sections),
    ...sections.flatMap((section) => [
      `### ${section.title}`,
      '',
      ...section.charts.slice(0, 2).map(({ name, title }) => `![${title}](${folder}/${section.section}-${name}.svg)`),
      '',
      `<details><summary>All ${section.rows.length} rows, medians of ${section.rounds} rounds, and how</summary>`,
      '',
      ...headOfTable,
      ...section.rows.map(tableRow),
      '',
      ...section.notes.map((note) => `* ${note}`),
      ...saidMachine(section.machine),
      '',
      '</details>',
      '',
    ]),
  ].join('\n');
}

/** Every row with a bound, from all sections. */
function promises(sections: readonly Written[]): string[] {
  const rows = sections.flatMap(({ rows: all }) => all.filter(({ bound }) => bound !== undefined));
  const short = rows.filter((row) => said(row) === 'falls short');
  const [first] = sections;
  const machines = new Set(sections.map(({ machine }) => `commit ${machine.commit}, Linux ${machine.kernel}`));
  return [
    `Measured by \`scripts/bench\` on ${first?.machine.cpu}, ${first?.machine.cores} cores;`,
    `${[...machines].join('; ')}. Ratios are made round by round.`,
    '',
    ...headOfTable,
    ...rows.map(tableRow),
    '',
    short.length === 0
      ? 'Nothing that was promised falls short.'
      : `**Falls short:** ${short.map(({ name }) => name).join('; ')}.`,
    '',
  ];
}
