"""Task groups `before` and `after`: serve a model, ask it the suite, stop it."""

from __future__ import annotations

import logging
import time
from typing import Any

from sqltune.config.base import digest
from sqltune.config.plan import RunPlan
from sqltune.evaluation import suites
from sqltune.evaluation.questions import Question
from sqltune.evaluation.scorer import score_answers
from sqltune.prompt import TEMPLATE_HASH, render
from sqltune.records.files import Record, home, read_json, write_json
from sqltune.serving import client
from sqltune.serving.hook import ServingHook

log = logging.getLogger(__name__)


def serving(p: RunPlan) -> ServingHook:
    """The plan's model servers."""
    return ServingHook(p, p.recipe.serving_dtype)


def _identity(
    p: RunPlan, facts: list[dict[str, Any]], which: str, merged: dict[str, Any] | None
) -> dict[str, str]:
    """What is asked: name, path and hash of the candidate, or of the champion, or of the base model before there is one."""
    if which == "after":
        assert merged is not None
        return {
            "name": f"candidate-{p.fingerprint[:8]}",
            "model": merged["merged_path"],
            "hash": merged["model_hash"],
        }
    if p.champion:
        return {
            "name": p.cluster.serving.model_name,
            "model": p.champion.merged_path,
            "hash": p.champion.model_hash,
        }
    return {
        "name": "base",
        "model": p.base_model,
        "hash": next(f for f in facts if f["host"] == p.cluster.serving.host)["base_model_hash"],
    }


def suite_of(p: RunPlan) -> list[Question]:
    """The questions of a run: the reference prompts, the held-out rows that `download_dataset` sampled, and the plan's further suites."""
    return suites.assemble(Record.of(p.key).get("held_out", []), p.suites, p.eval_questions)


def _answers_key(p: RunPlan, model_hash: str) -> str:
    """Names a set of answers: another model, prompt, template or way of decoding gives another."""
    prompts = [render(q.question, q.context) for q in suite_of(p)]
    return digest(
        [
            model_hash,
            prompts,
            TEMPLATE_HASH,
            p.recipe.decoding.model_dump(exclude={"concurrency", "timeout"}),
            p.recipe.serving_dtype,
        ]
    )


def serve(
    plan: dict[str, Any], facts: list[dict[str, Any]], which: str, merged: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Serve the model that is to answer; nothing is started when its answers are known. Ready means: it answered a real prompt."""
    p = RunPlan.model_validate(plan)
    model = _identity(p, list(facts), which, merged)
    key = _answers_key(p, model["hash"])
    answers = read_json(home() / "answers" / f"{key}.json", {})
    if len(answers) == len(suite_of(p)):
        log.info(
            "%s (%s) has answered these %d prompts before: not served for it",
            model["name"],
            model["hash"],
            len(answers),
        )
        return model | {"key": key, "cached": True, "stop": False}
    hook = serving(p)
    status = hook.up(model["name"], model["model"])
    log.info(
        "[%s] %s answers at %s after %s s; served now: %s",
        hook.host.name,
        model["name"],
        status["api"],
        status["ready_after"],
        status["serving"],
    )
    champion = p.champion is not None and model["name"] == p.cluster.serving.model_name
    return model | {"key": key, "cached": False, "stop": not champion}


def ask(plan: dict[str, Any], served: dict[str, Any], which: str) -> dict[str, Any]:
    """Ask the served model every question of the suite, keep the answers, and score them. A retry asks only what is not answered yet."""
    p = RunPlan.model_validate(plan)
    questions = suite_of(p)
    path = home() / "answers" / f"{served['key']}.json"
    answers: dict[str, str] = read_json(path, {})
    todo = [q for q in questions if q.id not in answers]
    began = time.monotonic()

    def done(number: int, answer: str) -> None:
        answers[todo[number].id] = answer
        if len(answers) % 10 == 0 or len(answers) == len(questions):
            write_json(path, answers)
            Record.of(p.key).put("asked", {"which": which, "done": len(answers), "of": len(questions)})
            log.info("%d of %d answered, %.1f s", len(answers), len(questions), time.monotonic() - began)

    if todo:
        try:
            client.ask(
                serving(p).endpoint(served["name"]),
                [render(q.question, q.context) for q in todo],
                p.recipe.decoding,
                done,
            )
        finally:
            write_json(path, answers)
    result = score_answers(served["name"], questions, answers)
    Record.of(p.key).put(which, result.model_dump(mode="json"))
    log.info(
        "%s: %d of %d right (%d strict), %d do not run %s, reference prompts %s",
        result.model,
        result.matched,
        result.questions,
        result.strict,
        result.invalid,
        result.invalid_by_class or "",
        result.reference_prompts,
    )
    return result.summary.model_dump(mode="json")


def stop_serving(plan: dict[str, Any] | None, which: str, served: dict[str, Any] | None = None) -> None:
    """Teardown: stop what was served to be asked, whatever happened; what the champion's users are served goes on."""
    if not plan:
        return
    p = RunPlan.model_validate(plan)
    if served and not served["stop"]:
        log.info("nothing to stop")
        return
    hook = serving(p)
    # Without a word from `serve` it may have died half-way: stop by the name it would have used.
    name = served["name"] if served else f"candidate-{p.fingerprint[:8]}" if which == "after" else "base"
    status = hook.down(name)
    log.info("[%s] %s stopped; served now: %s", hook.host.name, name, status["serving"] or "nothing")
