"""Which gangs housekeeping stops on the hosts, and which it leaves alone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from sqltune.config.loading import load_cluster
from sqltune.operators import reap
from sqltune.records import installation
from ssh_gang.errors import GangError
from ssh_gang.hook import GangHook
from ssh_gang.model import Limits
from tests.hosts.gangs import bash, gang, remaining_processes


@pytest.fixture
def cluster(sshds, monkeypatch, records):
    """The test's hosts as a cluster; the value holds each run's task states; a run without any is gone."""
    lab = load_cluster("lab").model_copy(update={"limits": Limits(connect=10, grace=2)})
    hosts = [lab.hosts[0].model_copy(update={"name": s.name, "conn_id": s.conn_id}) for s in sshds]
    monkeypatch.setattr(
        reap, "load_cluster", lambda name: lab.model_copy(update={"hosts": hosts, "work_dir": "~"})
    )
    states: dict[str, dict[str, str | None]] = {}
    ti = SimpleNamespace(
        get_task_states=lambda dag_id, task_ids, run_ids: {r: states[r] for r in run_ids if r in states}
    )
    monkeypatch.setattr(reap, "get_current_context", lambda: {"ti": ti})
    monkeypatch.setattr(reap, "_this_installation", installation.name)
    return states


def running(sshds, run_id, airflow=None):
    """A gang of one run that has been started."""
    g = gang(sshds, bash("sleep 600")).model_copy(
        update={
            "name": f"dag.train.{run_id}",
            "owner": {
                "dag_id": "dag",
                "task_id": "train",
                "run_id": run_id,
                "airflow": airflow or installation.name(),
            },
        }
    )

    async def launch():
        async with GangHook(g) as hook:
            await hook.launch()

    asyncio.run(launch())
    return g


def test_reap_stops_only_gangs_that_no_task_needs(sshds, cluster):
    cluster |= {"active": {"train": "deferred"}, "failed": {"train": "failed"}}
    gangs = {run: running(sshds, run) for run in ("active", "failed", "deleted")} | {
        "elsewhere": running(sshds, "elsewhere", "another")
    }
    assert {host: sorted(names) for host, names in reap.reap_orphans("lab").items()} == {
        host: ["dag.train.deleted", "dag.train.failed"] for host in "ab"
    }
    assert {run: len(remaining_processes(g)) > 0 for run, g in gangs.items()} == {
        "active": True,
        "failed": False,
        "deleted": False,
        "elsewhere": True,
    }
    for run in ("active", "elsewhere"):
        asyncio.run(_stop(gangs[run]))


def test_reap_stops_the_others_when_one_gang_cannot_be_stopped(sshds, cluster, monkeypatch):
    gangs = [running(sshds, run) for run in ("first", "second")]
    stop = GangHook.stop

    async def not_the_first(hook, attempt):
        if hook.gang.name == "dag.train.first":
            raise GangError("processes are left: 1 on a")
        return await stop(hook, attempt)

    with monkeypatch.context() as patched:
        patched.setattr(GangHook, "stop", not_the_first)
        with pytest.raises(GangError, match=r"^dag.train.first \(try1\): processes are left: 1 on a"):
            reap.reap_orphans("lab")
    assert remaining_processes(gangs[0])
    assert not remaining_processes(gangs[1])
    asyncio.run(_stop(gangs[0]))


async def _stop(g):
    async with GangHook(g) as hook:
        await hook.stop(None)
