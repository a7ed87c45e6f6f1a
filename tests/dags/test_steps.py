"""Tasks that are plain functions, without Airflow around them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sqltune.errors import HostError
from sqltune.operators import steps
from sqltune.planning import make_plan


@pytest.fixture
def plan(hub, records, monkeypatch):
    monkeypatch.setenv("SQLTUNE_LAB_HUB", hub)
    return make_plan({}, "manual__1", datetime(2026, 11, 1, tzinfo=UTC), "code1").model_dump(mode="json")


def facts(host, **more):
    return {"host": host, "address": f"10.0.0.{(host[-1] == 'b' and 2) or 1}", "base_model_hash": "same", "versions": {"torch": "2.13.0"}} | more


def test_the_masters_address(plan):
    assert steps.master_ip(plan, [facts("host-b"), facts("host-a")]) == "10.0.0.1"


def test_hosts_that_differ_are_named(plan):
    with pytest.raises(HostError, match=r"(?s)base_model_hash differs .*host-b: other.*versions differs .*host-b: \{'torch': '2.9'\}"):
        steps.master_ip(plan, [facts("host-a"), facts("host-b", base_model_hash="other", versions={"torch": "2.9"})])


def test_hosts_and_storages(plan):
    assert steps.hosts(plan) == steps.storages(plan) == ["host-a", "host-b"]
    plan["cluster"]["shared_storage"] = True
    assert steps.storages(plan) == ["host-a"]


def test_without_its_environment_the_hosted_reference_is_skipped(plan):
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match="SQLTUNE_REFERENCE_PYTHON"):
        steps.reference_questions(plan, "/nowhere/bin/python")
