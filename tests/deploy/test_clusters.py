"""Two clusters of one Airflow train at the same time; a run waits for the one before it on its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lab.airflow_api import Airflow
from tests.deploy import measured
from tests.deploy.runs import failures, states, until_ended
from tests.deploy.stack import CLUSTERS, DAG, HOSTS
from tests.waiting import wait_until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def ended(stack, airflow) -> dict[str, str]:
    """The runs of the two clusters, and a second one of the first, which comes while that works."""
    if stack.folder.name != "local":
        pytest.skip("the other shape's")

    def trigger(cluster: str) -> str:
        return airflow.trigger(DAG, {"recipe": "lab_tiny", "cluster": cluster, "seed": 3})

    with measured.seconds("local", "two clusters, both promoted"):
        started = {cluster: trigger(cluster) for cluster in CLUSTERS}
        wait_until(lambda: states(airflow, started["left"]).get("plan") == "success", 60)
        started["left again"] = trigger("left")
        for run in started.values():
            assert until_ended(airflow, run) == "success", failures(airflow, run)
    return started


def test_two_clusters_train_at_the_same_time(airflow, ended):
    (began, over), (other_began, other_over) = (
        (training["start_date"], training["end_date"])
        for training in (task_of(airflow, ended[cluster], "train") for cluster in CLUSTERS)
    )
    assert began < other_over
    assert other_began < over


def test_each_cluster_has_a_champion_of_its_own(stack, ended):
    promotions = "SELECT cluster, version, run_id FROM promotions WHERE cluster IN ('left', 'right')"
    expected = [f"{cluster}|1|{ended[cluster]}" for cluster in CLUSTERS]
    assert sorted(stack.query(promotions).splitlines()) == expected


@pytest.mark.parametrize(("cluster", "host"), [*zip(CLUSTERS, HOSTS, strict=True)])
def test_each_host_serves_the_model_of_its_cluster(stack, ended, cluster, host):
    query = f"SELECT merged_path FROM versions WHERE cluster = '{cluster}' AND run_id = '{ended[cluster]}'"
    served = stack.engine.docker("exec", host, "sh", "-c", "cat ~/code/*/serving/workers/*.json")
    assert stack.query(query).split("/runs/")[1] in served


def test_a_second_run_of_a_cluster_waits_for_the_first(airflow, ended):
    log = "\n".join(airflow.log(DAG, ended["left again"], "plan", 1))
    assert f"run {ended['left']} works on cluster left; this one waits until that has ended" in log
    assert f"nothing new: run {ended['left']} trained and judged the same plan" in log


def task_of(airflow: Airflow, run: str, name: str) -> Mapping[str, Any]:
    return next(task for task in airflow.tasks(DAG, run) if task["task_id"] == name)
