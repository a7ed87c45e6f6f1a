import { expect, test } from "vitest";
import { Wanted } from "./wanted";

const after = (...steps: [("choose" | "show"), string][]) => {
  const wanted = new Wanted();
  for (const [step, id] of steps) wanted[step](id);
  return wanted.id;
};

test("what is shown late does not take back what was chosen since", () => {
  expect(after(["show", "a"], ["choose", "b"], ["choose", "c"], ["show", "b"])).toBe("c");
  expect(after(["choose", "b"], ["choose", "c"], ["show", "b"], ["show", "c"])).toBe("c");
});

test("what is skipped is not waited for", () => {
  expect(after(["choose", "b"], ["choose", "c"], ["show", "c"], ["show", "b"])).toBe("b");
});

test("a link wins over what was chosen before", () => {
  expect(after(["choose", "b"], ["choose", "c"], ["show", "z"])).toBe("z");
});
