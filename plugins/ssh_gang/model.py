"""A gang: one job on several hosts; its members start together and end together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ssh_gang.loss import LossPolicy

Accelerator = Literal["cuda", "rocm", "cpu"]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
HostPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_~/][A-Za-z0-9_.~/+@-]{0,255}$")]
Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00\n]*$")]
Word = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]

MAX_NAME = 120
"""Characters of a gang's name, which is a file name on the hosts, at most."""


MAX_LOG_GIB = 1.0
"""GiB of each host's output that are recorded, unless a gang says otherwise."""


class Model(BaseModel):
    """Base of frozen models that refuse unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class GangHost(Model):
    """One host that a gang may run on."""

    name: HostName = Field(description="Name of the host in logs.")
    conn_id: HostName = Field(
        description="Airflow Connection of type ssh: address, user, key, known host key."
    )


class Limits(Model):
    """How long the parts of a gang's life may take, in seconds; an error names the limit it exceeded."""

    queue: float = Field(
        24 * 3600, gt=0, description="Waiting for another exclusive gang to leave the hosts."
    )
    connect: float = Field(30, gt=0, description="Opening one SSH connection, retries included.")
    prepare: float = Field(60, gt=0, description="From the claim to the waiting process, on each host.")
    rendezvous: float = Field(
        900, gt=0, description="From the start signal until torchrun has started every rank."
    )
    first_step: float = Field(1800, gt=0, description="From the start signal to the first step in the log.")
    stall: float = Field(1800, gt=0, description="Between two steps in the log.")
    total: float = Field(7 * 24 * 3600, gt=0, description="From the start signal to the end.")
    grace: float = Field(20, gt=0, description="Between SIGTERM and SIGKILL.")
    unreachable: float = Field(
        600,
        gt=0,
        description="A host that does not answer; its ranks go on meanwhile.",
    )
    records: float = Field(
        24 * 3600,
        gt=0,
        description="From the gang's end until its records are written, where the recorder does not answer.",
    )


class Member(Model):
    """One host's part of a gang."""

    host: HostName = Field(description="Name of the host in logs.")
    conn_id: str = Field(description="Airflow Connection of the host.")
    argv: list[Argument] = Field(
        min_length=1, description="The program and its arguments; they reach the host's shell quoted."
    )
    env: dict[EnvName, Argument] = Field(
        default_factory=dict, description="Environment variables on top of the login's."
    )
    path_prefix: HostPath | None = Field(None, description="Folder that is put first on PATH.")
    cwd: HostPath = Field(description="Working directory; created if it is missing.")
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Files written under the working directory before the start: relative path to text.",
    )
    required_port: int | None = Field(
        None, ge=1, le=65535, description="TCP port on which no process may listen before the start."
    )
    ranks: int = Field(
        0, ge=0, description="Ranks that torchrun starts on this host; 0 where the program is not torchrun."
    )
    accelerator: Accelerator = Field(
        "cpu",
        description=(
            "Kind of the host's GPUs. No foreign process may hold one before the start; their use and memory "
            "are sampled while the gang runs; none may be held by the gang after a stop. cpu: no GPUs."
        ),
    )
    tolerated_gpu_marker: EnvName | None = Field(
        None,
        description="Environment variable of processes that may hold a GPU beside the gang.",
    )

    @field_validator("files")
    @classmethod
    def _relative(cls, files: dict[str, str]) -> dict[str, str]:
        for path in files:
            if path.startswith("/") or ".." in path.split("/") or not re.fullmatch(r"[\w./-]+", path):
                raise ValueError(
                    f"files: {path!r} must be a relative path of letters, digits, _ . / - without '..'"
                )
        return files

    @field_validator("cwd")
    @classmethod
    def _no_parent(cls, cwd: str) -> str:
        if ".." in cwd.split("/"):
            raise ValueError(f"cwd: {cwd!r} must not contain '..'")
        return cwd


class Gang(Model):
    """Members that start and end together.

    The name is the same for every attempt, so that a retry finds what the last attempt left.
    """

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=MAX_NAME,
        description="Name of the gang, and of its folder on each host; see `gang_name`.",
    )
    attempt: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+$",
        max_length=80,
        description="Name of this attempt; a stop of one attempt does not touch the processes of another.",
    )
    fencing_token: int = Field(
        0,
        ge=0,
        description=(
            "Number that grows with every attempt, Clears included. A host refuses to stop an attempt for a "
            "caller with a smaller one."
        ),
    )
    generation: int = Field(
        0, description="Number that changes when a person clears the task, not when Airflow retries it."
    )
    spec_hash: Word = Field(
        "-", description="Hash of what the gang runs; a result of another spec is not taken for this one's."
    )
    resumed_from: int = Field(
        0, ge=0, description="Step of the checkpoint that this attempt goes on from; 0: from the beginning."
    )
    exclusive: bool = Field(
        False, description="Whether no other exclusive gang may run on the hosts at the same time."
    )
    owner: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Task that the gang belongs to (dag_id, task_id, run_id; map_index of a mapped one) and its "
            "Airflow installation (airflow), so that housekeeping can find out whether the gang is still "
            "needed."
        ),
    )
    root: HostPath = Field(description="Folder on each host that holds the gangs' folders.")
    members: list[Member] = Field(min_length=1, description="One member for each host.")
    limits: Limits = Field(Limits(), description="How long the parts of the gang's life may take.")
    progress_pattern: str | None = Field(
        None,
        description=(
            "Regular expression that finds progress in a log line; the limits first_step and stall then "
            "apply. Named groups: step and total, optionally loss, lr, seconds_per_step, eta, "
            "tokens_per_second, memory."
        ),
    )
    checkpoint_pattern: str | None = Field(
        None,
        description=(
            "Regular expression that finds, in a log line of a host, that its part of a checkpoint is whole. "
            "Named group: step."
        ),
    )
    max_log_gib: float = Field(
        MAX_LOG_GIB,
        ge=0,
        description="GiB of each host's output that are recorded; what follows is counted, and not kept.",
    )
    loss: LossPolicy | None = Field(
        None, description="What becomes of a training whose loss is bad; None: it is not looked at."
    )

    @field_validator("progress_pattern", "checkpoint_pattern")
    @classmethod
    def _has_groups(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        if pattern is None:
            return None
        try:
            groups = set(re.compile(pattern).groupindex)
        except re.error as e:
            raise ValueError(f"{info.field_name} {pattern!r} is not a regular expression: {e}") from e
        required = {"step", "total"} if info.field_name == "progress_pattern" else {"step"}
        if missing := required - groups:
            raise ValueError(
                f"{info.field_name} {pattern!r} lacks the named groups {', '.join(sorted(missing))}"
            )
        return pattern

    @model_validator(mode="after")
    def _distinct_hosts(self) -> Gang:
        hosts = [member.host for member in self.members]
        if len(set(hosts)) != len(hosts):
            raise ValueError(
                f"members: a host is named twice ({', '.join(hosts)}); give each host one member"
            )
        return self

    @property
    def folder(self) -> str:
        """Folder of the gang on each host."""
        return f"{self.root}/{self.name}"

    @property
    def max_log_bytes(self) -> int:
        """Bytes of each host's output that are recorded."""
        return int(self.max_log_gib * 2**30)

    def ranks_of(self, host: str) -> range:
        """Return the global ranks of a host: torchrun's node ranks are the members' order."""
        at = [member.host for member in self.members].index(host)
        first = sum(member.ranks for member in self.members[:at])
        return range(first, first + self.members[at].ranks)

    @property
    def marker(self) -> str:
        """Value of `commands.MARKER` in the environment of every process of this attempt, on every host."""
        return f"{self.name}@{self.attempt}"


def gang_name(dag_id: str, task_id: str, run_id: str, installation: str, map_index: int = -1) -> str:
    """Return the name of a task's gang: `dag.task.run.installation`, without the try number.

    The installation is part of it because a scheduled run has the same id in every Airflow.

    Args:
        dag_id: Airflow's DAG id.
        task_id: Airflow's task id.
        run_id: Airflow's run id.
        installation: Names this Airflow on the hosts.
        map_index: Index of a mapped task, each of which has a gang of its own; -1 where it is not mapped.
    """
    task = task_id if map_index < 0 else f"{task_id}_{map_index}"
    name = slug(f"{slug(dag_id)}.{slug(task)}.{slug(run_id)}.{installation[:8]}")
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 7]}-{_digest(name)}"


def slug(text: str) -> str:
    """Return `text` as a file name of letters, digits, dot, dash and underscore.

    A text with other characters gets a hash, which keeps two different texts apart.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")
    return plain if plain == text else f"{plain[:80]}-{_digest(text)}"


def _digest(text: str) -> str:
    """Six characters that tell a shortened or changed text from others."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def torchrun_command(
    *,
    nnodes: int,
    node_rank: int,
    nproc_per_node: int,
    master_addr: str,
    master_port: int,
    script: Sequence[str],
) -> list[str]:
    """Return the torchrun command of one host.

    Every number is explicit: with torchrun's default of one node, each host would train alone, and succeed.

    Args:
        nnodes: Number of hosts.
        node_rank: Position of this host, from 0.
        nproc_per_node: Ranks on each host.
        master_addr: Address of the host with node rank 0.
        master_port: Port of the rendezvous on that host.
        script: Script or `-m module`, and its arguments.
    """
    return [
        "torchrun",
        f"--nnodes={nnodes}",
        f"--node_rank={node_rank}",
        f"--nproc_per_node={nproc_per_node}",
        f"--master_addr={master_addr}",
        f"--master_port={master_port}",
        *script,
    ]
