"""A run's config is the recipe's with the plan's values in part 1, and nothing else changed."""

from __future__ import annotations

import ast
import difflib
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sqltune.config import paths
from sqltune.config.loading import recipe_names
from sqltune.config.plan import StartAdapter
from sqltune.config.xtuner_config import parse, read_config, render, set_values
from sqltune.errors import ConfigError
from tests.plans import run_plan

SETTINGS = {
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
"""What a plan may change."""
CONFIGS = ["codellama_7b_qlora.py", "codellama_7b_qlora_fast.py", "lab_lora.py"]


def test_only_the_first_assignment_is_replaced():
    source = "a = 1\nb = dict(\n    x=a,\n)\na = f(a)\n"
    assert set_values(source, {"a": "it's", "b": 2}) == 'a = "it\'s"\nb = 2\na = f(a)\n'


def test_an_unassigned_name_is_a_mistake():
    with pytest.raises(ConfigError, match="lr is not assigned"):
        set_values("a = 1\n", {"lr": 1})


@pytest.mark.parametrize("config", CONFIGS)
def test_included_parts_are_in_place(config):
    source = read_config(config)
    assert "# include" not in source
    assert source.count("train_dataloader = dict(") == 1


@pytest.mark.parametrize("config", CONFIGS)
def test_settings_are_assigned_before_they_are_used(config):
    """mmengine runs the file from top to bottom."""
    known = set(dir(__builtins__)) | {"dict", "globals", "max", "round", "__import__"}
    for statement in ast.parse(read_config(config)).body:
        names = [n for n in ast.walk(statement) if isinstance(n, ast.Name)]
        assert {n.id for n in names if isinstance(n.ctx, ast.Load)} <= known, ast.unparse(statement)
        known |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
        if isinstance(statement, ast.Import | ast.ImportFrom):
            known |= {alias.asname or alias.name for alias in statement.names}


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_rendered_config_differs_in_its_settings_only(recipe):
    plan = run_plan(recipe_file=recipe)
    before = read_config(plan.recipe.xtuner_config)
    diff = difflib.unified_diff(
        before.splitlines(), render(plan, "~/train.jsonl").splitlines(), lineterm="", n=0
    )
    changed = {line[1:].split(" = ")[0] for line in diff if line[:1] == "+" and line[:3] != "+++"}
    assert changed
    assert changed <= SETTINGS


def test_a_rendered_config_has_the_plans_values():
    plan = run_plan()
    assert f"lr = {plan.training.learning_rate!r}" in render(plan, "~/train.jsonl")


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_config_can_go_on_from_an_adapter(recipe):
    start = StartAdapter(version=3, host="host-a", path="~/code/runs/r3/adapter", digest="ada9")
    config = render(run_plan(recipe_file=recipe, start=start), "~/train.jsonl")
    assert "start_adapter = '~/code/runs/r3/adapter'\nstart_digest = 'ada9'\n" in config


@pytest.mark.parametrize("recipe", ["codellama_7b_qlora", "codellama_7b_qlora_fast", "lab_tiny"])
def test_the_rendered_config(golden, recipe):
    golden(f"{recipe}.py.txt", render(run_plan(recipe_file=recipe), "~/code/data/train.jsonl"))


def test_a_config_of_ones_own_may_do_without_an_adapter_to_go_on_from():
    """It includes the shared part, as configs did before there was one."""
    settings = "pretrained_model_name_or_path = 'm'\ndata_path = 'd'\n"
    shared = (paths.CONFIGS / "xtuner/parts/common.py").read_text()
    first_lines = settings + shared[shared.index("pretrained_model") : shared.index("tokenizer = dict(")]
    values: dict[str, object] = {}
    exec(first_lines, values)
    assert (values["start_adapter"], values["start_digest"]) == ("", "")


def test_parts_are_no_choice_for_a_recipe():
    assert sorted(p.name for p in (paths.CONFIGS / "xtuner").glob("*.py")) == CONFIGS


def test_two_threads_read_a_config_at_once():
    """The garbage collector runs while a tree is built, and lets another thread build its own meanwhile."""
    source = read_config("codellama_7b_qlora.py")
    limits, let_others_run = gc.get_threshold(), lambda *_: time.sleep(0.0001)
    gc.callbacks.append(let_others_run)
    gc.set_threshold(50)
    try:
        with ThreadPoolExecutor(2) as threads:
            trees = list(threads.map(parse, [source] * 20))
    finally:
        gc.set_threshold(*limits)
        gc.callbacks.remove(let_others_run)
    assert {ast.dump(tree) for tree in trees} == {ast.dump(ast.parse(source))}
