import { useEffect, useState } from "react";
import type { components } from "./api.gen";

export type Schema = components["schemas"];

/** Airflow sets <base href> to its own address, so that a path prefix is respected. */
export const apiUrl = (path: string) => new URL(path, document.baseURI).href;

/** An answer other than 2xx, with the API's own explanation. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The answers that a saved report carries, by their paths; it asks no server. */
const saved = (() => {
  const text = globalThis.document?.getElementById("sqltune-report")?.textContent;
  return text ? (JSON.parse(text) as Record<string, unknown>) : undefined;
})();
export const isReport = saved !== undefined;

/** Airflow's address: the page's own, or that of the Airflow which a report was saved from, where it is known. */
const airflow = isReport ? document.getElementById("root")?.dataset.airflow : undefined;

/** The address of one of Airflow's pages; undefined where it is not known. */
export function airflowUrl(...parts: string[]): string | undefined {
  const path = parts.map(encodeURIComponent).join("/");
  if (!isReport) return apiUrl(path);
  return airflow && new URL(path, airflow).href;
}

/** The page of a run in Airflow, with this tab. */
export const runAddress = (dagId: string, runId: string) => airflowUrl("dags", dagId, "runs", runId, "plugin", "text2sql");

async function fetchJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  if (saved) {
    if (path in saved) return saved[path] as T;
    throw new ApiError(404, `${path} is not part of this report`);
  }
  const response = await fetch(apiUrl(path), { signal, headers: { Accept: "application/json" } });
  if (!response.ok) {
    const body: unknown = await response.json().catch(() => null);
    const detail = body && typeof body === "object" && "detail" in body ? body.detail : null;
    throw new ApiError(response.status, typeof detail === "string" ? detail : response.statusText);
  }
  return (await response.json()) as T;
}

export const runPath = (run: string, rest = "") =>
  `sqltune/api/v1/runs/${encodeURIComponent(run)}${rest}`;

/** A path with its query; parameters without a value are left out. */
export function withQuery(path: string, query: Record<string, string | number | null | undefined>) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&");
  return search ? `${path}?${search}` : path;
}

export interface Loaded<T> {
  data: T | undefined;
  error: Error | undefined;
  loading: boolean;
  /** Whether this path has been answered, or refused; of no path nothing is expected. */
  settled: boolean;
}

const KEPT = 50;
/** The newest answers, by their paths: a component that is made anew goes on with them while it asks again. */
const answers = new Map<string, unknown>();

function keep(path: string, answer: unknown) {
  answers.delete(path);
  answers.set(path, answer);
  const [oldest] = answers.keys();
  if (answers.size > KEPT && oldest !== undefined) answers.delete(oldest);
}

/**
 * Load JSON, and load it again every `pollMs` while the page is visible.
 *
 * What was loaded before stays while the next answer is under way, or when it fails: a page that is open
 * while the server restarts goes on by itself.
 */
export function useApi<T>(path: string | null, pollMs = 0): Loaded<T> {
  const [state, setState] = useState<Omit<Loaded<T>, "settled"> & { path: string | null }>({
    path,
    data: path === null ? undefined : (answers.get(path) as T | undefined),
    error: undefined,
    loading: true,
  });

  useEffect(() => {
    if (path === null) {
      setState({ path, data: undefined, error: undefined, loading: false });
      return;
    }
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = () => {
      if (pollMs > 0) timer = setTimeout(load, pollMs);
    };
    const load = () => {
      if (document.hidden) return again();
      fetchJson<T>(path, controller.signal).then(
        (data) => {
          keep(path, data);
          setState({ path, data, error: undefined, loading: false });
          again();
        },
        (error: Error) => {
          if (controller.signal.aborted) return;
          setState((old) => ({ path, data: old.path === path ? old.data : undefined, error, loading: false }));
          again();
        },
      );
    };
    const kept = answers.get(path) as T | undefined;
    setState((old) => ({ ...(kept === undefined ? old : { path, data: kept, error: undefined }), loading: true }));
    load();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [path, pollMs]);
  const settled = path === null || (state.path === path && (state.data !== undefined || !state.loading));
  return { ...state, settled };
}

/** A value, once it has stayed the same for a while; undefined before. */
export function useSettled<T>(value: T, ms: number): T | undefined {
  const [settled, setSettled] = useState<T>();
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

export interface TaskInstance {
  task_id: string;
  map_index: number;
  state: string | null;
  queued_when: string | null;
  start_date: string | null;
  end_date: string | null;
  duration: number | null;
  try_number: number;
  trigger?: { classpath: string } | null;
}

export interface DagRun {
  state: string;
  run_type: string;
  triggered_by: string | null;
  triggering_user_name?: string | null;
  queued_at: string | null;
  start_date: string | null;
  end_date: string | null;
}

/** How often Airflow is asked for states; what the records hold is pushed. */
export const AIRFLOW_MS = 10_000;

/** The DAG that trains. */
export const DAG_ID = "text2sql_retrain";

const dagRunPath = (dagId: string, runId: string) =>
  `api/v2/dags/${encodeURIComponent(dagId)}/dagRuns/${encodeURIComponent(runId)}`;

export const useDagRun = (dagId: string, runId: string, pollMs: number) =>
  useApi<DagRun>(dagRunPath(dagId, runId), pollMs);

/** What a task's last try logged; the newest entry is the last one. */
export const useTaskLog = (dagId: string, runId: string, task: TaskInstance | undefined) =>
  useApi<{ content: LogEntry[] }>(
    task
      ? `${dagRunPath(dagId, runId)}/taskInstances/${encodeURIComponent(task.task_id)}/logs/${task.try_number}?map_index=${task.map_index}&full_content=true`
      : null,
  );

export interface LogEntry {
  event: string;
  level?: string;
  error_detail?: { exc_type: string; exc_value: string }[];
}

export const useTaskInstances = (dagId: string, runId: string, pollMs: number) =>
  useApi<{ task_instances: TaskInstance[] }>(`${dagRunPath(dagId, runId)}/taskInstances?limit=500`, pollMs);

const RUNNING = new Set(["running", "queued", "deferred", "scheduled", "up_for_retry", "restarting", "awaiting_input"]);

/** Whether a run or a task goes on. */
export const isRunning = (state: string | null) => state !== null && RUNNING.has(state);

/** The page of a task in Airflow, with its log. */
export function taskAddress(dagId: string, runId: string, task: Pick<TaskInstance, "task_id" | "map_index">): string | undefined {
  const mapped = task.map_index >= 0 ? ["mapped", String(task.map_index)] : [];
  return airflowUrl("dags", dagId, "runs", runId, "tasks", task.task_id, ...mapped);
}
