"""A training that runs under the tests' Airflow, and what can be done to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqltune.records import installation, runs, series
from ssh_gang.commands import MARKER
from ssh_gang.model import gang_name, slug
from tests.chain.conftest import DAG, FORM, STATE
from tests.conftest import free_port


def processes(name: str) -> dict[str, list[Path]]:
    """Living processes of a gang on both hosts, by attempt."""
    mark = f"{MARKER}={name}@".encode()
    processes: dict[str, list[Path]] = {}
    for p in Path("/proc").glob("[0-9]*"):
        try:
            for e in (p / "environ").read_bytes().split(b"\0"):
                if e.startswith(mark):
                    processes.setdefault(e.rpartition(b"@")[2].decode(), []).append(p)
        except OSError:
            continue
    return processes


class Training:
    """A run that trains until it is stopped."""

    def __init__(self, lab, seed: int) -> None:
        self.lab, self.airflow = lab, lab.airflow
        self.run = self.airflow.trigger(DAG, FORM | {"max_steps": 3000, "seed": seed, "promote": "hold"})
        self.gang = gang_name(DAG, "train", self.run, installation.name())
        self.key = slug(self.run)

    @property
    def task(self):
        return self.airflow.get(f"/dags/{DAG}/dagRuns/{self.run}/taskInstances/train")

    @property
    def step(self) -> int:
        last = self.last
        return last.progress.step if last else 0

    @property
    def last(self) -> series.IterationPoint | None:
        return series.last_iteration(self.key) if runs.plan(self.key) else None

    @property
    def iterations(self) -> list[series.IterationPoint]:
        return series.every_iteration(self.key)

    @property
    def attempts(self) -> list[str]:
        return sorted(processes(self.gang))

    def until(self, condition: Callable[[], object], what: str, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                f"{what}: {self.task['state']}, step {self.step}, {self.attempts}"
            )
            time.sleep(0.3)

    def until_it_trains(self, besides: tuple[str, ...] = ()) -> str:
        """Wait until a try other than these has reported a step; return the try."""

        def trains():
            last = self.last
            return (
                last
                and last.attempt not in besides
                and self.attempts == [last.attempt]
                and self.task["state"] == "deferred"
            )

        self.until(trains, "no try trains alone")
        return self.attempts[0]

    def output_on(self, host: str) -> Path:
        """What the training prints on a host."""
        return STATE / "hosts" / host / "home/code/gangs" / self.gang / "output"

    def kill_rank(self, rank: int) -> None:
        """Kill one rank's process on its host."""
        (attempt,) = self.attempts
        process = next(
            p
            for p in processes(self.gang)[attempt]
            if f"RANK={rank}".encode() in (p / "environ").read_bytes().split(b"\0")
            and b"xtuner" in (p / "cmdline").read_bytes()
        )
        os.kill(int(process.name), signal.SIGKILL)

    @property
    def triggerer_pid(self) -> int:
        """The process that watches the training; it leads its process group."""
        return int(self.lab.supervisor("pid", "triggerer").strip())

    def kill_triggerer(self) -> None:
        """Kill it; supervisor starts another one."""
        os.kill(self.triggerer_pid, signal.SIGKILL)

    @contextlib.contextmanager
    def another_triggerer(self) -> Iterator[None]:
        """Run a second triggerer of the same Airflow."""
        process = Path(f"/proc/{self.triggerer_pid}")
        variables = (process / "environ").read_bytes().rstrip(b"\0").split(b"\0")
        env = dict(variable.decode().split("=", 1) for variable in variables)
        env["AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT"] = str(free_port())
        command = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        with (STATE / "logs/triggerer-2.log").open("wb") as log:
            second = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            second.terminate()
            second.wait(60)

    def mark(self, state: str) -> None:
        answer = self.airflow.call(
            "PATCH", f"/dags/{DAG}/dagRuns/{self.run}/taskInstances/train", json={"new_state": state}
        )
        assert answer.status_code == 200, answer.text

    def mark_run(self, state: str) -> None:
        answer = self.airflow.call("PATCH", f"/dags/{DAG}/dagRuns/{self.run}", json={"state": state})
        assert answer.status_code == 200, answer.text

    def clear(self) -> None:
        self.lab.clear(self.run, "train")

    def until_nothing_is_left(self, seconds: float = 60) -> None:
        self.until(lambda: not self.attempts, "processes are left", seconds)
