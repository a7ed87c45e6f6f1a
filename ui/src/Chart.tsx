import { useEffect, useRef } from "react";
import uPlot from "uplot";

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
  onZoom?: (range: [number, number] | null) => void;
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

const cssColor = (element: Element, name: string) => getComputedStyle(element).getPropertyValue(name).trim();

/** One curve: drag to zoom, double-click to zoom out, hover for values. */
export function Chart({ title, curve, logScale = false, smoothing = 0, height = 180, onZoom }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const color = curve.color ?? cssColor(element, "--accent");
    const axis = { stroke: cssColor(element, "--muted"), grid: { stroke: cssColor(element, "--line"), width: 1 } };
    const line: uPlot.Series = { label: curve.label, stroke: color, width: 1.5, points: { show: curve.points ?? false } };
    const made = new uPlot(
      {
        width: Math.max(element.clientWidth, 200),
        height,
        scales: { x: { time: false }, y: { distr: logScale ? 3 : 1 } },
        series: [{}, line],
        axes: [axis, { ...axis, size: 60 }],
        cursor: { drag: { x: true, y: false } },
        hooks: {
          setScale: [
            (u, key) => {
              const { min, max } = u.scales.x ?? {};
              if (key === "x" && onZoom && min != null && max != null) {
                const whole = min <= (u.data[0][0] ?? min) && max >= (u.data[0].at(-1) ?? max);
                onZoom(whole ? null : [min, max]);
              }
            },
          ],
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
  }, [logScale, curve.color, curve.points, curve.low, curve.high, height]);

  useEffect(() => {
    // A logarithm has no place for zero and less.
    const shown = smoothed(curve.y, smoothing).map((v) => (logScale && v !== null && v <= 0 ? null : v));
    plot.current?.setData([curve.x, shown]);
  }, [curve, smoothing, logScale]);

  const last = curve.y.findLast((value) => value !== null);
  return (
    <figure>
      <figcaption>
        {title}
        {last != null && <span className="muted"> · {Number(last.toPrecision(4))}</span>}
      </figcaption>
      <div ref={box} role="img" aria-label={`${title}: ${last ?? "–"}`} />
    </figure>
  );
}

function drawIntervals(u: uPlot, curve: Curve, color: string) {
  const { ctx } = u;
  ctx.save();
  ctx.strokeStyle = color;
  ctx.globalAlpha = 0.5;
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
