"""The hosts to map tasks over."""

from __future__ import annotations

from sqltune.tasks import plan as planned


def test_hosts_and_storages(plan):
    assert planned.hosts(plan) == planned.storages(plan) == ["host-a", "host-b"]
    plan["cluster"]["shared_storage"] = True
    assert planned.storages(plan) == ["host-a"]
