"""An estimate before there is a run: of what a form would plan, from the records alone."""

from __future__ import annotations

from sqltune.config.loading import load_cluster, load_gate_rules, load_recipe
from sqltune.config.plan import RunPlan
from sqltune.config.presets import load_preset
from sqltune.config.spec import RunSpec
from sqltune.estimate.model import Estimate
from sqltune.estimate.probing import choose
from sqltune.estimate.tokens import known_tokens


def preview(form: RunSpec) -> tuple[RunPlan, Estimate]:
    """Return what a form would plan, without a commit, and what that would take.

    Nobody is asked: the rows are those of the commit that was counted last.

    Raises:
        ConfigError: The form's recipe, cluster or preset does not exist, or has mistakes.
    """
    spec = form.filled_in(load_preset(form.preset).values) if form.preset else form
    recipe, cluster = load_recipe(spec.recipe), load_cluster(spec.cluster)
    plan = RunPlan(
        run_id="preview",
        recipe_name=spec.recipe,
        cluster_name=spec.cluster,
        recipe=recipe,
        cluster=cluster,
        training=spec.training(recipe.training),
        dataset_repo=spec.dataset_repo or recipe.dataset_repo,
        dataset_revision=spec.dataset_revision or "",
        dataset_commit="",
        dataset_date="",
        base_model=spec.base_model or recipe.base_model,
        eval_questions=spec.eval_questions or recipe.eval_questions,
        suites=[],
        gate=load_gate_rules(recipe, spec.recipe),
        promote=spec.promote or "yes",
        force=spec.force,
        champion=None,
        installation="",
        code_version="",
    )
    return choose(plan, known_tokens(plan), ask_hub=False)
