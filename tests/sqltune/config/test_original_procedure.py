"""Cluster and recipe of the original procedure hold its settings to the letter (docs/procedure.md)."""

from __future__ import annotations

import pytest

from sqltune.config.consistency import inconsistencies
from sqltune.config.loading import load_cluster, load_recipe
from tests.conftest import ROOT

PROCEDURE = (ROOT / "docs" / "procedure.md").read_text(encoding="utf-8")


@pytest.fixture
def cluster(monkeypatch):
    for name in ("HF_ENDPOINT", "SQLTUNE_SERVING_BIND", "SQLTUNE_API_KEY_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    return load_cluster("rocm_2x4")


@pytest.fixture
def recipe():
    return load_recipe("codellama_7b_rocm")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NCCL_SOCKET_IFNAME", "eth0"),
        ("GLOO_SOCKET_IFNAME", "eth0"),
        ("NCCL_IB_HCA", "mlx5"),
        ("HF_HOME", "/code/huggingface-cache"),
        ("HF_ENDPOINT", "https://hf-mirror.com"),
        ("https_proxy", "http://proxy:3128"),
    ],
)
def test_host_has_the_procedures_environment(cluster, name, value):
    assert cluster.host_env()[name] == value


def test_rendezvous_is_on_the_procedures_port(cluster):
    assert cluster.master_port == 12345


def test_two_hosts_train_with_four_cards_each(cluster):
    assert [h.processes for h in cluster.hosts] == [4, 4]


def test_model_is_served_on_four_cards_of_15_gib(cluster):
    assert (cluster.serving.num_gpus, cluster.serving.max_gpu_memory) == (4, "15GiB")


def test_base_model_is_the_procedures(recipe):
    assert recipe.base_model == "/dataset/CodeLlama-7b-hf/"


def test_strategy_is_zero3_with_offload(recipe):
    assert recipe.training.deepspeed == "zero3_offload"


def test_dataset_is_the_procedures(recipe):
    assert recipe.dataset_repo == "jtjt520j/CSpider_and_DUSQL_sql_create_context"


def test_recipe_and_cluster_fit_together(recipe, cluster):
    assert inconsistencies(recipe, cluster, recipe.training) == []


@pytest.mark.parametrize(
    "setting", ["rocm_2x4", "codellama_7b_rocm", "master_port", "num_gpus", "max_gpu_memory", "hub_endpoint"]
)
def test_page_names_the_setting(setting):
    assert setting in PROCEDURE
