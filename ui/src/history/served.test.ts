import { expect, test } from "vitest";
import type { Schema } from "../api";
import { folded, hoursPerPoint, servedAt, type RunLine } from "./served";

const promotion = (at: string, version: number): Schema["ServedVersion"] => ({
  at,
  version,
  before: null,
  why: "passed the gate",
  by: "run",
  run_key: "run",
});
const journal = [promotion("2026-11-01T02:00:00Z", 1), promotion("2026-11-03T14:00:00Z", 2)];

test.each([
  ["2026-11-01T01:59:59Z", undefined],
  ["2026-11-01T02:00:00Z", 1],
  ["2026-11-03T13:59:59Z", 1],
  ["2026-11-04T00:00:00Z", 2],
])("what served at %s", (moment, version) => {
  expect(servedAt(journal, Date.parse(moment))?.version).toBe(version);
});

const run = (key: string, state: RunLine["state"]) => ({ key, state }) as RunLine;

test("neighbouring runs with nothing new are one group", () => {
  const runs = [run("a", "promoted"), run("b", "nothing_new"), run("c", "nothing_new"), run("d", "held_back")];
  expect(folded(runs).map((group) => group.map((r) => r.key))).toEqual([["a"], ["b", "c"], ["d"]]);
});

const version = (fields: Partial<Schema["VersionLine"]>) =>
  ({ matched: 60, matched_before: 50, questions: 100, gpu_hours: 20, ...fields }) as Schema["VersionLine"];

test("the hours of a point are the training's hours over the points gained", () => {
  expect(hoursPerPoint(version({}))).toBe(2);
});

test.each([{ matched: 50 }, { matched: 40 }, { gpu_hours: null }, { gpu_hours: 0 }])("no hours of a point: %o", (fields) => {
  expect(hoursPerPoint(version(fields))).toBeNull();
});
