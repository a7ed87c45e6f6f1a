import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { apiUrl, isReport, runPath, useApi, withQuery, type Loaded, type Schema } from "../api";

/** Answers that the server has pushed, by their paths. */
class Pushed {
  private readonly answers = new Map<string, unknown>();
  private readonly listeners = new Set<() => void>();

  readonly subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  get(path: string): unknown {
    return this.answers.get(path);
  }

  put(path: string, answer: unknown) {
    this.answers.set(path, answer);
    this.listeners.forEach((listener) => listener());
  }
}

const pushed = new Pushed();

/** `waiting` is before it is known whether the run goes on; `failed` is while no stream can be had. */
export type StreamState = "waiting" | "open" | "failed" | "off";

/** Whether news are pushed, so that nothing is to be asked for. */
export const isPushed = (state: StreamState) => state === "waiting" || state === "open";

/** What is pushed for a run beside its curves: the names of events, which are those of routes. */
const NAMES = ["head", "hosts", "failure", "timeline"] as const;
type Name = (typeof NAMES)[number];

const pathOf = (run: string, name: Name) => runPath(run, name === "head" ? "" : `/${name}`);

/** Streams end every few seconds and are opened again by the browser: only a longer silence is a failure. */
const PATIENCE_MS = 6_000;
/** After a failure, polling takes over for so long before a stream is tried again. */
const RETRY_MS = 20_000;
export const POLL_MS = 2_000;

/**
 * Follow the news of a run, in one connection for the whole page, while somebody looks at it.
 *
 * @param live Whether the run goes on; undefined while that is not known.
 * @param onSeries Called with each further part of the curves.
 */
export function useStream(run: string, live: boolean | undefined, onSeries: (more: Schema["Series"]) => void): StreamState {
  const [state, setState] = useState<StreamState>(isReport ? "off" : "waiting");
  const latest = useRef(onSeries);
  latest.current = onSeries;

  useEffect(() => {
    if (live === undefined) return;
    if (!live || isReport || typeof EventSource === "undefined") {
      setState("off");
      return;
    }
    let source: EventSource | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let cursor: string | null = null;
    const after = (ms: number, call: () => void) => {
      clearTimeout(timer);
      timer = setTimeout(call, ms);
    };
    const close = () => {
      clearTimeout(timer);
      source?.close();
      source = undefined;
    };
    const giveUp = () => {
      close();
      setState("failed");
      after(RETRY_MS, open);
    };
    const open = () => {
      close();
      if (document.hidden) return;
      const opened = new EventSource(apiUrl(withQuery(runPath(run, "/events"), { after: cursor })));
      source = opened;
      opened.onopen = () => {
        clearTimeout(timer);
        setState("open");
      };
      opened.onerror = () => after(opened.readyState === EventSource.CLOSED ? 0 : PATIENCE_MS, giveUp);
      opened.addEventListener("series", (event: MessageEvent<string>) => {
        cursor = event.lastEventId;
        latest.current(JSON.parse(event.data) as Schema["Series"]);
      });
      for (const name of NAMES)
        opened.addEventListener(name, (event: MessageEvent<string>) => pushed.put(pathOf(run, name), JSON.parse(event.data)));
    };
    // A hidden page holds none of the few connections that a browser opens to one server.
    const onVisibility = () => (document.hidden ? close() : open());
    document.addEventListener("visibilitychange", onVisibility);
    open();
    return () => {
      document.removeEventListener("visibilitychange", onVisibility);
      close();
    };
  }, [run, live]);
  return state;
}

/** An answer that is pushed while the stream is open; otherwise it is asked for, again and again in its place. */
export function useLive<T>(run: string, name: Name, state: StreamState): Loaded<T> {
  const path = pathOf(run, name);
  const news = useSyncExternalStore(pushed.subscribe, () => pushed.get(path)) as T | undefined;
  const asked = useApi<T>(isPushed(state) ? null : path, state === "failed" ? POLL_MS : 0);
  if (isPushed(state)) return { data: news, error: undefined, loading: news === undefined, settled: news !== undefined };
  return { ...asked, data: asked.data ?? news };
}
