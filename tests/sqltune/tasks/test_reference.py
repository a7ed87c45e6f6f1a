"""The hosted reference: its questions, its answers, and its score."""

from __future__ import annotations

import sys

import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException
from pydantic import ValidationError

from sqltune.config.plan import RunPlan
from sqltune.contracts import HostedAnswers, HostedReply
from sqltune.evaluation import stored
from sqltune.evaluation.audit.flags import Flag
from sqltune.evaluation.suites import held_out
from sqltune.tasks import reference

BATCH = {
    "model": "glm-4",
    "label": "glm-4",
    "url": "",
    "max_calls": 1,
    "max_cost": 1.0,
    "price": 0.1,
    "questions": [],
}
REPLY = HostedReply(answers={"1": "SELECT 1"}, calls=1, tokens=1000, cost=0.1, error="")


@pytest.fixture
def connection(monkeypatch):
    """Sets the Connection of the hosted reference; None: it does not exist."""

    def put(connection: Connection | None) -> None:
        def get_connection(name: str) -> Connection:
            if connection is None:
                raise AirflowNotFoundException(name)
            return connection

        monkeypatch.setattr(BaseHook, "get_connection", staticmethod(get_connection))

    return put


def test_without_its_environment_the_hosted_reference_is_skipped(plan):
    with pytest.raises(AirflowSkipException, match="SQLTUNE_REFERENCE_PYTHON"):
        reference.reference_questions(plan, "/nowhere/bin/python")


def test_without_its_connection_no_question_is_sent(plan, connection):
    connection(None)
    batch = reference.reference_questions(plan, sys.executable)
    assert batch["questions"] == []
    assert batch["label"] == "glm-4 (no key)"


def test_a_missing_connection_is_named_in_the_log(plan, connection, caplog):
    caplog.set_level("INFO")
    connection(None)
    reference.reference_questions(plan, sys.executable)
    assert "Skipped: Connection sqltune_glm does not exist. Add it to see" in caplog.text


def test_a_missing_password_is_named_in_the_log(plan, connection, caplog):
    caplog.set_level("INFO")
    connection(Connection(conn_id="sqltune_glm", conn_type="http"))
    reference.reference_questions(plan, sys.executable)
    assert "Skipped: Connection sqltune_glm has no password (the API key). Add it to see" in caplog.text


def test_the_batch_has_the_connections_budget(plan, connection):
    extra = '{"model": "glm-4-plus", "max_calls": 7, "label": "GLM"}'
    connection(Connection(conn_id="sqltune_glm", conn_type="http", password="id.secret", extra=extra))
    batch = reference.reference_questions(plan, sys.executable)
    assert (batch["model"], batch["label"], batch["max_calls"]) == ("glm-4-plus", "GLM", 7)
    assert batch["questions"][0]["prompt"]


def test_a_mistake_in_the_connections_extra_is_skipped_and_named(plan, connection):
    extra = '{"max_cals": 7}'
    connection(Connection(conn_id="sqltune_glm", conn_type="http", password="id.secret", extra=extra))
    with pytest.raises(AirflowSkipException, match=r"Skipped: Connection sqltune_glm.extra.*max_cals"):
        reference.reference_questions(plan, sys.executable)


def test_a_hosted_reference_that_failed_leaves_no_answers(caplog):
    answers = reference.reference_answers(BATCH, None)
    assert answers["answers"] == {}
    assert answers["error"] == "its task failed"
    assert "reference.hosted" in caplog.text


def test_answers_of_the_hosted_reference_are_handed_on():
    answers = reference.reference_answers(BATCH, REPLY)
    assert answers["answers"] == {"1": "SELECT 1"}


def test_a_reply_that_lacks_a_field_is_refused():
    with pytest.raises(ValidationError, match="error"):
        reference.reference_answers(BATCH, REPLY.model_dump(exclude={"error"}))


def test_no_hosted_reference_is_none():
    assert reference.reference_answers(None, None) is None


def test_answers_are_scored_and_kept_for_the_next_run(plan):
    """The answers had the name of the module that keeps them, and the gate failed with them."""
    p = RunPlan.model_validate(plan)
    row = {
        "question": "多少人？",
        "context": "CREATE TABLE t (a INTEGER)",
        "answer": "SELECT COUNT(*) FROM t",
    }
    stored.put_held_out(p.key, held_out([row]))
    question = reference.suite_of(p)[-1]
    answers = HostedAnswers(
        model="glm-4", url="", label="glm-4", error="", answers={question.id: question.gold}
    )
    column = reference.reference_score(p, answers, {})
    assert column.label == "glm-4"
    assert (column.score.matched, column.score.questions) == (1, 1)
    again = reference.reference_score(p, answers.model_copy(update={"answers": {}}), {})
    assert again.score.questions == 1


def test_the_score_of_the_hosted_model_is_recorded(plan):
    p = RunPlan.model_validate(plan)
    question = reference.suite_of(p)[0]
    answers = HostedAnswers(
        model="glm-4", url="", label="glm-4", error="", answers={question.id: question.gold}
    )
    column = reference.reference_score(p, answers, {})
    assert stored.score(p.key, "reference") == column.score


def test_the_hosted_score_stands_with_and_without_flagged_questions(plan):
    p = RunPlan.model_validate(plan)
    row = {
        "question": "多少人？",
        "context": "CREATE TABLE t (a INTEGER)",
        "answer": "SELECT count(*) FROM t",
    }
    stored.put_held_out(p.key, held_out([row]))
    question = reference.suite_of(p)[-1]
    answers = HostedAnswers(
        model="glm-4", url="", label="glm-4", error="", answers={question.id: question.gold}
    )
    flags = {question.id: (Flag(reason="tie_at_limit", detail="rows tie"),)}
    column = reference.reference_score(p, answers, flags)
    assert (column.score.questions, column.score.unflagged.evaluated) == (1, 0)
