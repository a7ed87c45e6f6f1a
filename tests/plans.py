"""A run plan for tests that need one and no hub."""

from __future__ import annotations

import pytest

from sqltune.config.loading import load_cluster, load_gate_rules, load_recipe
from sqltune.config.plan import RunPlan

LAB = {
    "SQLTUNE_LAB_NODE_ENV": "/opt/node-env",
    "SQLTUNE_LAB_INTERFACE": "eth0",
    "SQLTUNE_LAB_HUB": "http://127.0.0.1:1",
}


def run_plan(
    run_id: str = "r1", *, recipe_file: str = "lab_tiny", cluster_file: str = "lab", **fields: object
) -> RunPlan:
    """A plan of a shipped recipe on a shipped cluster, with other values for some fields."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LAB.items():
            patch.setenv(name, value)
        recipe, cluster = load_recipe(recipe_file), load_cluster(cluster_file)
    plan = RunPlan(
        run_id=run_id,
        recipe_name=recipe_file,
        cluster_name=cluster_file,
        recipe=recipe,
        cluster=cluster,
        training=recipe.training,
        dataset_repo="team/data",
        dataset_revision="",
        dataset_commit="0123456789abcdef",
        dataset_date="2026-11-01T00:00:00+00:00",
        base_model="~/models/base",
        eval_questions=12,
        suites=[],
        gate=load_gate_rules(recipe, recipe_file),
        promote="yes",
        force=False,
        champion=None,
        code_version="code1",
        installation="0123456789abcdef0123456789abcdef",
    )
    return plan.model_copy(update=fields)
