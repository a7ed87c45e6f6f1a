"""A run's config is the recipe's with the plan's values in part 1, and nothing else changed."""

from __future__ import annotations

import difflib

import pytest

from sqltune.config import paths
from sqltune.config.loading import load_recipe
from sqltune.config.xtuner_config import render, set_values
from sqltune.errors import ConfigError


def test_only_the_first_assignment_is_replaced():
    source = "a = 1\nb = dict(\n    x=a,\n)\na = f(a)\n"
    assert set_values(source, {"a": "it's", "b": 2}) == 'a = "it\'s"\nb = 2\na = f(a)\n'


def test_a_name_that_is_not_there_is_a_mistake():
    with pytest.raises(ConfigError, match="lr is not assigned"):
        set_values("a = 1\n", {"lr": 1})


@pytest.mark.parametrize("recipe", ["codellama_7b_qlora", "lab_dusql", "lab_smollm2", "lab_tiny"])
def test_a_rendered_config_differs_in_part_one_only(recipe):
    from types import SimpleNamespace

    r = load_recipe(recipe)
    plan = SimpleNamespace(
        recipe=r, training=r.training, base_model=r.base_model, cluster=SimpleNamespace(backend="gloo")
    )
    before = (paths.CONFIGS / "xtuner" / r.xtuner_config).read_text()
    after = render(plan, "~/train.jsonl")
    compile(after, "config", "exec")
    changed = [
        line[1:]
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
        if line[:1] == "+" and line[:3] != "+++"
    ]
    names = {
        "pretrained_model_name_or_path",
        "data_path",
        "max_length",
        "batch_size",
        "accumulative_counts",
        "max_steps",
        "max_epochs",
        "lr",
        "lora_r",
        "seed",
        "log_interval",
        "save_steps",
        "save_total_limit",
        "backend",
    }
    assert changed and {line.split(" = ")[0] for line in changed} <= names
    # A second assignment would be another value than the plan's: only the home is put in.
    assert f"lr = {r.training.learning_rate!r}" in after
