"""The page's API, served in a process of its own, and how fast its routes answer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from bench.scale.results import report_spread
from lab.settings import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
API = "/api/v1"


@contextmanager
def served_page() -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """The page of the records that this process uses: a client of its API, and its process."""
    port = free_port()
    command = [
        "uvicorn",
        "sqltune.ui.app:create_app",
        "--factory",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    server = subprocess.Popen(
        [sys.executable, "-m", *command], env=os.environ | {"PYTHONPATH": str(ROOT / "plugins")}
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}{API}", trust_env=False, timeout=120) as client:
            wait_until(lambda: client.get("/clusters").status_code == 200, 60, not_yet=httpx.TransportError)
            yield client, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(30)


def measure_routes(
    client: httpx.Client, routes: dict[str, Callable[[int], str]], times: int, **facts: object
) -> None:
    """Report how long each route takes, one request after the other.

    Args:
        client: A client of the API.
        routes: The address of a request by its number, under the route's name.
        times: Requests to each route.
        facts: Further keys of each result.
    """
    for name, address in routes.items():
        _milliseconds(client, address(0))
        answers = [_milliseconds(client, address(number)) for number in range(times)]
        size = max(size for _, size in answers) / 1e3
        report_spread(f"GET {name}", [ms for ms, _ in answers], "ms", kB=round(size, 1), **facts)


def _milliseconds(client: httpx.Client, address: str) -> tuple[float, int]:
    began = time.perf_counter()
    answer = client.get(address)
    milliseconds = 1000 * (time.perf_counter() - began)
    assert answer.status_code == 200, (address, answer.text)
    return milliseconds, len(answer.content)


def same(address: str) -> Callable[[int], str]:
    """A route whose requests are all the same."""
    return lambda _: address


def of_runs(keys: Sequence[str], rest: str = "") -> Callable[[int], str]:
    """A route of a run, asked for runs in turn."""
    return lambda number: f"/runs/{keys[number % len(keys)]}{rest}"
