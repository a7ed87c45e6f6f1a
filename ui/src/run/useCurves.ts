import { useEffect, useRef, useState } from "react";
import { runPath, useApi, withQuery, type Schema } from "../api";
import type { Curve } from "../Chart";
import { isPushed, POLL_MS, useStream, type StreamState } from "./stream";

const NAMES = ["loss", "lr", "seconds_per_step", "tokens_per_second"] as const;
type Name = (typeof NAMES)[number];
export type Curves = Record<Name, Curve>;

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

/**
 * The curves of a training, and how their news come.
 *
 * @param live Whether the run goes on; undefined while that is not known.
 */
export function useCurves(run: string, live: boolean | undefined): { curves: Curves | undefined; state: StreamState } {
  const [curves, setCurves] = useState<Curves>();
  const [cursor, setCursor] = useState<string | null>(null);
  const add = (more: Schema["Series"]) => {
    setCurves((old) => {
      const joined = (name: Name): Curve => extended(old?.[name] ?? { label: name, x: [], y: [] }, more[name]);
      return Object.fromEntries(NAMES.map((name) => [name, joined(name)])) as Curves;
    });
    setCursor(more.cursor ?? null);
  };
  const state = useStream(run, live, add);
  // Of a run that has ended, what is still missing is asked for once.
  const end = useRef(cursor);
  if (state !== "off") end.current = cursor;
  const after = state === "off" ? end.current : cursor;
  const path = isPushed(state) ? null : withQuery(runPath(run, "/series"), { after });
  const { data } = useApi<Schema["Series"]>(path, state === "failed" ? POLL_MS : 0);
  useEffect(() => {
    if (data) add(data);
  }, [data]);
  return { curves, state };
}
