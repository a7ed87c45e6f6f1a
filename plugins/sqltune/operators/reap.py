"""Ending what a run left on the hosts: the run's own teardown, and housekeeping for runs that have none."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Variable, get_current_context
from airflow.sdk.exceptions import AirflowSkipException
from sqlalchemy.exc import OperationalError

from sqltune.config.cluster import Cluster, Host
from sqltune.config.loading import load_cluster
from sqltune.config.plan import RunPlan
from ssh_gang import commands, protocol
from ssh_gang.errors import GangError, HostError
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Member, gang_name
from ssh_gang.ssh import bash, connected, on_all, raise_all

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

ACTIVE_STATES = frozenset({"running", "deferred", "queued", "scheduled", "restarting", "up_for_retry", None})
"""States of a task whose gang may run, or whose next try will look after it.

Not `up_for_reschedule`: a task that waits for its run's turn to train has no gang, and one that an earlier
try left would keep the hosts from the run that it waits for.
"""

INSTALLATION = "sqltune_installation"
"""Airflow Variable with this installation's id, used while the records' database does not answer."""


class ReapGangOperator(BaseOperator):
    """Teardown of a gang: end what is left of every attempt, on every host.

    It finds nothing to do where on_kill did its work.

    Args:
        task: Id of the task that started the gang.
        plan: The `RunPlan` as JSON; None where the run ended before it had one.
    """

    template_fields: Sequence[str] = ("plan",)

    def __init__(self, *, task: str, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.plan = plan

    def execute(self, context: Context) -> None:
        """Stop every attempt, and verify on every host that no process is left."""
        if not self.plan:
            return
        plan = RunPlan.model_validate(self.plan)
        ti, hosts = context["ti"], plan.cluster.hosts
        name = gang_name(ti.dag_id, self.task, ti.run_id, plan.installation)
        asyncio.run(_stop(name, None, plan.cluster, hosts))
        self.log.info("no process of %s is left on %s", name, ", ".join(h.name for h in hosts))


def reap_orphans(cluster: str) -> dict[str, list[str]]:
    """Stop the gangs on a cluster's hosts that no task of this Airflow needs any more.

    A run leaves one behind if its teardown did not run: it was ended by hand or timed out while no triggerer
    was alive, and was perhaps deleted afterwards. Gangs of another Airflow are left alone. So is a host that
    does not answer; the next housekeeping looks again.

    Args:
        cluster: Name of the cluster.

    Returns:
        Names of the stopped gangs, by host.

    Raises:
        AirflowSkipException: No host of the cluster can be reached.
        GangError: Names the gangs that could not be stopped, after all others have been.
    """
    return asyncio.run(_Housekeeping(load_cluster(cluster), _this_installation()).run())


def _this_installation() -> str:
    """Id of this installation: from the records, or, while their database does not answer, from Airflow.

    Raises:
        OperationalError: The database does not answer, and has not answered in any housekeeping before.
    """
    from sqltune.records import installation

    kept = Variable.get(INSTALLATION, default=None)
    try:
        name = installation.name()
    except OperationalError as e:
        if kept is None:
            raise
        log.warning("the records' database does not answer (%s); this is installation %s", e.orig, kept)
        return str(kept)
    if name != kept:
        Variable.set(INSTALLATION, name, description="Marks this Airflow's processes on the hosts")
    return name


@dataclass(frozen=True)
class _Attempt:
    """One attempt of a gang."""

    gang: str
    attempt: str


class _Housekeeping:
    """One survey of a cluster's hosts, for the gangs of one installation."""

    def __init__(self, cluster: Cluster, installation: str) -> None:
        self.cluster = cluster
        self.installation = installation

    async def run(self) -> dict[str, list[str]]:
        running = await self._running_by_host()
        if not running:
            names = ", ".join(host.name for host in self.cluster.hosts)
            raise AirflowSkipException(f"no host can be reached from here ({names}): see the warnings above")
        orphans = self._orphans(running)
        results = await on_all([*orphans], lambda orphan: self._stop(orphan, orphans[orphan]))
        # Raised after all have been tried, so that one that cannot be stopped keeps no other running.
        raise_all(results, GangError)
        stopped: dict[str, list[str]] = defaultdict(list)
        for orphan, hosts in orphans.items():
            for host in hosts:
                stopped[host.name].append(orphan.gang)
        return dict(stopped)

    async def _running_by_host(self) -> dict[Host, list[protocol.RunningGang]]:
        """The gangs on each host that answers."""
        running = {}
        answers = await on_all(self.cluster.hosts, self._running)
        for host, answer in zip(self.cluster.hosts, answers, strict=True):
            if isinstance(answer, HostError):
                log.warning("%s", answer)
            elif isinstance(answer, BaseException):
                raise answer
            elif isinstance(answer, str):
                running[host] = [
                    g for g in protocol.parse_lines(answer) if isinstance(g, protocol.RunningGang)
                ]
        return running

    async def _running(self, host: Host) -> str:
        command = commands.list_gangs_command(f"{self.cluster.work_dir}/gangs")
        async with connected(host.name, host.conn_id, self.cluster.limits.connect) as connection:
            return (await bash(connection, command, 60)).decode()

    def _orphans(self, running: Mapping[Host, Sequence[protocol.RunningGang]]) -> dict[_Attempt, list[Host]]:
        """Attempts that no task needs, each with the hosts it runs on."""
        orphans: dict[_Attempt, list[Host]] = defaultdict(list)
        for host, gang in ((host, gang) for host, gangs in running.items() for gang in gangs):
            if reason := _why_orphaned(gang.owner, self.installation):
                log.warning("[%s] %s (%s): %s; stopping it", host.name, gang.name, gang.attempt, reason)
                orphans[_Attempt(gang.name, gang.attempt)].append(host)
            else:
                log.info(
                    "[%s] %s (%s): its task is active, or another Airflow's",
                    host.name,
                    gang.name,
                    gang.attempt,
                )
        return orphans

    async def _stop(self, orphan: _Attempt, hosts: Sequence[Host]) -> None:
        try:
            await _stop(orphan.gang, orphan.attempt, self.cluster, hosts)
        except GangError as e:
            raise GangError(f"{orphan.gang} ({orphan.attempt}): {e}") from e


async def _stop(name: str, attempt: str | None, cluster: Cluster, hosts: Sequence[Host]) -> None:
    """Stop one attempt of a gang on some hosts; None: every attempt."""
    async with GangHook(_any_attempt(name, cluster, hosts)) as hook:
        await hook.stop(attempt)


def _any_attempt(name: str, cluster: Cluster, hosts: Sequence[Host]) -> Gang:
    """A gang of this name that may stop every attempt, and start none."""
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


def _why_orphaned(owner: Mapping[str, str], installation: str) -> str | None:
    """Why no task needs a gang; None where a task does, or another Airflow owns the gang."""
    if owner.get("airflow") != installation:
        return None
    dag_id, task_id, run_id = owner["dag_id"], owner["task_id"], owner["run_id"]
    ti = get_current_context()["ti"]
    states = ti.get_task_states(dag_id=dag_id, task_ids=[task_id], run_ids=[run_id]).get(run_id, {})
    # Airflow names a mapped task's instances so.
    instance = f"{task_id}_{owner['map_index']}" if "map_index" in owner else task_id
    if instance not in states:
        return "its run no longer exists"
    state = states[instance]
    return None if state in ACTIVE_STATES else f"its task is {state}"
