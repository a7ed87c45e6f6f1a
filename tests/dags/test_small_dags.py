"""The DAGs beside the retraining."""

from __future__ import annotations

from sqltune.config.loading import cluster_names


def test_only_retraining_has_to_be_switched_on(dags):
    assert {name: d.is_paused_upon_creation for name, d in dags.items()} == {
        "text2sql_retrain": None,
        "text2sql_promote": False,
        "text2sql_housekeeping": False,
    }


def test_promotion_selects_among_the_clusters(dags):
    assert dags["text2sql_promote"].params.get_param("cluster").schema["enum"] == cluster_names()


def test_promotions_form_can_be_sent_as_it_opens(dags):
    dags["text2sql_promote"].params.validate()


def test_housekeeping_reaps_on_every_cluster(dags):
    reap = dags["text2sql_housekeeping"].get_task("reap")
    assert reap.op_kwargs_expand_input.value == {"cluster": cluster_names()}
