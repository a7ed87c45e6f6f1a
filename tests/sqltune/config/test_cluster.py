"""What follows from a cluster file."""

from __future__ import annotations

import pytest

from sqltune.config.cluster import Serving
from sqltune.config.loading import load_cluster


@pytest.fixture
def cluster():
    return load_cluster("gpu_2x4")


def test_the_address_of_the_served_model():
    assert Serving(host="a", bind="10.0.0.1").url == "http://10.0.0.1:8000/v1"


def test_world_size_is_all_ranks_of_all_hosts(cluster):
    assert cluster.world_size == 8


def test_every_host_has_storage_of_its_own(cluster):
    assert [h.name for h in cluster.storage_hosts] == ["gpu-0", "gpu-1"]


def test_only_the_master_has_storage_where_it_is_shared(cluster):
    shared = cluster.model_copy(update={"shared_storage": True})
    assert [h.name for h in shared.storage_hosts] == ["gpu-0"]


def test_the_environment_names_the_interface_for_both_backends(cluster):
    env = cluster.host_env()
    assert env["NCCL_SOCKET_IFNAME"] == "ib0"
    assert env["GLOO_SOCKET_IFNAME"] == "ib0"


def test_a_variable_of_the_file_wins_over_the_chains(cluster):
    changed = cluster.model_copy(update={"env": {"TOKENIZERS_PARALLELISM": "true"}})
    assert changed.host_env()["TOKENIZERS_PARALLELISM"] == "true"


def test_an_unknown_host_is_a_key_error(cluster):
    with pytest.raises(KeyError):
        cluster.host("gpu-9")
