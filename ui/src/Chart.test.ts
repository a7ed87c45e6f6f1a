import { expect, test } from "vitest";
import { smoothed } from "./Chart";

test("without smoothing the values stay", () => {
  expect(smoothed([1, null, 3], 0)).toEqual([1, null, 3]);
});

test("the average of a constant is that constant from the first point on", () => {
  for (const value of smoothed([2, 2, 2], 0.9)) expect(value).toBeCloseTo(2);
});

test("a gap stays a gap", () => {
  expect(smoothed([1, null, 1], 0.5)[1]).toBeNull();
});
