"""The hosts that later tasks are mapped over."""

from __future__ import annotations

from sqltune.tasks import plan as planned


def test_every_host_is_mapped_over(plan):
    assert planned.hosts(plan) == ["host-a", "host-b"]


def test_every_host_has_a_storage_of_its_own(plan):
    assert planned.storages(plan) == ["host-a", "host-b"]


def test_shared_storage_is_the_masters(plan):
    plan["cluster"]["shared_storage"] = True
    assert planned.storages(plan) == ["host-a"]
