"""Task group `reference`: the hosted model's questions, its answers, and its score.

The reference is for comparison only: it never fails a run.
"""

from __future__ import annotations

import logging
from pathlib import Path

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException
from pydantic import ValidationError

from sqltune.config.loading import describe
from sqltune.config.plan import RunPlan
from sqltune.contracts import HostedAnswers, HostedBatch, HostedQuestion, HostedReply, typed_task
from sqltune.evaluation import stored
from sqltune.evaluation.audit.flags import Flags
from sqltune.evaluation.report import Column
from sqltune.evaluation.scorer import score_answers, with_flags
from sqltune.evaluation.stored import AnswerSet
from sqltune.serving import hosted
from sqltune.serving.hosted import CONNECTION
from sqltune.sql.prompt import render
from sqltune.tasks.evaluate import suite_of

log = logging.getLogger(__name__)

ERROR_WIDTH = 60
"""Characters of the error that fit into the heading of the column."""


@typed_task
def reference_questions(plan: RunPlan, python: str) -> HostedBatch:
    """The questions that the hosted model has not answered in an earlier run, and its budget.

    Args:
        plan: The run plan.
        python: Python of the environment with zhipuai.

    Raises:
        AirflowSkipException: The environment is missing, or the Connection's extra has mistakes.
    """
    if not Path(python).exists():
        raise AirflowSkipException(
            f"Skipped: {python} does not exist. Make an environment with zhipuai and set "
            "SQLTUNE_REFERENCE_PYTHON to its Python to see the reference column"
        )
    try:
        connection = BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        log.info("Skipped: Connection %s does not exist. Add it to see the reference column", CONNECTION)
        return _empty_batch(plan)
    if not connection.password:
        log.info(
            "Skipped: Connection %s has no password (the API key). Add it to see the reference column",
            CONNECTION,
        )
    return _batch(plan, connection.host or "", _budget(connection))


def _budget(connection: Connection) -> hosted.Budget:
    try:
        return hosted.Budget.model_validate(connection.extra_dejson)
    except ValidationError as e:
        mistakes = "; ".join(describe(e, f"Connection {CONNECTION}.extra"))
        raise AirflowSkipException(f"Skipped: {mistakes}") from e


def _empty_batch(plan: RunPlan) -> HostedBatch:
    budget = hosted.Budget()
    model = plan.reference_model or budget.model
    return HostedBatch(
        model=model,
        url="",
        label=f"{model} (no key)",
        max_calls=budget.max_calls,
        max_cost=budget.max_cost,
        price=budget.price,
        questions=[],
    )


def _batch(plan: RunPlan, url: str, budget: hosted.Budget) -> HostedBatch:
    model = plan.reference_model or budget.model
    prompts = _prompts(plan)
    answered = hosted.stored_answers(model, url, prompts)
    log.info(
        "%s answered %d of %d prompts in earlier runs; at most %d calls for %g now",
        model,
        len(answered),
        len(prompts),
        budget.max_calls,
        budget.max_cost,
    )
    return HostedBatch(
        model=model,
        url=url,
        label=budget.label or model,
        known=len(answered),
        max_calls=budget.max_calls,
        max_cost=budget.max_cost,
        price=budget.price,
        questions=[HostedQuestion(id=k, prompt=v) for k, v in prompts.items() if k not in answered],
    )


def _prompts(plan: RunPlan) -> dict[str, str]:
    """Prompts by question id."""
    return {q.id: render(q.question, q.context) for q in suite_of(plan)}


@typed_task
def reference_answers(batch: HostedBatch | None, reply: HostedReply | None) -> HostedAnswers | None:
    """Combine what the two tasks before left, however they ended.

    Args:
        batch: The questions; None without a hosted reference.
        reply: What the hosted model answered; None when its task failed.
    """
    if batch is None:
        return None
    if reply is None:
        log.warning("%s: task reference.hosted failed, see its log; the run goes on without it", batch.label)
    return HostedAnswers(
        model=batch.model,
        url=batch.url,
        label=batch.label,
        answers=reply.answers if reply else {},
        error=reply.error if reply else "its task failed",
    )


def reference_score(plan: RunPlan, answers: HostedAnswers | None, flags: Flags) -> Column | None:
    """The column of the hosted model: its score over all questions it answered, in this or an earlier run.

    The score is recorded as the run's `reference`.

    Args:
        plan: The run plan.
        answers: What the hosted model answered; None without a hosted reference.
        flags: What the gold audit found, by question id.
    """
    if answers is None:
        return None
    prompts = _prompts(plan)
    if answers.answers:
        hosted.store_answers(answers.model, answers.url, prompts, answers.answers)
    stored_answers = hosted.stored_answers(answers.model, answers.url, prompts)
    error = f" ({answers.error[:ERROR_WIDTH]})" if answers.error else ""
    questions = [q for q in suite_of(plan) if q.id in stored_answers]
    score = with_flags(score_answers(answers.model, questions, stored_answers), flags)
    model_hash, decoding = hosted.answer_set(answers.model, answers.url)
    answer_set = AnswerSet(model_hash=model_hash, decoding=decoding)
    stored.put_score(plan.key, "reference", score, questions, answer_set)
    return Column(answers.label + error, score)
