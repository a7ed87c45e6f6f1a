"""The retraining DAG is the README's diagram."""

from __future__ import annotations

import copy
import itertools
import json

import pytest

from tests.conftest import ROOT
from tests.dags.conftest import parsed

SPINE = [
    "plan",
    "hosts",
    "preflight",
    "master_ip",
    "all_reduce",
    "download_dataset",
    "approve_data",
    "before.serve",
    "before.evaluate",
    "probe",
    "train",
    "export_model",
    "after.serve",
    "after.evaluate",
    "gate",
    "register",
    "approve",
    "trial",
    "promote",
    "prune",
]


@pytest.fixture(scope="module")
def dag(dags):
    return dags["text2sql_retrain"]


@pytest.mark.parametrize(("earlier", "later"), [*itertools.pairwise(SPINE)])
def test_chain_runs_in_the_order_of_the_diagram(dag, earlier, later):
    assert later in {t.task_id for t in dag.get_task(earlier).get_flat_relatives(upstream=False)}


def test_diagram_is_in_the_dags_documentation(dag):
    assert "plan ─► preflight" in dag.doc_md
    assert max(len(line) for line in dag.doc_md.splitlines() if "─►" in line) <= 100


def test_teardowns_end_served_models_and_training_whatever_happens(dag):
    teardowns = {"before.stop", "reap", "after.stop", "end_trial"}
    assert {t.task_id for t in dag.tasks if t.is_teardown} == teardowns | {"finish"}
    assert dag.get_task("finish").upstream_task_ids == teardowns


def test_state_of_a_run_is_that_of_its_last_task_and_of_finish(dag):
    """A run that is marked as failed has skipped tasks only, and `finish`, which fails then."""

    def counts(task):
        return not task.is_teardown or task.on_failure_fail_dagrun

    leaves = {
        task.task_id
        for task in dag.tasks
        if counts(task) and not any(counts(dag.get_task(after)) for after in task.downstream_task_ids)
    }
    assert leaves == {"prune", "finish"}


@pytest.mark.parametrize("task_id", ["probe", "train"])
def test_gpus_are_free_before_training_starts(dag, task_id):
    assert "before.stop" in dag.get_task(task_id).upstream_task_ids


def test_strategies_are_probed_one_at_a_time_and_shown_by_name(dag):
    probe = dag.get_task("probe")
    assert probe.expand_input.value["strategy"].operator.task_id == "strategies"
    assert probe.partial_kwargs["max_active_tis_per_dagrun"] == 1
    assert probe.partial_kwargs["map_index_template"] == "{{ task.strategy }}"


def test_training_starts_where_nothing_is_probed_and_not_where_something_failed(dag):
    train = dag.get_task("train")
    assert train.trigger_rule == "none_failed_min_one_success"
    assert "probe" in train.upstream_task_ids


@pytest.mark.parametrize("task_id", ["all_reduce", "export_model"])
def test_a_restart_of_a_worker_does_not_cost_the_only_retry_of_a_gang_that_its_task_watches(dag, task_id):
    task = dag.get_task(task_id)
    assert task.patience
    assert task.retries == 2


def test_candidate_is_stopped_before_the_new_champion_is_loaded(dag):
    """By an arrow of its own: the gate may skip `approve` before `after.stop` has ended."""
    for task_id in ("trial", "promote"):
        assert "after.stop" in dag.get_task(task_id).upstream_task_ids


def test_a_rejection_skips_trial_and_promotion_as_they_follow_directly(dag):
    """The promotion runs where the trial is skipped: a run without a trial has its promotion."""
    assert dag.get_task("approve").downstream_task_ids >= {"trial", "promote"}
    assert dag.get_task("promote").trigger_rule == "none_failed"


def test_a_trial_ends_after_the_promotion_that_uses_its_worker_and_where_it_fails_itself(dag):
    ended = dag.get_task("end_trial")
    assert {"trial", "promote"} <= ended.upstream_task_ids
    assert not [name for name in ended.upstream_task_ids if dag.get_task(name).is_setup]


def test_the_model_is_exported_only_when_no_rank_can_run(dag):
    assert "reap" in dag.get_task("export_model").upstream_task_ids


def test_one_run_at_a_time_unless_a_setting_says_otherwise(dag, monkeypatch):
    assert dag.max_active_runs == 1
    monkeypatch.setenv("SQLTUNE_MAX_ACTIVE_RUNS", "3")
    assert parsed(ROOT / "dags/text2sql_retrain.py").dags["text2sql_retrain"].max_active_runs == 3


def test_the_nights_of_other_clusters_in_the_docs_start_runs_that_the_form_takes(dag, tmp_path):
    text = (ROOT / "docs/deploy.md").read_text()
    (tmp_path / "nights.py").write_text(text.split("```python\n")[1].split("```")[0])
    (nights,) = parsed(tmp_path / "nights.py").dags.values()
    assert nights.tasks
    for started in nights.tasks:
        assert started.trigger_dag_id == dag.dag_id
        params = copy.deepcopy(dag.params)
        params.update(started.conf)
        params.validate()


def test_schedule_is_nightly_without_catching_up(dag):
    assert dag.timetable.summary == "0 2 * * *"
    assert not dag.catchup


def test_without_a_start_date_deployment_does_not_train(dag):
    assert dag.start_date is None


def test_owner_of_every_task_is_the_project(dag):
    assert {t.owner for t in dag.tasks} == {"sqltune"}


@pytest.mark.parametrize(
    "task_id",
    [
        "preflight",
        "download_dataset",
        "before.serve",
        "before.evaluate",
        "after.serve",
        "after.evaluate",
        "trial",
        "end_trial",
        "promote",
        "plan",
    ],
)
def test_a_task_that_may_hang_has_a_time_limit(dag, task_id):
    assert dag.get_task(task_id).execution_timeout


def test_form_is_the_run_spec(dag):
    from sqltune.config.spec import RunSpec

    assert list(dag.params) == list(RunSpec.model_fields)


def test_form_has_the_ranges_and_sections_of_the_run_spec(dag):
    rate = dag.params.get_param("learning_rate").schema
    assert (rate["minimum"], rate["maximum"], rate["section"]) == (1e-7, 0.01, "Training")
    strategies = ["zero1", "zero2", "zero2_offload", "zero3", "zero3_offload", None]
    assert dag.params.get_param("deepspeed").schema["enum"] == strategies


def test_form_can_be_sent_as_it_opens(dag):
    """On Airflow's page, a field that may not be null is required, and an empty text is refused there."""
    dag.params.validate()
    for name, value in dag.params.items():
        allowed = dag.params.get_param(name).schema["type"]
        assert "null" in allowed or value not in (None, ""), name


def test_hosted_reference_is_skipped_where_its_environment_is_missing(dag):
    assert dag.get_task("reference.hosted").skip_on_exit_code == [1]


def test_hosted_reference_cannot_fail_a_run(dag):
    answers = dag.get_task("reference.answers")
    assert answers.trigger_rule == "all_done"
    assert dag.get_task("reference.hosted").downstream_task_ids == {"reference.answers"}
    assert dag.get_task("reference.questions").downstream_task_ids == {
        "reference.hosted",
        "reference.answers",
    }


def test_gate_waits_for_both_models_and_the_reference(dag):
    upstream = dag.get_task("gate").upstream_task_ids
    assert upstream == {"plan", "before.evaluate", "after.evaluate", "reference.answers"}


@pytest.mark.parametrize(
    ("connection", "key"),
    [(None, ""), ({"conn_type": "http"}, ""), ({"conn_type": "http", "password": "id.secret"}, "id.secret")],
)
def test_hosted_references_key_is_its_connections_password(dag, monkeypatch, connection, key):
    """Without the Connection, the template once did not render, and every run failed at the gate."""
    from airflow.sdk.execution_time.context import ConnectionAccessor

    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_SQLTUNE_GLM", json.dumps(connection))
    hosted = dag.get_task("reference.hosted")
    assert hosted.render_template(hosted.op_args[1], {"conn": ConnectionAccessor()}) == key


def test_people_are_told_of_failures_verdicts_promotions_and_questions(dag, dags):
    from sqltune.alerts import notifier

    def callbacks(value):
        return [*value] if isinstance(value, list | tuple) else [value] if value else []

    assert [type(c) for c in callbacks(dag.on_failure_callback)] == [notifier.RunFailed]
    promote = dags["text2sql_promote"]
    assert [type(c) for c in callbacks(promote.on_failure_callback)] == [notifier.RunFailed]
    assert all(callbacks(task.on_failure_callback) == [notifier.leave_cause] for task in dag.tasks)
    succeeded = {t.task_id: [type(c) for c in callbacks(t.on_success_callback)] for t in dag.tasks}
    assert {name: of for name, of in succeeded.items() if of} == {
        "gate": [notifier.HeldBack],
        "trial": [notifier.HeldBack],
        "promote": [notifier.Promoted],
    }
    assert [type(n) for n in dag.get_task("approve").notifiers] == [notifier.ApprovalNeeded]
