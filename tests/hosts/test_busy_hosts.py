"""Exclusive gangs that share hosts, and many hosts or connections at once."""

from __future__ import annotations

import asyncio

import pytest

from ssh_gang.errors import HostsBusy
from ssh_gang.hook import GangHook
from ssh_gang.model import Limits
from ssh_gang.ssh import connect
from ssh_gang.trigger import HostsFreeTrigger
from tests.hosts.gangs import bash, gang, remaining_processes, run


def test_two_exclusive_gangs_on_the_same_hosts_run_one_after_the_other(sshds, tmp_path):
    async def go():
        one = gang(sshds, bash("sleep 600"), exclusive=True)
        two = one.model_copy(update={"name": "dag.train.other", "attempt": "other"})
        results = []
        for g in (one, two):
            async with GangHook(g) as hook:
                results.append((await asyncio.gather(hook.launch(), return_exceptions=True))[0])
        assert isinstance(results[0], tuple), results
        assert isinstance(results[1], HostsBusy), results
        assert str(results[1]) == f"a: {one.marker} runs there"
        waiting = asyncio.create_task(anext(HostsFreeTrigger(two.model_dump(mode="json")).run()))
        done, _ = await asyncio.wait({waiting}, timeout=1)
        assert not done
        async with GangHook(one) as hook:
            await hook.stop("try1")
        assert (await asyncio.wait_for(waiting, 20)).payload["free"]
        async with GangHook(two) as hook:
            await hook.launch()
            assert remaining_processes(two) != []
            await hook.stop(None)
        return one, two

    assert [remaining_processes(g) for g in asyncio.run(go())] == [[], []]


def test_waiting_for_busy_hosts_ends_at_the_queue_limit(sshds):
    async def go():
        one = gang(sshds, bash("sleep 600"), exclusive=True)
        async with GangHook(one) as hook:
            await hook.launch()
            two = one.model_copy(update={"name": "dag.train.other", "limits": Limits(queue=1)})
            event = await anext(HostsFreeTrigger(two.model_dump(mode="json")).run())
            await hook.stop(None)
        return event.payload

    event = asyncio.run(go())
    assert not event["free"]
    assert event["reason"].startswith("its hosts were not free for 1 s (limit queue)")


@pytest.mark.sshd_options("MaxStartups 1")
def test_connect_tries_again_when_sshd_drops_connections(sshds):
    """Ten connections at once, where sshd accepts one at a time."""

    async def go():
        connections = await asyncio.gather(*(connect("a", sshds[0].conn_id, 20) for _ in range(10)))
        for c in connections:
            c.close()
        return len(connections)

    assert asyncio.run(go()) == 10


@pytest.mark.hosts(16)
def test_a_gang_runs_on_sixteen_hosts(sshds):
    g = gang(sshds, bash("sleep 0.5"))
    _, event = asyncio.run(run(g))
    assert event.ok
    assert event.launch_skew < 2
