"""Serving, evaluating and stopping the models of a run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException

from sqltune.config.base import digest
from sqltune.config.plan import Champion, RunPlan
from sqltune.errors import ServingError
from sqltune.evaluation import corrections, stored
from sqltune.evaluation.corrections import Correction
from sqltune.evaluation.suites import held_out
from sqltune.node_contracts.serving import ServingResponse
from sqltune.records import claims, evaluations
from sqltune.records.claims import Owner
from sqltune.serving import weights
from sqltune.serving.client import Completion
from sqltune.sql.prompt import TEMPLATE_HASH
from sqltune.tasks import evaluate
from tests.exported import EXPORTED
from tests.host_facts import facts
from tests.running import task_instance
from tests.versions import registered


@pytest.fixture(autouse=True)
def running(monkeypatch) -> list[str]:
    """Runs that Airflow says run; a task of one of them is about to go on."""
    running = ["r1"]
    monkeypatch.setattr(evaluate, "get_current_context", lambda: {"ti": task_instance(running)})
    return running


@pytest.fixture
def servers(monkeypatch) -> list[tuple[str, ...]]:
    """Calls of the model servers."""
    calls: list[tuple[str, ...]] = []
    response = ServingResponse(
        serving={}, running=True, api="http://a/v1", ready_after=1.0, workers={"base": "worker-base-1"}
    )
    hook = SimpleNamespace(
        host=SimpleNamespace(name="host-a"),
        up=lambda name, model: calls.append(("up", name, model)) or response,
        down=lambda name: calls.append(("down", name)) or response,
        engine="batched 1 bfloat16",
        status=lambda: response,
        endpoint=lambda name, worker: f"{name} of {worker}",
    )
    monkeypatch.setattr(evaluate, "serving", lambda plan: hook)
    return calls


@pytest.fixture
def champion_on_fastchat(servers, monkeypatch) -> None:
    """The champion is served on FastChat's engine, as an older version started it."""
    response = ServingResponse(
        serving={"text2sql": "/old"},
        engines={"text2sql": "fastchat bfloat16"},
        running=True,
        api="http://a/v1",
    )
    monkeypatch.setattr(evaluate.serving(None), "status", lambda: response)


@pytest.fixture
def sent(monkeypatch) -> list[str]:
    """Prompts that the model received; it answers all of them alike."""
    sent: list[str] = []

    def ask(endpoint, prompts, decoding, done):
        for number, prompt in enumerate(prompts):
            sent.append(prompt)
            done(number, Completion("SELECT 1", seconds=0.5, tokens=7))

    monkeypatch.setattr(evaluate.client, "ask", ask)
    return sent


def serve(plan: dict[str, Any], stage: str = "before") -> dict[str, Any]:
    return evaluate.serve(plan, [facts("host-a"), facts("host-b")], stage, EXPORTED.model_dump())


def with_champion(plan: dict[str, Any]) -> dict[str, Any]:
    champion = Champion(version=1, merged_path="/old", model_hash="old")
    return plan | {"champion": champion.model_dump()}


def test_without_a_champion_the_base_model_is_served(plan, servers):
    served = serve(plan)
    assert (served["name"], served["model"], served["hash"]) == ("base", plan["base_model"], "same")
    assert served["stop"] is True


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_cleared_run_serves_nothing_while_another_one_works_on_the_cluster(plan, servers, running, stage):
    claims.take(plan["cluster_name"], Owner("d", "r2"))
    running.append("r2")
    with pytest.raises(AirflowRescheduleException):
        serve(plan, stage)
    assert servers == []
    running.remove("r2")
    serve(plan, stage)
    assert servers


def test_the_champion_is_served_under_its_public_name_and_serves_on(plan, servers):
    served = serve(with_champion(plan))
    assert (served["name"], served["model"], served["stop"]) == ("text2sql", "/old", False)


def test_a_champion_on_another_engine_is_evaluated_beside_it(plan, servers, champion_on_fastchat):
    served = serve(with_champion(plan))
    assert (served["name"], served["model"], served["stop"]) == ("text2sql-batched", "/old", True)
    assert servers == [("up", "text2sql-batched", "/old")]


def test_a_champion_that_another_version_has_replaced_is_evaluated_beside_it(plan, servers, monkeypatch):
    """It took the public name back from the version that was promoted since the run began."""
    response = ServingResponse(serving={"text2sql": "/new"}, running=True, api="http://a/v1")
    monkeypatch.setattr(evaluate.serving(None), "status", lambda: response)
    served = serve(with_champion(plan))
    assert (served["name"], served["model"], served["stop"]) == ("text2sql-batched", "/old", True)


def test_the_worker_that_was_made_ready_is_the_one_that_is_asked(plan, servers, monkeypatch):
    asked: list[str] = []

    def ask(endpoint, prompts, decoding, done):
        asked.append(endpoint)
        raise ServingError("another worker")

    monkeypatch.setattr(evaluate.client, "ask", ask)
    with pytest.raises(ServingError):
        evaluate.ask(plan, serve(plan), "before")
    assert asked == ["base of worker-base-1"]


def test_the_candidate_is_served_under_a_name_of_its_own(plan, servers):
    served = serve(with_champion(plan), "after")
    assert served["name"].startswith("candidate-")
    assert (served["model"], served["stop"]) == ("/code/merged", True)


def test_a_model_whose_answers_are_known_is_not_served(plan, servers, sent):
    evaluate.ask(plan, serve(plan), "before")
    servers.clear()
    served = serve(plan)
    assert (served["cached"], served["stop"]) == (True, False)
    assert servers == []


def test_a_retry_sends_only_the_open_questions(plan, servers, sent):
    served = serve(plan)
    first, *rest = evaluate.suite_of(RunPlan.model_validate(plan))
    p = RunPlan.model_validate(plan)
    evaluate.answer_set(p, served["hash"]).store([first], {first.id: "SELECT 1"})
    evaluate.ask(plan, served, "before")
    assert len(sent) == len(rest)


def test_another_decoding_has_other_answers(plan, servers, sent):
    evaluate.ask(plan, serve(plan), "before")
    plan["recipe"]["decoding"]["max_tokens"] += 1
    assert serve(plan)["cached"] is False


@pytest.mark.parametrize("changes", [{"engine": "fastchat"}, {"engine": "vllm"}, {"deterministic": True}])
def test_another_engine_has_other_answers(plan, servers, sent, changes):
    evaluate.ask(plan, serve(plan), "before")
    plan["cluster"]["serving"] |= changes
    assert serve(plan)["cached"] is False


def test_answers_of_an_older_version_are_fastchats(plan):
    """The key that answers had when FastChat was the only engine."""
    plan["cluster"]["serving"]["engine"] = "fastchat"
    p = RunPlan.model_validate(plan)
    decoding = p.recipe.decoding.model_dump(exclude={"concurrency", "timeout"})
    key = digest([TEMPLATE_HASH, decoding, p.recipe.serving_dtype])
    assert evaluate.answer_set(p, "hash").decoding == key


def test_the_score_is_recorded(plan, servers, sent):
    summary = evaluate.ask(plan, serve(plan), "before")
    score = stored.score(RunPlan.model_validate(plan).key, "before")
    assert score.summary.model_dump(mode="json") == summary
    assert {answer.answer for answer in score.answers} == {"SELECT 1"}


def test_answers_that_came_before_a_failure_are_kept(plan, servers, monkeypatch):
    p = RunPlan.model_validate(plan)

    def ask(endpoint, prompts, decoding, done):
        done(0, Completion("SELECT 1", seconds=0.5))
        raise ServingError("the model server died")

    monkeypatch.setattr(evaluate.client, "ask", ask)
    served = serve(plan)
    with pytest.raises(ServingError, match="died"):
        evaluate.ask(plan, served, "before")
    assert len(evaluate.answer_set(p, served["hash"]).load(evaluate.suite_of(p))) == 1
    assert evaluations.progress(p.key).answered == 1


def test_an_evaluated_model_is_stopped(plan, servers):
    evaluate.stop_serving(plan, "before", serve(plan))
    assert servers[-1] == ("down", "base")


def test_the_champion_is_not_stopped(plan, servers):
    evaluate.stop_serving(with_champion(plan), "before", serve(with_champion(plan)))
    assert all(action == "up" for action, *_ in servers)


@pytest.mark.parametrize(("stage", "name"), [("before", "base"), ("after", "candidate-")])
def test_a_model_that_failed_to_start_is_stopped_by_its_name(plan, servers, stage, name):
    evaluate.stop_serving(plan, stage, None)
    assert servers[0][0] == "down"
    assert servers[0][1].startswith(name)


def test_a_copy_of_the_champion_that_failed_to_start_is_stopped_too(plan, servers):
    evaluate.stop_serving(plan, "before", None)
    assert servers == [("down", "base"), ("down", "text2sql-batched")]


def test_a_run_that_ended_before_it_had_a_plan_has_nothing_to_stop(servers):
    evaluate.stop_serving(None, "before", None)
    assert servers == []


def test_score_stands_with_and_without_doubtful_golds(plan, servers, sent, caplog):
    caplog.set_level("INFO")
    p = RunPlan.model_validate(plan)
    row = {
        "question": "2010年1月1日之后有谁？",
        "context": "CREATE TABLE head (a TIME)",
        "answer": "SELECT a FROM head WHERE a > 2010-01-01",
    }
    stored.put_held_out(p.key, held_out([row]))
    summary = evaluate.ask(plan, serve(plan), "before")
    assert summary["flagged"] == {"unquoted_date": 1}
    assert summary["unflagged"] == {"matched": 0, "evaluated": 0}
    assert "0 of 0 right without 1 questions whose gold query is doubtful" in caplog.text


def test_log_says_which_golds_were_corrected(plan, servers, sent, caplog, monkeypatch):
    caplog.set_level("INFO")
    correction = Correction(
        id="ref-zh-count", gold="SELECT count(age) FROM head WHERE age > 56", author="Ada", reason="nulls"
    )
    monkeypatch.setattr(corrections, "load", lambda: {"ref-zh-count": correction})
    summary = evaluate.ask(plan, serve(plan), "before")
    assert summary["corrected"] == 1
    assert "gold of ref-zh-count corrected by Ada: nulls" in caplog.text


def answers_of(monkeypatch, *completions: Completion, error: str = "") -> None:
    """Let the model answer the first prompts so, and then end, or fail."""

    def ask(endpoint, prompts, decoding, done):
        for number, completion in enumerate(completions):
            done(number, completion)
        if error:
            raise ServingError(error)

    monkeypatch.setattr(evaluate.client, "ask", ask)


def answered_in(seconds: float | None, tokens: int | None = None) -> Completion:
    return Completion("SELECT 1", seconds, tokens)


def test_speed_is_recorded_and_logged(plan, servers, monkeypatch, caplog):
    caplog.set_level("INFO")
    answers_of(monkeypatch, answered_in(1.0, 10), answered_in(3.0, 20), answered_in(2.0, 30))
    evaluate.ask(plan, serve(plan), "before")
    speed = stored.score(RunPlan.model_validate(plan).key, "before").speed
    assert (speed.answers, speed.p50, speed.p95, speed.tokens) == (3, 2.0, 3.0, 60)
    assert "base: 3 answers in " in caplog.text
    assert "latency 2.00 s (p50), 3.00 s (p95)" in caplog.text


def test_tokens_are_not_known_where_one_answer_has_none(plan, servers, monkeypatch):
    answers_of(monkeypatch, answered_in(1.0, 10), answered_in(1.0))
    assert evaluate.ask(plan, serve(plan), "before")["speed"]["tokens"] is None


def test_speed_is_of_the_answers_that_were_generated(plan, servers, monkeypatch):
    """Neither of those that were known, nor of a prompt that is too long for the model."""
    p, served = RunPlan.model_validate(plan), serve(plan)
    known, *_ = evaluate.suite_of(p)
    evaluate.answer_set(p, served["hash"]).store([known], {known.id: "SELECT 1"})
    answers_of(monkeypatch, answered_in(None), answered_in(4.0, 5))
    speed = evaluate.ask(plan, served, "before")["speed"]
    assert (speed["answers"], speed["p50"], speed["tokens"]) == (1, 4.0, 5)


def test_answers_of_an_earlier_run_have_no_speed(plan, servers, sent, caplog):
    caplog.set_level("INFO")
    p, served = RunPlan.model_validate(plan), serve(plan)
    suite = evaluate.suite_of(p)
    evaluate.answer_set(p, served["hash"]).store(suite, {q.id: "SELECT 1" for q in suite})
    assert evaluate.ask(plan, served, "before")["speed"] is None
    assert "base: no speed: this run generated none of its answers" in caplog.text


def test_speed_is_of_the_try_that_generated_most(plan, servers, monkeypatch):
    answers_of(monkeypatch, answered_in(1.0), answered_in(2.0), error="the model server died")
    with pytest.raises(ServingError):
        evaluate.ask(plan, serve(plan), "before")
    answers_of(monkeypatch, answered_in(9.0))
    speed = evaluate.ask(plan, serve(plan), "before")["speed"]
    assert (speed["answers"], speed["p95"]) == (2, 2.0)


def test_speed_stays_when_the_task_is_cleared(plan, servers, sent):
    measured = evaluate.ask(plan, serve(plan), "before")["speed"]
    assert evaluate.ask(plan, serve(plan), "before")["speed"] == measured


@pytest.fixture
def unmerged(plan, servers, monkeypatch) -> list[tuple[str, str]]:
    """Serves unmerged; the base models, with their hashes, that a champion's servers were made for."""
    plan["cluster"]["serving"]["adapters"] = "unmerged"
    made: list[tuple[str, str]] = []

    def hook(site, dtype, base_model, digest):
        made.append((base_model, digest))
        return evaluate.serving(None)

    monkeypatch.setattr(weights, "ServingHook", hook)
    return made


def test_an_unmerged_candidate_is_its_adapter(plan, servers, unmerged):
    served = serve(plan, "after")
    assert (served["model"], served["hash"]) == ("/code/adapter", "merged-hash")


def test_an_unmerged_champion_is_its_adapter_beside_its_own_base_model(plan, servers, unmerged):
    lineage = {"base_model": "/models/other", "base_model_hash": "digest"}
    champion = registered("r1", lineage=lineage).champion
    served = serve(plan | {"champion": champion.model_dump()})
    assert (served["name"], served["model"], served["hash"]) == ("text2sql", "/home/r1/adapter", "hash-r1")
    assert unmerged == [("/models/other", "digest")]


def test_without_a_champion_the_base_model_is_served_without_an_adapter(plan, servers, unmerged):
    assert serve(plan)["model"] == plan["base_model"]


def test_unmerged_answers_are_kept_apart(plan, servers, sent):
    evaluate.ask(plan, serve(plan), "before")
    plan["cluster"]["serving"]["adapters"] = "unmerged"
    assert serve(plan)["cached"] is False
