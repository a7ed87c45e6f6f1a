"""The page's API and the hub's webhook as apps of Airflow's api-server, with who may use them."""

from __future__ import annotations

import logging
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI

from sqltune.errors import ConfigError
from sqltune.ui.app import create_app
from sqltune.ui.contracts import DAG_ID
from sqltune.ui.webhook import create_webhook

log = logging.getLogger(__name__)

MAY_READ_RUNS = requires_access_dag("GET", DagAccessEntity.RUN, param_dag_id=DAG_ID)
"""Who may read the DAG's runs may read what they recorded."""


def apps(prefix: str) -> list[dict[str, Any]]:
    """Return the API, and the webhook where it has a secret. The first whose prefix fits answers.

    Args:
        prefix: Path of the API, without slashes.
    """
    api = {"app": create_app([Depends(MAY_READ_RUNS)]), "url_prefix": f"/{prefix}", "name": "sqltune"}
    webhook = {"app": _webhook(), "url_prefix": f"/{prefix}/hooks", "name": "sqltune-webhook"}
    return [webhook, api] if webhook["app"] else [api]


def _webhook() -> FastAPI | None:
    try:
        return create_webhook()
    except ConfigError as e:
        # Airflow's api-server would not start, and nobody could stop a run.
        log.error("the hub's webhook is not served: %s", e)
        return None
