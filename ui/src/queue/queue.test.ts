import { describe, expect, it } from "vitest";
import { inStartOrder, queueOf, waitOf, type ActiveTask, type Facts, type QueuedCommit, type QueuedRun } from "./queue";

const NOW = Date.parse("2026-11-29T12:00:00Z");
const at = (minute: number) => new Date(NOW + minute * 60_000).toISOString();

const run = (dag_run_id: string, more: Partial<QueuedRun> = {}): QueuedRun => ({
  dag_run_id,
  state: "queued",
  run_type: "manual",
  run_after: at(-10),
  queued_at: at(-10),
  start_date: null,
  last_scheduling_decision: null,
  partition_key: null,
  ...more,
});
const running = (id: string, more: Partial<QueuedRun> = {}) => run(id, { state: "running", start_date: at(-9), ...more });
const backfill = (id: string, more: Partial<QueuedRun> = {}) => run(id, { run_type: "backfill", ...more });
const task = (dag_run_id: string, task_id: string, state: string, classpath?: string): ActiveTask => ({
  dag_run_id,
  task_id,
  map_index: -1,
  state,
  start_date: at(-5),
  trigger: classpath ? { classpath } : null,
});
const commit = (name: string, reason: QueuedCommit["wait"]["reason"] = "turn", until: string | null = null): QueuedCommit => ({
  commit: name,
  title: name,
  first_seen: at(-3),
  wait: { reason, until },
});

const facts = (more: Partial<Facts>): Facts => ({
  dag: { is_paused: false, max_active_runs: 1, next_dagrun_run_after: at(60) },
  runs: [],
  tasks: [],
  commits: [],
  ended: [],
  isBackfillPaused: false,
  now: NOW,
  ...more,
});

const waiting = (more: Partial<Facts>) =>
  queueOf(facts(more)).waiting.map(({ place, run, commit, why }) => [place, run?.dag_run_id ?? commit?.commit, why.kind]);

describe("inStartOrder", () => {
  const order = (...runs: QueuedRun[]) => inStartOrder(runs, NOW).map((one) => one.dag_run_id);

  it("takes runs by the moment from which they may start, not by the one at which they were created", () => {
    expect(order(run("new", { run_after: at(-1) }), run("old", { run_after: at(-60) }))).toEqual(["old", "new"]);
  });

  it("takes a backfill's runs last, in the order of their creation", () => {
    expect(order(backfill("b1", { run_after: at(-90) }), backfill("b2", { run_after: at(-99) }), run("r"))).toEqual(["r", "b1", "b2"]);
  });

  it("takes a run that the scheduler has looked at before after one that it has not", () => {
    expect(order(run("seen", { run_after: at(-60), last_scheduling_decision: at(-50) }), run("unseen"))).toEqual(["unseen", "seen"]);
  });

  it("takes what may not start yet last", () => {
    expect(order(run("tomorrow", { run_after: at(900) }), backfill("b"))).toEqual(["b", "tomorrow"]);
  });
});

describe("waitOf", () => {
  it.each([
    ["plan", "up_for_reschedule", undefined, "turn"],
    ["train", "up_for_reschedule", undefined, "turn"],
    ["probe", "up_for_reschedule", undefined, "turn"],
    ["before.serve", "up_for_reschedule", undefined, "turn"],
    ["other", "up_for_reschedule", undefined, undefined],
    ["train", "deferred", "ssh_gang.trigger.HostsFreeTrigger", "hosts"],
    ["train", "deferred", "ssh_gang.trigger.GangTrigger", undefined],
    ["train", "running", undefined, undefined],
  ])("%s that is %s by %s waits for %s", (id, state, classpath, expected) => {
    expect(waitOf(task("r", id, state, classpath))).toBe(expected);
  });
});

describe("queueOf", () => {
  it("is empty where nothing runs or waits", () => {
    expect(queueOf(facts({}))).toEqual({ running: [], waiting: [] });
  });

  it("says what trains, and that the others wait for it, each in its place", () => {
    const runs = [running("now"), run("second", { run_after: at(-1) }), run("first", { run_after: at(-2) })];
    const queue = queueOf(facts({ runs, tasks: [task("now", "train", "deferred", "ssh_gang.trigger.GangTrigger")] }));
    expect(queue.running.map((one) => [one.run.dag_run_id, one.task?.task_id])).toEqual([["now", "train"]]);
    expect(queue.waiting.map(({ place, run, why }) => [place, run?.dag_run_id, why])).toEqual([
      [1, "first", { kind: "training", run: "now", limit: 1 }],
      [2, "second", { kind: "training", run: "now", limit: 1 }],
    ]);
  });

  it("says that a person is waited for", () => {
    const tasks = [task("now", "approve", "awaiting_input"), task("now", "hosted", "running")];
    expect(waiting({ runs: [running("now"), run("r")], tasks })).toEqual([[1, "r", "answer"]]);
  });

  it("puts a run first that Airflow has started and that waits for its turn or its hosts", () => {
    const runs = [run("queued"), running("turn"), running("hosts", { run_type: "backfill" })];
    const tasks = [
      task("turn", "plan", "up_for_reschedule"),
      task("hosts", "train", "deferred", "ssh_gang.trigger.HostsFreeTrigger"),
    ];
    expect(waiting({ runs, tasks })).toEqual([
      [1, "turn", "turn"],
      [2, "hosts", "hosts"],
      [3, "queued", "training"],
    ]);
  });

  it("says that the first is about to start where nothing runs, and the others are behind it", () => {
    expect(waiting({ runs: [run("a"), run("b", { run_after: at(-1) })] })).toEqual([
      [1, "a", "starting"],
      [2, "b", "behind"],
    ]);
  });

  it("counts a backfill's runs apart, as Airflow does", () => {
    expect(waiting({ runs: [running("now"), backfill("b")] })).toEqual([[1, "b", "starting"]]);
    expect(waiting({ runs: [running("now", { run_type: "backfill" }), backfill("b"), run("r")] })).toEqual([
      [1, "r", "starting"],
      [2, "b", "backfill"],
    ]);
  });

  it("says that a backfill is paused", () => {
    expect(waiting({ runs: [backfill("b")], isBackfillPaused: true })).toEqual([[1, "b", "backfillPaused"]]);
  });

  it("says of all that the DAG is paused, and keeps their places", () => {
    const dag = { is_paused: true, max_active_runs: 1, next_dagrun_run_after: null };
    expect(waiting({ dag, runs: [run("a"), run("b", { run_after: at(-1) })], commits: [commit("c"), commit("d", "night")] })).toEqual([
      [1, "a", "paused"],
      [2, "b", "paused"],
      [3, "c", "paused"],
      [4, "d", "paused"],
    ]);
  });

  it("puts commits behind the runs, and before those of a backfill; what waits for a moment comes last", () => {
    const runs = [running("now"), backfill("b"), run("r")];
    expect(waiting({ runs, commits: [commit("c"), commit("d"), commit("night", "night")] })).toEqual([
      [1, "r", "training"],
      [2, "c", "training"],
      [3, "d", "training"],
      [4, "b", "starting"],
      [5, "night", "night"],
    ]);
  });

  it("gives the moments that are known", () => {
    const why = (one: QueuedCommit) => queueOf(facts({ commits: [one] })).waiting[0]?.why;
    expect(why(commit("c", "quiet", at(2)))).toEqual({ kind: "quiet", at: at(2) });
    expect(why(commit("c", "night"))).toEqual({ kind: "night", at: at(60) });
    expect(queueOf(facts({ runs: [run("r", { run_after: at(5) })] })).waiting[0]?.why).toEqual({ kind: "later", at: at(5) });
  });

  it("shows a commit that has a run as that run, and once", () => {
    expect(waiting({ runs: [run("r", { partition_key: "c" })], commits: [commit("c")] })).toEqual([[1, "r", "starting"]]);
  });

  it("names the run of a commit that ended without claiming it: nothing starts another one", () => {
    const ended = [{ dag_run_id: "failed", partition_key: "c" }];
    expect(waiting({ commits: [commit("c"), commit("d")], ended })).toEqual([
      [1, "d", "starting"],
      [undefined, "c", "ended"],
    ]);
  });
});
