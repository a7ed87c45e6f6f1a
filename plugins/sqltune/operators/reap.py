"""Who ends what is left: a run's teardown, and the housekeeping for runs that have none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from sqltune.config.cluster import Cluster, Host
from sqltune.config.loading import load_cluster
from sqltune.config.plan import RunPlan
from sqltune.records import installation
from ssh_gang import commands, protocol
from ssh_gang.errors import GangError, HostError
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Member, gang_name
from ssh_gang.ssh import bash, connected, on_all, raise_all

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class ReapGangOperator(BaseOperator):
    """Teardown of a gang: end what is left of any try, on every host. Finds nothing to do when on_kill did its work.

    :param task: the task whose gang is looked after.
    :param plan: the `RunPlan` as JSON; None where the run ended before it had one.
    """

    template_fields: Sequence[str] = ("plan",)

    def __init__(self, *, task: str, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.plan = plan

    def execute(self, context: Context) -> None:
        if not self.plan:
            return
        plan = RunPlan.model_validate(self.plan)
        ti = context["ti"]
        gang = anybody(
            gang_name(ti.dag_id, self.task, ti.run_id, installation.name()), plan.cluster, plan.cluster.hosts
        )
        asyncio.run(self._reap(gang))
        self.log.info(
            "no process of %s is left on %s", gang.name, ", ".join(h.name for h in plan.cluster.hosts)
        )

    async def _reap(self, gang: Gang) -> None:
        async with GangHook(gang) as hook:
            await hook.stop(attempt=None)


def anybody(name: str, cluster: Cluster, hosts: Sequence[Host]) -> Gang:
    """Any try of a gang on hosts, to be stopped."""
    members = [
        Member(
            host=h.name,
            conn_id=h.conn_id,
            argv=["true"],
            cwd=cluster.work_dir,
            accelerator=cluster.accelerator,
        )
        for h in hosts
    ]
    return Gang(
        name=name,
        attempt="reaper",
        fencing_token=commands.MAX_FENCING_TOKEN,
        root=f"{cluster.work_dir}/gangs",
        members=members,
        limits=cluster.limits,
    )


WANTED = frozenset(
    {"running", "deferred", "queued", "scheduled", "restarting", "up_for_retry", "up_for_reschedule", None}
)
"""States of a task whose gang may run, or will be looked after by its next try."""


def reap_orphans(cluster: str) -> dict[str, list[str]]:
    """Stop gangs that no task of this Airflow wants any more, on all hosts of a cluster; the gangs stopped, by host.

    That is what a run leaves behind that was ended by hand or timed out while no triggerer lived, and perhaps deleted then: no teardown comes.
    Gangs of another Airflow are left alone, and so is a host that does not answer (the next run looks again). `GangError`, when all have been
    looked after, names those that could not be stopped.
    """
    return asyncio.run(_reap_orphans(load_cluster(cluster)))


async def _reap_orphans(cluster: Cluster) -> dict[str, list[str]]:
    async def ask(host: Host) -> str:
        async with connected(host.name, host.conn_id, cluster.limits.connect) as connection:
            return (
                await bash(connection, commands.list_gangs_command(f"{cluster.work_dir}/gangs"), 60)
            ).decode()

    said = dict(zip([h.name for h in cluster.hosts], await on_all(cluster.hosts, ask), strict=True))
    for silent in (answer for answer in said.values() if isinstance(answer, BaseException)):
        if not isinstance(silent, HostError):
            raise silent
        log.warning("%s", silent)
    running = [
        (host, gang)
        for host in cluster.hosts
        if isinstance(answer := said[host.name], str)
        for gang in protocol.parse_lines(answer)
        if isinstance(gang, protocol.RunningGang)
    ]
    unwanted: dict[tuple[str, str], list[Host]] = {}
    for host, gang in running:
        name, attempt = gang.name, gang.attempt
        if why := _unwanted(gang.owner):
            log.warning("[%s] %s (%s): %s; stopping it", host.name, name, attempt, why)
            unwanted.setdefault((name, attempt), []).append(host)
        else:
            log.info("[%s] %s (%s) is wanted, or not ours", host.name, name, attempt)

    async def stop(name: str, attempt: str, hosts: list[Host]) -> None:
        try:
            async with GangHook(anybody(name, cluster, hosts)) as hook:
                await hook.stop(attempt)
        except GangError as e:
            raise GangError(f"{name} ({attempt}): {e}") from e

    # Told when all have been seen to: one that can't be killed keeps no other alive.
    raise_all(
        await on_all([(*gang, hosts) for gang, hosts in unwanted.items()], lambda gang: stop(*gang)),
        GangError,
    )
    if not any(isinstance(answer, str) for answer in said.values()):
        raise AirflowSkipException("no host of this cluster can be reached from here")
    stopped: dict[str, list[str]] = {}
    for (name, _), hosts in unwanted.items():
        for host in hosts:
            stopped.setdefault(host.name, []).append(name)
    return stopped


def _unwanted(owner: Mapping[str, str]) -> str | None:
    """Why a gang of this Airflow is wanted by no task any more; None for one that is wanted, and for another's."""
    if owner.get("airflow") != installation.name():
        return None
    states = (
        get_current_context()["ti"]
        .get_task_states(dag_id=owner["dag_id"], task_ids=[owner["task_id"]], run_ids=[owner["run_id"]])
        .get(owner["run_id"], {})
    )
    if owner["task_id"] not in states:
        return "its run is gone"
    state = states[owner["task_id"]]
    return None if state in WANTED else f"its task is {state}"
