/** Results as a Markdown table and as SVG bar charts. Pure. */

import type { Machine } from './machine.js';
import type { Chart, Row, SectionResult } from './section.js';
import { judge, summarize } from './summary.js';

export const headOfTable = [
  '| | median | spread | unit | cores | must | aim | |',
  '|---|---:|---:|---|---:|---:|---:|---|',
] as const;

export function markdown(result: SectionResult, machine: Machine): string {
  const lines = [
    `## ${result.title}`,
    '',
    ...headOfTable,
    ...result.rows.map(tableRow),
    '',
    ...result.notes.map((note) => `* ${note}`),
    ...saidMachine(machine),
  ];
  return `${lines.join('\n')}\n`;
}

export function saidMachine(machine: Machine): string[] {
  return [
    `* ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, Linux ${machine.kernel},`,
    `  commit ${machine.commit}, load before the run ${machine.load.toFixed(1)},`,
    `  stolen by the hypervisor since boot ${percent(machine.stolen)}`,
  ];
}

/** Whether what was promised is reached; empty where nothing was. */
export function said({ samples, bound }: Pick<Row, 'samples' | 'bound'>): string {
  if (bound === undefined) return '';
  return { short: 'falls short', must: 'met', aim: 'aim met' }[judge(summarize(samples).median, bound)];
}

export function tableRow(row: Row): string {
  const { median, least, most } = summarize(row.samples);
  const bound = row.bound;
  const sign = bound?.better === 'lower' ? '≤' : '≥';
  const cells = [
    row.name,
    figure(median),
    `${figure(least)} – ${figure(most)}`,
    row.unit,
    String(row.cores),
    bound === undefined ? '' : `${sign} ${bound.must}`,
    bound === undefined ? '' : `${sign} ${bound.aim}`,
    said(row),
  ];
  return `| ${cells.join(' | ')} |`;
}

/** Three digits that count, and a space between thousands. */
export function figure(value: number): string {
  if (Math.abs(value) >= 1000)
    return Math.round(value)
      .toString()
      .replace(/\B(?=(\d{3})+$)/g, ' ');
  return value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const chartWidth = 720;
const labelWidth = 300;
const barHeight = 22;
const barGap = 8;

/** Bars of medians, with a line from the least to the most that was measured. */
export function svg(chart: Chart, rows: readonly Row[]): string {
  const bars = chart.rows.flatMap((name) => rows.filter((row) => row.name === name));
  const sums = bars.map((row) => summarize(row.samples));
  const most = Math.max(...sums.map((sum) => sum.most));
  const scale = (chartWidth - labelWidth - 90) / most;
  const height = 40 + bars.length * (barHeight + barGap);
  const drawn = bars.map((row, index) => {
    const sum = sums[index] ?? summarize(row.samples);
    const top = 36 + index * (barHeight + barGap);
    const middle = top + barHeight / 2;
    const x = (value: number) => (labelWidth + value * scale).toFixed(1);
    return [
      `<text x="${labelWidth - 8}" y="${middle + 4}" text-anchor="end">${escaped(row.name)}</text>`,
      `<rect x="${labelWidth}" y="${top}" width="${(sum.median * scale).toFixed(1)}"`,
      ` height="${barHeight}" fill="#2f6f9f"/>`,
      `<path d="M${x(sum.least)} ${middle}H${x(sum.most)}" stroke="#d08030" stroke-width="2"/>`,
      `<text x="${(labelWidth + sum.most * scale + 6).toFixed(1)}" y="${middle + 4}">${figure(sum.median)}</text>`,
    ].join('');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${chartWidth}" height="${height}"`,
    ` viewBox="0 0 ${chartWidth} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="8" y="20" font-weight="bold">${escaped(chart.title)} (${escaped(chart.unit)})</text>`,
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
