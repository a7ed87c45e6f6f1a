"""The chain's tasks that are plain functions; the DAG wires them. What runs on a host for long is a gang, in `gang.py`."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook, get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException
from pydantic import ValidationError

from sqltune import node
from sqltune.config import RunPlan, describe, digest
from sqltune.errors import ConfigError, DatasetError
from sqltune.evaluation import gate, scoring, suites
from sqltune.prompt import TEMPLATE_HASH, render
from sqltune.records.files import (
    Record,
    home,
    installation,
    read_json,
    remember_trained,
    trained_before,
    write_json,
)
from sqltune.serving import client, hosted
from sqltune.serving.hook import ServingHook
from sqltune.tasks import planning
from ssh_gang.errors import HostError

log = logging.getLogger(__name__)

CLOCK_TOLERANCE = 30.0
"""Seconds a host's clock may be off."""


def plan() -> dict[str, Any] | bool:
    """Read the form, check all of it, pin what it names. False when this very plan was trained before: the run ends here, green."""
    context = get_current_context()
    run = context["dag_run"]
    as_of = run.logical_date or run.run_after or datetime.now(UTC)
    version, _ = node.bundle()
    try:
        made = planning.make_plan(dict(context["params"]), run.run_id, as_of, version)
    except ConfigError as e:
        # A typo is the same at the next try.
        raise AirflowFailException(str(e)) from e
    log.info(
        "dataset %s at %s of %s (as of %s)",
        made.dataset_repo,
        made.dataset_commit[:12],
        made.dataset_date,
        as_of,
    )
    log.info(
        "train %s on %s: %s", made.base_model, ", ".join(h.name for h in made.cluster.hosts), made.training
    )
    log.info("champion: %s", made.champion or "none yet, the base model is what to beat")
    Record.of(made.key).put("plan", made.model_dump(mode="json"))
    earlier = trained_before(made.fingerprint)
    if earlier and not made.force:
        log.info(
            "nothing new: %s trained and judged this very plan (%s); set force to train it again",
            earlier,
            made.fingerprint,
        )
        Record.of(made.key).put("state", {"nothing_new": earlier})
        return False
    return made.model_dump(mode="json")


def hosts(plan: dict[str, Any]) -> list[str]:
    """Names of the plan's hosts, to map tasks over."""
    return [h.name for h in RunPlan.model_validate(plan).cluster.hosts]


def storages(plan: dict[str, Any]) -> list[str]:
    """One host per storage: all of them, or the master alone where storage is shared."""
    p = RunPlan.model_validate(plan)
    return [h.name for h in (p.cluster.hosts[:1] if p.cluster.shared_storage else p.cluster.hosts)]


def preflight(plan: dict[str, Any], host: str) -> dict[str, Any]:
    """Copy our scripts to one host, and look whether it can do what the plan wants; every problem names its fix."""
    import asyncio

    p = RunPlan.model_validate(plan)
    h = p.cluster.host(host)
    asyncio.run(node.push(p, h))
    log.info(
        "[%s] environment: %s",
        host,
        " ".join(f"{k}={v}" for k, v in sorted(node.masked(p.cluster.host_env()).items())),
    )
    answer = node.run(
        p,
        h,
        "preflight.py",
        {
            "work_dir": p.cluster.work_dir,
            "installation": installation(),
            "interface": p.cluster.interface,
            "accelerator": p.cluster.accelerator,
            "processes": h.processes,
            "is_master": h == p.cluster.master,
            "master_port": p.cluster.master_port,
            "base_model": p.base_model,
            "min_free_disk_gb": p.cluster.min_free_disk_gb,
            "min_free_memory_gb": p.cluster.min_free_memory_gb,
        },
        timeout=180,
    )
    facts, problems = answer["facts"], list(answer["problems"])
    off = facts["clock"] - time.time()
    if abs(off) > CLOCK_TOLERANCE:
        problems.append(f"its clock is {off:+.0f} s off: start chrony or systemd-timesyncd there")
    for name, value in facts.items():
        log.info("[%s] %s: %s", host, name, value)
    if problems:
        raise HostError("\n".join(f"{host}: {problem}" for problem in problems))
    return facts | {"host": host}


def master_ip(plan: dict[str, Any], facts: list[dict[str, Any]]) -> str:
    """Address of the master's interface; the hosts' facts are compared on the way: one base model, one set of versions."""
    p = RunPlan.model_validate(plan)
    facts = list(facts)
    problems = []
    for what in ("base_model_hash", "versions"):
        if len({str(f[what]) for f in facts}) > 1:
            differ = "; ".join(f"{f['host']}: {_difference(f[what], facts[0][what])}" for f in facts)
            problems.append(
                f"{what} differs between the hosts ({differ}): make them the same, or ranks will not agree"
            )
    if problems:
        raise HostError("\n".join(problems))
    address = next(f["address"] for f in facts if f["host"] == p.cluster.master.name)
    log.info("master %s, interface %s: %s", p.cluster.master.name, p.cluster.interface, address)
    return address


def _difference(value: Any, other: Any) -> Any:
    return {k: v for k, v in value.items() if v != other.get(k)} or "-" if isinstance(value, dict) else value


def download_dataset(plan: dict[str, Any], host: str) -> dict[str, Any]:
    """The pinned commit on one host: fetched, verified, split by database."""
    p = RunPlan.model_validate(plan)
    h = p.cluster.host(host)
    want = {
        "repo": p.dataset_repo,
        "commit": p.dataset_commit,
        "files": p.recipe.dataset_files,
        "endpoint": p.cluster.host_env()["HF_ENDPOINT"],
        "folder": p.data_dir,
        "percent": p.recipe.held_out_percent,
        "questions": p.eval_questions if h == p.cluster.master else 0,
        "max_length": p.training.max_length,
        "base_model": p.base_model,
    }
    try:
        result = node.run(p, h, "fetch_dataset.py", want, timeout=3600)
    except DatasetError as e:
        # The same rows are the same at the next try.
        raise AirflowFailException(str(e)) from e
    questions = result.pop("held_out")
    log.info(
        "[%s] %s rows, longest %s tokens, no database both in training and held out: %s",
        host,
        p.dataset_commit[:12],
        result["longest"],
        result["counts"],
    )
    if questions:
        Record.of(p.key).put("held_out", questions)
    # Where it lies on this host, as every host calls it.
    return result | {
        "host": host,
        "train_path": f"{p.data_dir}/split-{p.recipe.held_out_percent}-{TEMPLATE_HASH}/train.jsonl",
    }


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


def suite_of(p: RunPlan) -> list[suites.Question]:
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
    result = scoring.score(served["name"], questions, answers)
    Record.of(p.key).put(which, scoring.dump(result))
    log.info(
        "%s: %d of %d right (%d strict), %d do not run %s, reference prompts %s",
        result.model,
        result.matched,
        result.questions,
        result.strict,
        result.invalid,
        result.trouble or "",
        result.reference,
    )
    return result.summary


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
            "%s: its task did not end well, see before.hosted; the run goes on without", wanted["label"]
        )
        hosted = {"answers": {}, "trouble": "its task failed"}
    return wanted | {"answers": hosted["answers"], "trouble": hosted["trouble"]}


def _reference_score(p: RunPlan, hosted: dict[str, Any] | None) -> tuple[scoring.Score | None, str]:
    """The hosted model's score over what it answered, now or before, and its column's name."""
    if not hosted:
        return None, ""
    questions = suite_of(p)
    prompts = {q.id: render(q.question, q.context) for q in questions}
    if hosted["answers"]:
        hosted.remember(hosted["model"], hosted["url"], prompts, hosted["answers"])
    answers = hosted.known(hosted["model"], hosted["url"], prompts)
    label = hosted["label"] + (f" ({hosted['trouble'][:60]})" if hosted["trouble"] else "")
    asked = [q for q in questions if q.id in answers]
    return scoring.score(hosted["model"], asked, answers), label


def judge(
    plan: dict[str, Any], before: dict[str, Any], after: dict[str, Any], hosted: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The before/after table and the verdict. A model that is held back is a green run."""
    p = RunPlan.model_validate(plan)
    record = Record.of(p.key)
    was, now = (scoring.Score.model_validate(record.get(which)) for which in ("before", "after"))
    shown, label = _reference_score(p, hosted)
    if shown:
        record.put("reference", scoring.dump(shown))
    decision = gate.decide(was, now, p.gate)
    text = scoring.table(was, now, shown, label)
    log.info("\n%s\n\n%s", text, decision)
    record.put("verdict", decision.model_dump(mode="json") | {"table": text})
    remember_trained(p.fingerprint, p.run_id)
    return decision.model_dump(mode="json", exclude={"gained", "lost"})
