"""The tasks as the DAG files name them: parameters and documentation, without what the work needs.

A DAG file is read every 30 seconds, and again by each task's process before its own work. A function here
imports its module when Airflow calls it, so that neither pays for the imports of twenty other tasks.
Arguments and results are XCom's JSON; the functions behind validate them (`sqltune.contracts.typed_task`),
and say what they raise.
"""

from __future__ import annotations

from typing import Any


def plan() -> Any:
    """Read the form, check all of it, and pin what it leaves open."""
    from sqltune.tasks import plan as module

    return module.plan()


def hosts(plan: Any) -> Any:
    """Names of the plan's hosts."""
    from sqltune.tasks import plan as module

    return module.hosts(plan)


def storages(plan: Any) -> Any:
    """One host for each storage: all hosts, or the master alone where storage is shared."""
    from sqltune.tasks import plan as module

    return module.storages(plan)


def strategies(plan: Any) -> Any:
    """The DeepSpeed strategies to measure before the training; none where the plan has one already."""
    from sqltune.tasks import plan as module

    return module.strategies(plan)


def preflight(plan: Any, host: str) -> Any:
    """Copy the scripts to a host, and check that it can do its part of the run."""
    from sqltune.tasks import preflight as module

    return module.preflight(plan, host)


def master_ip(plan: Any, facts: Any) -> Any:
    """Compare the hosts, and return the IPv4 address of the master's interface."""
    from sqltune.tasks import preflight as module

    return module.master_ip(plan, facts)


def download_dataset(plan: Any, host: str) -> Any:
    """Download, verify and split the pinned commit on one host."""
    from sqltune.tasks import dataset as module

    return module.download_dataset(plan, host)


def serve(plan: Any, facts: Any, stage: str, exported: Any = None) -> Any:
    """Serve the model of a stage; it is ready once it has answered a prompt."""
    from sqltune.tasks import evaluate as module

    return module.serve(plan, facts, stage, exported)


def ask(plan: Any, served: Any, stage: str) -> Any:
    """Evaluate the served model on the suite, store its answers, and score them."""
    from sqltune.tasks import evaluate as module

    return module.ask(plan, served, stage)


def stop_serving(plan: Any, stage: str, served: Any = None) -> None:
    """Teardown: stop the evaluated model, whatever happened; the champion serves on."""
    from sqltune.tasks import evaluate as module

    module.stop_serving(plan, stage, served)


def reference_questions(plan: Any, python: str) -> Any:
    """The questions that the hosted model has not answered in an earlier run, and its budget."""
    from sqltune.tasks import reference as module

    return module.reference_questions(plan, python)


def reference_answers(batch: Any, reply: Any) -> Any:
    """Combine what the two tasks before left, however they ended."""
    from sqltune.tasks import reference as module

    return module.reference_answers(batch, reply)


def judge(plan: Any, before: Any, after: Any, hosted: Any = None) -> Any:
    """Compare both models, and decide whether the candidate may be served."""
    from sqltune.tasks import gate as module

    return module.judge(plan, before, after, hosted)


def register(plan: Any, facts: Any, trained: Any, exported: Any, verdict: Any) -> Any:
    """Register the candidate with its lineage, whatever the verdict, and queue it for MLflow."""
    from sqltune.tasks import register as module

    return module.register(plan, facts, trained, exported, verdict)


def promote(plan: Any, verdict: Any, number: Any, tried: Any = None) -> Any:
    """Serve the candidate under the champion's name, and record the promotion."""
    from sqltune.tasks import promote as module

    return module.promote(plan, verdict, number, tried)


def end_trial(plan: Any) -> Any:
    """Teardown: end the candidate's trial, and stop its worker unless it was promoted."""
    from sqltune.tasks import trial as module

    return module.end_trial(plan)


def choose_version() -> Any:
    """The version that the form names, or the one that was served before the champion."""
    from sqltune.tasks import promote as module

    return module.choose_version()


def serve_chosen(chosen: Any) -> Any:
    """Serve the version that `choose_version` returned."""
    from sqltune.tasks import promote as module

    return module.serve_chosen(chosen)


def prune(plan: Any, host: str) -> Any:
    """Remove from one host what the cluster's `keep` does not name, and report its disk usage."""
    from sqltune.tasks import prune as module

    return module.prune(plan, host)


def send_to_mlflow() -> int:
    """Send the queue to MLflow."""
    from sqltune.tasks import mlflow as module

    return module.send_to_mlflow()


def check_disks() -> dict[str, float]:
    """Look at the disks of all hosts' work folders and of the logs; tell of those that are nearly full."""
    from sqltune.tasks import disks as module

    return module.check_disks()


def apply_retention() -> dict[str, float] | None:
    """Remove what is too old, and report the sizes; nothing where that was done today with these settings."""
    from sqltune.tasks import retention as module

    return module.apply_retention()


def list_waiting() -> Any:
    """One line for each revision that waits: what it is, and for what it waits."""
    from sqltune.tasks import revisions as module

    return module.list_waiting()
