"""A gang: the same job on several hosts at once, started together and ended together."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from sqltune.config import Accelerator, EnvName, Host, HostPath, Limits, Model, RunPlan, slug

Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00\n]*$")]
Word = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]


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
    fence: int = Field(
        0,
        ge=0,
        description="Grows with every try, Clears included: an older try can't stop, replace or start beside a newer one.",
    )
    generation: int = Field(
        0, description="Changes when a person clears the task, not when Airflow tries it again."
    )
    spec: Word = Field(
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
    progress: bool = Field(
        False, description="The log holds training progress; the first_step and stall limits apply."
    )

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


def member(plan: RunPlan, host: Host, argv: list[str], cwd: str, **more: object) -> Member:
    """A member that runs in the node environment of `host`, with the cluster's variables and our scripts importable."""
    # Unbuffered: a line is in the log when it was printed, not 8 KiB later.
    env = plan.cluster.host_env() | {"PYTHONPATH": plan.code_dir, "PYTHONUNBUFFERED": "1"}
    return Member(
        host=host.name,
        conn_id=host.conn_id,
        argv=argv,
        env=env,
        cwd=cwd,
        path_prefix=f"{plan.cluster.node_env}/bin",
        accelerator=plan.cluster.accelerator,
        **more,  # type: ignore[arg-type]
    )


def rank_member(
    plan: RunPlan, node_rank: int, master_addr: str, script: list[str], cwd: str, **more: object
) -> Member:
    """A host's torchrun, and what it has to have for it: the master's port, and as many ranks as it has processes."""
    host = plan.cluster.hosts[node_rank]
    port = plan.cluster.master_port if node_rank == 0 else None
    return member(
        plan,
        host,
        torchrun(plan, node_rank, master_addr, script),
        cwd=cwd,
        ranks=host.processes,
        port_free=port,
        **more,
    )


def torchrun(plan: RunPlan, node_rank: int, master_addr: str, script: list[str]) -> list[str]:
    """torchrun for one host of the plan's cluster. Every number is decided here, once: a default of 1 would train alone, and succeed."""
    cluster = plan.cluster
    processes = {h.processes for h in cluster.hosts}
    if len(processes) > 1:
        raise ValueError(f"torchrun wants as many processes on every host, found {sorted(processes)}")
    return [
        "torchrun",
        f"--nnodes={len(cluster.hosts)}",
        f"--node_rank={node_rank}",
        f"--nproc_per_node={cluster.hosts[node_rank].processes}",
        f"--master_addr={master_addr}",
        f"--master_port={cluster.master_port}",
        *script,
    ]
