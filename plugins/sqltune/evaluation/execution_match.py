"""Execution match of many pairs of queries, and their witnesses, in confined worker processes.

The workers are started as plain programs and not by multiprocessing, which would import the caller's main
program in them: in a task, all of Airflow's command line.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from sqltune.errors import ScoringError
from sqltune.evaluation.judge import Match, Pair
from sqltune.evaluation.sandbox import MAX_SECONDS
from sqltune.evaluation.synthetic import COPIES
from sqltune.evaluation.witness_document import Json
from sqltune.evaluation.worker import Job, WorkerRequest, WorkerResponse

Result = TypeVar("Result")

PACKAGES = Path(__file__).resolve().parents[2]
"""Folder that holds this package, from which a worker imports it."""
PAIRS_PER_PROCESS = 300
"""Pairs from which on another process saves more time than its start costs."""
QUERIES_PER_DATABASE = 4
"""Slow queries of one comparison, at most: gold and prediction, each with and without DISTINCT."""
QUERIES_FOR_TIES = 2
"""Queries more where ties are looked for."""
GRACE = 3.0
"""Seconds beyond the limits of its queries after which a pair's process is killed."""
START_TIMEOUT = 30.0
"""Seconds a process may take to start, in addition, before its first response."""


def match_pairs(pairs: Sequence[Pair], processes: int | None = None) -> list[Match]:
    """Judge pairs in worker processes.

    Args:
        pairs: the pairs.
        processes: number of workers; by default as many as pay off on this machine's cores.

    Returns:
        One outcome for each pair, in the same order.

    Raises:
        ScoringError: the worker process does not start.
    """
    return _in_workers("judge", pairs, processes, lambda match: Match(**match), lambda failure: failure)


def find_witnesses(pairs: Sequence[Pair], processes: int | None = None) -> list[Json | None]:
    """Find the witnesses of pairs that do not match, in worker processes.

    Args:
        pairs: the pairs.
        processes: number of workers; by default as many as pay off on this machine's cores.

    Returns:
        The JSON of a `Witness` for each pair, in the same order; None where none was found.

    Raises:
        ScoringError: the worker process does not start.
    """
    return _in_workers("witness", pairs, processes, lambda witness: witness, lambda _: None)


def _in_workers(
    job: Job,
    pairs: Sequence[Pair],
    processes: int | None,
    parse: Callable[[Any], Result],
    instead: Callable[[Match], Result],
) -> list[Result]:
    """Do a job for each pair.

    Args:
        job: the job.
        pairs: the pairs.
        processes: number of workers, or None.
        parse: makes a result of a worker's response.
        instead: makes one for a pair that ended its worker.
    """
    if not pairs:
        return []
    count = processes or max(1, min(len(os.sched_getaffinity(0)), len(pairs) // PAIRS_PER_PROCESS))
    size = -(-len(pairs) // count)
    parts = [pairs[i : i + size] for i in range(0, len(pairs), size)]

    def results(part: Sequence[Pair]) -> list[Result]:
        """One worker at a time. A pair that kills its worker affects no other pair."""
        done: list[Result] = []
        while len(done) < len(part):
            with Worker(job, part[len(done) :]) as worker:
                done += map(parse, worker.results())
            if len(done) < len(part):
                # The worker was killed, or died, at this pair.
                done.append(instead(worker.failure()))
        return done

    with ThreadPoolExecutor(count) as pool:
        return [result for part in pool.map(results, parts) for result in part]


class Worker:
    """A worker process and its pairs; leaving the context kills it.

    Args:
        job: what it does with each pair.
        pairs: the pairs.
    """

    def __init__(self, job: Job, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs
        self._answered = 0
        self._is_late = False
        self._stderr = ""
        # A file and not a pipe: while a large request is being written, responses would go unread.
        with tempfile.TemporaryFile("w+") as request:
            request.write(WorkerRequest(job, tuple(pairs)).to_json())
            request.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sqltune.evaluation.worker"],
                stdin=request,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._stderr = self._process.communicate()[1].decode(errors="replace").strip()

    def results(self) -> Iterator[Any]:
        """Yield results; ends early when the process dies, or a pair takes longer than its queries may."""
        lines = _Lines(self._process)
        for pair in self._pairs:
            databases = 1 if pair.database else COPIES
            queries = databases * QUERIES_PER_DATABASE + QUERIES_FOR_TIES * pair.check_ties
            seconds = queries * MAX_SECONDS + GRACE
            line = lines.next(seconds if self._answered else seconds + START_TIMEOUT)
            if line is None:
                # One that ended by itself has an exit code by now.
                self._is_late = self._process.returncode is None
                return
            response = WorkerResponse.from_json(line)
            if response.number != self._answered:
                raise ScoringError(f"the worker answered pair {response.number}, not {self._answered}")
            self._answered += 1
            yield response.result

    def failure(self) -> Match:
        """Return the outcome for the pair at which the process ended.

        Raises:
            ScoringError: the process ended before its first pair, by an error of its own.
        """
        if not self._answered and "Traceback" in self._stderr:
            raise ScoringError(f"the process that runs the queries does not start: {self._stderr[-800:]}")
        if self._is_late:
            return Match(
                "invalid",
                f"took longer than {MAX_SECONDS:g} s and could not be interrupted",
                failure_class="timeout",
            )
        end = f"died (exit code {self._process.returncode})"
        if self._process.returncode == -signal.SIGKILL:
            end = f"was killed (signal {signal.SIGKILL:d}), as it is when memory runs out"
        return Match("invalid", f"the process that ran it {end}", failure_class="too_large")


class _Lines:
    """The lines of a process's standard output, each waited for at most so long."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self._output = process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._buffer = b""

    def next(self, timeout: float) -> bytes | None:
        """Return the next line; None when the time is up, or the process has ended."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return None
            part = os.read(self._output, 1 << 16)
            if not part:
                # It ended by itself: collect its own exit code before it is killed.
                self._process.wait()
                return None
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _environment() -> dict[str, str]:
    """Return a worker's environment: only PATH is the caller's, so that its secrets stay out of reach."""
    return {
        "PYTHONPATH": str(PACKAGES),
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONIOENCODING": "utf-8",
    }
