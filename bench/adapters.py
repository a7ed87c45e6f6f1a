"""Two models of one base model, merged and unmerged, on CPU: answers a second, memory, answers that agree.

    .lab/control-env/bin/python -m bench.adapters BASE RUN_A RUN_B [QUESTIONS [DTYPE]]

BASE is the folder of the base model; each RUN is a run's folder, with `adapter` and `merged`. The batched
engine's worker serves each merged model in a process of its own, and both adapters in one. They answer the
same questions of the lab in turns, 16 at once, five times; the quickest counts, for a machine is rarely
quiet. Prints a Markdown table.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.serving import NODE_PYTHON, ROOT, THREADS, body, cut, pss, questions
from model_servers.configuration import Layout, worker_command
from model_servers.worker import Worker, WorkerFiles, processes
from sqltune.node_contracts.serving import ENGINE_VERSIONS

AT_ONCE = 16
TURNS = 5
PORTS = 21750
START_TIMEOUT = 300


@dataclass(frozen=True)
class Question:
    """A prompt for one of the models."""

    url: str
    program: str
    prompt: str


@dataclass(frozen=True)
class Round:
    """What came of some questions."""

    seconds: float
    texts: list[str]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.texts) / self.seconds


@contextlib.contextmanager
def running(workers: dict[str, Worker], folder: Path) -> Iterator[dict[str, int]]:
    """The processes of some workers, which have answered once; their pids by name."""
    files = WorkerFiles(folder)
    for program, worker in workers.items():
        files.put(program, worker)
    scripts = ROOT / "include" / "node"
    layout = Layout(folder, "", "", str(NODE_PYTHON), "127.0.0.1", 0, 0, scripts)
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "LOGDIR": "", "HF_HUB_OFFLINE": "1"}
    with contextlib.ExitStack() as stack:
        started = {}
        for name, worker in processes(workers).items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            command = worker_command(layout, name, worker)
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            started[name] = process.pid
            wait_for(worker.url, folder / f"{name}.log")
        yield started


def wait_for(url: str, log: Path) -> None:
    """Wait until a worker listens."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        with contextlib.suppress(httpx.TransportError):
            httpx.post(f"{url}/worker_get_status", json={}, timeout=60, trust_env=False)
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"{url} does not listen:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def ask(questions: Sequence[Question], at_once: int = AT_ONCE) -> Round:
    """Ask all of them, and measure."""

    async def answers() -> list[str]:
        slots = asyncio.Semaphore(at_once)
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=600, trust_env=False, limits=limits) as client:

            async def answer(question: Question) -> str:
                request = body(question.prompt) | {"model": question.program}
                async with slots:
                    response = await client.post(f"{question.url}/worker_generate", json=request)
                received = response.json()
                assert not received["error_code"], received
                return cut(received["text"])

            return await asyncio.gather(*map(answer, questions))

    began = time.monotonic()
    texts = asyncio.run(answers())
    return Round(time.monotonic() - began, texts)


def workers_of(base: Path, runs: Sequence[Path], dtype: str) -> dict[str, Worker]:
    """Both runs, merged and unmerged."""
    common = Worker(
        model="",
        port=0,
        bind="127.0.0.1",
        dtype=dtype,
        device="cpu",
        engine="batched",
        engine_version=ENGINE_VERSIONS["batched"],
        names=["text2sql"],
    )
    merged = {
        f"merged-{name}": common.model_copy(update={"model": str(run / "merged"), "port": PORTS + i})
        for i, (name, run) in enumerate(zip("ab", runs, strict=True))
    }
    shared = {"base": str(base), "process": "base", "port": PORTS + 9}
    unmerged = {
        f"unmerged-{name}": common.model_copy(update=shared | {"model": str(run / "adapter")})
        for name, run in zip("ab", runs, strict=True)
    }
    return merged | unmerged


def quickest_rounds(asked: Callable[[str, str], Round]) -> dict[tuple[str, str], Round]:
    """Of several turns, the quickest round, by kind and models."""
    cases = [(kind, names) for names in ("a", "ab") for kind in ("merged", "unmerged")]
    turns = [{case: asked(*case) for case in cases} for _ in range(TURNS)]
    return {case: min((turn[case] for turn in turns), key=lambda r: r.seconds) for case in cases}


def main(base: Path, runs: Sequence[Path], count: int, dtype: str) -> None:
    """Measure, and print the table."""
    prompts = questions(count)
    workers = workers_of(base, runs, dtype)

    def asked(kind: str, names: str) -> Round:
        programs = [f"{kind}-{name}" for name in names]
        chosen = [programs[i % len(programs)] for i in range(count)]
        return ask([Question(workers[p].url, p, prompt) for p, prompt in zip(chosen, prompts, strict=True)])

    with tempfile.TemporaryDirectory() as folder, running(workers, Path(folder)) as pids:
        for program, worker in workers.items():
            ask([Question(worker.url, program, prompts[0])])
        rounds = quickest_rounds(asked)
        memory = {name: pss(pid) for name, pid in pids.items()}
    merged, unmerged = memory["merged-a"] + memory["merged-b"], memory["base"]
    agreeing = {
        names: sum(
            a == b
            for a, b in zip(rounds["merged", names].texts, rounds["unmerged", names].texts, strict=True)
        )
        for names in ("a", "ab")
    }
    print(json.dumps({f"{kind} {names}": round(r.seconds, 1) for (kind, names), r in rounds.items()}))
    print("| | one model, answers/s | two models in turns, answers/s | memory with both | texts as merged |")
    print("|---|---|---|---|---|")
    for kind, used in (("merged", merged), ("unmerged", unmerged)):
        rates = [f"{rounds[kind, names].rate:.2f}" for names in ("a", "ab")]
        alike = f"{agreeing['a']} of {count}" if kind == "unmerged" else "—"
        print(f"| {kind} | {rates[0]} | {rates[1]} | {used:.2f} GiB | {alike} |")


if __name__ == "__main__":
    base, *runs = (Path(argument).resolve() for argument in sys.argv[1:4])
    main(
        base,
        runs,
        int(sys.argv[4]) if len(sys.argv) > 4 else 100,
        sys.argv[5] if len(sys.argv) > 5 else "bfloat16",
    )
