"""The hosted reference in `before`: what the hosted model is asked, what it answered, and its score."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException
from pydantic import ValidationError

from sqltune.config.loading import describe
from sqltune.config.plan import RunPlan
from sqltune.evaluation.score import Score
from sqltune.evaluation.scorer import score_answers
from sqltune.prompt import render
from sqltune.serving import hosted
from sqltune.tasks.evaluate import suite_of

log = logging.getLogger(__name__)


def reference_questions(plan: dict[str, Any], python: str) -> dict[str, Any]:
    """What the hosted model is asked: the prompts of the suite that it has not answered before, and its budget. Skipped without its environment; nothing is asked without its Connection."""
    if not Path(python).exists():
        raise AirflowSkipException(
            f"no hosted reference: {python} is not there; make an environment with zhipuai, and set SQLTUNE_REFERENCE_PYTHON"
        )
    p = RunPlan.model_validate(plan)
    try:
        connection = BaseHook.get_connection(hosted.CONNECTION)
    except AirflowNotFoundException:
        model = p.reference_model or hosted.Budget().model
        log.info("nobody is asked: there is no Connection %s with a key", hosted.CONNECTION)
        return {
            "model": model,
            "url": "",
            "label": f"{model} (no key)",
            "questions": [],
            **hosted.Budget().model_dump(include={"max_calls", "max_cost", "price"}),
        }
    try:
        budget = hosted.Budget.model_validate(connection.extra_dejson)
    except ValidationError as e:
        # The reference is a courtesy: a mistake in it is said, and the run goes on.
        raise AirflowSkipException(
            "no hosted reference: " + "; ".join(describe(e, f"Connection {hosted.CONNECTION}.extra"))
        ) from e
    model, url = p.reference_model or budget.model, connection.host or ""
    prompts = {q.id: render(q.question, q.context) for q in suite_of(p)}
    answered = hosted.known(model, url, prompts)
    log.info(
        "%s has answered %d of %d prompts before; at most %d calls for %g now",
        model,
        len(answered),
        len(prompts),
        budget.max_calls,
        budget.max_cost,
    )
    return {
        "model": model,
        "url": url,
        "label": budget.label or model,
        "known": len(answered),
        "max_calls": budget.max_calls,
        "max_cost": budget.max_cost,
        "price": budget.price,
        "questions": [
            {"id": name, "prompt": prompt} for name, prompt in prompts.items() if name not in answered
        ],
    }


def reference_answers(wanted: dict[str, Any] | None, hosted: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the hosted model was asked and what it answered; None where there is nobody to ask. It takes what its two tasks left, however they ended:
    the reference is a courtesy, and can't fail a run."""
    if not wanted:
        return None
    if hosted is None:
        log.warning(
            "%s: its task did not end well, see reference.hosted; the run goes on without", wanted["label"]
        )
        hosted = {"answers": {}, "trouble": "its task failed"}
    return wanted | {"answers": hosted["answers"], "trouble": hosted["trouble"]}


def reference_score(p: RunPlan, reply: dict[str, Any] | None) -> tuple[Score | None, str]:
    """The hosted model's score over what it answered, now or before, and its column's name."""
    if not reply:
        return None, ""
    questions = suite_of(p)
    prompts = {q.id: render(q.question, q.context) for q in questions}
    if reply["answers"]:
        hosted.remember(reply["model"], reply["url"], prompts, reply["answers"])
    answers = hosted.known(reply["model"], reply["url"], prompts)
    label = reply["label"] + (f" ({reply['trouble'][:60]})" if reply["trouble"] else "")
    asked = [q for q in questions if q.id in answers]
    return score_answers(reply["model"], asked, answers), label
