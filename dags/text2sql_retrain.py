"""Retrain a text-to-SQL model, and serve it only if it answers better.

```
plan ─► preflight[host] ─► master_ip ─► all_reduce ─► download_dataset[storage]
     ─► approve_data ─► before (serve, evaluate, stop) ─► probe[strategy] ─► train
     ─► export_model ─► after (serve, evaluate, stop) ─► gate
     ─► register ─► approve ─► trial ─► promote ─► prune[storage]
plan ─► (nothing new: the run ends here, green, in seconds)
gate ─► (held back: green, the champion stays)
```

**At 3 a.m.** The last line of the first red task's log says what was found, what was expected and what to
do. Do that, then clear the task: training that still runs is found again, and never started twice. The
model that is served stays untouched until `promote`. docs/operating.md lists what may be seen, with cause and
remedy.

**probe** is skipped unless the form or the recipe says `probe: true` and a strategy is not measured here yet.

**trial** is skipped unless the cluster file says `serving.trial.mode: shadow` or `canary`. It waits while
the new model answers copies of users' requests, or a share of them, beside the one that is served. If it
fails more often or is slower than it may be, it is held back: the log of `trial` says why, and the run ends
green. `end_trial` ends the trial, whatever happens.

**promote** is skipped when the gate, the trial, the form or a person holds the new model back; `gate` says
why, with the before/after table. Where the form says `ask`, `approve` waits for a person: the table and two
buttons are on its page, under Required Actions. To go back to the previous model, trigger the DAG
`text2sql_promote`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from airflow.sdk import TaskGroup, dag, task

from sqltune.alerts.deadline import deadline
from sqltune.alerts.notifier import (
    ApprovalNeeded,
    DataDecisionNeeded,
    HeldBack,
    Promoted,
    RunFailed,
    leave_cause,
)
from sqltune.config.form import params
from sqltune.environment import positive, setting
from sqltune.operators.all_reduce import AllReduceOperator
from sqltune.operators.approval import APPROVE, ModelApprovalOperator
from sqltune.operators.data_approval import APPROVE_DATA, DataApprovalOperator
from sqltune.operators.export import ExportModelOperator
from sqltune.operators.hosted_reference import API_KEY, PYTHON, hosted_reference
from sqltune.operators.needless import STRATEGIES, skip_after_gate, skip_needless_tasks
from sqltune.operators.probe import ProbeOperator
from sqltune.operators.reap import ReapGangOperator
from sqltune.operators.train import TrainOperator
from sqltune.operators.trial import END_TRIAL, TRIAL, TrialOperator
from sqltune.tasks import champion, finish, interface
from sqltune.timetables.revisions import schedule

DAG_ID = "text2sql_retrain"
SCHEDULE = setting("SQLTUNE_SCHEDULE", "0 2 * * *")
ACTIVE_RUNS = positive("SQLTUNE_MAX_ACTIVE_RUNS", 1)
RETRY: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(seconds=20)}
# Of a gang that its task watches itself at first: a restart of the worker ends it then, and costs a try.
RETRY_PATIENT: dict[str, Any] = RETRY | {"retries": 2}
TEARDOWN: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=20)}


def step(function: Callable[..., Any], task_id: str, minutes: float, **options: Any) -> Any:
    """A task that is retried once, with a time limit."""
    return task(task_id=task_id, execution_timeout=timedelta(minutes=minutes), **(RETRY | options))(function)


class Evaluation(NamedTuple):
    """The tasks of one model's evaluation."""

    served: Any
    evaluated: Any
    stopped: Any


def evaluate_model(plan: Any, facts: Any, stage: str, exported: Any = None, **options: Any) -> Evaluation:
    """Serve one model, let it answer the questions, and stop it: the one served now, or the candidate."""
    with TaskGroup(stage):
        served = step(interface.serve, "serve", minutes=30, **options)(plan, facts, stage, exported)
        evaluated = step(interface.ask, "evaluate", minutes=120)(plan, served, stage)
        stopped = task(task_id="stop", **TEARDOWN)(interface.stop_serving)(plan, stage, served)
        evaluated >> stopped.as_teardown(setups=served)
    return Evaluation(served, evaluated, stopped)


def ask_hosted_reference(plan: Any, datasets: Any) -> Any:
    """A hosted model answers the same questions for comparison. It is optional, and never fails a run."""
    with TaskGroup("reference"):
        questions = task(task_id="questions")(interface.reference_questions)(plan, PYTHON)
        replies = hosted_reference("hosted")(questions, API_KEY)
        datasets >> questions
        answers = task(task_id="answers", trigger_rule="all_done")(interface.reference_answers)
        return answers(questions, replies)


@dag(
    dag_id=DAG_ID,
    description="Retrain a text-to-SQL model on its cluster; serve it only if it answers better",
    doc_md=__doc__,
    # Without a start_date: with one, switching the DAG on would train at once, for the night before.
    schedule=schedule(SCHEDULE, DAG_ID),
    catchup=False,
    # More than one is for several clusters: the runs of one wait for one another.
    max_active_runs=ACTIVE_RUNS,
    dagrun_timeout=timedelta(days=7),
    on_failure_callback=RunFailed(),
    deadline=deadline(),
    params=params(),
    tags=["text2sql", "training"],
    default_args={"owner": "sqltune", "retries": 0, "on_failure_callback": leave_cause},
)
def text2sql_retrain() -> None:
    """The chain; see the diagram above."""
    plan = task.short_circuit(
        task_id="plan", execution_timeout=timedelta(minutes=20), post_execute=skip_needless_tasks, **RETRY
    )(interface.plan)()
    hosts = task(task_id="hosts")(interface.hosts)(plan)
    storages = task(task_id="storages")(interface.storages)(plan)
    strategies = task(task_id=STRATEGIES)(interface.strategies)(plan)
    facts = (
        step(interface.preflight, "preflight", minutes=10, retries=0).partial(plan=plan).expand(host=hosts)
    )
    master = task(task_id="master_ip")(interface.master_ip)(plan, facts)
    reduced = AllReduceOperator(task_id="all_reduce", plan=plan, master_addr=master, **RETRY_PATIENT)
    datasets = (
        step(interface.download_dataset, "download_dataset", minutes=120)
        .partial(plan=plan)
        .expand(host=storages)
    )
    data_approved = DataApprovalOperator(
        task_id=APPROVE_DATA,
        plan=plan,
        response_timeout=timedelta(days=3),
        defaults="Reject",
        notifiers=DataDecisionNeeded(),
        **TEARDOWN,
    )

    # approve_data is skipped where no decision is needed.
    before = evaluate_model(plan, facts, "before", trigger_rule="none_failed_min_one_success")
    hosted = ask_hosted_reference(plan, datasets)

    probed = ProbeOperator.partial(
        task_id="probe",
        plan=plan,
        master_addr=master,
        datasets=datasets,
        max_active_tis_per_dagrun=1,
        map_index_template="{{ task.strategy }}",
        **RETRY,
    ).expand(strategy=strategies)
    # probe is skipped where nothing is to be measured.
    trained = TrainOperator(
        task_id="train",
        plan=plan,
        master_addr=master,
        datasets=datasets,
        probed=probed.output,
        trigger_rule="none_failed_min_one_success",
        **RETRY,
    )
    reap = ReapGangOperator(task_id="reap", task="train", plan=plan, **TEARDOWN)
    exported = ExportModelOperator(task_id="export_model", plan=plan, trained=trained.output, **RETRY_PATIENT)

    after = evaluate_model(plan, facts, "after", exported.output)

    judged = task(task_id="gate", post_execute=skip_after_gate, on_success_callback=HeldBack(), **RETRY)
    verdict = judged(interface.judge)(plan, before.evaluated, after.evaluated, hosted)
    number = step(interface.register, "register", minutes=10)(
        plan, facts, trained=trained.output, exported=exported.output, verdict=verdict
    )
    approved = ModelApprovalOperator(
        task_id=APPROVE,
        plan=plan,
        verdict=verdict,
        response_timeout=timedelta(days=3),
        defaults="Reject",
        notifiers=ApprovalNeeded(),
        **TEARDOWN,
    )
    # none_failed: approve is skipped where no approval is needed, and the trial where there is none.
    tried = TrialOperator(
        task_id=TRIAL,
        plan=plan,
        verdict=verdict,
        number=number,
        execution_timeout=timedelta(minutes=40),
        trigger_rule="none_failed",
        on_success_callback=HeldBack(),
        **RETRY,
    )
    serve = step(
        interface.promote,
        "promote",
        minutes=40,
        trigger_rule="none_failed",
        on_success_callback=Promoted(),
        outlets=[champion.CHAMPION],
        post_execute=champion.announce,
    )
    promoted = serve(plan, verdict, number, tried.output)
    trial_ended = task(task_id=END_TRIAL, execution_timeout=timedelta(minutes=30), **TEARDOWN)(
        interface.end_trial
    )(plan)
    pruned = (
        step(interface.prune, "prune", minutes=40, trigger_rule="none_failed")
        .partial(plan=plan)
        .expand(host=storages)
    )

    reduced >> datasets >> data_approved
    [datasets, data_approved] >> before.served
    # The GPUs are free before anything is trained, and before the new champion is loaded beside the old one.
    [before.evaluated, before.stopped] >> probed
    [before.evaluated, before.stopped] >> trained >> reap.as_teardown(setups=trained)
    reap >> exported
    # A rejection skips what directly follows approve.
    [after.stopped, number] >> approved >> [tried, promoted]
    # The gate may skip approve while the candidate is still being stopped.
    after.stopped >> [tried, promoted]
    promoted >> pruned
    # Without a setup: it is to run where the trial itself fails.
    [tried, promoted] >> trial_ended.as_teardown()
    finished = task(task_id=finish.FINISH, execution_timeout=timedelta(minutes=5), **TEARDOWN)(finish.finish)
    # Not after prune, which would then no longer count for the run's state.
    [before.stopped, reap, after.stopped, trial_ended] >> finished().as_teardown(on_failure_fail_dagrun=True)


text2sql_retrain()
