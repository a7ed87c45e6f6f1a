import { useEffect, useRef, useState } from "react";
import { runPath, useApi, withQuery, type Schema } from "../api";
import type { Curve } from "../Chart";

const NAMES = ["loss", "lr", "seconds_per_step", "tokens_per_second"] as const;
type Name = (typeof NAMES)[number];
type Curves = Record<Name, Curve>;

/**
 * Join a curve with what came after it. A step that a later attempt took again is the later attempt's, and
 * what an earlier attempt had beyond it is gone.
 */
export function extended(curve: Curve, more: Schema["Line"]): Curve {
  const first = more.steps[0];
  if (first === undefined) return curve;
  const kept = curve.x.findIndex((step) => step >= first);
  const end = kept < 0 ? curve.x.length : kept;
  return { ...curve, x: [...curve.x.slice(0, end), ...more.steps], y: [...curve.y.slice(0, end), ...more.values] };
}

/** The curves of a training; while it runs, only what is new is fetched. */
export function useCurves(run: string, pollMs: number): Curves | undefined {
  const [curves, setCurves] = useState<Curves>();
  const [cursor, setCursor] = useState<string | null>(null);
  const shown = useRef(run);
  const { data } = useApi<Schema["Series"]>(withQuery(runPath(run, "/series"), { after: cursor }), pollMs);

  useEffect(() => {
    if (shown.current === run) return;
    shown.current = run;
    setCurves(undefined);
    setCursor(null);
  }, [run]);

  useEffect(() => {
    if (!data) return;
    setCurves((old) => {
      const joined = (name: Name): Curve => extended(old?.[name] ?? { label: name, x: [], y: [] }, data[name]);
      return Object.fromEntries(NAMES.map((name) => [name, joined(name)])) as Curves;
    });
    setCursor(data.cursor ?? null);
  }, [data]);
  return curves;
}
