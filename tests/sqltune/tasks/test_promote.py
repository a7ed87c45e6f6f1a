"""What is promoted, and what is not any more."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors

from sqltune.config.plan import RunPlan
from sqltune.errors import ConfigError
from sqltune.evaluation.statistics import compare
from sqltune.evaluation.verdict import RuleResult, Verdict
from sqltune.node_contracts.serving import ServingResponse
from sqltune.records import claims
from sqltune.records.claims import Owner
from sqltune.registry import versions
from sqltune.serving import weights
from sqltune.serving.hook import ServingHook
from sqltune.tasks import champion, promote
from tests.running import task_instance
from tests.versions import registered

COMMIT = "0bb7909db54a" * 3
PASSED = Verdict(passed=True, rules=(), comparison=compare(100, 10, 2)).model_dump(mode="json")


@pytest.fixture(autouse=True)
def running(monkeypatch) -> list[str]:
    """Runs that Airflow says run; a task of the plan's run is about to go on."""
    running = ["manual__1"]
    monkeypatch.setattr(promote, "get_current_context", lambda: {"ti": task_instance(running)})
    return running


@pytest.fixture
def served(monkeypatch) -> list[int]:
    """Numbers of the versions that were served."""
    served: list[int] = []
    monkeypatch.setattr(
        promote, "serve_version", lambda site, version, reason, run_id: served.append(version.number)
    )
    return served


def test_a_candidate_that_passed_is_served(plan, served):
    promote.promote(plan, PASSED, registered("r1").number)
    assert served == [1]


def test_a_cleared_run_moves_no_name_while_another_one_works_on_the_cluster(plan, served, running):
    """That one may be asking the model that is served, and would keep another one's answers as its own."""
    number = registered("r1").number
    claims.take(plan["cluster_name"], Owner("d", "r2"))
    running.append("r2")
    with pytest.raises(AirflowRescheduleException):
        promote.promote(plan, PASSED, number)
    assert served == []
    running.remove("r2")
    promote.promote(plan, PASSED, number)
    assert served == [number]


def test_a_candidate_that_the_gate_holds_back_is_not_served(plan, served):
    rule = RuleResult(id="gain", passed=False, value=0, limit=2, explanation="2 more right answers needed")
    held: dict[str, Any] = PASSED | {"passed": False, "rules": [rule.model_dump(mode="json")]}
    with pytest.raises(AirflowSkipException, match="held back by the gate: gain: 2 more right answers"):
        promote.promote(plan, held, registered("r1").number)
    assert served == []


def test_a_candidate_that_its_trial_holds_back_is_not_served(plan, served):
    rule = RuleResult(id="trial", passed=False, value=0.1, limit=0.02, explanation="failed 10%")
    tried: dict[str, Any] = PASSED | {"passed": False, "rules": [rule.model_dump(mode="json")]}
    with pytest.raises(AirflowSkipException, match="held back by the trial: trial: failed 10%"):
        promote.promote(plan, PASSED, registered("r1").number, tried)
    assert served == []


def test_a_candidate_that_its_trial_passed_is_served(plan, served):
    promote.promote(plan, PASSED, registered("r1").number, PASSED)
    assert served == [1]


def test_a_candidate_that_the_form_holds_back_is_not_served(plan, served):
    plan["promote"] = "hold"
    with pytest.raises(AirflowSkipException, match="held back by the form"):
        promote.promote(plan, PASSED, registered("r1").number)
    assert served == []


def test_a_candidate_that_was_compared_with_another_champion_is_not_served(plan, served):
    first, second = registered("r1"), registered("r2")
    versions.promote(first, "promoted by hand", "somebody")
    with pytest.raises(
        AirflowSkipException,
        match="version 1 was promoted since this run began, and the candidate was compared with the base "
        "model",
    ):
        promote.promote(plan, PASSED, second.number)
    assert served == []


def test_a_retry_after_its_own_promotion_serves_again(plan, served):
    second = registered("r2")
    versions.promote(second, "passed the gate", "r2")
    promote.promote(plan, PASSED, second.number)
    assert served == [second.number]


def test_the_event_of_the_champions_asset_has_the_commit_as_its_partition(plan):
    version = registered("r1", lineage={"dataset_commit": COMMIT})
    context = {"params": {"cluster": version.cluster}, "outlet_events": OutletEventAccessors()}
    champion.announce(context, version.number)
    event = context["outlet_events"][champion.CHAMPION]
    assert event.partition_keys == {COMMIT}
    assert event.extra == {
        "cluster": version.cluster,
        "version": 1,
        "dataset_commit": COMMIT,
        "trained_by": "r1",
    }


@pytest.fixture
def switched(monkeypatch) -> list[tuple[object, ...]]:
    """What the model servers were made with and told."""
    calls: list[tuple[object, ...]] = []
    response = ServingResponse(serving={}, running=True, api="http://a/v1")

    class Hook(ServingHook):
        def switch(self, *arguments):
            settings = self.server_settings
            calls.append((*arguments, settings.base_model, settings.base_model_hash))
            return response

    monkeypatch.setattr(weights, "ServingHook", Hook)
    monkeypatch.setattr(promote, "flush_mlflow", lambda: None)
    return calls


def site_with(plan: dict[str, Any], adapters: str) -> RunPlan:
    plan["cluster"]["serving"]["adapters"] = adapters
    return RunPlan.model_validate(plan)


@pytest.mark.parametrize(
    ("adapters", "expected"),
    [
        ("merged", ("/home/r1/merged", 1, "r1", "", "")),
        ("unmerged", ("/home/r1/adapter", 1, "r1", "/b", "d")),
    ],
)
def test_a_version_is_served_as_the_cluster_file_says(plan, switched, adapters, expected):
    version = registered("r1", lineage={"base_model": "/b", "base_model_hash": "d"})
    promote.serve_version(site_with(plan, adapters), version, "rolled back", "r9")
    assert switched == [expected]


def test_a_version_whose_base_model_nobody_knows_is_not_served_unmerged(plan, switched):
    """It was imported from version 0.1."""
    site = site_with(plan, "unmerged")
    with pytest.raises(ConfigError, match="the base model of version 1 is not on record: set it to merged"):
        promote.serve_version(site, registered("r1"), "rolled back", "r9")
    assert switched == []
