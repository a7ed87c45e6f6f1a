"""`probe: true`: every strategy is measured on both hosts, and the fastest one is trained with."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from types import SimpleNamespace

import pytest

from sqltune.config.plan import RunPlan
from sqltune.estimate.estimating import FASTEST_FIRST
from sqltune.operators.probe import ProbeOperator
from sqltune.records import attempts, installation, runs, strategies
from sqltune.records.measured_strategy import MeasuredStrategy, fastest
from ssh_gang.event import GangEvent
from ssh_gang.hook import GangHook
from ssh_gang.model import gang_name, slug
from ssh_gang.watch import Watch
from tests.chain.conftest import DAG, FORM, STATE
from tests.chain.training import processes
from tests.waiting import wait_until

pytestmark = pytest.mark.chaos

LOG = logging.getLogger("test")
PROBED = FORM | {"probe": True, "max_steps": 24, "promote": "hold"}


def trained(lab, seed: int) -> tuple[str, dict[str, str]]:
    """A run that has ended well, and the states of its tasks."""
    run = lab.airflow.trigger(DAG, PROBED | {"seed": seed})
    state, tasks = lab.until_ended(run, 900)
    assert state == "success", tasks
    return run, tasks


@pytest.fixture(scope="module")
def first(lab) -> tuple[str, dict[str, str]]:
    return trained(lab, 31)


def plan_of(lab, run: str) -> RunPlan:
    return RunPlan.model_validate(lab.airflow.xcom(DAG, run, "plan"))


def test_each_strategy_ran_on_both_hosts_one_after_the_other(lab, first):
    run, _ = first
    assert plan_of(lab, run).strategies == list(FASTEST_FIRST)
    probes = [t for t in lab.airflow.tasks(DAG, run) if t["task_id"] == "probe"]
    by_index = sorted(probes, key=lambda t: t["map_index"])
    assert [(t["state"], t["rendered_map_index"]) for t in by_index] == [
        ("success", s) for s in FASTEST_FIRST
    ]
    for index, strategy in enumerate(FASTEST_FIRST):
        log = lab.log_text(run, "probe", index)
        assert log.count(f"--deepspeed deepspeed_{strategy}") == 2
        assert "--nnodes=2 --node_rank=1" in log
        assert "Iter(train) [20/20]" in log
        assert lab.airflow.xcom(DAG, run, "probe", index)["error"] == ""
    folders = f"hosts/*/home/code/runs/{slug(run)}/probe/*"
    assert len([*STATE.glob(f"{folders}/run.json")]) == 2 * len(FASTEST_FIRST)
    assert not [*STATE.glob(f"{folders}/*.pth")]
    gangs = [a for a in attempts.of_run(slug(run)) if a.task == "probe"]
    assert {a.state for a in gangs} == {"succeeded"}
    assert sorted(a.attempt.partition(".")[0] for a in gangs) == sorted(FASTEST_FIRST)
    gangs.sort(key=lambda a: a.started_at)
    assert all(one.ended_at < other.started_at for one, other in itertools.pairwise(gangs))


def test_the_fastest_is_trained_with_and_the_rates_are_recorded(lab, first):
    run, _ = first
    recorded = strategies.measured(plan_of(lab, run))
    assert {m.strategy for m in recorded} == {*FASTEST_FIRST}
    assert all(m.seconds_per_iteration for m in recorded)
    best = fastest(recorded)
    assert lab.airflow.xcom(DAG, run, "train")["strategy"] == best
    log = lab.log_text(run, "train")
    assert f"training with {best}, the fastest strategy" in log
    assert f"--deepspeed deepspeed_{best}" in log
    assert runs.trained(slug(run))["strategy"] == best


def test_a_second_run_with_the_same_settings_measures_nothing(lab, first):
    run, tasks = trained(lab, 32)
    recorded = strategies.measured(plan_of(lab, run))
    plan = plan_of(lab, run)
    assert (tasks["strategies"], tasks["probe"], tasks["train"]) == ("skipped", "skipped", "success")
    assert (plan.strategies, plan.training.deepspeed) == ([], fastest(recorded))
    assert lab.airflow.xcom(DAG, run, "train")["strategy"] == plan.training.deepspeed


def test_the_same_commit_has_nothing_new_whichever_strategy_it_was_trained_with(lab, first):
    run, _ = first
    again = lab.airflow.trigger(DAG, PROBED | {"seed": 31})
    state, tasks = lab.until_ended(again)
    assert (state, tasks["probe"], tasks["train"]) == ("success", "skipped", "skipped")
    assert f"nothing new: run {run} trained" in lab.log_text(again, "plan")


def test_a_strategy_that_this_build_lacks_is_out_with_its_error(lab, first, connected, records):
    """By the operator's own parts: the form refuses a strategy that does not exist."""
    airflow, run = lab.airflow, first[0]
    op = ProbeOperator(
        task_id="probe",
        plan=airflow.xcom(DAG, run, "plan") | {"run_id": "lacking"},
        master_addr=airflow.xcom(DAG, run, "master_ip"),
        datasets=[airflow.xcom(DAG, run, "download_dataset", number) for number in (0, 1)],
        strategy="zero2",
    )
    ti = SimpleNamespace(
        dag_id="d",
        task_id="probe",
        run_id="lacking",
        id=uuid.UUID(int=int(time.time() * 1000) << 80),
        map_index=0,
        max_tries=1,
        try_number=1,
    )
    gang = op.gang({"ti": ti}, "zero2.try1")
    members = [
        m.model_copy(update={"argv": [a.replace("deepspeed_zero2", "deepspeed_zero9") for a in m.argv]})
        for m in gang.members
    ]

    async def ended() -> GangEvent:
        async with GangHook(gang.model_copy(update={"members": members})) as hook:
            await hook.launch(op.prepare)
            return await Watch(hook, LOG, None).until_the_end()

    event = asyncio.run(ended())
    assert (event.ok, event.failed_code) == (False, 1)
    handed_on = op.execute_complete({"ti": ti}, event.model_dump(mode="json"))
    assert handed_on["seconds_per_iteration"] is None
    assert "deepspeed_zero9" in handed_on["error"]
    assert strategies.measured(op.run_plan) == [MeasuredStrategy.model_validate(handed_on)]


def test_a_run_that_is_marked_as_failed_while_it_probes_leaves_nothing(lab, first):
    # Other settings, which were not measured.
    run = lab.airflow.trigger(DAG, PROBED | {"seed": 33, "max_length": 300})
    gang = gang_name(DAG, "probe", run, installation.name(), 0)
    wait_until(lambda: processes(gang), 240)
    answer = lab.airflow.call("PATCH", f"/dags/{DAG}/dagRuns/{run}", json={"state": "failed"})
    assert answer.status_code == 200, answer.text
    wait_until(lambda: not processes(gang), 60, lambda: processes(gang))
    state, tasks = lab.until_ended(run, 120)
    assert (state, tasks["probe[0]"], tasks["train"]) == ("failed", "failed", "skipped")
    assert "while it ran probe_0" in lab.log_text(run, "finish")
    assert strategies.measured(plan_of(lab, run)) == []
