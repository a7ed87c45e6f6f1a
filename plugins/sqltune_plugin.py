"""What sqltune adds to Airflow: the page and its API. Airflow finds this module in the plugins folder.

The environment variable SQLTUNE_PAGE says how the page is shown: `tab`, the default, as a part of Airflow's
own page; `frame`, in a frame, for an Airflow in which React plugins are off or fail; `off`, not at all. The
API is there in each case. The webhook of the dataset's hub is there where SQLTUNE_WEBHOOK_SECRET is set.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from sqltune.environment import setting
from sqltune.timetables.revisions import RevisionTimetable

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


class SqltunePlugin(AirflowPlugin):
    """The page in Airflow's own, the schedule of the revisions, and the hub's webhook."""

    name = "sqltune"
    timetables = [RevisionTimetable]  # noqa: RUF012 # Airflow's declaration
    react_apps, external_views = views(setting("SQLTUNE_PAGE", "tab"))

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override] # a list in Airflow's class
        """The API, and the webhook where it has a secret.

        Built when they are asked for: every component imports this module, and only the api-server serves
        them.
        """
        from sqltune.ui.airflow_apps import apps

        return apps(PREFIX)
