/** One quantity over the last two minutes. Its place is reserved; it follows the width and the colours of the page. */

import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';

import { compact } from './format.js';

const HEIGHT_PX = 160;
const SPAN_S = 120;

interface ChartProps {
  readonly title: string;
  /** Seconds since 1970, ascending. */
  readonly times: readonly number[];
  readonly values: readonly number[];
}

export function Chart({ title, times, values }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const last = values.at(-1);

  useEffect(() => {
    const element = place.current!;
    const drawn = new uPlot(options(element.clientWidth), [[], []], element);
    plot.current = drawn;
    const resized = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT_PX }));
    resized.observe(element);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    const redraw = () => drawn.redraw(false, true);
    scheme.addEventListener('change', redraw);
    return () => {
      scheme.removeEventListener('change', redraw);
      resized.disconnect();
      drawn.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData([[...times], [...values]]), [times, values]);

  return (
    <figure>
      <figcaption>
        {title} <strong>{last === undefined ? '–' : compact(last)}</strong>
      </figcaption>
      <div ref={place} class="chart" style={{ height: `${HEIGHT_PX}px` }} />
    </figure>
  );
}

const colour = (name: string) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Before the first figures there is no greatest time. */
const lastTime = (most: number | null) => most || Date.now() / 1_000;

function options(width: number): uPlot.Options {
  const axis = {
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
    font: '12px system-ui',
  };
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { range: (_plot, _least, most) => [lastTime(most) - SPAN_S, lastTime(most)] },
      y: { range: (_plot, _least, most) => [0, Math.max(1, (most ?? 0) * 1.1)] },
    },
    axes: [
      {
        ...axis,
        size: 24,
        values: (_plot, ticks) => ticks.map((at) => new Date(at * 1_000).toLocaleTimeString('sv-SE')),
      },
      { ...axis, size: 48, values: (_plot, ticks) => ticks.map(compact) },
    ],
    series: [{}, { stroke: colour('--accent'), width: 1.5, points: { show: false } }],
  };
}
