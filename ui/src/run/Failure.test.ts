import { expect, test } from "vitest";
import { lastError } from "./Failure";

test("the message of an exception is shown, and not that there was one", () => {
  const content = [
    { event: "hello", level: "info" },
    { event: "Task failed with exception", level: "error", error_detail: [{ exc_type: "HostError", exc_value: "host-b: no disk" }] },
    { event: "bye", level: "info" },
  ];
  expect(lastError(content)).toBe("host-b: no disk");
});

test("without an exception the last error is shown", () => {
  expect(lastError([{ event: "one", level: "error" }, { event: "two", level: "error" }])).toBe("two");
});

test("a log without an error has none", () => {
  expect(lastError([{ event: "one", level: "info" }])).toBeUndefined();
});
