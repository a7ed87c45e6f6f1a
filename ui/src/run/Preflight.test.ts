import { expect, test } from "vitest";
import type { Schema } from "../api";
import { facts } from "./Preflight";

const host = (name: string, more: Partial<Schema["MeasuredHost"]> = {}): Schema["Checkup"] => ({
  host: name,
  at: "2026-11-01T00:00:00Z",
  checks: [],
  facts: {
    hostname: name,
    python: "3.11.9",
    versions: { torch: "2.13.0", peft: "0.14.0" },
    cpus: 2,
    gpus: [],
    free_disk_gb: 100,
    free_memory_gb: 10,
    clock: 1,
    proxy: {},
    address: "10.0.0.1",
    base_model_hash: "same",
    ...more,
  },
});

const row = (hosts: Schema["Checkup"][], name: string) => facts(hosts).find((one) => one.name === name);

test("a version that differs between hosts is marked", () => {
  const hosts = [host("a"), host("b", { versions: { torch: "2.9.0", peft: "0.14.0" } })];
  expect(row(hosts, "torch")).toEqual({ name: "torch", values: ["2.13.0", "2.9.0"], differs: true });
  expect(row(hosts, "peft")?.differs).toBe(false);
});

test("a package that one host lacks is marked", () => {
  expect(row([host("a"), host("b", { versions: { torch: null, peft: "0.14.0" } })], "torch")?.values).toEqual(["2.13.0", "–"]);
});

test("what may differ between hosts is not marked", () => {
  expect(row([host("a"), host("b", { free_disk_gb: 7 })], "free_disk_gb")?.differs).toBe(false);
});

test("lists and settings have a line for each", () => {
  const hosts = [host("a", { gpus: ["card 0", "card 1"], proxy: { http_proxy: "p", no_proxy: "q" } })];
  expect(row(hosts, "gpus")?.values).toEqual(["card 0\ncard 1"]);
  expect(row(hosts, "proxy")?.values).toEqual(["http_proxy=p\nno_proxy=q"]);
});
