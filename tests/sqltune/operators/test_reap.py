"""Which gangs no task needs any more; stopping them is tested on hosts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from sqltune.operators import reap
from sqltune.records import database, installation
from ssh_gang.hook import GangHook
from ssh_gang.model import gang_name
from tests.plans import run_plan

OURS = "1" * 32


@pytest.fixture
def airflow(monkeypatch):
    """What Airflow answers: states by run id and task id."""
    states: dict[str, dict[str, str | None]] = {}
    ti = SimpleNamespace(
        get_task_states=lambda dag_id, task_ids, run_ids: {r: states[r] for r in run_ids if r in states}
    )
    monkeypatch.setattr(reap, "get_current_context", lambda: {"ti": ti})
    return states


@pytest.fixture
def variables(monkeypatch) -> dict[str, str]:
    """Airflow's Variables."""
    kept: dict[str, str] = {}
    fake = SimpleNamespace(
        get=lambda key, default: kept.get(key, default),
        set=lambda key, value, description: kept.update({key: value}),
    )
    monkeypatch.setattr(reap, "Variable", fake)
    return kept


@pytest.fixture
def stopped(monkeypatch) -> list[str]:
    """Names of the gangs of which every attempt was stopped."""
    names = []

    async def stop(self, attempt):
        assert attempt is None
        names.append(self.gang.name)

    monkeypatch.setattr(GangHook, "stop", stop)
    return names


def close_database(monkeypatch) -> None:
    """Make the records' database unreachable."""
    database.close()
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", "postgresql+psycopg2://sqltune@127.0.0.1:1/sqltune")


def owner(run_id: str = "r1", airflow: str = OURS) -> dict[str, str]:
    return {"dag_id": "d", "task_id": "train", "run_id": run_id, "airflow": airflow}


@pytest.mark.parametrize("state", ["running", "deferred", "up_for_retry", None])
def test_a_gang_whose_task_is_active_is_kept(airflow, state):
    airflow["r1"] = {"train": state}
    assert reap._why_orphaned(owner(), OURS) is None


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", "up_for_reschedule"])
def test_a_gang_whose_task_has_ended_is_an_orphan(airflow, state):
    airflow["r1"] = {"train": state}
    assert reap._why_orphaned(owner(), OURS) == f"its task is {state}"


@pytest.mark.parametrize(("index", "reason"), [("0", "its task is success"), ("1", None)])
def test_a_gang_of_a_mapped_task_is_its_own_instances(airflow, index, reason):
    airflow["r1"] = {"probe_0": "success", "probe_1": "deferred"}
    assert reap._why_orphaned(owner() | {"task_id": "probe", "map_index": index}, OURS) == reason


def test_a_gang_whose_run_was_deleted_is_an_orphan(airflow):
    assert reap._why_orphaned(owner(), OURS) == "its run no longer exists"


def test_a_gang_of_another_airflow_is_left_alone(airflow):
    assert reap._why_orphaned(owner(airflow="another"), OURS) is None


def test_a_gang_without_an_owner_is_left_alone(airflow):
    assert reap._why_orphaned({}, OURS) is None


def test_a_run_without_a_plan_has_nothing_to_reap():
    reap.ReapGangOperator(task_id="reap", task="train", plan=None).execute({})


def test_the_teardown_stops_the_gang_while_the_database_is_away(records, monkeypatch, stopped):
    close_database(monkeypatch)
    plan = run_plan(installation=OURS).model_dump(mode="json")
    context = {"ti": SimpleNamespace(dag_id="d", run_id="r1")}
    reap.ReapGangOperator(task_id="reap", task="train", plan=plan).execute(context)
    assert stopped == [gang_name("d", "train", "r1", OURS)]


def test_housekeeping_knows_its_own_gangs_while_the_database_is_away(records, monkeypatch, variables):
    name = installation.name()
    assert reap._this_installation() == name
    close_database(monkeypatch)
    assert reap._this_installation() == name


def test_housekeeping_that_never_knew_its_own_gangs_needs_the_database(records, monkeypatch, variables):
    close_database(monkeypatch)
    with pytest.raises(OperationalError):
        reap._this_installation()


def test_housekeeping_follows_records_that_were_made_anew(records, variables):
    variables[reap.INSTALLATION] = "of the records before"
    assert reap._this_installation() == installation.name()
    assert variables[reap.INSTALLATION] == installation.name()
