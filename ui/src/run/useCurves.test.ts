import { expect, test } from "vitest";
import { extended } from "./useCurves";

const curve = { label: "loss", x: [1, 2, 3], y: [3, 2, 1] };

test("newer steps are appended", () => {
  expect(extended(curve, { steps: [4, 5], values: [0.5, null] })).toMatchObject({ x: [1, 2, 3, 4, 5], y: [3, 2, 1, 0.5, null] });
});

test("the step that the cursor repeats is there once", () => {
  expect(extended(curve, { steps: [3, 4], values: [1, 0.5] }).x).toEqual([1, 2, 3, 4]);
});

test("a step that a later attempt took again replaces what the earlier one had beyond it", () => {
  expect(extended(curve, { steps: [2], values: [9] })).toMatchObject({ x: [1, 2], y: [3, 9] });
});

test("without news the curve stays the same object", () => {
  expect(extended(curve, { steps: [], values: [] })).toBe(curve);
});
