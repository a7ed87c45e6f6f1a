"""The pinned commit on each host."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from sqltune.config.data_limits import DataLimits
from sqltune.config.plan import RunPlan
from sqltune.errors import DatasetError
from sqltune.evaluation import stored
from sqltune.evaluation.suites import held_out
from sqltune.node_contracts.dataset import FetchRequest, FetchResponse
from sqltune.records import data_checks, runs, token_counts
from sqltune.tasks import dataset
from tests.revisions_of_rows import check, rows

ROW = {"question": "多少人？", "context": "CREATE TABLE t (a INTEGER)", "answer": "SELECT COUNT(*) FROM t"}

LOST = check(rows()[:66], rows())
"""A revision that lost a third of its questions."""


@pytest.fixture
def plan(plan) -> RunPlan:
    """A plan whose recipe only tells of lost questions."""
    return with_limits(RunPlan.model_validate(plan), DataLimits(on_excess="tell"))


def with_limits(plan: RunPlan, limits: DataLimits, **fields) -> RunPlan:
    recipe = plan.recipe.model_copy(update={"data_limits": limits})
    return plan.model_copy(update={"recipe": recipe} | fields)


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
            check=LOST if request.questions else None,
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


def test_the_masters_data_check_becomes_part_of_the_record(plan, requests):
    dataset.download_dataset(plan, "host-a")
    assert data_checks.get(plan.key) == LOST


def test_a_dataset_that_lost_a_third_of_its_questions_stops_the_run(plan, requests):
    stopping = with_limits(plan, DataLimits())
    with pytest.raises(AirflowFailException) as stopped:
        dataset.download_dataset(stopping, "host-a")
    assert "34 of 100 questions are gone" in str(stopped.value)
    assert f"dataset_revision {plan.dataset_commit[:12]} and accept_data" in str(stopped.value)
    assert data_checks.get(plan.key) == LOST


@pytest.mark.parametrize(
    ("limits", "fields"),
    [
        ({"on_excess": "ask"}, {}),
        ({"on_excess": "stop"}, {"accept_data": True}),
        ({"max_lost": 0.34}, {}),
    ],
)
def test_the_run_goes_on_where_somebody_decides_or_the_limit_allows_it(plan, requests, limits, fields):
    dataset.download_dataset(with_limits(plan, DataLimits(**limits), **fields), "host-a")


def test_only_the_master_compares(plan, requests):
    earlier = plan.model_copy(update={"previous_commit": "f" * 40})
    for host in ("host-a", "host-b"):
        dataset.download_dataset(earlier, host)
    assert [r.previous_commit for r in requests] == ["f" * 40, None]
    assert requests[0].previous_folder == plan.data_dir.replace(plan.dataset_commit, "f" * 40)
