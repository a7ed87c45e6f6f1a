"""What the page's API answers about the gangs of a run and its hosts. Every moment is UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from sqltune.node_contracts.preflight import HostCheck, MeasuredHost
from sqltune.records.attempts import Attempt, Goodput
from ssh_gang.milestone import HostCommand
from ssh_gang.model import Model


class Timeline(Model):
    """What happened to the gangs of a run, and when; earliest attempt first."""

    attempts: list[Attempt]
    time_to_first_step: float | None = Field(
        description="Seconds from the training's submission to its first iteration in the log."
    )
    goodput: Goodput | None = Field(description="Null before the first iteration.")


Cause = Literal["rank", "host", "limit", "launch", "evidence", "person", "preflight"]
"""What a failure began with: a rank or a whole host that failed first; a limit that was exceeded; a launch
that was refused; an end with exit code 0 without evidence of work; a person's Clear or Mark; preflight."""

Remedy = Literal[
    "gpu_memory",
    "host_memory",
    "disk",
    "port",
    "network",
    "not_finite",
    "package",
    "gpu_lost",
    "host_lost",
    "limit_queue",
    "limit_prepare",
    "limit_rendezvous",
    "limit_first_step",
    "limit_stall",
    "limit_total",
    "limit_unreachable",
]
"""What to do, for failures that are known: the page has a sentence for each."""


class Failure(Model):
    """What a failed run failed of."""

    task: str = Field(description="Airflow's task id.")
    attempt: str | None = Field(description="Null for `preflight`, which is no gang.")
    at: datetime
    cause: Cause
    host: str | None = Field(description="The host that failed first.")
    rank: int | None = Field(description="The rank that failed first.")
    exit: str = Field(description="How it ended: `exit code 1`, `killed by signal 9`; empty if not known.")
    step: int | None = Field(description="The last iteration before it.")
    total: int | None = Field(description="Iterations in all.")
    reason: str = Field(description="The whole reason, as the task's log has it.")
    first_errors: list[str] = Field(description="What each host that has one failed with first.")
    tail: str = Field(description="The last lines of the host or rank that failed first.")
    remedy: Remedy | None = Field(description="What to do, where the failure is a known one.")
    retry: str = Field(description="Where a retry goes on; empty if not known.")


class FailureAnswer(Model):
    """Whether a run has failed, and of what."""

    failure: Failure | None = Field(description="Null while nothing has failed, or a retry is under way.")


class GpuNow(Model):
    """A GPU's newest sample."""

    gpu: int = Field(description="Index of the GPU on its host.")
    at: datetime
    use: float | None = Field(description="Percent of the time.")
    memory_used: int = Field(description="MiB.")
    memory_total: int = Field(description="MiB.")
    temperature: float | None = Field(description="Degrees Celsius.")


Flag = Literal["failed", "silent", "slow"]
"""What is wrong with a rank: it failed first; it is silent while others report; its steps take longer."""


class Rank(Model):
    """One rank of a training."""

    rank: int = Field(description="Global rank.")
    local_rank: int = Field(description="Its number on its host; where there are GPUs, it has the GPU of it.")
    step: int | None = Field(description="The last step that it reported.")
    at: datetime | None = Field(description="When it did.")
    seconds: float | None = Field(
        description="Seconds that its steps take: about the same on all ranks, which wait for one another."
    )
    relative: float | None = Field(description="The same, as a multiple of the fastest rank's.")
    data_seconds: float | None = Field(description="The part of them in which it waited for its next batch.")
    memory: int | None = Field(description="Peak GPU memory that it allocated, in MiB.")
    flag: Flag | None
    last_line: str = Field(description="The last line that it printed; empty where it is not known.")


class Host(Model):
    """One host of a run."""

    name: str
    processes: int = Field(description="Ranks on this host.")
    state: str = Field(description="What the watcher says of it; empty before the start.")
    at: datetime | None = Field(description="When the state was noticed.")
    failed: bool = Field(description="Whether it failed first.")
    logs: list[str] = Field(description="Names of its logs in the log store.")
    log: str | None = Field(description="The one of the training's newest attempt.")
    last_line: str = Field(description="The last line of that log.")
    ranks: list[Rank]
    gpus: list[GpuNow]


class Log(Model):
    """The end of a log."""

    name: str
    size: int = Field(description="Bytes of the whole log.")
    text: str = Field(description="Its last lines.")


class Checkup(Model):
    """What `preflight` found on a host."""

    host: str
    at: datetime
    facts: MeasuredHost
    checks: list[HostCheck]


class Preflight(Model):
    """What `preflight` found on the hosts of a run."""

    hosts: list[Checkup]


class TaskCommands(Model):
    """What one of the run's gangs ran on its hosts, as a person would type it."""

    task: str = Field(description="Airflow's task id.")
    attempt: str
    at: datetime
    commands: list[HostCommand]


class Commands(Model):
    """The commands of the newest attempt of each gang, in the chain's order."""

    tasks: list[TaskCommands]


Stage = Literal[
    "dataset", "split", "base_model", "start_adapter", "checkpoint", "adapter", "merged", "version"
]


class LineageStep(Model):
    """One thing that the next was made from."""

    stage: Stage
    name: str = Field(description="Repository, path or number; empty before it is there.")
    hash: str | None = Field(description="Commit or hash of its content.")
    url: str | None = Field(description="Where it can be looked at, outside Airflow.")


class Served(Model):
    """A time in which the run's version served."""

    since: datetime
    until: datetime | None = Field(description="Null while it serves.")
    why: str = Field(description="What decided: the gate, a person, a rollback.")
    by: str = Field(description="The run that did it.")


class Lineage(Model):
    """From the data to what served when."""

    steps: list[LineageStep]
    served: list[Served]
