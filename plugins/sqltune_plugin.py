"""What sqltune adds to Airflow: the page and its API. Airflow finds this module in the plugins folder."""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends

from sqltune.ui.app import create_app
from sqltune.ui.contracts import DAG_ID

MAY_READ_RUNS = requires_access_dag("GET", DagAccessEntity.RUN, param_dag_id=DAG_ID)
"""Who may read the DAG's runs may read what they recorded."""
PREFIX = "/sqltune"


class SqltunePlugin(AirflowPlugin):
    """The page, in Airflow's own."""

    name = "sqltune"
    fastapi_apps = [  # noqa: RUF012 # Airflow's declaration
        {
            "app": create_app([Depends(MAY_READ_RUNS)]),
            "url_prefix": PREFIX,
            "name": "sqltune",
        }
    ]
    react_apps = [  # noqa: RUF012 # Airflow's declaration
        {
            "name": "Text-to-SQL",
            "bundle_url": f"{PREFIX}/static/sqltune.js",
            "destination": "dag_run",
            "url_route": "text2sql",
        },
        {
            "name": "Text-to-SQL history",
            "bundle_url": f"{PREFIX}/static/sqltune.js",
            "destination": "nav",
            "url_route": "text2sql-history",
        },
    ]
