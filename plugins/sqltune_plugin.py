"""What sqltune adds to Airflow: the page and its API. Airflow finds this module in the plugins folder.

The environment variable SQLTUNE_PAGE says how the page is shown: `tab`, the default, as a part of Airflow's
own page; `frame`, in a frame, for an Airflow in which React plugins are off or fail; `off`, not at all. The
API is there in each case. The webhook of the dataset's hub is there where SQLTUNE_WEBHOOK_SECRET is set.
"""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends

from sqltune.environment import setting
from sqltune.timetables.revisions import RevisionTimetable
from sqltune.ui.app import create_app
from sqltune.ui.contracts import DAG_ID
from sqltune.ui.webhook import create_webhook

MAY_READ_RUNS = requires_access_dag("GET", DagAccessEntity.RUN, param_dag_id=DAG_ID)
"""Who may read the DAG's runs may read what they recorded."""
PREFIX = "sqltune"
"""Path of API and page; addresses without a leading slash respect the path of Airflow's `[api] base_url`."""
RUN = {"name": "Text-to-SQL", "destination": "dag_run", "url_route": "text2sql"}
HISTORY = {"name": "Models", "destination": "nav", "url_route": "text2sql-history"}


def views(page: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the React apps and the external views with which Airflow shows the page.

    Args:
        page: `tab`, `frame` or `off`.

    Raises:
        ValueError: It is none of these.
    """
    match page:
        case "tab":
            bundle = {"bundle_url": f"{PREFIX}/static/sqltune.js"}
            return [RUN | bundle, HISTORY | bundle], []
        case "frame":
            run = RUN | {"href": f"{PREFIX}/frame/{{DAG_ID}}/{{RUN_ID}}"}
            return [], [run, HISTORY | {"href": f"{PREFIX}/frame"}]
        case "off":
            return [], []
    raise ValueError(f"SQLTUNE_PAGE is {page!r}, expected tab, frame or off: correct it in the environment")


def apps() -> list[dict[str, Any]]:
    """Return the API, and the webhook where it has a secret. The first whose prefix fits answers."""
    api = {"app": create_app([Depends(MAY_READ_RUNS)]), "url_prefix": f"/{PREFIX}", "name": "sqltune"}
    webhook = {"app": create_webhook(), "url_prefix": f"/{PREFIX}/hooks", "name": "sqltune-webhook"}
    return [webhook, api] if webhook["app"] else [api]


class SqltunePlugin(AirflowPlugin):
    """The page in Airflow's own, the schedule of the revisions, and the hub's webhook."""

    name = "sqltune"
    fastapi_apps = apps()
    timetables = [RevisionTimetable]  # noqa: RUF012 # Airflow's declaration
    react_apps, external_views = views(setting("SQLTUNE_PAGE", "tab"))
