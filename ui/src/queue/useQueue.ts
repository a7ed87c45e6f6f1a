import { AIRFLOW_MS, DAG_ID, isReport, useApi, type Schema } from "../api";
import { queueOf, type ActiveTask, type Dag, type Queue, type QueuedRun } from "./queue";

const DAG = `api/v2/dags/${DAG_ID}`;
const ACTIVE = `${DAG}/dagRuns?state=queued&state=running&order_by=id&limit=100`;
const ENDED = `${DAG}/dagRuns?state=failed&state=success&order_by=-id&limit=100`;
const TASKS = `${DAG}/dagRuns/~/taskInstances?${["running", "deferred", "up_for_reschedule", "up_for_retry", "awaiting_input"]
  .map((state) => `state=${state}`)
  .join("&")}&limit=100`;
const BACKFILLS = `api/v2/backfills?dag_id=${DAG_ID}&order_by=-id&limit=1`;

export interface LoadedQueue extends Queue {
  dag: Dag;
  /** Queued runs that are not listed. */
  more: number;
}

/**
 * What trains now and what waits: Airflow is asked with the rights of whoever looks, and the records for commits
 * without a run. Undefined while it is not known, and for somebody who may not read the DAG.
 */
export function useQueue(): LoadedQueue | undefined {
  const ask = (path: string, isNeeded = true) => (isNeeded && !isReport ? path : null);
  const dag = useApi<Dag>(ask(DAG), AIRFLOW_MS);
  const listed = useApi<{ dag_runs: QueuedRun[]; total_entries: number }>(ask(ACTIVE), AIRFLOW_MS);
  const waiting = useApi<Schema["CommitQueue"]>(ask("sqltune/api/v1/queue"), AIRFLOW_MS);
  const runs = listed.data?.dag_runs ?? [];
  const commits = waiting.data?.commits ?? [];
  const isRunning = runs.some((run) => run.state === "running");
  const hasQueuedBackfill = runs.some((run) => run.state === "queued" && run.run_type === "backfill");
  const hasDue = commits.some((one) => one.wait.reason === "turn");
  const tasks = useApi<{ task_instances: ActiveTask[] }>(ask(TASKS, isRunning), AIRFLOW_MS);
  const ended = useApi<{ dag_runs: QueuedRun[] }>(ask(ENDED, hasDue), AIRFLOW_MS);
  const backfills = useApi<{ backfills: { is_paused: boolean }[] }>(ask(BACKFILLS, hasQueuedBackfill), AIRFLOW_MS);
  // Shown once it is whole: places and reasons would change while one reads them.
  if (![dag, listed, waiting, tasks, ended, backfills].every((one) => one.settled)) return undefined;
  if (!dag.data || !listed.data) return undefined;
  const queue = queueOf({
    dag: dag.data,
    runs,
    tasks: tasks.data?.task_instances ?? [],
    commits,
    ended: ended.data?.dag_runs ?? [],
    isBackfillPaused: backfills.data?.backfills[0]?.is_paused ?? false,
    now: Date.now(),
  });
  return { ...queue, dag: dag.data, more: Math.max(0, listed.data.total_entries - runs.length) };
}
