"""Task groups `before` and `after`: serve a model, evaluate it on the suite, stop it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqltune.config.base import digest
from sqltune.config.plan import RunPlan
from sqltune.contracts import HostFacts, MergedModel, ServedModel, Stage, typed_task
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score import Score, ScoreSummary
from sqltune.evaluation.scorer import score_answers
from sqltune.evaluation.suites import assemble
from sqltune.prompt import TEMPLATE_HASH, render
from sqltune.records.files import Record, home, read_json, write_json
from sqltune.serving import client
from sqltune.serving.hook import ServingHook

log = logging.getLogger(__name__)

SAVE_EVERY = 10
"""Answers after which the file of answers and the log are brought up to date."""
BASE = "base"
"""Name that the base model is served under."""


@typed_task
def serve(
    plan: RunPlan, facts: list[HostFacts], stage: Stage, merged: MergedModel | None = None
) -> ServedModel:
    """Serve the model of a stage; it is ready once it has answered a prompt.

    Nothing is started when all its answers are known from an earlier run.
    """
    name, model, model_hash = _identity(plan, facts, merged if stage == "after" else None)
    key = _answers_key(plan, model_hash)
    answers = read_json(answers_file(key), {})
    is_champion = plan.champion is not None and name == plan.cluster.serving.model_name
    known = len(answers) == len(suite_of(plan))
    if known:
        log.info("%s (%s) is not served: all %d answers are known", name, model_hash, len(answers))
    else:
        _start(plan, name, model)
    return ServedModel(
        name=name, model=model, hash=model_hash, key=key, cached=known, stop=not (known or is_champion)
    )


def _identity(plan: RunPlan, facts: Sequence[HostFacts], merged: MergedModel | None) -> tuple[str, str, str]:
    """Served name, path and hash: of the candidate, else of the champion, else of the base model."""
    if merged is not None:
        return candidate_name(plan), merged.merged_path, merged.model_hash
    if plan.champion:
        return plan.cluster.serving.model_name, plan.champion.merged_path, plan.champion.model_hash
    host = plan.cluster.serving.host
    return BASE, plan.base_model, next(f.base_model_hash for f in facts if f.host == host)


def candidate_name(plan: RunPlan) -> str:
    """Name that the candidate is served under while it is evaluated."""
    return f"candidate-{plan.fingerprint[:8]}"


def _start(plan: RunPlan, name: str, model: str) -> None:
    hook = serving(plan)
    status = hook.up(name, model)
    log.info(
        "[%s] %s answers at %s after %s s. Served now: %s",
        hook.host.name,
        name,
        status.api,
        status.ready_after,
        status.serving,
    )


def serving(plan: RunPlan) -> ServingHook:
    """The model servers of the plan's cluster."""
    return ServingHook(plan, plan.recipe.serving_dtype)


def suite_of(plan: RunPlan) -> list[Question]:
    """The questions of a run: reference prompts, sampled held-out rows, and the plan's further suites."""
    return assemble(Record.of(plan.key).get("held_out", []), plan.suites, plan.eval_questions)


def prompts_of(questions: Sequence[Question]) -> list[str]:
    """The prompts of questions, in their order."""
    return [render(q.question, q.context) for q in questions]


def _answers_key(plan: RunPlan, model_hash: str) -> str:
    """Names a set of answers: another model, prompt, template or decoding has another set."""
    decoding = plan.recipe.decoding.model_dump(exclude={"concurrency", "timeout"})
    prompts = prompts_of(suite_of(plan))
    return digest([model_hash, prompts, TEMPLATE_HASH, decoding, plan.recipe.serving_dtype])


def answers_file(key: str) -> Path:
    """File of a set of answers, by question id."""
    return home() / "answers" / f"{key}.json"


@typed_task
def ask(plan: RunPlan, served: ServedModel, stage: Stage) -> ScoreSummary:
    """Evaluate the served model on the suite, keep its answers, and score them.

    A retry asks only the questions without an answer.
    """
    questions = suite_of(plan)
    path = answers_file(served.key)
    answers: dict[str, str] = read_json(path, {})
    open_questions = [q for q in questions if q.id not in answers]
    if open_questions:
        progress = _progress(plan, stage, answers, open_questions, len(questions))
        try:
            client.ask(
                serving(plan).endpoint(served.name),
                prompts_of(open_questions),
                plan.recipe.decoding,
                progress,
            )
        finally:
            write_json(path, answers)
    score = score_answers(served.name, questions, answers)
    Record.of(plan.key).put(stage, score.model_dump(mode="json"))
    _log_score(score)
    return score.summary


def _progress(
    plan: RunPlan, stage: Stage, answers: dict[str, str], open_questions: Sequence[Question], total: int
) -> Callable[[int, str], None]:
    """A callback that keeps each answer, and logs every `SAVE_EVERY` of them."""
    began = time.monotonic()

    def keep(number: int, answer: str) -> None:
        answers[open_questions[number].id] = answer
        done = len(answers)
        if done % SAVE_EVERY == 0 or done == total:
            Record.of(plan.key).put("asked", {"which": stage, "done": done, "of": total})
            log.info("%d of %d answered, %.1f s", done, total, time.monotonic() - began)

    return keep


def _log_score(score: Score) -> None:
    log.info(
        "%s: %d of %d right (%d strict), %d do not run %s, reference prompts %s",
        score.model,
        score.matched,
        score.questions,
        score.strict,
        score.invalid,
        score.invalid_by_class or "",
        score.reference_prompts,
    )


@typed_task
def stop_serving(plan: RunPlan | None, stage: Stage, served: ServedModel | None = None) -> None:
    """Teardown: stop the evaluated model, whatever happened; the champion serves on."""
    if plan is None:
        return
    if served and not served.stop:
        log.info("nothing to stop")
        return
    # A `serve` that failed half-way left no output: stop the name that it would have used.
    name = served.name if served else candidate_name(plan) if stage == "after" else BASE
    hook = serving(plan)
    status = hook.down(name)
    log.info("[%s] %s stopped. Served now: %s", hook.host.name, name, status.serving or "nothing")
