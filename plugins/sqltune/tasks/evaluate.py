"""Task groups `before` and `after`: serve a model, evaluate it on the suite, stop it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from airflow.sdk import get_current_context
from sqlalchemy.exc import SQLAlchemyError

from sqltune.config.base import digest
from sqltune.config.plan import RunPlan
from sqltune.contracts import ExportedModel, HostFacts, ServedModel, Stage, typed_task
from sqltune.evaluation import corrections, stored
from sqltune.evaluation.audit.gold_audit import audit
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score import Score, ScoreSummary
from sqltune.evaluation.scorer import score_answers, with_flags
from sqltune.evaluation.speed import Speed, measured, of_most_answers
from sqltune.evaluation.stored import AnswerSet
from sqltune.evaluation.suites import assemble
from sqltune.records import evaluations, turns
from sqltune.registry import versions
from sqltune.serving import client
from sqltune.serving.client import Completion
from sqltune.serving.hook import ServingHook, server_settings
from sqltune.serving.weights import servers_of
from sqltune.sql.prompt import TEMPLATE_HASH, render

log = logging.getLogger(__name__)

SAVE_EVERY = 10
"""Answers after which they are saved and logged."""
BASE = "base"
"""Name that the base model is served under."""


@typed_task
def serve(
    plan: RunPlan, facts: list[HostFacts], stage: Stage, exported: ExportedModel | None = None
) -> ServedModel:
    """Serve the model of a stage; it is ready once it has answered a prompt.

    Nothing is started when all its answers are known from an earlier run.

    Raises:
        AirflowRescheduleException: Another run works on the cluster, as this one was cleared; Airflow starts
            the task again later.
    """
    turns.wait_for_turn(plan, get_current_context()["ti"])
    name, model, model_hash, hook = _identity(plan, facts, exported if stage == "after" else None)
    questions = suite_of(plan)
    known = len(answer_set(plan, model_hash).load(questions)) == len(questions)
    is_champion = plan.champion is not None and name == plan.cluster.serving.model_name
    worker = ""
    if known:
        log.info("%s (%s) is not served: all %d answers are known", name, model_hash, len(questions))
    else:
        if is_champion and _is_served_otherwise(hook, name, model):
            name, is_champion = champion_copy_name(plan), False
        worker = _start(hook, name, model)
    return ServedModel(
        name=name,
        model=model,
        hash=model_hash,
        cached=known,
        stop=not (known or is_champion),
        worker=worker,
    )


def _identity(
    plan: RunPlan, facts: Sequence[HostFacts], exported: ExportedModel | None
) -> tuple[str, str, str, ServingHook]:
    """Served name, folder, hash and servers: of the candidate, else of the champion, else of the base model.

    A model has the hash of its merged weights, also where its adapter is served.
    """
    hook = serving(plan)
    if exported is not None:
        return candidate_name(plan), exported.folder(plan.cluster.serving.adapters), exported.model_hash, hook
    if champion := plan.champion:
        folder = champion.merged_path
        if plan.cluster.serving.is_unmerged:
            version = versions.version(plan.cluster_name, champion.version)
            hook, folder = servers_of(plan, version, plan.recipe.serving_dtype)
        return plan.cluster.serving.model_name, folder, champion.model_hash, hook
    host = plan.cluster.serving.host
    return BASE, plan.base_model, next(f.base_model_hash for f in facts if f.host == host), hook


def _is_served_otherwise(hook: ServingHook, name: str, model: str) -> bool:
    """Whether a name is served on another engine than the run's, or is another model's since the run began.

    Then the champion is evaluated beside it: both models of a run are judged on one engine, and what is
    served publicly changes with a promotion only.
    """
    status = hook.status()
    now = (status.serving.get(name, model), status.engines.get(name, hook.engine))
    if now != (model, hook.engine):
        log.info("%s is %s on %s now: %s is evaluated on %s, beside it", name, *now, model, hook.engine)
    return now != (model, hook.engine)


def champion_copy_name(plan: RunPlan) -> str:
    """Name that the champion is evaluated under while its public name is served on another engine."""
    return f"{plan.cluster.serving.model_name}-{plan.cluster.serving.engine}"


def candidate_name(plan: RunPlan) -> str:
    """Name that the candidate is served under while it is evaluated."""
    return f"candidate-{plan.fingerprint[:8]}"


def _start(hook: ServingHook, name: str, model: str) -> str:
    """Serve a model; the worker that answers."""
    status = hook.up(name, model)
    log.info(
        "[%s] %s answers at %s after %s s. Served now: %s",
        hook.host.name,
        name,
        status.api,
        status.ready_after,
        status.serving,
    )
    return status.workers.get(name, "")


def serving(plan: RunPlan) -> ServingHook:
    """The model servers of the plan's cluster."""
    return ServingHook(plan, plan.recipe.serving_dtype, plan.base_model)


def suite_of(plan: RunPlan) -> list[Question]:
    """The questions of a run: reference prompts, sampled held-out rows, and the plan's further suites."""
    return assemble(stored.held_out(plan.key), plan.suites, plan.eval_questions)


def prompts_of(questions: Sequence[Question]) -> list[str]:
    """The prompts of questions, in their order."""
    return [render(q.question, q.context) for q in questions]


def answer_set(plan: RunPlan, model_hash: str) -> AnswerSet:
    """The stored answers of a model, apart from those of another model, prompt, decoding or engine."""
    decoding = plan.recipe.decoding.model_dump(exclude={"concurrency", "timeout"})
    settings = server_settings(plan, plan.recipe.serving_dtype, plan.base_model)
    # FastChat's have the key that they had when it was the only engine.
    engine = [] if settings.engine == "fastchat" else [settings.engine_label]
    return AnswerSet(
        model_hash=model_hash, decoding=digest([TEMPLATE_HASH, decoding, plan.recipe.serving_dtype, *engine])
    )


@typed_task
def ask(plan: RunPlan, served: ServedModel, stage: Stage) -> ScoreSummary:
    """Evaluate the served model on the suite, store its answers, and score them.

    A retry sends only the questions without an answer. Of its tries, the speed is that of the one which
    generated most answers.
    """
    questions = suite_of(plan)
    stored_answers = answer_set(plan, served.hash)
    answers = stored_answers.load(questions)
    open_questions = [q for q in questions if q.id not in answers]
    speed = stored.speed(plan.key, stage, served.hash)
    if open_questions:
        writer = _AnswerWriter(
            plan, stage, served, stored_answers, total=len(questions), unanswered=open_questions, before=speed
        )
        try:
            client.ask(
                serving(plan).endpoint(served.name, served.worker),
                prompts_of(open_questions),
                plan.recipe.decoding,
                lambda number, completion: writer.add(open_questions[number], completion),
            )
        finally:
            writer.save()
        speed = writer.speed
    # Loaded again: another run may have stored answers to the same prompts first, and those count.
    answers = stored_answers.load(questions)
    score = with_flags(score_answers(served.name, questions, answers), audit(questions))
    score = score.model_copy(update={"speed": speed})
    stored.put_score(plan.key, stage, score, questions, stored_answers)
    _log_score(score)
    for line in corrections.described(questions, corrections.load()):
        log.info("%s", line)
    return score.summary


class _AnswerWriter:
    """Stores the answers of a model as they arrive, the progress of the evaluation, and its speed."""

    def __init__(
        self,
        plan: RunPlan,
        stage: Stage,
        served: ServedModel,
        answer_set: AnswerSet,
        *,
        total: int,
        unanswered: Sequence[Question],
        before: Speed | None,
    ) -> None:
        self._plan, self._stage, self._served, self._answer_set = plan, stage, served, answer_set
        self._total, self._done = total, total - len(unanswered)
        self._unsaved: dict[str, str] = {}
        self._unanswered = unanswered
        self._speed_before = before
        self._began = self._newest = time.monotonic()
        self._generated: list[Completion] = []

    @property
    def speed(self) -> Speed | None:
        """Of this try or an earlier one, whichever generated more answers."""
        latencies = [c.seconds for c in self._generated if c.seconds is not None]
        counted = [c.tokens for c in self._generated if c.tokens is not None]
        tokens = sum(counted) if len(counted) == len(self._generated) else None
        return of_most_answers(self._speed_before, measured(latencies, self._newest - self._began, tokens))

    def add(self, question: Question, completion: Completion) -> None:
        """Take an answer; every `SAVE_EVERY` of them are saved and logged."""
        self._unsaved[question.id] = completion.text
        self._done += 1
        if completion.seconds is not None:
            self._newest = time.monotonic()
            self._generated.append(completion)
        if self._done % SAVE_EVERY == 0 or self._done == self._total:
            log.info("%d of %d answered, %.1f s", self._done, self._total, time.monotonic() - self._began)
            try:
                self.save()
            except SQLAlchemyError as e:
                log.warning("answers are saved later, the records' database does not answer: %s", e)

    def save(self) -> None:
        """Save the answers that are not saved yet."""
        self._answer_set.store(self._unanswered, self._unsaved)
        self._unsaved.clear()
        evaluations.put_progress(
            self._plan.key,
            self._stage,
            model=self._served.name,
            model_hash=self._served.hash,
            answered=self._done,
            questions=self._total,
            speed=speed.model_dump(mode="json") if (speed := self.speed) else None,
        )


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
    log.info("%s: %s", score.model, score.speed or "no speed: this run generated none of its answers")
    if score.flagged and score.unflagged:
        log.info(
            "%s: %d of %d right without %d questions whose gold query is doubtful: %s",
            score.model,
            score.unflagged.matched,
            score.unflagged.evaluated,
            len(score.flags),
            score.flagged,
        )


@typed_task
def stop_serving(plan: RunPlan | None, stage: Stage, served: ServedModel | None = None) -> None:
    """Teardown: stop the evaluated model, whatever happened; the champion serves on."""
    if plan is None:
        return
    if served and not served.stop:
        log.info("nothing to stop")
        return
    hook = serving(plan)
    for name in [served.name] if served else _possible_names(plan, stage):
        status = hook.down(name)
        log.info("[%s] %s stopped. Served now: %s", hook.host.name, name, status.serving or "nothing")


def _possible_names(plan: RunPlan, stage: Stage) -> list[str]:
    """Names that a `serve` which failed half-way, and left no output, may have used."""
    return [candidate_name(plan)] if stage == "after" else [BASE, champion_copy_name(plan)]
