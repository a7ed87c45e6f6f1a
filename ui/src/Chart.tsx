import { useEffect, useRef, useState, type KeyboardEvent } from "react";
import uPlot from "uplot";
import { useTheme } from "./theme";

export interface Curve {
  label: string;
  x: number[];
  y: (number | null)[];
  /** Colour of the line; CSS. */
  color?: string;
  /** Lower and upper end of an interval around each point. */
  low?: (number | null)[];
  high?: (number | null)[];
  points?: boolean;
}

interface Props {
  title: string;
  curve: Curve;
  logScale?: boolean;
  /** Weight of the past in the moving average, from 0 (none) to just below 1. */
  smoothing?: number;
  height?: number;
}

/** Exponential moving average without the bias of its start; gaps stay gaps. */
export function smoothed(values: (number | null)[], weight: number): (number | null)[] {
  if (weight <= 0) return values;
  let average = 0;
  let total = 0;
  return values.map((value) => {
    if (value === null) return null;
    average = weight * average + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return average / total;
  });
}

/** Distances of ticks between iterations or versions: there is none in between. */
const WHOLE = [1, 10, 100, 1_000, 10_000, 100_000].flatMap((size) => [size, 2 * size, 5 * size]);

const four = (value: number) => String(Number(value.toPrecision(4)));

/** One curve: drag to zoom, double-click to zoom out; hover or use the arrow keys for values. */
export function Chart({ title, curve, logScale = false, smoothing = 0, height = 160 }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const zoom = useRef<[number, number] | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const theme = useTheme();

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const color = curve.color ?? cssColor(element, "--curve");
    const axis = { stroke: cssColor(element, "--muted"), grid: { stroke: cssColor(element, "--line"), width: 1 } };
    const made = new uPlot(
      {
        width: Math.max(element.clientWidth, 200),
        height,
        legend: { show: false },
        scales: {
          x: { time: false, range: curve.points ? beside : undefined },
          y: { distr: logScale ? 3 : 1, range: curve.low && curve.high ? around(curve.low, curve.high) : undefined },
        },
        series: [{}, { stroke: color, width: 1.5, points: { show: curve.points ?? false, fill: color } }],
        axes: [
          { ...axis, incrs: WHOLE, size: 30 },
          { ...axis, size: 60 },
        ],
        cursor: { drag: { x: true, y: false } },
        hooks: {
          setScale: [
            (u, key) => {
              const { min, max } = u.scales.x ?? {};
              if (key !== "x" || min == null || max == null) return;
              const whole = min <= (u.data[0][0] ?? min) && max >= (u.data[0].at(-1) ?? max);
              zoom.current = whole ? null : [min, max];
            },
          ],
          setCursor: [(u) => setAt(u.cursor.idx ?? null)],
          draw: curve.low && curve.high ? [(u) => drawIntervals(u, curve, color)] : [],
        },
      },
      [[], []],
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: Math.max(element.clientWidth, 200), height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
    // The plot is made again for what it cannot change; its data follows below.
  }, [logScale, curve.color, curve.points, curve.low, curve.high, height, theme]);

  useEffect(() => {
    // A logarithm has no place for zero and less.
    const shown = smoothed(curve.y, smoothing).map((v) => (logScale && v !== null && v <= 0 ? null : v));
    const range = zoom.current;
    plot.current?.setData([curve.x, shown], range === null);
    if (range) plot.current?.setScale("x", { min: range[0], max: range[1] });
  }, [curve, smoothing, logScale, height, theme]);

  const newest = curve.y.findLastIndex((value) => value !== null);
  const last = curve.y[newest];
  const shown = at ?? newest;
  const value = curve.y[shown];
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !plot.current) return;
    event.preventDefault();
    const to = Math.min(Math.max((at ?? (step > 0 ? -1 : curve.x.length)) + step, 0), curve.x.length - 1);
    const x = curve.x[to];
    if (x === undefined) return;
    plot.current.setCursor({ left: plot.current.valToPos(x, "x"), top: height / 2 });
    setAt(to);
  };
  return (
    <figure>
      <figcaption>
        {title}
        <output className="muted">
          {value != null && ` · ${four(value)}`}
          {curve.x[shown] !== undefined && ` (${curve.x[shown]})`}
        </output>
      </figcaption>
      <div ref={box} role="img" tabIndex={0} aria-label={`${title}: ${last == null ? "–" : four(last)}`} onKeyDown={onKeyDown} />
    </figure>
  );
}

/** A variable's colour as a canvas understands it: resolved. */
function cssColor(element: Element, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** Some space beside the first and the last point, so that neither lies on the edge; zoomed in, what was chosen. */
function beside(u: uPlot, min: number, max: number): uPlot.Range.MinMax {
  const [first, last] = [u.data[0][0] ?? min, u.data[0].at(-1) ?? max];
  return min <= first && max >= last ? [first - 0.5, last + 0.5] : [min, max];
}

/** From the lowest end of all intervals to the highest one, and a little more. */
function around(low: (number | null)[], high: (number | null)[]): uPlot.Range.MinMax | undefined {
  const ends = [...low, ...high].filter((end) => end !== null);
  if (!ends.length) return undefined;
  const [least, most] = [Math.min(...ends), Math.max(...ends)];
  const more = 0.05 * (most - least || 1);
  return [least - more, most + more];
}

function drawIntervals(u: uPlot, curve: Curve, color: string) {
  const { ctx } = u;
  ctx.save();
  ctx.strokeStyle = color;
  ctx.globalAlpha = 0.5;
  ctx.lineWidth = 2 * devicePixelRatio;
  curve.x.forEach((x, i) => {
    const low = curve.low?.[i];
    const high = curve.high?.[i];
    if (low == null || high == null) return;
    const px = u.valToPos(x, "x", true);
    ctx.beginPath();
    ctx.moveTo(px, u.valToPos(low, "y", true));
    ctx.lineTo(px, u.valToPos(high, "y", true));
    ctx.stroke();
  });
  ctx.restore();
}
