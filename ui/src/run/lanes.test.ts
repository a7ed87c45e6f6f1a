import { expect, test } from "vitest";
import type { Schema, TaskInstance } from "../api";
import { lanes, span, tickLabel, ticks } from "./lanes";

const second = (n: number) => new Date(n * 1000).toISOString();

const task = (task_id: string, queued: number, start: number | null, end: number | null, more: Partial<TaskInstance> = {}): TaskInstance => ({
  task_id,
  map_index: -1,
  state: end === null ? "running" : "success",
  queued_when: second(queued),
  start_date: start === null ? null : second(start),
  end_date: end === null ? null : second(end),
  duration: null,
  try_number: 1,
  ...more,
});

const attempt = (more: Partial<Schema["Attempt"]>): Schema["Attempt"] => ({
  task: "train",
  attempt: "try1-ab12",
  state: "running",
  submitted_at: second(100),
  prepared_at: second(101),
  started_at: second(102),
  ranks_started_at: second(110),
  first_step_at: null,
  last_step_at: null,
  stopping_at: null,
  stopped_at: null,
  ended_at: null,
  reconnected_at: [],
  takeovers: [],
  resumed_from: 0,
  first_step: null,
  last_step: null,
  lost_steps: 0,
  launch_skew: null,
  launch_skew_error: null,
  checkpoints: [],
  reason: "",
  ...more,
});

const kinds = (lane: { phases: { kind: string; from: number; to: number }[] } | undefined) =>
  lane?.phases.map((p) => [p.kind, p.from / 1000, p.to / 1000]);

test("a task waits in the queue, and then runs", () => {
  expect(kinds(lanes([task("plan", 1, 3, 9)], [], 0)[0])).toEqual([
    ["phase_queued", 1, 3],
    ["phase_task", 3, 9],
  ]);
});

test("a task that has not begun waits until now", () => {
  expect(kinds(lanes([task("plan", 1, null, null)], [], 7000)[0])).toEqual([["phase_queued", 1, 7]]);
});

test("a task that nobody queued has no lane", () => {
  expect(lanes([{ ...task("plan", 1, null, null), queued_when: null }], [], 7000)).toEqual([]);
});

test("the instances of a mapped task have lanes of their own", () => {
  const found = lanes([task("preflight", 1, 2, 3, { map_index: 0 }), task("preflight", 1, 2, 3, { map_index: 1 })], [], 0);
  expect(found.map((lane) => lane.label)).toEqual(["preflight [0]", "preflight [1]"]);
});

test("a task with a gang has the lanes of its attempts, which begin with its wait", () => {
  const found = lanes([task("train", 90, 95, null)], [attempt({})], 120_000);
  expect(found.map((lane) => lane.label)).toEqual(["train · try1"]);
  expect(kinds(found[0])?.slice(0, 2)).toEqual([
    ["phase_queued", 90, 100],
    ["phase_prepare", 100, 101],
  ]);
});

test("a wait that began after the attempt was that of a later try", () => {
  expect(kinds(lanes([task("train", 105, 106, null)], [attempt({})], 120_000)[0])?.[0]).toEqual(["phase_prepare", 100, 101]);
});

test("of two attempts only the one that was waited for begins with the wait", () => {
  const second_ = attempt({ attempt: "try2-cd", submitted_at: second(200), prepared_at: null, started_at: null, ranks_started_at: null });
  const found = lanes([task("train", 90, 95, null)], [attempt({ state: "stopped", ended_at: second(150) }), second_], 220_000);
  expect(found.map((lane) => lane.phases[0]?.kind)).toEqual(["phase_queued", "phase_prepare"]);
});

test("a gang without steps runs once every rank has started", () => {
  expect(kinds(lanes([], [attempt({ task: "all_reduce" })], 120_000)[0])?.at(-1)).toEqual(["phase_task", 110, 120]);
});

test("a running attempt is in its last phase until now", () => {
  expect(kinds(lanes([], [attempt({})], 120_000)[0])).toEqual([
    ["phase_prepare", 100, 101],
    ["phase_start", 101, 102],
    ["phase_rendezvous", 102, 110],
    ["phase_load", 110, 120],
  ]);
});

test("an attempt that succeeded ends with the time after its last step", () => {
  const done = attempt({ state: "succeeded", first_step_at: second(130), last_step_at: second(190), ended_at: second(200) });
  expect(kinds(lanes([], [done], 999_000)[0])?.slice(-2)).toEqual([
    ["phase_steps", 130, 190],
    ["phase_finish", 190, 200],
  ]);
});

test("an attempt that failed ends with its stop, which is marked", () => {
  const failed = attempt({ state: "failed", first_step_at: second(130), last_step_at: second(190), stopping_at: second(195), ended_at: second(200) });
  const [lane] = lanes([], [failed], 999_000);
  expect(lane?.phases.at(-1)).toEqual({ kind: "phase_stop", from: 195_000, to: 200_000, failed: true });
  expect(lane?.marks).toEqual([{ kind: "mark_failed", at: 195_000 }]);
});

test("resumes, checkpoints, later tries and takeovers are marked", () => {
  const marked = attempt({
    resumed_from: 40,
    checkpoints: [{ step: 60, at: second(150), hosts: ["a", "b"] }],
    reconnected_at: [second(140)],
    takeovers: [{ step: 55, at: second(145) }],
  });
  expect(lanes([], [marked], 160_000)[0]?.marks).toEqual([
    { kind: "mark_resumed", at: 100_000, n: 40 },
    { kind: "mark_reconnected", at: 140_000 },
    { kind: "mark_taken_over", at: 145_000, n: 55 },
    { kind: "mark_checkpoint", at: 150_000, n: 60 },
  ]);
});

test("an attempt of a run without milestones has its steps", () => {
  const old = attempt({ state: null, submitted_at: null, prepared_at: null, started_at: null, ranks_started_at: null, first_step_at: second(130), last_step_at: second(190) });
  expect(kinds(lanes([], [old], 999_000)[0])).toEqual([["phase_steps", 130, 190]]);
});

test("the lanes are in the order in which they began, and cover all of the time", () => {
  const found = lanes([task("b", 50, 60, 70), task("a", 1, 2, 3)], [attempt({})], 120_000);
  expect(found.map((lane) => lane.label)).toEqual(["a", "b", "train · try1"]);
  expect(span(found)).toEqual([1000, 120_000]);
});

test("without lanes there is a time all the same", () => {
  expect(span([])).toEqual([0, 1]);
});

test.each([
  [0, 8_000, 9],
  [500, 60_000, 6],
  [0, 3_600_000, 7],
  [0, 40 * 86_400_000, 9],
])("an axis from %d to %d ms has %d ticks within it", (from, to, count) => {
  const found = ticks([from, to]);
  expect(found).toHaveLength(count);
  expect(found.every((at) => at >= from && at <= to)).toBe(true);
});

test.each([
  [60_000, "02:00:01"],
  [3_600_000, "02:00"],
  [10 * 86_400_000, "11-01"],
])("at a tick of an axis of %d ms stands %s", (length, label) => {
  const from = Date.parse("2026-11-01T02:00:00Z");
  expect(tickLabel(from + 1000, [from, from + length])).toBe(label);
});
