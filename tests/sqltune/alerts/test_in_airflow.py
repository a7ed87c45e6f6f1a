"""The alerts through Airflow's own components: scheduler, DAG processor, triggerer and a task's process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

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


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, webhook) -> Iterator[SmallAirflow]:
    """An Airflow that alerts the webhook; its hub does not answer, and its runs have a deadline of 2 s."""
    config = [{"path": f"json://127.0.0.1:{webhook.port}"}]
    connection = {"conn_type": "apprise", "extra": {"config": config}}
    with small_airflow(
        tmp_path_factory.mktemp("airflow"),
        AIRFLOW_CONN_SQLTUNE_ALERTS=json.dumps(connection),
        SQLTUNE_DEADLINE=str(2 / 3600),
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


def test_a_run_that_overruns_is_told_while_it_runs(airflow, webhook):
    """The hub does not answer: `plan` is tried again after 20 s, and the deadline is 2 s."""
    client = airflow.client
    run = client.trigger(DAG, {})
    first, second = alerts_of(webhook, run, 2, airflow)
    assert first == "[sqltune] run is past its deadline"
    assert second == "[sqltune] run failed"


def test_a_run_that_fails_while_the_dag_processor_is_down_is_told_once_it_is_back(airflow, webhook):
    airflow.stop("dag-processor")
    client = airflow.client
    run = client.trigger(DAG, {"suites": "nothing"})
    wait_until(lambda: client.run_state(DAG, run) == "failed", 300)
    assert "[sqltune] run failed" not in titles(webhook, run)
    airflow.start("dag-processor")
    wait_until(lambda: "[sqltune] run failed" in titles(webhook, run), 300)
