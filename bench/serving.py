"""The engines that serve a model, on CPU: answers and tokens a second, start, memory, answers that differ.

    .lab/control-env/bin/python bench/serving.py [MODEL [QUESTIONS [DTYPE]]]

MODEL is a folder; the lab's smollm2-135m is the default. Each engine's worker is started by the command that
serves a model, without API and controller. They answer the same questions of the lab in turns: one at a time,
then 4, 16 and 64 at once. Prints a Markdown table. To add an engine: its word in `ENGINES`.

An answer differs when it is not FastChat's of the same question, asked one at a time. Both are compared up to
the first stop text: FastChat itself looks for them at every second token only, and may leave one in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(ROOT / "include" / "node")]

from lab import dataset  # noqa: E402
from lab.paths import BASE, NODE  # noqa: E402
from model_servers.configuration import Layout, worker_command  # noqa: E402
from model_servers.worker import Worker  # noqa: E402
from sqltune.dataset.split import clean  # noqa: E402
from sqltune.node_contracts.serving import ENGINE_VERSIONS, Engine  # noqa: E402
from sqltune.sql.prompt import render  # noqa: E402

ENGINES: tuple[Engine, ...] = ("fastchat", "batched", "vllm")
AT_ONCE = (1, 4, 16, 64)
QUESTIONS = 64
SEED = 20261201
STOP = ["###", "\n\n", ";"]
MAX_TOKENS = 40
PORTS = 21700
THREADS = 2
WARM_UP = 2
START_TIMEOUT = 300
NODE_PYTHON = NODE / "bin" / "python"


@dataclass
class Server:
    engine: Engine
    url: str
    process: subprocess.Popen[bytes]
    start: float = 0.0
    """Seconds until it had answered a prompt."""
    peak: float = 0.0
    """Largest PSS after a round of questions, in GiB."""
    rates: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Requests at once to answers and tokens a second."""
    texts: dict[int, list[str]] = field(default_factory=dict)


def body(prompt: str) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "temperature": 0,
        "max_new_tokens": MAX_TOKENS,
        "stop": STOP,
        "echo": False,
    }


@contextlib.contextmanager
def running(
    engine: Engine,
    model: Path,
    dtype: str,
    folder: Path,
    port: int,
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    python: Path = NODE_PYTHON,
) -> Iterator[Server]:
    layout = Layout(
        folder=folder,
        socket="",
        api_socket="",
        python=str(python),
        bind="127.0.0.1",
        controller_port=0,
        api_port=0,
        scripts=ROOT / "include" / "node",
    )
    worker = Worker(
        model=str(model),
        port=port,
        bind="127.0.0.1",
        dtype=dtype,
        device=device,
        engine=engine,
        engine_version=ENGINE_VERSIONS[engine],
    )
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "LOGDIR": "", "HF_HUB_OFFLINE": "1"}
    began = time.monotonic()
    with (folder / f"{engine}.log").open("wb") as log:
        process = subprocess.Popen(
            worker_command(layout, engine, worker), env=environment, cwd=folder, stdout=log, stderr=log
        )
    server = Server(engine, worker.url, process)
    try:
        wait_for_an_answer(server, folder / f"{engine}.log")
        server.start = time.monotonic() - began
        yield server
    finally:
        process.terminate()
        process.wait(60)


def wait_for_an_answer(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            httpx.post(f"{server.url}/worker_generate", json=body("SELECT"), timeout=60, trust_env=False)
        except httpx.TransportError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{server.engine} does not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return


def pss(pid: int) -> float:
    """Memory of a process and its descendants in GiB, shared pages counted by their share."""
    rollup, status = (Path("/proc", str(pid), name) for name in ("smaps_rollup", "status"))
    # A sandbox's kernel may lack the first one; the second one counts shared pages whole.
    lines = (rollup if rollup.exists() else status).read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith(("Pss:", "VmRSS:"))) / 1024**2
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return own + sum(pss(int(child)) for thread in threads for child in thread.read_text().split())


async def answers(server: Server, prompts: list[str], at_once: int) -> list[dict[str, Any]]:
    slots = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=600, trust_env=False, limits=limits) as client:

        async def answer(prompt: str) -> dict[str, Any]:
            async with slots:
                response = await client.post(f"{server.url}/worker_generate", json=body(prompt))
            return dict(response.json())

        return await asyncio.gather(*map(answer, prompts))


def measure(server: Server, prompts: list[str], at_once: int) -> None:
    began = time.monotonic()
    received = asyncio.run(answers(server, prompts, at_once))
    seconds = time.monotonic() - began
    # FastChat counts the tokens before the last one.
    tokens = sum(answer["usage"]["completion_tokens"] + 1 for answer in received)
    server.rates[at_once] = len(prompts) / seconds, tokens / seconds
    server.peak = max(server.peak, pss(server.process.pid))
    server.texts[at_once] = [cut(answer["text"]) for answer in received]
    rates = [round(rate, 2) for rate in server.rates[at_once]]
    print(json.dumps({"engine": server.engine, "at_once": at_once, "rates": rates}), file=sys.stderr)


def cut(text: str) -> str:
    return text[: min([at for stop in STOP if (at := text.find(stop)) >= 0], default=len(text))].strip()


def table(servers: list[Server]) -> str:
    first = servers[0]
    lines = [
        "| engine | at once | answers/s | tokens/s | times FastChat's | differ | start | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for server in servers:
        for at_once, (per_second, tokens) in server.rates.items():
            pairs = zip(server.texts[at_once], first.texts[1], strict=True)
            differ = sum(text != expected for text, expected in pairs)
            lines.append(
                f"| {server.engine} | {at_once} | {per_second:.2f} | {tokens:.0f} "
                f"| {per_second / first.rates[at_once][0]:.1f} | {differ} of {len(first.texts[1])} "
                f"| {server.start:.0f} s | {server.peak:.2f} GiB |"
            )
    return "\n".join(lines)


def questions(count: int) -> list[str]:
    rows = [row for row in map(clean, dataset.rows(1)) if row]
    chosen = random.Random(SEED).sample(rows, count)
    return [render(row["question"], row["context"]) for row in chosen]


def main(model: Path, count: int, dtype: str) -> None:
    prompts = questions(count)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        # One after the other, so that each starts alone.
        servers = [
            stack.enter_context(running(engine, model, dtype, Path(folder), PORTS + i))
            for i, engine in enumerate(ENGINES)
        ]
        for server in servers:
            asyncio.run(answers(server, prompts[:WARM_UP], 1))
        for at_once in AT_ONCE:
            for server in servers:
                measure(server, prompts, at_once)
        print(table(servers))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(
        Path(arguments[0]).resolve() if arguments else BASE / "models" / "smollm2-135m",
        int(arguments[1]) if len(arguments) > 1 else QUESTIONS,
        arguments[2] if len(arguments) > 2 else "bfloat16",
    )
