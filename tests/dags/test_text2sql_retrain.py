"""The DAG is the README's diagram."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def dags():
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(ROOT / "dags"))
    assert bag.import_errors == {}
    assert len(bag.dags) == len([p for p in (ROOT / "dags").glob("*.py")])
    return bag.dags


@pytest.fixture(scope="module")
def dag(dags):
    return dags["text2sql_retrain"]


def test_what_ends_forgotten_training_runs_without_being_switched_on(dags):
    assert {name: d.is_paused_upon_creation for name, d in dags.items()} == {
        "text2sql_retrain": None,
        "text2sql_promote": False,
        "text2sql_housekeeping": False,
    }


def test_the_chain(dag):
    spine = [
        "plan",
        "hosts",
        "preflight",
        "master_ip",
        "all_reduce",
        "download_dataset",
        "before.serve",
        "before.ask",
        "train",
        "convert_adapter",
        "merge_adapter",
        "after.serve",
        "after.ask",
        "gate",
        "register",
        "approve",
        "promote",
        "prune",
    ]
    for earlier, later in itertools.pairwise(spine):
        assert later in {t.task_id for t in dag.get_task(earlier).get_flat_relatives(upstream=False)}, (
            f"{earlier} → {later}"
        )


def test_nothing_is_left_running_whatever_happens(dag):
    teardowns = {t.task_id for t in dag.tasks if t.is_teardown}
    assert teardowns == {"before.stop", "reap", "after.stop"}
    # GPUs are free before they are trained on, and adapters are not converted while ranks may run.
    assert "before.stop" in dag.get_task("train").upstream_task_ids
    assert "reap" in dag.get_task("convert_adapter").upstream_task_ids


def test_who_when_and_how_often(dag):
    assert dag.max_active_runs == 1 and not dag.catchup and dag.timetable.expression == "0 2 * * *"
    assert dag.start_date is None, "a start date would start to train at deployment"
    assert {t.owner for t in dag.tasks} == {"sqltune"} and "plan ─► preflight" in dag.doc_md
    waits = {
        "preflight",
        "download_dataset",
        "before.serve",
        "before.ask",
        "after.serve",
        "after.ask",
        "promote",
        "plan",
    }
    assert all(dag.get_task(t).execution_timeout for t in waits)


@pytest.mark.parametrize("switched_on", ["02:00:01", "02:04", "02:54", "13:00", "01:59"])
def test_switched_on_at_any_hour_it_waits_for_the_next_night(dag, switched_on, monkeypatch):
    """Where the schedule is asked as Airflow's scheduler asks it: after a round through the database's JSON."""
    from airflow.sdk.timezone import parse
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables import trigger
    from airflow.timetables.base import TimeRestriction

    timetable = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag)))).timetable
    now = parse(f"2026-11-24T{switched_on}Z")
    monkeypatch.setattr(trigger, "utcnow", lambda: now)
    first = timetable.next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(earliest=None, latest=None, catchup=False),
    )
    assert (
        now < first.run_after
        and first.run_after.hour == 2
        and (first.run_after - now).total_seconds() <= 24 * 3600
    )


def test_the_form_is_the_run_spec(dag):
    from sqltune.config.spec import RunSpec

    assert list(dag.params) == list(RunSpec.model_fields)
    rate = dag.params.get_param("learning_rate").schema
    assert (rate["minimum"], rate["maximum"], rate["section"]) == (1e-7, 0.01, "Training")
    assert "lab" in dag.params.get_param("cluster").schema["enum"]
    assert dag.params.get_param("deepspeed").schema["enum"] == [
        "zero1",
        "zero2",
        "zero2_offload",
        "zero3",
        "zero3_offload",
        None,
    ]
    dag.params.validate()


def test_the_form_can_be_sent_as_it_opens(dag):
    # Airflow's page takes a field that may not be null for a required one, and an empty text there for a mistake.
    for name, param in dag.params.items():
        allowed = dag.params.get_param(name).schema["type"]
        assert "null" in allowed or param not in (None, ""), name


def test_the_hosted_reference_can_not_fail_a_run(dag):
    hosted, told = dag.get_task("before.hosted"), dag.get_task("before.reference")
    assert hosted.skip_on_exit_code == [1] and hosted.downstream_task_ids == {"before.reference"}
    assert told.trigger_rule == "all_done" and dag.get_task(
        "before.hosted_questions"
    ).downstream_task_ids == {"before.hosted", "before.reference"}
    assert dag.get_task("gate").upstream_task_ids == {"plan", "before.ask", "after.ask", "before.reference"}


@pytest.mark.parametrize(
    ("connection", "key"),
    [(None, ""), ({"conn_type": "http"}, ""), ({"conn_type": "http", "password": "id.secret"}, "id.secret")],
)
def test_the_key_of_the_hosted_reference_is_that_of_its_connection(dag, monkeypatch, connection, key):
    """Without the Connection, the template did not render, and every run failed at the gate."""
    from airflow.sdk.execution_time.context import ConnectionAccessor

    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_SQLTUNE_GLM", json.dumps(connection))
    hosted = dag.get_task("before.hosted")
    assert hosted.render_template(hosted.op_args[1], {"conn": ConnectionAccessor()}) == key
