"""Recipes and clusters are read from their files, and mistakes in them are named."""

from __future__ import annotations

import pytest

from sqltune.config import loading, paths
from sqltune.errors import ConfigError


@pytest.fixture
def clusters(tmp_path, monkeypatch):
    """An empty folder of cluster files."""
    monkeypatch.setattr(paths, "CONFIGS", tmp_path)
    (tmp_path / "clusters").mkdir()
    return tmp_path / "clusters"


def test_every_shipped_recipe_is_valid():
    recipes = [loading.load_recipe(name) for name in loading.recipe_names()]
    assert len(recipes) == 4
    for recipe in recipes:
        assert (paths.CONFIGS / "xtuner" / recipe.xtuner_config).is_file()


def test_every_shipped_cluster_is_valid():
    assert len([loading.load_cluster(name) for name in loading.cluster_names()]) == 2


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(ConfigError, match=r"cluster: 'nowhere' does not exist \(choices: gpu_2x4, lab\)"):
        loading.load_cluster("nowhere")


def test_a_variable_that_is_not_set_is_named(clusters):
    (clusters / "c.yaml").write_text("work_dir: ${NOT_SET_ANYWHERE}\n")
    with pytest.raises(ConfigError, match=r"clusters/c.yaml.work_dir: \$\{NOT_SET_ANYWHERE\} is not set"):
        loading.load_cluster("c")


def test_every_mistake_in_a_file_is_named(clusters):
    (clusters / "c.yaml").write_text("work_dir: ~/code\nmaster_port: 1\ncolour: red\n")
    with pytest.raises(ConfigError) as caught:
        loading.load_cluster("c")
    assert "clusters/c.yaml.master_port: 1 is not allowed" in str(caught.value)
    assert "clusters/c.yaml.colour: is not a field here" in str(caught.value)
    assert "clusters/c.yaml.hosts: is missing" in str(caught.value)
