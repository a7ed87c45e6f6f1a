"""What is served of a model: its merged model, or its adapter beside the base model (`serving.adapters`)."""

from __future__ import annotations

from sqltune.config.cluster import Cluster
from sqltune.config.plan import Site
from sqltune.errors import ConfigError
from sqltune.records.versions import Version
from sqltune.serving.hook import ServingHook


def servers_of(site: Site, version: Version, dtype: str) -> tuple[ServingHook, str]:
    """The model servers as a version needs them, and its folder that is served.

    Args:
        site: The cluster to serve on.
        version: The version.
        dtype: Data type of the served weights.

    Raises:
        ConfigError: As `require_base_model`.
    """
    if not site.cluster.serving.is_unmerged:
        return ServingHook(site, dtype), version.merged_path
    require_base_model(site.cluster, version)
    base_model, digest = (version.lineage.get(key, "") for key in ("base_model", "base_model_hash"))
    return ServingHook(site, dtype, base_model, digest), version.adapter_path


def require_base_model(cluster: Cluster, version: Version) -> None:
    """Refuse a version whose adapter cannot be served, as nobody knows beside which base model.

    Raises:
        ConfigError: Adapters are served unmerged, and the version's base model is not on record.
    """
    if cluster.serving.is_unmerged and not version.lineage.get("base_model"):
        raise ConfigError(
            [
                f"cluster.serving.adapters: unmerged, and the base model of version {version.number} is not "
                "on record: set it to merged, or choose another version"
            ]
        )
