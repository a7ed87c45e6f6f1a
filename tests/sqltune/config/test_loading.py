"""Recipes and clusters are read from their files, and mistakes in them are named."""

from __future__ import annotations

import shutil

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
    assert len(recipes) == 6
    for recipe in recipes:
        assert (paths.CONFIGS / "xtuner" / recipe.xtuner_config).is_file()


def test_every_shipped_cluster_is_valid():
    assert len([loading.load_cluster(name) for name in loading.cluster_names()]) == 3


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(
        ConfigError, match=r"cluster: 'nowhere' does not exist \(choices: gpu_2x4, lab, rocm_2x4\)"
    ):
        loading.load_cluster("nowhere")


def test_a_variable_that_is_not_set_is_named(clusters):
    (clusters / "c.yaml").write_text("work_dir: ${NOT_SET_ANYWHERE}\n")
    with pytest.raises(ConfigError, match=r"clusters/c.yaml.work_dir: \$\{NOT_SET_ANYWHERE\} is not set"):
        loading.load_cluster("c")


@pytest.mark.parametrize("setting", [None, ""])
def test_a_default_takes_the_place_of_an_empty_variable(monkeypatch, setting):
    """A name that `.env` leaves empty is set, and is empty."""
    monkeypatch.delenv("SQLTUNE_SERVING_BIND", raising=False)
    if setting is not None:
        monkeypatch.setenv("SQLTUNE_SERVING_BIND", setting)
    assert loading.load_cluster("gpu_2x4").serving.bind == "127.0.0.1"


def test_an_address_that_is_not_one_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setenv("SQLTUNE_SERVING_BIND", "0.0.0.0")
    with pytest.raises(
        ConfigError, match=r"gpu_2x4.yaml.serving.bind: '0.0.0.0' .* name the one that Airflow"
    ):
        loading.load_cluster("gpu_2x4")


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """A copy of the folder of recipes."""
    shutil.copytree(paths.CONFIGS / "recipes", tmp_path / "recipes")
    monkeypatch.setattr(paths, "CONFIGS", tmp_path)
    return tmp_path / "recipes"


def test_a_recipe_takes_from_another_what_it_does_not_set(recipes):
    parent = loading.load_recipe("codellama_7b_qlora")
    (recipes / "child.yaml").write_text("extends: codellama_7b_qlora\ntraining: {max_epochs: 1}\n")
    training = parent.training.model_copy(update={"max_epochs": 1})
    assert loading.load_recipe("child") == parent.model_copy(update={"training": training})


def test_a_recipe_that_extends_an_unknown_one_names_the_choices(recipes):
    (recipes / "child.yaml").write_text("extends: nothing\n")
    with pytest.raises(ConfigError, match="recipe: 'nothing' does not exist"):
        loading.load_recipe("child")


def test_a_recipe_that_extends_itself_is_refused(recipes):
    (recipes / "child.yaml").write_text("extends: child\n")
    with pytest.raises(ConfigError, match="child.yaml.extends: 'child' extends itself"):
        loading.load_recipe("child")


def test_a_file_that_is_not_yaml_is_named_with_the_line(clusters):
    (clusters / "c.yaml").write_text("work_dir: ~/code\nhosts: [\n")
    with pytest.raises(ConfigError, match=r"clusters/c.yaml: is not YAML \(.* line 3") as caught:
        loading.load_cluster("c")
    assert len(caught.value.mistakes) == 1


def test_every_mistake_in_a_file_is_named(clusters):
    (clusters / "c.yaml").write_text("work_dir: ~/code\nmaster_port: 1\ncolour: red\n")
    with pytest.raises(ConfigError) as caught:
        loading.load_cluster("c")
    assert "clusters/c.yaml.master_port: 1 is not allowed" in str(caught.value)
    assert "clusters/c.yaml.colour: is not a field here" in str(caught.value)
    assert "clusters/c.yaml.hosts: is missing" in str(caught.value)
