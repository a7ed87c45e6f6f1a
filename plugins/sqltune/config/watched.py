"""The dataset that is watched: that of the form's default recipe, on the default cluster's hub."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from sqltune.config.loading import load_cluster, load_recipe
from sqltune.config.recipe import Revisions
from sqltune.config.spec import RunSpec
from sqltune.environment import setting
from sqltune.errors import ConfigError
from ssh_gang.model import Model

BRANCH = "main"
"""The branch that is trained on where the form names no revision."""
STALE = timedelta(minutes=15)
"""A night does without the records if the hub has not answered the watcher for this long."""


class Watched(Model):
    """A dataset whose new commits are trained by themselves."""

    cluster: str = Field(description="Name of the cluster's file, without .yaml.")
    recipe: str = Field(description="Name of the recipe's file, without .yaml.")
    dataset_repo: str = Field(description="Dataset repository on the hub, owner/name.")
    branch: str = Field(BRANCH, description="The branch.")
    hub_endpoint: str = Field(description="Address of the hub.")
    revisions: Revisions = Field(description="The recipe's policy.")


def watched() -> Watched | None:
    """Return the dataset that is watched, or None where the default recipe or cluster has mistakes.

    A mistake there must not make the DAG unimportable: the task `plan` names it.
    """
    recipe_name, cluster_name = _default("recipe", "SQLTUNE_RECIPE"), _default("cluster", "SQLTUNE_CLUSTER")
    try:
        recipe, cluster = load_recipe(recipe_name), load_cluster(cluster_name)
    except ConfigError:
        return None
    return Watched(
        cluster=cluster_name,
        recipe=recipe_name,
        dataset_repo=recipe.dataset_repo,
        hub_endpoint=cluster.hub_endpoint,
        revisions=recipe.revisions,
    )


def _default(field: str, variable: str) -> str:
    return setting(variable, str(RunSpec.model_fields[field].default))
