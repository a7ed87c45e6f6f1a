"""The alerts through Airflow's own components: scheduler, DAG processor, triggerer and a task's process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from lab.hub import create_app
from lab.repositories import repositories
from tests.conftest import serving
from tests.small_airflow import SmallAirflow, small_airflow
from tests.sqltune.alerts.services import Services, http_server
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
DAG = "text2sql_retrain"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Services]:
    services = Services()
    with http_server(services) as services.port:
        yield services


class Hub:
    """The lab's hub, which answers nothing while `hangs` is set."""

    def __init__(self) -> None:
        self.hangs = False
        self._app = create_app(repositories())

    async def __call__(self, scope, receive, send) -> None:
        while self.hangs:  # noqa: ASYNC110  # set by another thread
            await asyncio.sleep(0.1)
        await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def served_hub() -> Iterator[Hub]:
    hub = Hub()
    with serving(hub) as hub.url:
        yield hub


@pytest.fixture
def hub(served_hub) -> Iterator[Hub]:
    """The hub that this Airflow asks; it answers again after the test."""
    yield served_hub
    served_hub.hangs = False


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, webhook, served_hub) -> Iterator[SmallAirflow]:
    """An Airflow that alerts the webhook; its runs have a deadline of 2 s."""
    config = [{"path": f"json://127.0.0.1:{webhook.port}"}]
    connection = {"conn_type": "apprise", "extra": {"config": config}}
    with small_airflow(
        tmp_path_factory.mktemp("airflow"),
        AIRFLOW_CONN_SQLTUNE_ALERTS=json.dumps(connection),
        SQLTUNE_DEADLINE=str(2 / 3600),
        SQLTUNE_LAB_HUB=served_hub.url,
    ) as started:
        started.start("dag-processor", "triggerer")
        yield started


def titles(webhook: Services, run: str) -> list[str]:
    """Titles of the alerts about a run, in the order in which they arrived."""
    return [r.body["title"] for r in webhook.received if f"Run: {run}\n" in r.body["message"]]


def alerts_of(webhook: Services, run: str, count: int, airflow: SmallAirflow) -> list[str]:
    try:
        wait_until(lambda: len(titles(webhook, run)) >= count, 300)
    except AssertionError:
        pytest.fail(airflow.logs())
    return titles(webhook, run)


def test_a_failed_plan_sends_one_alert_with_its_cause_and_a_link(airflow, webhook):
    client = airflow.client
    run = client.trigger(DAG, {"suites": "nothing", "max_length": 16})
    wait_until(lambda: client.run_state(DAG, run) == "failed", 300)
    wait_until(lambda: "[sqltune] run failed" in titles(webhook, run), 300)
    (alert,) = [r for r in webhook.received if r.body["title"] == "[sqltune] run failed"]
    assert "Task: plan\nCause: " in alert.body["message"]
    assert "nothing was started" in alert.body["message"]
    assert "suites: 'nothing'" in alert.body["message"]
    assert f"Details: {airflow.url}/dags/{DAG}/runs/" in alert.body["message"]


def test_a_run_that_overruns_is_told_while_it_runs_and_one_that_a_person_stops_as_failed(
    airflow, webhook, hub
):
    """The hub hangs, and so does `plan`."""
    hub.hangs = True
    client = airflow.client
    run = client.trigger(DAG, {})
    plan = f"/dags/{DAG}/dagRuns/{run}/taskInstances/plan"
    wait_until(lambda: client.get(plan)["state"] == "running", 300)
    assert alerts_of(webhook, run, 1, airflow) == ["[sqltune] run is past its deadline"]
    assert client.get(plan)["state"] == "running"
    client.call("PATCH", f"/dags/{DAG}/dagRuns/{run}", json={"state": "failed"}).raise_for_status()
    assert alerts_of(webhook, run, 2, airflow)[1] == "[sqltune] run failed"
    (alert,) = [r for r in webhook.received if f"Run: {run}\n" in r.body["message"]][1:]
    assert "the run was marked as failed while it ran plan" in alert.body["message"]


def test_a_run_that_fails_while_the_dag_processor_is_down_is_told_once_it_is_back(airflow, webhook):
    airflow.stop("dag-processor")
    client = airflow.client
    run = client.trigger(DAG, {"suites": "nothing"})
    wait_until(lambda: client.run_state(DAG, run) == "failed", 300)
    assert "[sqltune] run failed" not in titles(webhook, run)
    airflow.start("dag-processor")
    wait_until(lambda: "[sqltune] run failed" in titles(webhook, run), 300)
