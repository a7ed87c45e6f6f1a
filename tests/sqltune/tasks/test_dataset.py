"""The pinned commit on each host."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from sqltune.config.plan import RunPlan
from sqltune.errors import DatasetError
from sqltune.evaluation import stored
from sqltune.evaluation.suites import held_out
from sqltune.node_contracts.dataset import FetchRequest, FetchResponse
from sqltune.records import runs, token_counts
from sqltune.tasks import dataset

ROW = {"question": "多少人？", "context": "CREATE TABLE t (a INTEGER)", "answer": "SELECT COUNT(*) FROM t"}


@pytest.fixture
def requests(monkeypatch) -> list[FetchRequest]:
    """Requests to the hosts, which answer with as many held-out rows as requested."""
    requests: list[FetchRequest] = []

    def run(plan, host, script, request, time_limit):
        requests.append(request)
        return FetchResponse(
            train_path="/home/me/train.jsonl",
            held_out_path="/home/me/held_out.jsonl",
            train_hash="h",
            counts={"train": 10},
            longest=100,
            tokens=1190,
            files=["train.jsonl"],
            held_out=[ROW][: request.questions],
        )

    monkeypatch.setattr(dataset.node, "run", run)
    return requests


def test_the_masters_sample_becomes_part_of_the_record(plan, requests):
    dataset.download_dataset(plan, "host-a")
    assert stored.held_out(RunPlan.model_validate(plan).key) == held_out([ROW])


def test_another_host_samples_no_questions(plan, requests):
    dataset.download_dataset(plan, "host-b")
    assert requests[0].questions == 0


def test_the_masters_count_of_tokens_serves_later_plans(plan, requests):
    dataset.download_dataset(plan, "host-b")
    key = token_counts.key_of(RunPlan.model_validate(plan))
    assert token_counts.find(key) is None
    dataset.download_dataset(plan, "host-a")
    counted = token_counts.find(key)
    assert (counted.rows, counted.tokens, counted.longest) == (10, 1190, 100)


def test_a_count_that_plan_did_not_have_makes_a_new_estimate(plan, requests):
    dataset.download_dataset(plan, "host-a")
    estimated = runs.estimate(RunPlan.model_validate(plan).key)
    assert estimated["tokens"] == {"rows": 10, "total": 1190, "longest": 100, "basis": "counted"}


def test_the_same_count_leaves_the_estimate_as_it_is(plan, requests):
    token_counts.put(token_counts.key_of(RunPlan.model_validate(plan)), 10, 1190, 100)
    dataset.download_dataset(plan, "host-a")
    assert runs.estimate(RunPlan.model_validate(plan).key) is None


def test_the_path_is_right_on_every_host(plan, requests):
    downloaded = dataset.download_dataset(plan, "host-b")
    assert downloaded["train_path"] == RunPlan.model_validate(plan).train_path
    assert downloaded["train_path"].startswith("~/")


def test_rows_that_cannot_be_used_are_not_worth_a_retry(plan, monkeypatch):
    def run(*args, **kwargs):
        raise DatasetError("host-a: no rows")

    monkeypatch.setattr(dataset.node, "run", run)
    with pytest.raises(AirflowFailException, match="host-a: no rows"):
        dataset.download_dataset(plan, "host-a")
