"""The adapter that a training goes on from: the champion's, where its weights fit what is to be trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqltune.config import xtuner_config
from sqltune.config.cluster import Cluster
from sqltune.config.plan import Champion, StartAdapter
from sqltune.config.recipe import Recipe, Training
from sqltune.errors import ConfigError
from sqltune.records import runs, versions

REMEDY = "or set start_from to base"


def champions_adapter(
    champion: Champion,
    cluster_name: str,
    cluster: Cluster,
    recipe: Recipe,
    base_model: str,
    training: Training,
) -> StartAdapter:
    """Return the adapter of the model that is served.

    Args:
        champion: What is served.
        cluster_name: The cluster it is served on.
        cluster: The same cluster, as its file is now.
        recipe: What is to be trained.
        base_model: Folder of the base model that is to be trained.
        training: The settings it is to be trained with.

    Raises:
        ConfigError: The adapter is not on record or lies elsewhere, its weights do not fit, or it was
            trained on databases that are held out now.
    """
    version = versions.find(cluster_name, champion.version)
    digest = version and version.lineage.get("adapter_hash")
    if version is None or not digest:
        raise ConfigError(
            [
                f"start_from: the adapter of version {champion.version}, which is served, is not on record: "
                "set start_from to base"
            ]
        )
    mistakes = [
        *_host(version.number, version.host, cluster),
        *_differences(version.number, runs.plan(version.run_key), recipe, base_model, training),
    ]
    # That the file is missing is said without an adapter too (`config.consistency`).
    if xtuner_config.exists(recipe.xtuner_config) and not xtuner_config.takes_adapter(recipe.xtuner_config):
        mistakes.append(
            f"start_from: {recipe.xtuner_config} cannot go on from an adapter: it needs start_adapter and "
            f"start_digest in part 1, and AdapterFinetune as its model. Add them as in lab_lora.py, {REMEDY}"
        )
    if mistakes:
        raise ConfigError(mistakes)
    return StartAdapter(
        version=version.number, host=version.host, path=version.lineage["adapter"], digest=digest
    )


def _host(number: int, host: str, cluster: Cluster) -> Iterator[str]:
    names = [h.name for h in cluster.hosts]
    if host not in names:
        yield (
            f"start_from: the adapter of version {number} lies on {host}, which is not one of the cluster's "
            f"hosts ({', '.join(names)}): bring the host back, {REMEDY}"
        )


def _differences(
    number: int, earlier: dict[str, Any] | None, recipe: Recipe, base_model: str, training: Training
) -> Iterator[str]:
    """What stands between the version's training and one that would go on from it."""
    if earlier is None:
        yield (
            f"start_from: the run that trained version {number} is not on record, nor what it has seen: set "
            "start_from to base"
        )
        return
    fields = [
        ("base_model", earlier["base_model"], base_model),
        ("lora_rank", earlier["training"]["lora_rank"], training.lora_rank),
        # It decides which layers have an adapter, and how much the adapter counts.
        ("xtuner_config", earlier["recipe"]["xtuner_config"], recipe.xtuner_config),
    ]
    for name, theirs, own in fields:
        if theirs != own:
            yield (
                f"start_from: version {number} was trained with {name} {theirs}, and this run has {own}: set "
                f"{name} to {theirs}, {REMEDY}"
            )
    percent = earlier["recipe"]["held_out_percent"]
    if percent < recipe.held_out_percent:
        yield (
            f"start_from: version {number} was trained with held_out_percent {percent}, and this run has "
            f"{recipe.held_out_percent}: it has seen questions that are to judge it. Set held_out_percent to "
            f"{percent}, {REMEDY}"
        )
