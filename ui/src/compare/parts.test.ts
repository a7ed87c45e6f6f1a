import { expect, test } from "vitest";
import { byChange, ends, parts, type Part } from "./parts";

const tally = (matched: number) => ({ matched, evaluated: 4 });
const named = (...names: string[]) => names.map((name): Part => ({ name, tallies: {}, change: 0 }));

test("the change of a part is that of the shares", () => {
  const [part] = parts([
    { name: "before", tallies: { zh: tally(1) } },
    { name: "after", tallies: { zh: tally(3) } },
  ]);
  expect(part?.change).toBe(0.5);
});

test("a part that only one side has is listed and has no change", () => {
  const [part] = parts([
    { name: "before", tallies: {} },
    { name: "after", tallies: { zh: tally(3) } },
  ]);
  expect([part?.name, part?.change]).toEqual(["zh", null]);
});

test("what lost most comes first", () => {
  const sorted = byChange([
    { name: "same", tallies: {}, change: 0 },
    { name: "best", tallies: {}, change: 1 },
    { name: "worst", tallies: {}, change: -1 },
  ]);
  expect(sorted.map((part) => part.name)).toEqual(["worst", "same", "best"]);
});

test("of a long list both ends are shown", () => {
  const { first, hidden, last } = ends(named("a", "b", "c", "d", "e", "f"), 2);
  expect([first.map((p) => p.name), hidden, last.map((p) => p.name)]).toEqual([["a", "b"], 2, ["e", "f"]]);
});

test("one that would hide a single part is shown whole", () => {
  expect(ends(named("a", "b", "c", "d", "e"), 2)).toEqual({ first: named("a", "b", "c", "d", "e"), hidden: 0, last: [] });
});
