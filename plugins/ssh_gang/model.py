"""A gang: the same job on several hosts at once, started together and ended together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Accelerator = Literal["cuda", "rocm", "cpu"]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
HostPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_~/][A-Za-z0-9_.~/+@-]{0,255}$")]
Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00\n]*$")]
Word = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]


class Model(BaseModel):
    """Base of all configuration: an unknown key is a mistake, and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class GangHost(Model):
    """One host that a gang may run on."""

    name: HostName = Field(description="Name of the host in logs.")
    conn_id: HostName = Field(
        description="Airflow Connection of type ssh: address, user, key, known host key."
    )


class Limits(Model):
    """How long the parts of a gang's life may take, in seconds; each is named when it strikes."""

    queue: float = Field(24 * 3600, gt=0, description="Waiting for another gang to leave the hosts.")
    connect: float = Field(30, gt=0, description="Opening one SSH connection, tries included.")
    prepare: float = Field(60, gt=0, description="From the claim to the waiting process, on every host.")
    rendezvous: float = Field(
        900, gt=0, description="From go until torchrun has started every rank on every host."
    )
    first_step: float = Field(1800, gt=0, description="From go to the first iteration in the log.")
    stall: float = Field(1800, gt=0, description="Between two signs of progress in the log.")
    total: float = Field(7 * 24 * 3600, gt=0, description="From go to the end.")
    grace: float = Field(20, gt=0, description="Between SIGTERM and SIGKILL.")
    unreachable: float = Field(
        600,
        gt=0,
        description="A host that does not answer is waited for this long; its ranks go on meanwhile.",
    )


class Member(Model):
    """One host's part of a gang."""

    host: str = Field(description="How the host is called in logs.")
    conn_id: str = Field(description="Airflow Connection of the host.")
    argv: list[Argument] = Field(
        min_length=1, description="The program and its arguments; never seen by a shell unquoted."
    )
    env: dict[EnvName, Argument] = Field(
        default_factory=dict, description="Environment on top of the login's."
    )
    path_prefix: HostPath | None = Field(None, description="Folder put first on PATH.")
    cwd: HostPath = Field(description="Working directory; made if missing.")
    files: dict[str, str] = Field(
        default_factory=dict, description="Files written under cwd before the start: relative path to text."
    )
    port_free: int | None = Field(
        None, ge=1, le=65535, description="A TCP port nobody may listen on when the gang arms."
    )
    ranks: int = Field(
        0, ge=0, description="Ranks that torchrun starts on this host; 0 where the program is not torchrun."
    )
    accelerator: Accelerator = Field(
        "cpu",
        description="Whose GPUs are looked at: before the start for strangers, while it runs for use and memory, after a stop for what is left.",
    )

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        for path in files:
            if path.startswith("/") or ".." in path.split("/") or not re.fullmatch(r"[\w./-]+", path):
                raise ValueError(f"file {path!r} must be a relative path without '..'")
        return files

    @field_validator("cwd")
    @classmethod
    def _no_parent(cls, cwd: str) -> str:
        if ".." in cwd.split("/"):
            raise ValueError(f"{cwd!r} must not contain '..'")
        return cwd


class Gang(Model):
    """Members that start and end together. The name is the same for every try, so that a retry finds what the last try left."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120)
    attempt: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+$",
        max_length=80,
        description="Which try this is; fences an old try's on_kill from a new try's processes.",
    )
    fencing_token: int = Field(
        0,
        ge=0,
        description="Grows with every try, Clears included: an older try can't stop, replace or start beside a newer one.",
    )
    generation: int = Field(
        0, description="Changes when a person clears the task, not when Airflow tries it again."
    )
    spec_hash: Word = Field(
        "-", description="Hash of what is run; what ran for another plan is not taken for this one's."
    )
    exclusive: bool = Field(
        False, description="Wants its hosts for itself: waits until no other exclusive gang runs there."
    )
    owner: dict[str, str] = Field(
        default_factory=dict,
        description="Who to ask whether the gang is still wanted: dag_id, task_id, run_id and which Airflow's (`records.installation`).",
    )
    root: HostPath = Field(description="Folder on each host under which gangs are kept.")
    members: list[Member] = Field(min_length=1, description="One per host.")
    limits: Limits = Limits()
    progress_pattern: str | None = Field(
        None,
        description=(
            "Regular expression that finds progress in a log line; the limits first_step and stall then apply. "
            "Named groups: step and total, optionally loss, lr, seconds_per_step, eta, tokens_per_second, memory."
        ),
    )

    @field_validator("progress_pattern")
    @classmethod
    def _has_groups(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                missing = {"step", "total"} - set(re.compile(pattern).groupindex)
            except re.error as e:
                raise ValueError(f"progress_pattern {pattern!r} is not a regular expression: {e}") from e
            if missing:
                raise ValueError(
                    f"progress_pattern {pattern!r} lacks the named groups {', '.join(sorted(missing))}"
                )
        return pattern

    @model_validator(mode="after")
    def _distinct(self) -> Gang:
        hosts = [m.host for m in self.members]
        if len(set(hosts)) != len(hosts):
            raise ValueError(f"a host is named twice: {', '.join(hosts)}")
        return self

    @property
    def folder(self) -> str:
        return f"{self.root}/{self.name}"

    @property
    def marker(self) -> str:
        """Stands in the environment of every process of this try, on every host."""
        return f"{self.name}@{self.attempt}"


def gang_name(dag_id: str, task_id: str, run_id: str, installation: str) -> str:
    """`dag.task.run`, without the try number, and whose: tonight's run has the same id in every Airflow."""
    return slug(f"{slug(dag_id)}.{slug(task_id)}.{slug(run_id)}.{installation[:8]}")


def slug(text: str) -> str:
    """`text` as a file name: letters, digits, dot, dash and underscore; a hash keeps two different texts apart."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")
    return plain if plain == text else f"{plain[:80]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def torchrun_command(
    *,
    nnodes: int,
    node_rank: int,
    nproc_per_node: int,
    master_addr: str,
    master_port: int,
    script: Sequence[str],
) -> list[str]:
    """torchrun on one host. Every number is explicit: torchrun's default of 1 would run alone, and succeed."""
    return [
        "torchrun",
        f"--nnodes={nnodes}",
        f"--node_rank={node_rank}",
        f"--nproc_per_node={nproc_per_node}",
        f"--master_addr={master_addr}",
        f"--master_port={master_port}",
        *script,
    ]
