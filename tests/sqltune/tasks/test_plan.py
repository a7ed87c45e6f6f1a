"""The plan of a run, which of two runs trains it, and the hosts to map tasks over."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from lab.repositories import repositories
from lab.settings import REPO
from sqltune.estimate.estimating import FASTEST_FIRST
from sqltune.estimate.model import Tokens
from sqltune.node_contracts.preflight import PreflightResponse
from sqltune.records import checkups, claims, revisions, runs, strategies, verdicts
from sqltune.records.errors import LogStoreError
from sqltune.records.measured_strategy import MeasuredStrategy
from sqltune.records.revisions import Feed
from sqltune.records.runs import State
from sqltune.tasks import estimates
from sqltune.tasks import plan as planned
from tests.host_facts import measured
from tests.plans import run_plan
from tests.sqltune.estimate.test_memory import CODELLAMA

DAG = "text2sql_retrain"
ROWS = Tokens(rows=100, total=11_900, longest=200, basis="counted")


class Airflow:
    """The states of Airflow's runs, and the run whose task runs here. A run that was deleted has none."""

    def __init__(self, monkeypatch) -> None:
        self.states: dict[str, str] = {}
        self.force = False
        self.waits_since: datetime | None = None
        self.pushed: dict[str, object] = {}
        monkeypatch.setattr(planned, "_read_form", self._read_form)
        monkeypatch.setattr(planned, "get_current_context", self._context)
        monkeypatch.setattr(estimates, "count_tokens", lambda plan: ROWS)

    def plan(self, run_id: str, force: bool = False):
        self.run_id, self.force = run_id, force
        self.states[run_id] = "running"
        return planned.plan()

    def _read_form(self):
        return run_plan(self.run_id, force=self.force)

    def _context(self):
        return {
            "ti": SimpleNamespace(
                dag_id=DAG,
                get_dr_count=self._count,
                xcom_push=self._push,
                get_first_reschedule_date=lambda context: self.waits_since,
            ),
            "dag_run": SimpleNamespace(partition_key=None),
        }

    def _push(self, key: str, value: object) -> None:
        self.pushed[key] = value

    def _count(self, dag_id: str, run_ids: list[str], states: list[str] | None = None) -> int:
        assert dag_id == DAG
        found = [self.states[run_id] for run_id in run_ids if run_id in self.states]
        return sum(states is None or state in states for state in found)


@pytest.fixture
def airflow(engine, monkeypatch) -> Airflow:
    return Airflow(monkeypatch)


def ended(airflow: Airflow, run_id: str) -> None:
    """A run is held back, and ends."""
    verdicts.put(run_id, passed=False, table="", decision={}, rules=[])
    airflow.states[run_id] = "success"


def test_a_new_plan_is_recorded_and_trained(airflow):
    assert airflow.plan("r1")["run_id"] == "r1"
    assert runs.plan("r1") == run_plan().model_dump(mode="json")


def test_a_log_store_that_cannot_be_written_stops_the_run_before_it_claims_anything(
    airflow, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("")
    with monkeypatch.context() as broken:
        broken.setenv("SQLTUNE_LOG_STORE", str(tmp_path / "file"))
        with pytest.raises(LogStoreError, match=r"SQLTUNE_LOG_STORE: .*file cannot be written"):
            airflow.plan("r1")
    assert airflow.plan("r2")["run_id"] == "r2"


def test_what_was_trained_before_is_nothing_new(airflow):
    airflow.plan("r1")
    ended(airflow, "r1")
    assert airflow.plan("r2") is False
    assert runs.summary("r2").state is State.NOTHING_NEW
    assert runs.summary("r2").same_as == "r1"


def test_nothing_new_leaves_no_claim(airflow):
    airflow.plan("r1")
    ended(airflow, "r1")
    airflow.plan("r2")
    assert airflow.plan("r3", force=True)


def test_force_trains_again(airflow):
    airflow.plan("r1")
    ended(airflow, "r1")
    assert airflow.plan("r2", force=True)["run_id"] == "r2"


def test_of_two_runs_on_one_cluster_the_second_waits(airflow):
    airflow.plan("r1")
    with pytest.raises(AirflowRescheduleException):
        airflow.plan("r2")


def test_a_run_that_waited_ends_with_nothing_new(airflow):
    airflow.plan("r1")
    with pytest.raises(AirflowRescheduleException):
        airflow.plan("r2")
    ended(airflow, "r1")
    assert airflow.plan("r2") is False
    assert runs.summary("r2").same_as == "r1"


@pytest.mark.parametrize("state", ["failed", "success", "deleted"])
def test_a_run_that_waited_trains_when_the_first_has_ended_without_a_verdict(airflow, state):
    airflow.plan("r1")
    airflow.states["r1"] = state
    assert airflow.plan("r2")["run_id"] == "r2"
    with pytest.raises(AirflowRescheduleException):
        airflow.plan("r3")


def test_a_run_does_not_wait_for_one_that_was_cleared_and_is_queued(airflow):
    """With max_active_runs=1 the first would wait for the second's slot, and the second for the first."""
    airflow.plan("r1")
    airflow.states["r1"] = "queued"
    assert airflow.plan("r2")["run_id"] == "r2"


def test_a_run_that_was_cleared_waits_for_the_one_that_took_its_place(airflow):
    airflow.plan("r1")
    airflow.states["r1"] = "queued"
    airflow.plan("r2")
    with pytest.raises(AirflowRescheduleException):
        airflow.plan("r1")


def test_a_run_that_was_cleared_and_plans_again_first_keeps_its_turn(airflow):
    airflow.plan("r1")
    airflow.states["r1"] = "failed"
    airflow.plan("r1")
    with pytest.raises(AirflowRescheduleException):
        airflow.plan("r2")


def test_a_judged_run_that_is_cleared_as_a_whole_keeps_its_verdict(airflow):
    airflow.plan("r1")
    ended(airflow, "r1")
    assert airflow.plan("r1") is False
    assert runs.summary("r1").state is State.HELD_BACK


def test_a_forced_run_waits_too(airflow):
    airflow.plan("r1")
    with pytest.raises(AirflowRescheduleException):
        airflow.plan("r2", force=True)
    ended(airflow, "r1")
    assert airflow.plan("r2", force=True)


def test_a_run_does_not_wait_for_one_that_is_forced_to_train_again(airflow):
    airflow.plan("r1")
    ended(airflow, "r1")
    airflow.plan("r2", force=True)
    assert airflow.plan("r3") is False


def test_a_second_try_of_the_same_run_goes_on(airflow):
    airflow.plan("r1")
    assert airflow.plan("r1")["run_id"] == "r1"


@pytest.mark.parametrize("change", [{"dataset_commit": "fedcba"}, {"start_from": "champion"}])
def test_a_run_that_trains_something_else_waits_too(airflow, monkeypatch, change):
    """It is to be compared with the champion that the first one leaves."""
    airflow.plan("r1")
    other = run_plan("r2", **change)
    monkeypatch.setattr(planned, "_read_form", lambda: other)
    with pytest.raises(AirflowRescheduleException):
        planned.plan()


def test_a_run_on_another_cluster_does_not_wait(airflow, monkeypatch):
    airflow.plan("r1")
    other = run_plan("r2", cluster_name="other")
    monkeypatch.setattr(planned, "_read_form", lambda: other)
    assert planned.plan()["run_id"] == "r2"


def test_what_another_cluster_trained_is_new(airflow, monkeypatch):
    """Its hosts may have the same names, and the champion is not theirs."""
    airflow.plan("r1")
    ended(airflow, "r1")
    other = run_plan("r2", cluster_name="other")
    monkeypatch.setattr(planned, "_read_form", lambda: other)
    assert planned.plan()["run_id"] == "r2"


@pytest.mark.parametrize(("seconds_ago", "waited"), [(None, 0), (90, 90)])
def test_how_long_a_run_waited_is_a_metric(airflow, monkeypatch, seconds_ago, waited):
    sent = {}
    monkeypatch.setattr(planned, "emit", lambda cluster, name, value: sent.update({(cluster, name): value}))
    airflow.waits_since = seconds_ago and datetime.now(UTC) - timedelta(seconds=seconds_ago)
    airflow.plan("r1")
    assert sent == {("lab", "queue"): pytest.approx(waited, abs=30)}


def test_the_estimate_is_handed_on_and_recorded(airflow):
    airflow.plan("r1")
    assert airflow.pushed["estimate"]["iterations"] == 4
    assert runs.estimate("r1") == airflow.pushed["estimate"]


def test_nothing_new_is_not_estimated(airflow):
    airflow.plan("r1")
    ended(airflow, "r1")
    airflow.plan("r2")
    assert runs.estimate("r2") is None


def test_a_plan_that_cannot_fit_the_cards_stops_here_and_claims_nothing(airflow, monkeypatch):
    small = run_plan("r1", recipe_file="codellama_7b_qlora", cluster_file="rocm_2x4")
    cluster = small.cluster.model_copy(update={"gpu_memory_gib": 6})
    small = small.model_copy(
        update={
            "cluster": cluster,
            "training": small.training.model_copy(update={"deepspeed": "zero1"}),
        }
    )
    runs.put_plan(small)
    checkups.put("r1", "rocm-0", PreflightResponse(facts=measured(architecture=CODELLAMA), checks=[]))
    airflow.run_id = "r1"
    monkeypatch.setattr(planned, "_read_form", lambda: small)
    with pytest.raises(
        AirflowFailException, match=r"deepspeed: zero1 needs about .*: set deepspeed to zero3"
    ):
        planned.plan()
    other = claims.Owner(DAG, "r2")
    assert claims.take(small.cluster_name, other).owner == other


@pytest.fixture
def probing(airflow, monkeypatch) -> Airflow:
    """The form says `probe: true`."""

    def read_form():
        made = run_plan(airflow.run_id)
        return made.model_copy(update={"training": made.training.model_copy(update={"probe": True})})

    monkeypatch.setattr(planned, "_read_form", read_form)
    return airflow


def test_strategies_that_are_not_measured_are_handed_on(probing):
    made = probing.plan("r1")
    assert made["strategies"] == list(FASTEST_FIRST)
    assert runs.plan("r1") == made
    assert made["training"]["deepspeed"] == "zero3_offload"


def test_where_all_are_measured_the_plan_has_the_fastest_one(probing, caplog):
    caplog.set_level("INFO")
    for number, strategy in enumerate(FASTEST_FIRST):
        seconds = 9.0 - number
        measured = MeasuredStrategy(strategy=strategy, seconds_per_iteration=seconds)
        strategies.put(run_plan("r0"), measured)
    made = probing.plan("r1")
    assert made["strategies"] == []
    assert made["training"]["deepspeed"] == FASTEST_FIRST[-1]
    assert (probing.pushed["estimate"]["rate"]["basis"], probing.pushed["estimate"]["rate"]["seconds"]) == (
        "probe",
        5.0,
    )
    assert f"probe: {FASTEST_FIRST[-1]} is used; measured here: zero1 8.000 s" in caplog.text


def test_every_host_is_mapped_over(plan):
    assert planned.hosts(plan) == ["host-a", "host-b"]


def test_every_strategy_to_be_measured_is_mapped_over(plan):
    assert planned.strategies(plan) == []
    assert planned.strategies(plan | {"strategies": ["zero2", "zero1"]}) == ["zero2", "zero1"]


def test_every_host_has_a_storage_of_its_own(plan):
    assert planned.storages(plan) == ["host-a", "host-b"]


def test_shared_storage_is_the_masters(plan):
    plan["cluster"]["shared_storage"] = True
    assert planned.storages(plan) == ["host-a"]


def partition_run(
    monkeypatch,
    run_id: str,
    commit: str | None,
    run_type: str = "scheduled",
    existing: Collection[str] = (),
    **form: object,
):
    """The plan of a run whose partition is a commit; Airflow has some other runs, and none of them runs."""
    run = SimpleNamespace(
        run_id=run_id,
        run_type=run_type,
        partition_key=commit,
        logical_date=None,
        run_after=datetime(2026, 11, 1, tzinfo=UTC),
    )
    ti = SimpleNamespace(
        dag_id=DAG,
        get_dr_count=lambda dag_id, run_ids, states=None: 0 if states else len({*run_ids} & {*existing}),
        xcom_push=lambda **_: None,
        get_first_reschedule_date=lambda context: None,
    )
    context = {"params": form, "dag_run": run, "ti": ti}
    monkeypatch.setattr(planned, "get_current_context", lambda: context)
    return planned.plan()


@pytest.fixture
def history(plan):
    """The commits of the lab's dataset, oldest first."""
    return [c.sha for c in repositories()[REPO].branches["main"]]


def recorded() -> dict[str, str]:
    feed = Feed("lab", "lab_smollm2", REPO)
    return {r.commit: f"{r.state.value} {r.run_id}" for r in revisions.listed(feed)}


def test_a_runs_partition_is_the_commit_that_it_trains(plan, history, monkeypatch):
    made = partition_run(monkeypatch, "r1", history[0])
    assert made["dataset_commit"] == history[0]
    assert recorded() == {history[0]: "started r1", history[1]: "waiting None"}


def test_a_revision_on_the_form_comes_before_the_partition(plan, history, monkeypatch):
    made = partition_run(monkeypatch, "r1", history[0], dataset_revision=history[1])
    assert made["dataset_commit"] == history[1]


def test_the_newest_commit_skips_those_before_it_that_wait(plan, history, monkeypatch):
    partition_run(monkeypatch, "r1", None)
    assert recorded() == {history[0]: "known None", history[1]: "started r1"}


def test_a_run_with_settings_of_its_own_leaves_the_revision(plan, history, monkeypatch):
    partition_run(monkeypatch, "r1", history[1], max_steps=1)
    assert recorded() == {}


def test_a_second_backfill_of_a_trained_partition_trains_it_again(plan, history, monkeypatch):
    first = partition_run(monkeypatch, "r1", history[0], DagRunType("backfill"))
    verdicts.put("r1", passed=False, table="", decision={}, rules=[])
    assert first["force"] is False
    assert partition_run(monkeypatch, "r2", history[0], DagRunType("backfill"))["force"] is True


def test_what_a_deleted_run_had_claimed_is_the_next_ones(plan, history, monkeypatch):
    partition_run(monkeypatch, "r1", history[1])
    partition_run(monkeypatch, "r2", history[1], existing={"r1"})
    assert recorded()[history[1]] == "started r1"
    partition_run(monkeypatch, "r3", history[1], existing=set())
    assert recorded()[history[1]] == "started r3"


def test_a_second_run_of_a_trained_partition_has_nothing_new(plan, history, monkeypatch):
    partition_run(monkeypatch, "r1", history[0], "backfill")
    verdicts.put("r1", passed=False, table="", decision={}, rules=[])
    assert partition_run(monkeypatch, "r2", history[0], "manual") is False
