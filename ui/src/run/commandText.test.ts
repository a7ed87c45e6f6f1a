import { expect, test } from "vitest";
import { commandText, quoted } from "./commandText";

test.each([
  ["eth0", "eth0"],
  ["a b", "'a b'"],
  ["it's", `'it'"'"'s'`],
  ["$(rm)", "'$(rm)'"],
  ["~/code/x", "~/code/x"],
  ["~/code/x y", "~/'code/x y'"],
  ["", "''"],
])("%j is typed as %s", (word, typed) => {
  expect(quoted(word)).toBe(typed);
});

test("a command begins in its folder, with its environment", () => {
  const text = commandText({
    host: "a",
    cwd: "~/code/runs/r1",
    path_prefix: "/opt/node-env/bin",
    env: { NCCL_SOCKET_IFNAME: "eth0", PYTHONPATH: "~/code/x:/lib y" },
    command: "torchrun --nnodes=2 -m xtuner.tools.train",
  });
  expect(text.split("\n")).toEqual([
    "cd ~/code/runs/r1",
    "export PATH=/opt/node-env/bin:$PATH",
    "export NCCL_SOCKET_IFNAME=eth0",
    "export PYTHONPATH=~/code/x:'/lib y'",
    "torchrun --nnodes=2 -m xtuner.tools.train",
  ]);
});
