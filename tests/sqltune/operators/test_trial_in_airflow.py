"""The real DAG in a real Airflow, with and without a trial, to each of its ends.

Airflow on SQLite lost the end of a task once, under load ("Task Instance not found"): its retry then asks the
host once more, and a list of requests is longer than it is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.small_airflow import SmallAirflow, small_airflow
from tests.sqltune.operators.stubbed_chain import ACTIONS, SCENARIOS
from tests.waiting import wait_until

pytestmark = pytest.mark.chaos
DAG = "text2sql_retrain"
DAG_FILE = "# A DAG of Airflow.\nfrom tests.sqltune.operators.stubbed_chain import stub\n\nstub()\n"
TAIL = ("approve", "trial", "promote", "end_trial", "finish")
"""The tasks from the gate on, as far as a trial has to do with them."""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallAirflow]:
    """An Airflow whose only DAG is the chain, with stand-ins; all scenarios run in it at the same time."""
    home, dags = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("dags")
    (dags / "chain.py").write_text(DAG_FILE)
    with small_airflow(
        home,
        AIRFLOW__CORE__DAGS_FOLDER=str(dags),
        AIRFLOW__CORE__PARALLELISM="4",
        SQLTUNE_MAX_ACTIVE_RUNS=str(len(SCENARIOS)),
        PYTHONPATH=f"{ROOT / 'plugins'}:{ROOT}",
        **{ACTIONS: str(home)},
    ) as started:
        started.start("triggerer")
        yield started


@pytest.fixture(scope="module")
def runs(airflow: SmallAirflow) -> dict[str, str]:
    """The run of each scenario, triggered."""
    client = airflow.client
    return {scenario: client.trigger(DAG, {"seed": seed}) for seed, scenario in enumerate(SCENARIOS)}


def tail(airflow: SmallAirflow, run: str) -> tuple[str, dict[str, str]]:
    """How a run ended, and the states of its last tasks."""
    client = airflow.client
    wait_until(
        lambda: client.run_state(DAG, run) in ("success", "failed"),
        600,
        problem=lambda: (client.tasks(DAG, run), airflow.logs()),
        pause=1,
    )
    states = {task["task_id"]: task["state"] for task in client.tasks(DAG, run)}
    return client.run_state(DAG, run), {name: states[name] for name in TAIL}


def state(airflow: SmallAirflow, run: str, task: str) -> str:
    return str(airflow.client.get(f"/dags/{DAG}/dagRuns/{run}/taskInstances/{task}")["state"])


def actions(airflow: SmallAirflow, scenario: str) -> list[str]:
    """What the serving host was asked to do."""
    path = Path(airflow.home) / scenario
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize(
    ("scenario", "ended", "states", "requests"),
    [
        ("off", "success", ("skipped", "skipped", "success", "skipped", "success"), []),
        (
            "kept",
            "success",
            ("skipped", "success", "success", "success", "success"),
            ["trial", "status", "end_trial"],
        ),
        (
            "held",
            "success",
            ("skipped", "success", "skipped", "success", "success"),
            ["trial", "status", "end_trial"],
        ),
        (
            "broken",
            "failed",
            ("skipped", "failed", "upstream_failed", "success", "success"),
            ["trial", "trial", "end_trial"],
        ),
        # A trial that began before the gate was cleared would go on without it.
        ("judged", "success", ("skipped", "skipped", "skipped", "success", "success"), ["end_trial"]),
    ],
)
def test_a_run_ends_as_its_trial_says(airflow, runs, scenario, ended, states, requests):
    assert tail(airflow, runs[scenario]) == (ended, dict(zip(TAIL, states, strict=True)))
    assert actions(airflow, scenario) == requests


def test_a_rejected_candidate_is_neither_tried_nor_promoted(airflow, runs):
    run = runs["rejected"]
    wait_until(lambda: state(airflow, run, "approve") == "awaiting_input", 600, pause=1)
    path = f"/dags/{DAG}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
    answer = {"chosen_options": ["Reject"], "params_input": {}}
    airflow.client.call("PATCH", path, json=answer).raise_for_status()
    ended, states = tail(airflow, run)
    assert ended == "success"
    assert (states["trial"], states["promote"]) == ("skipped", "skipped")
    assert "trial" not in actions(airflow, "rejected")


def test_a_run_that_a_person_stops_in_its_trial_ends_the_trial_and_fails(airflow, runs):
    run = runs["stopped"]
    wait_until(lambda: state(airflow, run, "trial") == "deferred", 600, pause=1)
    response = airflow.client.call("PATCH", f"/dags/{DAG}/dagRuns/{run}", json={"state": "failed"})
    response.raise_for_status()
    wait_until(lambda: actions(airflow, "stopped") == ["trial", "end_trial"], 300, pause=1)
    ended, states = tail(airflow, run)
    assert (ended, states["trial"], states["promote"]) == ("failed", "failed", "skipped")
