"""What the notifiers look up, send and survive, called as Airflow calls them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from sqltune.alerts import notifier
from sqltune.alerts.event import Event
from sqltune.alerts.notifier import (
    ApprovalNeeded,
    DataDecisionNeeded,
    HeldBack,
    Overrun,
    Promoted,
    RunFailed,
    leave_cause,
    tell,
    tell_of_loss,
)
from sqltune.records import data_checks, promotions, runs
from tests.plans import run_plan
from tests.revisions_of_rows import check, rows

COMPARISON = {
    "questions": 100,
    "gained": 1,
    "lost": 9,
    "difference": -0.08,
    "low": -0.14,
    "high": -0.02,
    "p_value": 0.02,
}
RULE = {
    "id": "min_gain",
    "value": -0.08,
    "limit": 0.02,
    "explanation": "-8.0 points, 2.0 are required",
}
HELD_BACK = {"passed": False, "rules": [RULE | {"passed": False}], "comparison": COMPARISON}


class TaskInstance:
    """A task instance with the calls that a notifier makes of it."""

    dag_id, map_index = "text2sql_retrain", -1

    def __init__(self, task_id: str, run_id: str = "r1", xcoms: dict | None = None) -> None:
        self.task_id, self.run_id, self.xcoms = task_id, run_id, {} if xcoms is None else xcoms
        self.states: dict[str, str] = {}

    def xcom_push(self, key, value):
        self.xcoms[self.task_id, key] = value

    def xcom_pull(self, task_ids, key="return_value"):
        return self.xcoms.get((task_ids, key))

    def get_task_states(self, dag_id, run_ids):
        return {self.run_id: self.states}


def dag_of(*tasks: str) -> DAG:
    """The chain with some tasks."""
    with DAG("text2sql_retrain", schedule=None) as dag:
        for task_id in tasks:
            EmptyOperator(task_id=task_id)
    return dag


@pytest.fixture(autouse=True)
def address(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/team")


@pytest.fixture
def sent(webhook, told):
    """The messages that were sent, as (title, body)."""
    told(f"json://127.0.0.1:{webhook.port}")
    return webhook.received


def body(requests) -> str:
    (request,) = requests
    return f"{request.body['title']}\n{request.body['message']}"


def test_a_failed_run_is_told_with_the_cause_that_its_first_failed_task_left(sent, records):
    ti = TaskInstance("reap")
    ti.states = {"plan": "success", "train": "failed", "reap": "failed"}
    for task_id, error in {"train": "gpu-1: exit code 1\ntail", "reap": "unreachable"}.items():
        failing = TaskInstance(task_id, xcoms=ti.xcoms)
        leave_cause({"ti": failing, "exception": RuntimeError(error)})
    dag = dag_of("plan", "train", "reap")
    RunFailed()({"dag": dag, "ti": ti, "run_id": "r1", "reason": "task_failure"})
    assert body(sent) == (
        "[sqltune] run failed\nTask: train\nCause: gpu-1: exit code 1\nRun: r1\n"
        "Details: https://airflow.example.com/team/dags/text2sql_retrain/runs/r1/plugin/text2sql"
    )


def test_the_host_of_a_mapped_task_is_told(sent, records):
    ti = TaskInstance("preflight")
    ti.map_index = 1
    leave_cause({"ti": ti, "exception": RuntimeError("host-b: 2 problems:\n- no GPU\n- disk full")})
    ti.states = {"preflight_0": "success", "preflight_1": "failed"}
    dag = dag_of("preflight")
    RunFailed()({"dag": dag, "ti": ti, "run_id": "r1", "reason": "task_failure"})
    assert "Task: preflight [1]\nCause: host-b: 2 problems: - no GPU - disk full" in body(sent)


def test_a_run_that_ended_by_itself_is_told_with_airflows_reason(sent, records):
    dag = dag_of()
    RunFailed()({"dag": dag, "run_id": "r1", "reason": "timed_out"})
    assert "Cause: the run took longer than the DAG's dagrun_timeout" in body(sent)


def test_held_back_is_told_with_the_rules(sent, records):
    runs.put_plan(run_plan())
    ti = TaskInstance("gate", xcoms={("gate", "return_value"): HELD_BACK})
    HeldBack()({"ti": ti})
    assert "Rules not met: min_gain: -8.0 points, 2.0 are required" in body(sent)
    assert "Cluster: lab" in body(sent)


def test_a_candidate_that_passed_is_not_told_as_held_back(sent, records):
    ti = TaskInstance("gate", xcoms={("gate", "return_value"): HELD_BACK | {"passed": True}})
    HeldBack()({"ti": ti})
    assert sent == []


def test_a_promotion_is_told_with_before_and_after(sent, records):
    from sqltune.registry import versions

    for number, score in ((1, "5/100"), (2, "73/100")):
        version = versions.register(
            "lab",
            f"r{number}",
            run_key=f"r{number}",
            host="host-a",
            merged_path=f"/m/{number}",
            model_hash=f"hash{number}",
            dtype="float32",
            lineage={"score": score, "score_before": "5/100 (base)"},
        )
        promotions.promote(version, "passed the gate", f"r{number}")
    Promoted()({"ti": TaskInstance("promote", run_id="r2")})
    assert body(sent).startswith(
        "[sqltune] version 2 is served now\nScore: 5/100 (base) → 73/100\nServed before: version 1\n"
        "Decided by: passed the gate\nCluster: lab\nRun: r2\n"
    )


def test_a_person_is_sent_to_the_page_that_answers(sent, records):
    ApprovalNeeded()({"ti": TaskInstance("approve", run_id="manual__2026-11-29T02:00:00+00:00")})
    assert body(sent).endswith(
        "Answer here: https://airflow.example.com/team/dags/text2sql_retrain/runs/"
        "manual__2026-11-29T02%3A00%3A00%2B00%3A00/tasks/approve/required_actions"
    )


def test_an_overrun_is_told_with_the_progress(sent, records):
    runs.put_plan(run_plan())
    context = {
        "dag_run": {"dag_id": "text2sql_retrain", "dag_run_id": "r1"},
        "deadline": {"id": "d", "deadline_time": "2026-11-29T10:00:00+00:00"},
    }

    async def wait() -> None:
        await Overrun(context=context)

    asyncio.run(wait())
    assert "Deadline: 2026-11-29T10:00:00+00:00\nProgress: planned\nCluster: lab\nRun: r1" in body(sent)


def test_a_task_tells_of_an_event_by_itself(sent):
    assert tell(Event.DATA_CHECK, "r1", "", {"cause": "34 % of the rows are gone"})
    assert "Cause: 34 % of the rows are gone" in body(sent)


def test_a_promotion_whose_record_cannot_be_read_is_told_all_the_same(sent, monkeypatch):
    from sqltune.alerts import facts

    monkeypatch.setattr(facts.promotions, "made_by", lambda run_id: 1 / 0)
    Promoted()({"ti": TaskInstance("promote", run_id="r2")})
    assert body(sent).startswith("[sqltune] version ? is served now\nRun: r2\n")


def test_what_is_not_known_in_detail_is_told_all_the_same(sent, monkeypatch):
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", "postgresql+psycopg2://nobody@127.0.0.1:1/none")
    from sqltune.records import database

    database.close()
    try:
        Overrun().notify({"dag_run": {"dag_id": "text2sql_retrain", "dag_run_id": "r1"}})
    finally:
        database.close()
    assert "[sqltune] run is past its deadline\nRun: r1" in body(sent)


CALLS = {
    "failure": lambda: RunFailed()({"dag": dag_of(), "run_id": "r1", "reason": "task_failure"}),
    "approval": lambda: ApprovalNeeded()({"ti": TaskInstance("approve")}),
    "task": lambda: tell(Event.LOSS, "r1", "", {}) and pytest.fail("nobody was told"),
    "loss": lambda: asyncio.run(tell_of_loss({"dag_id": "d", "run_id": "r1"}, "NaN", stops=False)),
    "overrun": lambda: asyncio.run(Overrun().async_notify({"dag_run": {"dag_id": "d", "dag_run_id": "r1"}})),
}


@pytest.mark.parametrize("call", CALLS)
def test_without_a_connection_nobody_is_told_and_apprise_is_not_loaded(call, records, caplog, monkeypatch):
    monkeypatch.setattr(notifier, "_deliver", pytest.fail)
    CALLS[call]()
    assert caplog.text == ""


@pytest.mark.parametrize("call", CALLS)
def test_a_connection_of_another_shape_fails_nothing(call, records, caplog, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SQLTUNE_ALERTS", '{"conn_type": "apprise", "password": "hunter2"}')
    CALLS[call]()
    assert "expected an extra like" in caplog.text
    assert "hunter2" not in caplog.text


def test_what_is_not_delivered_is_logged(webhook, told, logged, monkeypatch):
    from sqltune.alerts import delivery

    monkeypatch.setattr(delivery, "RETRY_WAIT", 0.01)
    webhook.statuses = [500] * 9
    told(f"json://127.0.0.1:{webhook.port}/a-token-in-the-path")
    assert not tell(Event.TEST, "r1", "", {})
    (line,) = [line for line in logged if line.startswith("alert:")]
    assert line.startswith("alert: entry 1 (JSON): not delivered after 4 tries: Failed to send JSON")


def test_who_was_not_reached_is_logged_and_the_alert_counts_as_sent(webhook, told, logged):
    """As with one expired token among several: the others have it, and must not get it again."""
    told(f"json://127.0.0.1:{webhook.port}", "a-service-that-no-one-has://token")
    assert tell(Event.DISK, "", "", {"cause": "full"})
    assert "Cause: full" in body(webhook.received)
    (line,) = [line for line in logged if "not delivered" in line]
    assert line.startswith("alert: entry 2 (a-service-that-no-one-has): not delivered")


def test_an_alert_that_no_entry_wants_is_not_sent(webhook, told):
    told({"path": f"json://127.0.0.1:{webhook.port}", "tag": "failure"})
    assert not tell(Event.DISK, "", "", {"cause": "full"})
    assert webhook.received == []


def test_a_cause_that_cannot_be_left_fails_nothing(caplog):
    leave_cause({"ti": SimpleNamespace(map_index=-1, task_id="plan"), "exception": RuntimeError("x")})
    assert "the alert will not know this cause" in caplog.text


def test_a_bad_loss_is_told_from_the_triggerer(sent):
    owner = {"dag_id": "text2sql_retrain", "task_id": "train", "run_id": "r1"}
    asyncio.run(tell_of_loss(owner, "the loss of iteration 40 is NaN or infinite", stops=True))
    assert body(sent).startswith(
        "[sqltune] training loss is off\nTask: train\nCause: the loss of iteration 40 is NaN or infinite\n"
        "What happens: the training is stopped\nRun: r1\n"
    )


def test_a_dataset_that_a_person_must_decide_on_is_told_with_what_it_exceeds(sent, records):
    plan = run_plan()
    runs.put_plan(plan)
    data_checks.put(plan.key, check(rows()[:66], rows()))
    DataDecisionNeeded()({"ti": TaskInstance("approve_data")})
    text = body(sent)
    assert text.startswith("[sqltune] data check failed\nCause: ")
    assert "questions" in text
    assert text.endswith(
        "Answer here: https://airflow.example.com/team/dags/text2sql_retrain/runs/r1/tasks/"
        "approve_data/required_actions"
    )
