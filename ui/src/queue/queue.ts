import type { Schema } from "../api";

export type QueuedCommit = Schema["QueuedCommit"];

/** A run of the DAG, as Airflow's REST API sends it. */
export interface QueuedRun {
  dag_run_id: string;
  state: string;
  run_type: string;
  triggering_user_name?: string | null;
  run_after: string;
  queued_at: string | null;
  start_date: string | null;
  last_scheduling_decision: string | null;
  partition_key?: string | null;
}

/** A task instance of a run that goes on. */
export interface ActiveTask {
  dag_run_id: string;
  task_id: string;
  map_index: number;
  state: string | null;
  start_date: string | null;
  trigger?: { classpath: string } | null;
}

export interface Dag {
  is_paused: boolean;
  max_active_runs: number | null;
  next_dagrun_run_after: string | null;
}

/** What Airflow and the records have said. */
export interface Facts {
  dag: Dag;
  /** Queued and running ones, in the order in which they were created. */
  runs: readonly QueuedRun[];
  tasks: readonly ActiveTask[];
  /** Commits that are to be trained and have no run yet, in order. */
  commits: readonly QueuedCommit[];
  /** Runs that have ended, the newest first. */
  ended: readonly Pick<QueuedRun, "dag_run_id" | "partition_key">[];
  isBackfillPaused: boolean;
  now: number;
}

/** For what a run or a commit waits. */
export type Why =
  | { kind: "paused" | "backfillPaused" | "behind" | "starting" }
  | { kind: "later" | "quiet" | "night"; at: string | null }
  | { kind: "training" | "answer" | "backfill"; run: string; limit: number }
  | { kind: "hosts" | "turn"; task: ActiveTask }
  | { kind: "ended"; run: string };

export interface Waiting {
  /** From 1; undefined for a commit that waits for somebody to clear its run. */
  place: number | undefined;
  run: QueuedRun | undefined;
  commit: QueuedCommit | undefined;
  why: Why;
}

export interface Running {
  run: QueuedRun;
  task: ActiveTask | undefined;
}

export interface Queue {
  running: Running[];
  waiting: Waiting[];
}

const isBackfill = (run: QueuedRun) => run.run_type === "backfill";

/**
 * The order in which Airflow's scheduler starts queued runs, those of a backfill last
 * (`get_queued_dag_runs_to_set_running` in airflow/models/dagrun.py, 3.3.2). Runs of a backfill are created in
 * its order.
 */
export function inStartOrder(runs: readonly QueuedRun[], now: number): QueuedRun[] {
  const rank = (run: QueuedRun) => [
    Number(Date.parse(run.run_after) > now),
    Number(isBackfill(run)),
    isBackfill(run) ? 0 : run.last_scheduling_decision ? Date.parse(run.last_scheduling_decision) : 0,
    isBackfill(run) ? 0 : Date.parse(run.run_after),
  ];
  // A stable sort: what is equal stays in the order of creation.
  return runs
    .map((run) => ({ run, rank: rank(run) }))
    .sort((a, b) => a.rank.reduce((order, value, i) => order || value - (b.rank[i] ?? 0), 0))
    .map(({ run }) => run);
}

/** Tasks that wait for the turn of their run. */
const TURNS = ["plan", "before.serve", "probe", "train", "after.serve", "trial", "promote"];

/** For what a task that runs waits: the turn of its run, or hosts that another job occupies. */
export function waitOf(task: Pick<ActiveTask, "task_id" | "state" | "trigger">): "turn" | "hosts" | undefined {
  if (task.state === "up_for_reschedule" && TURNS.includes(task.task_id)) return "turn";
  if (task.state === "deferred" && task.trigger?.classpath.endsWith(".HostsFreeTrigger")) return "hosts";
  return undefined;
}

/** Put together what runs and what waits, each with its reason. */
export function queueOf(facts: Facts): Queue {
  const { runs, tasks, now } = facts;
  const active = runs.filter((run) => run.state === "running").map((run) => activity(run, tasks));
  const held = active.filter(({ task }) => task && waitOf(task));
  const running = active.filter((one) => !held.includes(one));
  const queued = inStartOrder(runs.filter((run) => run.state === "queued"), now);
  const isLate = (run: QueuedRun) => isBackfill(run) || Date.parse(run.run_after) > now;
  const [withRun, free] = byRun(facts);
  const isDue = (commit: QueuedCommit) => commit.wait.reason === "turn";
  // A commit's run is created when no other one is queued, and starts before those of a backfill.
  const ordered: (QueuedRun | QueuedCommit)[] = [
    ...queued.filter((run) => !isLate(run)),
    ...free.filter(isDue),
    ...queued.filter(isLate),
    ...free.filter((commit) => !isDue(commit)),
  ];
  // The first of either kind, of a backfill or not, is the one that Airflow starts next.
  const firsts = [true, false].map((ofBackfill) => ordered.find((one) => ofBackfill === ("run_type" in one && isBackfill(one))));
  const waiting: Omit<Waiting, "place">[] = [
    ...held.map(({ run, task }) => heldUp(run, task as ActiveTask)),
    ...ordered.map((one) => {
      const isBehind = !firsts.includes(one);
      return "commit" in one
        ? { run: undefined, commit: one, why: whyCommit(one, active, isBehind, facts) }
        : { run: one, commit: undefined, why: whyRun(one, active, isBehind, facts) };
    }),
  ];
  return {
    running,
    waiting: [
      ...waiting.map((one, i) => ({ place: i + 1, ...one })),
      ...withRun.map(([commit, run]) => ({ place: undefined, run: undefined, commit, why: { kind: "ended" as const, run } })),
    ],
  };
}

/** What a run does now: a task for which it waits comes before others. */
function activity(run: QueuedRun, tasks: readonly ActiveTask[]): Running {
  const own = tasks
    .filter((task) => task.dag_run_id === run.dag_run_id)
    .sort((a, b) => (b.start_date ?? "").localeCompare(a.start_date ?? ""));
  return { run, task: own.find(waitOf) ?? own.find((task) => task.state === "awaiting_input") ?? own[0] };
}

const heldUp = (run: QueuedRun, task: ActiveTask): Omit<Waiting, "place"> => ({
  run,
  commit: undefined,
  why: { kind: waitOf(task) ?? "turn", task },
});

/** Commits whose run has ended before it claimed them, with that run; and those that have none. */
function byRun({ commits, runs, ended }: Facts): [[QueuedCommit, string][], QueuedCommit[]] {
  const withoutRun = commits.filter(({ commit }) => !runs.some((run) => run.partition_key === commit));
  const found = withoutRun.flatMap((commit): [QueuedCommit, string][] => {
    const run = ended.find((one) => one.partition_key === commit.commit);
    return run ? [[commit, run.dag_run_id]] : [];
  });
  return [found, withoutRun.filter((commit) => !found.some(([one]) => one === commit))];
}

function whyRun(run: QueuedRun, active: Running[], isBehind: boolean, { dag, isBackfillPaused, now }: Facts): Why {
  if (dag.is_paused) return { kind: "paused" };
  if (isBackfill(run) && isBackfillPaused) return { kind: "backfillPaused" };
  if (Date.parse(run.run_after) > now) return { kind: "later", at: run.run_after };
  return whyOccupied(isBackfill(run), active, isBehind, dag);
}

function whyCommit({ wait }: QueuedCommit, active: Running[], isBehind: boolean, { dag }: Facts): Why {
  if (dag.is_paused) return { kind: "paused" };
  if (wait.reason === "night") return { kind: "night", at: dag.next_dagrun_run_after };
  if (wait.reason === "quiet") return { kind: "quiet", at: wait.until };
  return whyOccupied(false, active, isBehind, dag);
}

/** Airflow counts the runs of a backfill apart from the others. */
function whyOccupied(ofBackfill: boolean, active: Running[], isBehind: boolean, dag: Dag): Why {
  const others = active.filter(({ run }) => isBackfill(run) === ofBackfill);
  const limit = dag.max_active_runs ?? 0;
  const [first] = others;
  if (first && ofBackfill) return { kind: "backfill", run: first.run.dag_run_id, limit };
  if (first && limit > 0 && others.length >= limit) {
    const isAsking = limit === 1 && first.task?.state === "awaiting_input";
    return { kind: isAsking ? "answer" : "training", run: first.run.dag_run_id, limit };
  }
  return { kind: isBehind ? "behind" : "starting" };
}
