/**
 * Draws one run as SVG: octets per 10 ms of the echo stream and the download, and when the fault came. Colours read
 * on light and on dark ground. Pure.
 */

import { bucketMs, type StreamReport } from '../traffic/record.js';
import type { RunResult } from './story.js';

const width = 960;
const margin = { left: 84, right: 16, top: 58 } as const;
const panelHeight = 120;
const panelGap = 46;
const plotWidth = width - margin.left - margin.right;

export function timeline(run: RunResult): string {
  const { echo, download } = run.streams;
  const faultS = (run.faultAtMs - echo.originMs) / 1000;
  const receivedS = Math.max(echo.buckets.length, download.buckets.length) * (bucketMs / 1000);
  const untilS = Math.max(1, Math.ceil(Math.max(receivedS, faultS + 5)));
  const x = (atS: number) => margin.left + (atS / untilS) * plotWidth;
  const first = margin.top;
  const second = first + panelHeight + panelGap;
  const bottom = second + panelHeight;
  const size = `viewBox="0 0 ${width} ${bottom + 44}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${title(run)}">
${style}
${text(margin.left, 18, title(run), 'class="title"')}
${panel('echo', `echo stream: ${outcomeText(run.stream, run.gapMs)}`, echo, first, x)}
${panel('download', `download: ${outcomeText(run.download, run.downloadGapMs)}`, download, second, x)}
${timeAxis(untilS, bottom, x)}
${line('fault', x(faultS), first - 8, x(faultS), bottom)}
${text(x(faultS), first - 13, faultText(run), 'class="faultText" text-anchor="middle"')}
</svg>
`;
}

function panel(kind: string, label: string, report: StreamReport, top: number, x: (atS: number) => number): string {
  const most = niceCeiling(scaleOf(report.buckets));
  const bottom = top + panelHeight;
  const barWidth = Math.max(0.6, x(bucketMs / 1000) - x(0));
  // One path of thin bars: a few kilobytes instead of a rectangle per bucket.
  const bars = report.buckets
    .map((octets, index) => ({ octets, left: x((index * bucketMs) / 1000) }))
    .filter((each) => each.octets > 0)
    .map(({ octets, left }) => {
      const high = (Math.min(octets, most) / most) * panelHeight;
      return `M${left.toFixed(1)} ${bottom}v${(-high).toFixed(1)}h${barWidth.toFixed(1)}v${high.toFixed(1)}z`;
    });
  const marks = [0, 0.5, 1].flatMap((part) => {
    const y = bottom - part * panelHeight;
    const value = text(margin.left - 8, y + 4, octetText(part * most), 'text-anchor="end"');
    return [line('grid', margin.left, y, width - margin.right, y), value];
  });
  const upright = `text-anchor="middle" transform="rotate(-90 14 ${top + panelHeight / 2})"`;
  return [
    text(width - margin.right, top - 10, label, 'text-anchor="end"'),
    ...marks,
    `<path class="${kind}" d="${bars.join('')}"/>`,
    line('axis', margin.left, top, margin.left, bottom),
    text(14, top + panelHeight / 2, `bytes per ${bucketMs} ms`, upright),
  ].join('\n');
}

function timeAxis(untilS: number, y: number, x: (atS: number) => number): string {
  const ticks = Array.from({ length: untilS + 1 }, (_, second) => [
    line('axis', x(second), y, x(second), y + 5),
    text(x(second), y + 19, String(second), 'text-anchor="middle"'),
  ]);
  const unit = 'seconds (bursts beyond the scale are cut off)';
  return [
    line('axis', margin.left, y, width - margin.right, y),
    ...ticks.flat(),
    text(margin.left + plotWidth / 2, y + 37, unit, 'text-anchor="middle"'),
  ].join('\n');
}

const style = `<style>
  text { font: 13px system-ui, sans-serif; fill: #7a7f87; }
  .title { font-size: 15px; font-weight: 600; }
  .axis { stroke: #8b9098; stroke-width: 1; }
  .grid { stroke: #8b9098; stroke-opacity: 0.25; stroke-width: 1; }
  .echo { fill: #2a86d1; } .download { fill: #2f9e6b; }
  .fault { stroke: #d9483b; stroke-width: 1.5; } .faultText { fill: #d9483b; }
</style>`;

function line(kind: string, x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="${kind}" x1="${x1.toFixed(1)}" y1="${y1}" x2="${x2.toFixed(1)}" y2="${y2}"/>`;
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${content}</text>`;
}

function title(run: RunResult): string {
  return `mirroring ${run.mirror}, ${faultText(run)}`;
}

function faultText(run: RunResult): string {
  return run.fault === 'kill' ? 'active unit killed' : 'active unit’s links cut';
}

function outcomeText(outcome: string, gapMs: number | null): string {
  return gapMs === null ? outcome : `${outcome}, silent for ${Math.round(gapMs)} ms`;
}

/** Twice the usual, so that the burst which catches up after a silence does not flatten the rest; it is cut off. */
function scaleOf(buckets: readonly number[]): number {
  const busy = buckets.filter((octets) => octets > 0).toSorted((left, right) => left - right);
  return Math.max(1, 2 * (busy[busy.length >> 1] ?? 0));
}

/** The least of 1, 2, 5 times a power of ten that is not below `value`. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

function octetText(octets: number): string {
  return octets >= 1000 ? `${octets / 1000} kB` : `${octets} B`;
}
