import { describe, expect, it } from "vitest";
import type { Schema } from "../api";
import { factor, figures } from "./compare";

const estimate = {
  strategy: "zero2",
  iterations: 100,
  optimizer_steps: 10,
  rate: { seconds: 2 },
  seconds: 240,
  gpu_hours: null,
  price: null,
  memory: [
    { strategy: "zero2", total: 8.4 },
    { strategy: "zero3", total: 6.0 },
  ],
} as Schema["Estimate"];
const taken = { strategy: "zero2", iterations: 100, seconds_per_step: 2.2, seconds: 228, gpu_hours: null, price: null, memory: null } as Schema["Taken"];

describe("figures", () => {
  it("says how much more was taken", () => {
    const time = figures(estimate, taken).find((figure) => figure.key === "trainingTime");
    expect(time).toMatchObject({ estimated: "4 min 00 s", taken: "3 min 48 s" });
    expect(time?.difference).toBeCloseTo(-0.05);
  });

  it("shows the memory of the plan's own strategy", () => {
    expect(figures(estimate, null).find((figure) => figure.key === "memoryOfGpu")?.estimated).toBe("8.4 GiB");
  });

  it("leaves out what is neither known nor taken", () => {
    expect(figures(estimate, taken).map((figure) => figure.key)).not.toContain("price");
  });

  it("has no difference before the end", () => {
    expect(figures(estimate, null).every((figure) => figure.difference === undefined)).toBe(true);
  });
});

describe("factor", () => {
  const between = (low: string, high: string) => `${low}–${high}`;
  it("is one number where both ends are the same", () => expect(factor(3, 3, between)).toBe("3.0"));
  it("is a range otherwise", () => expect(factor(4.8, 15.8, between)).toBe("4.8–15.8"));
});
