"""The tasks as the DAG files name them: parameters and documentation, without what the work needs.

A DAG file is read every 30 seconds, and again by each task's process before its own work. A function here
imports its module when Airflow calls it, so that neither pays for the imports of twenty other tasks.
Arguments and results are XCom's JSON; the functions behind validate them (`sqltune.contracts.typed_task`).
"""

from __future__ import annotations

from typing import Any


def plan() -> Any:
    """Read the form, check all of it, and pin what it leaves open.

    Of two runs with the same fingerprint one trains; the other is put off until that has ended (`turns`).

    Returns:
        The plan; False when a run with the same fingerprint was trained before, which ends this run green.

    Raises:
        AirflowFailException: The form has mistakes, or the training cannot fit the cluster's GPUs; a retry
            would find the same.
        AirflowRescheduleException: Another run trains the same plan; Airflow starts the task again later.
        LogStoreError: The log store cannot be written: the training could not end before it can.
    """
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
    """Copy the scripts to a host, and check that it can do its part of the run.

    Raises:
        HostError: All problems of the host at once, each with its remedy.
    """
    from sqltune.tasks import preflight as module

    return module.preflight(plan, host)


def master_ip(plan: Any, facts: Any) -> Any:
    """Compare the hosts, and return the IPv4 address of the master's interface.

    Raises:
        HostError: The hosts have different base models or package versions.
    """
    from sqltune.tasks import preflight as module

    return module.master_ip(plan, facts)


def download_dataset(plan: Any, host: str) -> Any:
    """Download, verify and split the pinned commit on one host.

    The master's response holds the sampled held-out questions and the data check, which become part of the
    run's record.

    Raises:
        AirflowFailException: The rows cannot be used, or exceed a limit of the recipe; a retry would read the
            same ones.
    """
    from sqltune.tasks import dataset as module

    return module.download_dataset(plan, host)


def serve(plan: Any, facts: Any, stage: str, merged: Any = None) -> Any:
    """Serve the model of a stage; it is ready once it has answered a prompt.

    Nothing is started when all its answers are known from an earlier run.
    """
    from sqltune.tasks import evaluate as module

    return module.serve(plan, facts, stage, merged)


def ask(plan: Any, served: Any, stage: str) -> Any:
    """Evaluate the served model on the suite, store its answers, and score them.

    A retry sends only the questions without an answer.
    """
    from sqltune.tasks import evaluate as module

    return module.ask(plan, served, stage)


def stop_serving(plan: Any, stage: str, served: Any = None) -> None:
    """Teardown: stop the evaluated model, whatever happened; the champion serves on."""
    from sqltune.tasks import evaluate as module

    module.stop_serving(plan, stage, served)


def reference_questions(plan: Any, python: str) -> Any:
    """The questions that the hosted model has not answered in an earlier run, and its budget.

    Args:
        plan: The run plan.
        python: Python of the environment with zhipuai.

    Raises:
        AirflowSkipException: The environment is missing, or the Connection's extra has mistakes.
    """
    from sqltune.tasks import reference as module

    return module.reference_questions(plan, python)


def reference_answers(batch: Any, reply: Any) -> Any:
    """Combine what the two tasks before left, however they ended.

    Args:
        batch: The questions; None without a hosted reference.
        reply: What the hosted model answered; None when its task failed.
    """
    from sqltune.tasks import reference as module

    return module.reference_answers(batch, reply)


def judge(plan: Any, before: Any, after: Any, hosted: Any = None) -> Any:
    """Compare both models, and decide whether the candidate may be served.

    A run whose candidate is held back ends green.

    Args:
        plan: The run plan.
        before: Score of the model that is served now. The arguments make the order; the answers are read
            from the record.
        after: Score of the candidate.
        hosted: Answers of the hosted reference, for the table only.
    """
    from sqltune.tasks import gate as module

    return module.judge(plan, before, after, hosted)


def register(plan: Any, facts: Any, trained: Any, adapter: Any, merged: Any, verdict: Any) -> Any:
    """Register the candidate with its lineage, whatever the verdict, and queue it for MLflow.

    Returns:
        Number of the version; a retry gets the same one.
    """
    from sqltune.tasks import register as module

    return module.register(plan, facts, trained, adapter, merged, verdict)


def promote(plan: Any, verdict: Any, number: Any) -> Any:
    """Serve the candidate under the champion's name, and record the promotion.

    Raises:
        AirflowSkipException: The gate or the form holds the candidate back, or another version was promoted
            since the comparison.
    """
    from sqltune.tasks import promote as module

    return module.promote(plan, verdict, number)


def choose_version() -> Any:
    """The version that the form names, or the one that was served before the champion.

    Raises:
        AirflowFailException: The version or cluster does not exist; nothing has been changed.
    """
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
    """Send the queue to MLflow.

    Returns:
        Number of changes that stay in the queue.

    Raises:
        AirflowFailException: The oldest change has been queued for more than `OVERDUE`.
    """
    from sqltune.tasks import mlflow as module

    return module.send_to_mlflow()


def check_disks() -> dict[str, float]:
    """Look at the disk of every host's work folder and of the logs, and tell of those that are nearly full.

    A host that does not answer is left out; what was told of it stays.

    Returns:
        Free space in GiB, by cluster and host.

    Raises:
        SqltuneError: A disk could not be looked at for an unexpected reason; the others were, and were told.
    """
    from sqltune.tasks import disks as module

    return module.check_disks()


def apply_retention() -> dict[str, float] | None:
    """Remove what is too old, and report the sizes; nothing where that was done today with these settings.

    Returns:
        What was removed, and the sizes afterwards in GiB, as far as they are known; None where it was done.

    Raises:
        ConfigError: A setting is wrong; nothing was removed.
    """
    from sqltune.tasks import retention as module

    return module.apply_retention()


def list_waiting() -> Any:
    """One line for each revision that waits: what it is, and for what it waits."""
    from sqltune.tasks import revisions as module

    return module.list_waiting()
