/**
 * Draws one run as SVG: octets per 10 ms of the echo stream and the download, and when the fault came. Colours read
 * on light and on dark ground. Pure.
 */

import { bucketMs, type StreamReport } from '../traffic/record.js';
import type { RunResult } from './story.js';

const width = 960;
const margin = { left: 84, right: 16, top: 44 } as const;
const panelHeight = 120;
const panelGap = 46;
const plotWidth = width - margin.left - margin.right;

export function timeline(run: RunResult): string {
  const { echo, download } = run.streams;
  const seconds = Math.max(echo.buckets.length, download.buckets.length) * (bucketMs / 1000);
  const untilS = Math.max(1, Math.ceil(Math.max(seconds, (run.faultAtMs - echo.originMs) / 1000 + 5)));
  const faultS = (run.faultAtMs - echo.originMs) / 1000;
  const height = margin.top + 2 * panelHeight + panelGap + 44;
  const x = (atS: number) => margin.left + (atS / untilS) * plotWidth;
  const second = margin.top + panelHeight + panelGap;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${title(run)}">
<style>
  text { font: 13px system-ui, sans-serif; fill: #7a7f87; }
  .title { font-size: 15px; font-weight: 600; }
  .axis { stroke: #8b9098; stroke-width: 1; fill: none; }
  .grid { stroke: #8b9098; stroke-opacity: 0.25; stroke-width: 1; }
  .echo { fill: #2a86d1; } .download { fill: #2f9e6b; }
  .fault { stroke: #d9483b; stroke-width: 1.5; } .faultText { fill: #d9483b; }
</style>
<text class="title" x="${margin.left}" y="20">${title(run)}</text>
${panel('echo', `echo stream: ${outcomeText(run.stream, run.gapMs)}`, echo, margin.top, x)}
${panel('download', `download: ${outcomeText(run.download, run.downloadGapMs)}`, download, second, x)}
${timeAxis(untilS, second + panelHeight, x)}
<line class="fault" x1="${x(faultS).toFixed(1)}" x2="${x(faultS).toFixed(1)}" y1="${margin.top - 8}" y2="${second + panelHeight}"/>
<text class="faultText" x="${(x(faultS) + 5).toFixed(1)}" y="${margin.top + 4}">${faultText(run)}</text>
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
  const marks = [0, 0.5, 1].map((part) => {
    const y = bottom - part * panelHeight;
    return `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${y}" y2="${y}"/>
<text x="${margin.left - 8}" y="${y + 4}" text-anchor="end">${octetText(part * most)}</text>`;
  });
  return `<text x="${width - margin.right}" y="${top - 10}" text-anchor="end">${label}</text>
${marks.join('\n')}
<path class="${kind}" d="${bars.join('')}"/>
<line class="axis" x1="${margin.left}" x2="${margin.left}" y1="${top}" y2="${bottom}"/>
<text transform="translate(14 ${top + panelHeight / 2}) rotate(-90)" text-anchor="middle">bytes per ${bucketMs} ms</text>`;
}

function timeAxis(untilS: number, y: number, x: (atS: number) => number): string {
  const ticks = Array.from({ length: untilS + 1 }, (_, second) => {
    const at = x(second).toFixed(1);
    return `<line class="axis" x1="${at}" x2="${at}" y1="${y}" y2="${y + 5}"/><text x="${at}" y="${y + 19}" text-anchor="middle">${second}</text>`;
  });
  return `<line class="axis" x1="${margin.left}" x2="${width - margin.right}" y1="${y}" y2="${y}"/>
${ticks.join('\n')}
<text x="${margin.left + plotWidth / 2}" y="${y + 37}" text-anchor="middle">seconds (bursts beyond the scale are cut off)</text>`;
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
