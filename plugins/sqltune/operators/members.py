"""Gang members of a plan: what runs on each host of its cluster."""

from __future__ import annotations

from collections.abc import Mapping

from sqltune.config.cluster import Cluster, Host
from sqltune.config.plan import RunPlan
from ssh_gang.model import Member, torchrun_command


def member(
    plan: RunPlan,
    host: Host,
    argv: list[str],
    cwd: str,
    *,
    files: Mapping[str, str] | None = None,
    ranks: int = 0,
    required_port: int | None = None,
) -> Member:
    """A member that runs in the node environment of a host.

    Args:
        plan: The run plan; its cluster's variables and the chain's scripts are in the environment.
        host: The host it runs on.
        argv: The program and its arguments.
        cwd: Working directory on the host.
        files: Files written to the working directory before the start: relative path to text.
        ranks: Ranks that torchrun starts; 0 where the program is not torchrun.
        required_port: A TCP port that must be free on the host.
    """
    return Member(
        host=host.name,
        conn_id=host.conn_id,
        argv=argv,
        env=plan.cluster.host_env() | {"PYTHONPATH": plan.code_dir},
        cwd=cwd,
        path_prefix=f"{plan.cluster.node_env}/bin",
        accelerator=plan.cluster.accelerator,
        files=dict(files or {}),
        ranks=ranks,
        required_port=required_port,
        # The served model may stay on the GPUs; include/node/serving.py marks it.
        tolerated_gpu_marker="SQLTUNE_SERVING",
    )


def rank_members(
    plan: RunPlan, master_addr: str, script: list[str], cwd: str, files: Mapping[str, str] | None = None
) -> list[Member]:
    """One torchrun on each host of the cluster; the master needs the rendezvous port.

    Args:
        plan: The run plan.
        master_addr: Address of the master's interface.
        script: The script that torchrun starts on every rank, and its arguments.
        cwd: Working directory on every host.
        files: Files written to the working directory before the start: relative path to text.

    Raises:
        ValueError: The hosts have different numbers of processes.
    """
    cluster = plan.cluster
    return [
        member(
            plan,
            host,
            torchrun(cluster, node_rank, master_addr, script),
            cwd,
            files=files,
            ranks=host.processes,
            required_port=cluster.master_port if host == cluster.master else None,
        )
        for node_rank, host in enumerate(cluster.hosts)
    ]


def torchrun(cluster: Cluster, node_rank: int, master_addr: str, script: list[str]) -> list[str]:
    """The torchrun command of one host.

    Args:
        cluster: The cluster.
        node_rank: Position of the host in the cluster, from 0.
        master_addr: Address of the master's interface.
        script: The script that torchrun starts on every rank, and its arguments.

    Raises:
        ValueError: The hosts have different numbers of processes.
    """
    processes = {h.processes for h in cluster.hosts}
    if len(processes) > 1:
        raise ValueError(
            f"cluster.hosts: processes are {sorted(processes)}, torchrun needs the same number on every host"
        )
    return torchrun_command(
        nnodes=len(cluster.hosts),
        node_rank=node_rank,
        nproc_per_node=cluster.hosts[node_rank].processes,
        master_addr=master_addr,
        master_port=cluster.master_port,
        script=script,
    )
