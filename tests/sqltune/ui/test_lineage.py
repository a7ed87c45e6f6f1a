"""From the data to what served when."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from sqltune.config.plan import StartAdapter
from sqltune.node_contracts.preflight import PreflightResponse
from sqltune.records import checkups, promotions, runs
from sqltune.records.versions import Version
from sqltune.ui.app import create_app
from tests.host_facts import measured
from tests.sqltune.ui.gangs import Gang
from tests.versions import registered

LINEAGE = {
    "dataset_repo": "team/data",
    "split_hash": "5911",
    "base_model_hash": "ba5e",
    "checkpoint": "~/code/runs/r1/train/try1/iter_40.pth",
    "checkpoint_hash": "c4ec",
    "adapter": "~/code/runs/r1/adapter",
    "adapter_hash": "ada9",
}


@pytest.fixture
def gang(engine, monkeypatch) -> Gang:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Gang()


def lineage(gang: Gang) -> dict:
    response = TestClient(create_app()).get(f"/api/v1/runs/{gang.key}/lineage")
    assert response.status_code == 200, response.text
    return response.json()


def step(gang: Gang, stage: str) -> dict:
    [found] = [step for step in lineage(gang)["steps"] if step["stage"] == stage]
    return found


def register(run_id: str = "r1") -> Version:
    return registered(run_id, lineage=LINEAGE)


def test_a_training_that_went_on_from_a_champion_says_which(gang):
    start = StartAdapter(version=3, host="host-a", path="~/code/runs/r3/adapter", digest="57a7")
    runs.put_plan(gang.plan.model_copy(update={"start": start}))
    assert step(gang, "start_adapter") == {
        "stage": "start_adapter",
        "name": "version 3: ~/code/runs/r3/adapter",
        "hash": "57a7",
        "url": None,
    }


def test_every_step_to_the_version_has_its_hash(gang):
    register()
    assert [(s["stage"], s["hash"]) for s in lineage(gang)["steps"]] == [
        ("dataset", "0123456789abcdef"),
        ("split", "5911"),
        ("base_model", "ba5e"),
        ("checkpoint", "c4ec"),
        ("adapter", "ada9"),
        ("merged", "hash-r1"),
        ("version", None),
    ]


def test_a_run_that_has_not_come_so_far_shows_what_is_there(gang):
    checkups.put(gang.key, "host-a", PreflightResponse(facts=measured(), checks=[]))
    assert step(gang, "base_model")["hash"] == "same"
    assert (step(gang, "adapter")["name"], step(gang, "adapter")["hash"]) == ("", None)


def test_the_times_in_which_the_version_served(gang):
    first, second = register(), register("r2")
    promotions.promote(first, "the gate passed it", "r1")
    promotions.promote(second, "the gate passed it", "r2")
    promotions.promote(first, "rolled back", "manual__9")
    served = lineage(gang)["served"]
    assert [(time["why"], time["until"] is None) for time in served] == [
        ("the gate passed it", False),
        ("rolled back", True),
    ]


def test_a_version_that_never_served_served_at_no_time(gang):
    register()
    assert lineage(gang)["served"] == []


def test_the_dataset_is_a_link_to_its_commit_on_the_hub(gang):
    hub = gang.plan.cluster.hub_endpoint
    assert step(gang, "dataset")["url"] == f"{hub}/datasets/team/data/tree/0123456789abcdef"


def test_without_mlflow_the_version_is_no_link(gang):
    register()
    assert step(gang, "version")["url"] is None


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("http://mlflow:5000", "http://mlflow:5000/#/models/text2sql-lab"),
        ("https://me:hidden@mlflow/path/", "https://mlflow/path/#/models/text2sql-lab"),
        ("javascript:alert(1)", None),
        ("file:///var/mlflow", None),
    ],
)
def test_the_link_to_mlflow_holds_no_password_and_is_an_address_of_the_web(gang, monkeypatch, address, link):
    register()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert step(gang, "version")["url"] == link
