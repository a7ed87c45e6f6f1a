"""The real DAG with stand-ins for everything that a trial is not: for a DAG file of a test's Airflow.

The form's `seed` chooses what happens. Each scenario has a cluster of its own, so that no run waits for
another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from sqltune import node
from sqltune.config.trial import Trial
from sqltune.node_contracts.serving import ServingResponse
from sqltune.node_contracts.trial import TrialArm, TrialReport
from sqltune.operators import all_reduce, data_approval, export, hosted_reference, probe, reap, train
from sqltune.tasks import champion, interface, promote
from ssh_gang.errors import HostError
from tests.conftest import ROOT
from tests.verdicts import COMPARISON

SCENARIOS = ("off", "kept", "held", "broken", "judged", "rejected", "stopped")
"""No trial; one that the candidate passes; one that it does not; one that fails; the gate holds the candidate
back; a person does; a person marks the run as failed while it waits."""
ACTIONS = "TESTS_OF_TRIALS"
"""Environment variable with the folder in which each scenario's requests to the serving host are listed."""


class Nothing(EmptyOperator):
    """In place of a gang; the scheduler itself marks it as succeeded."""

    def __init__(
        self,
        *,
        plan: Any = None,
        master_addr: Any = None,
        datasets: Any = None,
        probed: Any = None,
        trained: Any = None,
        task: Any = None,
        strategy: Any = None,
        response_timeout: Any = None,
        defaults: Any = None,
        notifiers: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)


def stub() -> None:
    """Put the stand-ins in place; what reads the DAG file afterwards gets them."""
    all_reduce.AllReduceOperator = Nothing  # type: ignore[misc, assignment]
    data_approval.DataApprovalOperator = Nothing  # type: ignore[misc, assignment]
    export.ExportModelOperator = Nothing  # type: ignore[misc, assignment]
    probe.ProbeOperator = Nothing  # type: ignore[misc, assignment]
    reap.ReapGangOperator = Nothing  # type: ignore[misc, assignment]
    train.TrainOperator = Nothing  # type: ignore[misc, assignment]
    hosted_reference.hosted_reference = _hosted_reference
    champion.announce = lambda context, result: None
    node.run = _run  # type: ignore[assignment]
    for function in (plan, hosts, storages, strategies, register, judge):
        setattr(interface, function.__name__, function)
    for name in ("preflight", "master_ip", "download_dataset", "serve", "ask", "stop_serving", "prune"):
        setattr(interface, name, _nothing_of(getattr(interface, name)))
    for name in ("reference_questions", "reference_answers"):
        setattr(interface, name, _nothing_of(getattr(interface, name)))
    interface.promote = _promote
    source = ROOT / "dags" / "text2sql_retrain.py"
    exec(compile(source.read_text(), str(source), "exec"), {"__name__": "text2sql_retrain"})


def plan() -> Any:
    """The plan of the scenario's run, on a cluster that serves version 1."""
    from sqltune.config.plan import Champion
    from sqltune.records import installation, runs
    from sqltune.registry import versions
    from tests.plans import run_plan
    from tests.versions import registered

    context = get_current_context()
    scenario = SCENARIOS[context["params"]["seed"]]
    served = registered(f"before-{scenario}", scenario)
    versions.promote(served, "passed the gate", served.run_id)
    made = run_plan(
        context["dag_run"].run_id,
        cluster_name=scenario,
        champion=Champion(version=1, merged_path=served.merged_path, model_hash=served.model_hash),
        installation=installation.name(),
        promote="ask" if scenario == "rejected" else "yes",
    )
    mode = "off" if scenario == "off" else "canary"
    serving = made.cluster.serving.model_copy(update={"trial": Trial(mode=mode), "api_key_env": None})
    made = made.model_copy(update={"cluster": made.cluster.model_copy(update={"serving": serving})})
    runs.put_plan(made)
    return made.model_dump(mode="json")


def hosts(plan: Any) -> Any:
    """One host."""
    return ["a"]


def storages(plan: Any) -> Any:
    """One host."""
    return ["a"]


def strategies(plan: Any) -> Any:
    """None, as for most runs."""
    return []


def judge(plan: Any, before: Any, after: Any, hosted: Any = None) -> Any:
    """The gate's verdict: passed, except where the scenario says otherwise."""
    from sqltune.config.plan import RunPlan
    from sqltune.evaluation import stored
    from sqltune.evaluation.verdict import RecordedVerdict, Verdict

    verdict = Verdict.model_validate(
        {"passed": plan["cluster_name"] != "judged", "rules": [], "comparison": COMPARISON}
    )
    stored.put_verdict(RunPlan.model_validate(plan).key, RecordedVerdict.of(verdict, "the table"))
    return verdict.model_dump(mode="json")


def register(plan: Any, facts: Any, trained: Any, exported: Any, verdict: Any) -> Any:
    """Version 2."""
    from tests.versions import registered

    return registered(plan["run_id"], plan["cluster_name"]).number


def _promote(plan: Any, verdict: Any, number: Any, tried: Any = None) -> Any:
    """What decides is real; nothing is served."""
    from sqltune.config.plan import RunPlan
    from sqltune.evaluation.verdict import Verdict

    promote._require_permission(
        RunPlan.model_validate(plan),
        Verdict.model_validate(verdict),
        Verdict.model_validate(tried) if tried else None,
    )
    return number


def _nothing_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the same parameters that returns nothing."""
    import functools

    @functools.wraps(function)
    def nothing(*args: Any, **kwargs: Any) -> None:
        """Nothing."""

    return nothing


def _hosted_reference(task_id: str) -> Callable[..., Any]:
    @task(task_id=task_id)
    def hosted(questions: Any, key: Any) -> None:
        raise AirflowSkipException("no environment")

    return hosted


def _run(site: Any, host: Any, script: Any, request: Any, time_limit: float = 0, env: Any = None) -> Any:
    """The serving host of a scenario."""
    scenario = site.cluster_name
    with (Path(os.environ[ACTIONS]) / scenario).open("a") as file:
        file.write(f"{request.action}\n")
    if request.action == "trial" and scenario == "broken":
        raise HostError("host-a: the candidate did not answer")
    failed = 50 if scenario == "held" else 0
    left = 0.0 if request.action == "status" else 600.0 if scenario == "stopped" else 1.0
    report = TrialReport(
        id=getattr(site, "key", ""),
        mode="canary",
        seconds_left=left,
        champion=TrialArm(version="1", answered=100, failed=0, median=1.0),
        candidate=TrialArm(version="2", answered=100 - failed, failed=failed, median=1.0),
        same=0,
        different=0,
        dropped=0,
    )
    return ServingResponse(serving={}, running=True, api="http://a/v1", trial=report)
