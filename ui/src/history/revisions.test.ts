import { describe, expect, it } from "vitest";
import { expectedHours, inOrder, type RevisionLine } from "./revisions";

const revision = (commit: string, gpu_hours: number | null = null) =>
  ({ commit, gpu_hours, state: gpu_hours === null ? "known" : "trained" }) as RevisionLine;

/** The newest first, as the API sends them. */
const LISTED = [revision("d"), revision("c", 2), revision("b", 1), revision("a")];

describe("inOrder", () => {
  it("trains the oldest first, in whatever order they were ticked", () => {
    expect(inOrder(LISTED, new Set(["d", "a", "b"])).map((r) => r.commit)).toEqual(["a", "b", "d"]);
  });
});

describe("expectedHours", () => {
  it("takes a revision's own hours, and for others those of the last that was trained", () => {
    expect(expectedHours(LISTED, inOrder(LISTED, new Set(["a", "b", "d"])))).toBe(2 + 1 + 2);
  });
  it("is unknown where nothing was trained", () => {
    expect(expectedHours([revision("a")], [revision("a")])).toBeUndefined();
  });
});
