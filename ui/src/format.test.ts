import { expect, test } from "vitest";
import { duration, moment, points } from "./format";

test.each([
  [4.25, "4.3 s"],
  [42.4, "42 s"],
  [200, "3 min 20 s"],
  [3725, "1 h 02 min"],
])("%d seconds are %s", (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});

test("a difference has its sign", () => {
  expect([points(0.031), points(-0.02)]).toEqual(["+3.1", "−2.0"]);
});

test("a moment is in UTC", () => {
  expect(moment("2026-11-01T04:00:00+02:00")).toBe("2026-11-01 02:00");
});
