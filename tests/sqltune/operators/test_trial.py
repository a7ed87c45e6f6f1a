"""The candidate's trial: when there is one, how it is waited for, and what it decides."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    TaskDeferred,
)

from sqltune.config.plan import Champion, RunPlan
from sqltune.config.trial import Trial
from sqltune.evaluation import stored
from sqltune.evaluation.statistics import compare
from sqltune.evaluation.verdict import RecordedVerdict, RuleResult, Verdict
from sqltune.node_contracts.serving import ServingRequest, ServingResponse
from sqltune.node_contracts.trial import TrialArm, TrialReport
from sqltune.operators.trial import LOOK_EVERY, MARGIN, MAX_MISSES, TrialOperator, no_trial_needed
from sqltune.records import claims, installation, runs
from sqltune.records.claims import Owner
from sqltune.registry import versions
from sqltune.serving import hook
from ssh_gang.errors import HostError
from tests.plans import run_plan
from tests.running import task_instance
from tests.versions import registered

GAIN = RuleResult(id="gain", passed=True, value=8, limit=2, explanation="8 more")
PASSED = Verdict(passed=True, rules=(GAIN,), comparison=compare(100, 10, 2))
CHAMPION = Champion(version=1, merged_path="/home/r0/merged", model_hash="hash-r0")


def planned(trial: Trial | None = None, **fields: Any) -> RunPlan:
    """A plan whose cluster tries candidates, and serves a champion."""
    plan = run_plan(**({"champion": CHAMPION} | fields))
    settings = plan.cluster.serving.model_copy(update={"trial": trial or Trial(mode="canary", minutes=30)})
    return plan.model_copy(update={"cluster": plan.cluster.model_copy(update={"serving": settings})})


def report(candidate: tuple[int, int] = (100, 0), seconds_left: float = 0, **fields: Any) -> TrialReport:
    """A report: what the candidate answered and failed to answer, of as many as the champion answered."""
    values = {
        "id": "r1",
        "mode": "canary",
        "seconds_left": seconds_left,
        "champion": TrialArm(version="1", answered=100, failed=0, median=1.0),
        "candidate": TrialArm(version="2", answered=candidate[0], failed=candidate[1], median=1.1),
        "same": 0,
        "different": 0,
        "dropped": 0,
    }
    return TrialReport(**(values | fields))


class Host:
    """The serving host: the requests to it, and the trial that it reports."""

    def __init__(self) -> None:
        self.requests: list[ServingRequest] = []
        self.trial: TrialReport | None = report(seconds_left=1800)

    def run(self, site, host, script, request, time_limit, env) -> ServingResponse:
        self.requests.append(request)
        return ServingResponse(serving={}, running=True, api="http://a/v1", trial=self.trial)


@pytest.fixture
def host(records, monkeypatch) -> Host:
    """The host of a cluster that serves version 1, the champion; version 2 is the candidate of run r1."""
    versions.promote(registered("r0"), "passed the gate", "r0")
    registered("r1")
    runs.put_plan(planned())
    stored.put_verdict("r1", RecordedVerdict.of(PASSED, "the table"))
    host = Host()
    monkeypatch.setattr(hook.node, "run", host.run)
    return host


def operator(plan: RunPlan, verdict: Verdict = PASSED) -> TrialOperator:
    """The task of a run that was planned with the database of the tests."""
    plan = plan.model_copy(update={"installation": installation.name()})
    return TrialOperator(
        task_id="trial",
        plan=plan.model_dump(mode="json"),
        verdict=verdict.model_dump(mode="json"),
        number=2,
    )


def context(*running: str) -> Any:
    return {"ti": task_instance(running)}


def deferred_for(call: Callable[[], object]) -> float:
    """Seconds for which a task is deferred; the trigger is Airflow's own."""
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    from airflow.sdk import timezone

    with pytest.raises(TaskDeferred) as deferred:
        call()
    assert isinstance(deferred.value.trigger, DateTimeTrigger)
    assert deferred.value.method_name == "look"
    return (deferred.value.trigger.moment - timezone.utcnow()).total_seconds()


@pytest.mark.parametrize(
    ("plan", "passed", "reason"),
    [
        (planned(Trial()), True, "serving.trial.mode: off"),
        (planned(champion=None), True, "no version is served"),
        (planned(), False, "the gate held the model back"),
        (planned(promote="hold"), True, "promote: hold"),
    ],
)
def test_no_trial_is_needed(plan, passed, reason):
    assert reason in no_trial_needed(plan, passed)


@pytest.mark.parametrize("promote", ["yes", "ask"])
def test_a_trial_is_needed_where_the_cluster_file_says_so(promote):
    assert no_trial_needed(planned(promote=promote), passed=True) is None


def test_a_cleared_trial_that_is_not_needed_is_skipped_again(host):
    with pytest.raises(AirflowSkipException, match="off"):
        operator(planned(Trial())).execute(context())
    assert host.requests == []


def test_an_unmerged_candidate_is_tried_as_its_adapter(host):
    plan = planned()
    settings = plan.cluster.serving.model_copy(update={"adapters": "unmerged"})
    cluster = plan.cluster.model_copy(update={"serving": settings})
    registered("r1", lineage={"base_model": "/base", "base_model_hash": "digest"})
    deferred_for(lambda: operator(plan.model_copy(update={"cluster": cluster})).execute(context()))
    (request,) = host.requests
    assert (request.model, request.settings.base_model) == ("/home/r1/adapter", "/base")


def test_the_candidate_is_served_and_waited_for_without_a_worker(host):
    seconds = deferred_for(lambda: operator(planned()).execute(context()))
    assert LOOK_EVERY - 10 < seconds <= LOOK_EVERY
    (request,) = host.requests
    assert (request.action, request.name, request.model) == ("trial", "text2sql", "/home/r1/merged")
    assert (request.version, request.run, request.settings.dtype) == (2, "r1", "bfloat16")
    assert request.trial.model_dump() == {
        "id": "r1",
        "model_hash": "hash-r1",
        "mode": "canary",
        "share": 0.1,
        "seconds": 1800,
        "answer_within": 60,
    }


def test_a_short_rest_is_waited_for_and_no_longer(host):
    host.trial = report(seconds_left=20)
    seconds = deferred_for(lambda: operator(planned()).execute(context()))
    assert 15 < seconds <= 20 + MARGIN


def test_a_trial_waits_for_its_runs_turn(host):
    claims.take("lab", Owner("d", "r2"))
    with pytest.raises(AirflowRescheduleException):
        operator(planned()).execute(context("r1", "r2"))
    assert host.requests == []


def test_a_candidate_is_not_tried_once_another_version_was_promoted(host):
    versions.promote(registered("r9"), "promoted by hand", "somebody")
    with pytest.raises(AirflowSkipException, match="version 3 was promoted since this run began"):
        operator(planned()).execute(context())
    assert host.requests == []


def test_a_candidate_that_is_served_already_is_not_tried(host):
    versions.promote(versions.version("lab", 2), "passed the gate", "r1")
    with pytest.raises(AirflowSkipException, match="version 2 is served already"):
        operator(planned()).execute(context())


def test_while_the_trial_goes_on_it_is_waited_for_again(host):
    host.trial = report(seconds_left=900)
    assert deferred_for(lambda: operator(planned()).look(context())) > LOOK_EVERY - 10


def test_a_candidate_that_fails_too_often_is_not_tried_to_the_end(host):
    host.trial = report((90, 10), seconds_left=900)
    assert operator(planned()).look(context())["passed"] is False


def test_a_candidate_within_the_bounds_passes_and_the_verdict_says_so(host):
    host.trial = report(same=9, different=1)
    verdict = Verdict.model_validate(operator(planned()).look(context()))
    assert verdict.passed
    assert [rule.id for rule in verdict.rules] == ["gain", "trial"]
    recorded = stored.verdict("r1")
    assert (recorded.passed, recorded.table) == (True, "the table")
    assert "answered 100 of 100" in recorded.rules[-1].explanation


def test_a_candidate_beyond_the_bounds_is_held_back_on_the_record(host):
    host.trial = report((90, 10))
    verdict = Verdict.model_validate(operator(planned()).look(context()))
    assert not verdict.passed
    recorded = stored.verdict("r1")
    assert recorded.headline == "held back: trial"
    assert runs.summary("r1").state == "held_back"


def test_a_retry_replaces_what_the_try_before_said(host):
    host.trial = report((90, 10))
    operator(planned()).look(context())
    host.trial = report()
    operator(planned()).look(context())
    recorded = stored.verdict("r1")
    assert recorded.passed
    assert [rule.id for rule in recorded.rules] == ["gain", "trial"]


def test_too_few_requests_hold_nothing_back(host):
    host.trial = report((3, 0))
    verdict = Verdict.model_validate(operator(planned()).look(context()))
    assert verdict.passed
    (rule,) = [rule for rule in verdict.rules if rule.id == "trial"]
    assert rule.advisory
    assert not rule.passed


@pytest.mark.parametrize("found", [None, report(id="another")])
def test_a_trial_that_is_gone_is_an_error_with_its_remedy(host, found):
    host.trial = found
    with pytest.raises(AirflowFailException, match=r"host-a: .*expected that of r1.*clear the task trial"):
        operator(planned()).look(context())


def unreachable(*_: Any, **__: Any) -> ServingResponse:
    raise HostError("host-a: no route to host")


def test_a_host_that_does_not_answer_for_a_while_ends_no_trial(host, monkeypatch):
    answer = host.run
    monkeypatch.setattr(hook.node, "run", unreachable)
    with pytest.raises(TaskDeferred) as deferred:
        operator(planned()).look(context())
    assert deferred.value.kwargs == {"misses": 1}
    monkeypatch.setattr(hook.node, "run", answer)
    with pytest.raises(TaskDeferred) as deferred:
        operator(planned()).look(context(), misses=1)
    assert not deferred.value.kwargs


def test_a_host_that_stays_away_fails_the_trial(host, monkeypatch):
    monkeypatch.setattr(hook.node, "run", unreachable)
    with pytest.raises(HostError, match="no route to host"):
        operator(planned()).look(context(), misses=MAX_MISSES)


def test_the_trigger_can_be_serialized(host):
    with pytest.raises(TaskDeferred) as deferred:
        operator(planned()).execute(context())
    path, arguments = deferred.value.trigger.serialize()
    assert path == "airflow.providers.standard.triggers.temporal.DateTimeTrigger"
    assert arguments["end_from_trigger"] is False
    assert SimpleNamespace(**arguments).moment
