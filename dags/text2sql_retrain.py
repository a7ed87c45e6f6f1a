"""
Retrain a text-to-SQL model, and serve it only if it answers better.

```
plan ─► preflight[host] ─► master_ip ─► all_reduce ─► download_dataset[host] ─► before ─► train ─► convert_adapter ─► merge_adapter ─► after ─► gate ─► register ─► approve ─► promote ─► prune[host]
 │                                                                                │                                                     │                            └─► (held back: green, the champion stays)
 └─ nothing new: the run ends here, green, in seconds                             └── serve, ask, stop ──┘                              └── serve, ask, stop
```

**At 3 a.m.** The first red task says what was found, what was wanted and what to do, on the last line of its log. Clear it when that is done:
training that still runs is found again, never started twice. What is served is not touched before `promote`.

**promote** is skipped when the gate, the form or a person holds the new model back; `gate` says why, with the before/after table. `approve` waits for a
person where the form says `ask`: the table and two buttons are on its page, under Required Actions. To go back to the model before: the DAG `text2sql_promote`.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task, task_group

from sqltune.config.form import params
from sqltune.operators.all_reduce import AllReduceOperator
from sqltune.operators.approval import AskOperator
from sqltune.operators.convert import ConvertAdapterOperator
from sqltune.operators.merge import MergeAdapterOperator
from sqltune.operators.reap import ReapGangOperator
from sqltune.operators.train import TrainOperator
from sqltune.serving.hosted import CONNECTION, ask_hosted
from sqltune.tasks import dataset, evaluate, gate, preflight, promote, prune, reference, register
from sqltune.tasks import plan as planned

STEP = {"retries": 1, "retry_delay": timedelta(seconds=20)}
SCHEDULE = os.environ.get("SQLTUNE_SCHEDULE", "0 2 * * *")
REFERENCE_PYTHON = os.environ.get("SQLTUNE_REFERENCE_PYTHON", "/opt/sqltune/reference-env/bin/python")


@task_group(group_id="before")
def ask_before(plan, facts, downloaded):
    """The champion, or the base model, answers the suite; the hosted model answers it too, within its budget, as a reference."""
    served = task(evaluate.serve, task_id="serve", execution_timeout=timedelta(minutes=30), **STEP)(
        plan, facts, "before"
    )
    asked = task(evaluate.ask, task_id="ask", execution_timeout=timedelta(hours=2), **STEP)(
        plan, served, "before"
    )
    stopped = task(evaluate.stop_serving, task_id="stop", retries=3, retry_delay=timedelta(seconds=20))(
        plan, "before", served
    )
    hosted_questions = task(reference.reference_questions, task_id="hosted_questions")(plan, REFERENCE_PYTHON)
    # A reference is a courtesy: where there is none, or it fails, the run goes on without it.
    hosted = task.external_python(
        python=REFERENCE_PYTHON,
        expect_airflow=False,
        task_id="hosted",
        execution_timeout=timedelta(minutes=30),
        skip_on_exit_code=1,
    )(ask_hosted)(
        hosted_questions,
        f"{{{{ (conn.get('{CONNECTION}').password or '') if conn.get('{CONNECTION}') else '' }}}}",
    )
    told = task(reference.reference_answers, task_id="reference", trigger_rule="all_done")(
        hosted_questions, hosted
    )
    downloaded >> [served, hosted_questions]
    asked >> stopped.as_teardown(setups=served)
    return {"asked": asked, "stopped": stopped, "reference": told}


@task_group(group_id="after")
def ask_after(plan, facts, merged):
    """The candidate answers the same suite, served under a name of its own."""
    served = task(evaluate.serve, task_id="serve", execution_timeout=timedelta(minutes=30), **STEP)(
        plan, facts, "after", merged
    )
    asked = task(evaluate.ask, task_id="ask", execution_timeout=timedelta(hours=2), **STEP)(
        plan, served, "after"
    )
    stopped = task(evaluate.stop_serving, task_id="stop", retries=3, retry_delay=timedelta(seconds=20))(
        plan, "after", served
    )
    asked >> stopped.as_teardown(setups=served)
    return {"asked": asked, "stopped": stopped}


@dag(
    dag_id="text2sql_retrain",
    description="Retrain a text-to-SQL model on its cluster; serve it only if it answers better",
    doc_md=__doc__,
    # No start_date, and no run at once: either would begin to train the moment the DAG is switched on, for the night before.
    # A zero says it; with False, the default, Airflow still makes the past run for a tenth of the time between two.
    schedule=CronTriggerTimetable(SCHEDULE, timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(days=7),
    params=params(),
    tags=["text2sql", "training"],
    default_args={"owner": "sqltune", "retries": 0},
)
def text2sql_retrain():
    plan = task.short_circuit(planned.plan, task_id="plan", execution_timeout=timedelta(minutes=5), **STEP)()
    hosts = task(planned.hosts, task_id="hosts")(plan)
    facts = (
        task(preflight.preflight, task_id="preflight", execution_timeout=timedelta(minutes=10))
        .partial(plan=plan)
        .expand(host=hosts)
    )
    master = task(preflight.master_ip, task_id="master_ip")(plan, facts)
    reduced = AllReduceOperator(task_id="all_reduce", plan=plan, master_addr=master, **STEP)
    storages = task(planned.storages, task_id="storages")(plan)
    datasets = (
        task(
            dataset.download_dataset, task_id="download_dataset", execution_timeout=timedelta(hours=2), **STEP
        )
        .partial(plan=plan)
        .expand(host=storages)
    )
    before = ask_before(plan, facts, datasets)

    trained = TrainOperator(
        task_id="train",
        plan=plan,
        master_addr=master,
        datasets=datasets,
        retries=1,
        retry_delay=timedelta(seconds=30),
    )
    reap = ReapGangOperator(
        task_id="reap", task="train", plan=plan, retries=3, retry_delay=timedelta(seconds=30)
    )
    adapter = ConvertAdapterOperator(task_id="convert_adapter", plan=plan, trained=trained.output, **STEP)
    merged = MergeAdapterOperator(task_id="merge_adapter", plan=plan, adapter=adapter.output, **STEP)
    after = ask_after(plan, facts, merged.output)
    verdict = task(gate.judge, task_id="gate")(plan, before["asked"], after["asked"], before["reference"])
    number = task(register.register, task_id="register", execution_timeout=timedelta(minutes=10), **STEP)(
        plan, facts, trained.output, adapter.output, merged.output, verdict
    )
    approved = AskOperator(
        task_id="approve",
        plan=plan,
        verdict=verdict,
        response_timeout=timedelta(days=3),
        defaults="Reject",
        retries=3,
        retry_delay=timedelta(seconds=20),
    )
    # none_failed: nobody may have been asked.
    promoted = task(
        promote.promote,
        task_id="promote",
        trigger_rule="none_failed",
        execution_timeout=timedelta(minutes=40),
        **STEP,
    )(plan, verdict, number)
    pruned = (
        task(
            prune.prune,
            task_id="prune",
            trigger_rule="none_failed",
            execution_timeout=timedelta(minutes=40),
            **STEP,
        )
        .partial(plan=plan)
        .expand(host=storages)
    )

    reduced >> datasets
    # GPUs are free again before they are trained on, and before the new champion is loaded beside the old one.
    [before["asked"], before["stopped"]] >> trained >> reap.as_teardown(setups=trained)
    reap >> adapter
    [after["stopped"], number] >> approved >> promoted >> pruned


text2sql_retrain()
