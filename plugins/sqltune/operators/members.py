"""Gang members of a plan: what runs on each host of its cluster."""

from __future__ import annotations

from sqltune.config.cluster import Host
from sqltune.config.plan import RunPlan
from ssh_gang.model import Member, torchrun_command


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
    """torchrun for one host of the plan's cluster; ValueError where the hosts have different numbers of processes."""
    cluster = plan.cluster
    processes = {h.processes for h in cluster.hosts}
    if len(processes) > 1:
        raise ValueError(f"torchrun wants as many processes on every host, found {sorted(processes)}")
    return torchrun_command(
        nnodes=len(cluster.hosts),
        node_rank=node_rank,
        nproc_per_node=cluster.hosts[node_rank].processes,
        master_addr=master_addr,
        master_port=cluster.master_port,
        script=script,
    )
