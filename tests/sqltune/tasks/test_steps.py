"""Tasks that are plain functions, without Airflow around them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sqltune.tasks import steps
from sqltune.tasks.planning import make_plan
from ssh_gang.errors import HostError


@pytest.fixture
def plan(hub, records, monkeypatch):
    monkeypatch.setenv("SQLTUNE_LAB_HUB", hub)
    return make_plan({}, "manual__1", datetime(2026, 11, 1, tzinfo=UTC), "code1").model_dump(mode="json")


def facts(host, **more):
    return {
        "host": host,
        "address": f"10.0.0.{(host[-1] == 'b' and 2) or 1}",
        "base_model_hash": "same",
        "versions": {"torch": "2.13.0"},
    } | more


def test_the_masters_address(plan):
    assert steps.master_ip(plan, [facts("host-b"), facts("host-a")]) == "10.0.0.1"


def test_hosts_that_differ_are_named(plan):
    with pytest.raises(
        HostError,
        match=r"(?s)base_model_hash differs .*host-b: other.*versions differs .*host-b: \{'torch': '2.9'\}",
    ):
        steps.master_ip(
            plan, [facts("host-a"), facts("host-b", base_model_hash="other", versions={"torch": "2.9"})]
        )


def test_hosts_and_storages(plan):
    assert steps.hosts(plan) == steps.storages(plan) == ["host-a", "host-b"]
    plan["cluster"]["shared_storage"] = True
    assert steps.storages(plan) == ["host-a"]


def test_without_its_environment_the_hosted_reference_is_skipped(plan):
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match="SQLTUNE_REFERENCE_PYTHON"):
        steps.reference_questions(plan, "/nowhere/bin/python")


def test_a_hosted_reference_that_fails_is_told_and_no_reference_is_none(caplog):
    wanted = {"model": "glm-4", "label": "glm-4", "url": "", "questions": []}
    told = steps.reference_answers(wanted, None)
    assert told["answers"] == {} and told["trouble"] == "its task failed" and "before.hosted" in caplog.text
    assert steps.reference_answers(wanted, {"answers": {"1": "SELECT 1"}, "trouble": ""})["answers"] == {
        "1": "SELECT 1"
    }
    assert steps.reference_answers(None, None) is None


def test_a_candidate_that_was_compared_with_another_champion_is_not_promoted(plan, monkeypatch):
    from airflow.sdk.exceptions import AirflowSkipException

    from sqltune.registry import versions
    from sqltune.tasks import promotion

    served = []
    monkeypatch.setattr(
        promotion, "serve_version", lambda site, version, why, by: served.append(version.number)
    )
    first, second = (
        versions.register(
            "lab",
            run,
            run_key=run,
            host="host-a",
            merged_path=f"/{run}",
            model_hash=run,
            dtype="float16",
            lineage={},
        )
        for run in ("r1", "r2")
    )
    passed = {"passed": True, "rules": []}
    promotion.promote(plan, passed, second.number)
    assert served == [2]
    versions.promote(first, "promoted by hand", "somebody")
    with pytest.raises(
        AirflowSkipException,
        match="version 1 was promoted since this run began, and the candidate was compared with the base model",
    ):
        promotion.promote(plan, passed, second.number)
    # A retry after its own promotion goes through.
    versions.promote(second, "let through by the gate", "r2")
    promotion.promote(plan, passed, second.number)
    assert served == [2, 2]


def test_what_mlflow_was_not_told_for_a_day_is_a_failure(records, monkeypatch):
    from airflow.sdk.exceptions import AirflowFailException

    from sqltune.records.files import home
    from sqltune.registry import versions
    from sqltune.tasks import promotion

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    promotion.mlflow_mirror.tell(
        "version",
        versions.register(
            "lab",
            "r1",
            run_key="r1",
            host="host-a",
            merged_path="/r1",
            model_hash="h",
            dtype="float16",
            lineage={},
        ),
    )
    assert promotion.tell_mlflow() == 1
    (waits,) = (home() / "outbox").iterdir()
    waits.rename(waits.with_name(f"{int(waits.name.partition('-')[0]) - 25 * 3600 * 10**9}-version.json"))
    with pytest.raises(AirflowFailException, match="the first for 25 h"):
        promotion.tell_mlflow()


def test_without_its_connection_nobody_is_asked_and_the_column_says_so(plan):
    import sys

    wanted = steps.reference_questions(plan, sys.executable)
    assert wanted["label"] == "glm-4 (no key)" and wanted["questions"] == []
