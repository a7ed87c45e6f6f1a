"""The DAGs beside the retraining."""

from __future__ import annotations

import pytest

from sqltune.config.loading import cluster_names
from tests.plans import LAB


def test_only_retraining_has_to_be_switched_on(dags):
    assert {name: d.is_paused_upon_creation for name, d in dags.items()} == {
        "text2sql_retrain": None,
        "text2sql_promote": False,
        "text2sql_housekeeping": False,
        "text2sql_revisions": False,
    }


def test_promotion_selects_among_the_clusters(dags):
    assert dags["text2sql_promote"].params.get_param("cluster").schema["enum"] == cluster_names()


def test_promotions_form_can_be_sent_as_it_opens(dags):
    dags["text2sql_promote"].params.validate()


def test_housekeeping_reaps_on_every_cluster(dags):
    reap = dags["text2sql_housekeeping"].get_task("reap")
    assert reap.op_kwargs_expand_input.value == {"cluster": cluster_names()}


@pytest.fixture
def watched_asset(monkeypatch):
    from sqltune.triggers import revisions

    for name, value in LAB.items():
        monkeypatch.setenv(name, value)
    return revisions.dataset_asset


def test_the_default_recipes_dataset_is_watched(watched_asset):
    classpath, arguments = watched_asset().watchers[0].trigger.serialize()
    assert classpath == "sqltune.triggers.revisions.RevisionTrigger"
    assert arguments["dataset_repo"] == "sqltune-lab/text2sql_zh_en"
    assert arguments["seconds"] == 60


def test_the_watcher_can_be_switched_off(watched_asset, monkeypatch):
    monkeypatch.setenv("SQLTUNE_WATCH_SECONDS", "0")
    assert watched_asset().watchers == []


def test_a_recipe_that_does_not_exist_leaves_the_dag_importable(watched_asset, monkeypatch):
    monkeypatch.setenv("SQLTUNE_RECIPE", "missing")
    assert watched_asset().watchers == []
