"""The page as a document of its own, on recorded runs, beside what it asks of Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI, HTTPException, Query
from playwright.sync_api import Page

from sqltune.records import database
from sqltune.ui.app import create_app
from sqltune.ui.contracts import DAG_ID
from tests.browser import OpenPage

ENDED = "2026-11-01T03:02:01Z"
TASKS = {"plan": "success", "preflight": "success", "train": "success", "gate": "success"}


@dataclass
class Site:
    """Records in several states, served."""

    url: str = ""
    states: dict[str, str] = field(default_factory=dict)
    """Airflow's state of the runs that have not succeeded."""
    ended_at: dict[str, str] = field(default_factory=dict)
    """When runs ended, if not at `ENDED`."""
    triggered: list[dict[str, Any]] = field(default_factory=list)
    """What the page has sent to Airflow to start runs."""
    refusal: str = ""
    """Airflow's reason to start no run."""
    active: list[dict[str, Any]] = field(default_factory=list)
    """Runs that are queued or running; the oldest first."""
    ended: list[dict[str, Any]] = field(default_factory=list)
    """Runs that have ended; the newest first."""
    active_tasks: list[dict[str, Any]] = field(default_factory=list)
    """Task instances that run or wait, of all runs."""
    is_paused: bool = False
    may_read: bool = True
    """Whether the user may read the DAG in Airflow."""

    def address(self, run_id: str | None = None, **query: str) -> str:
        """Address of a run, or of the history."""
        path = f"/{DAG_ID}/{quote(run_id, safe='')}" if run_id else ""
        search = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"{self.url}/sqltune/frame{path}?{search}"

    def show(self, open_page: OpenPage, run_id: str | None = None, **options: Any) -> Page:
        """Open a run or the history in a page of its own.

        Args:
            open_page: The fixture.
            run_id: Airflow's run id; None for the history.
            options: Parameters of the address in `query`; all others are options of the browser's context.
        """
        query = options.pop("query", {})
        page = open_page(**options)
        page.goto(self.address(run_id, **query))
        return page


@contextmanager
def reading(home: Path) -> Iterator[None]:
    """Make this process use the records in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SQLTUNE_HOME", str(home))
        for name in ("SQLTUNE_DATABASE_URL", "SQLTUNE_LOG_STORE"):
            patch.delenv(name, raising=False)
        yield
        database.close()


def page_beside_airflow(site: Site) -> FastAPI:
    """The page, and the answers of Airflow's REST API that it asks for."""
    app = FastAPI()

    @app.get("/api/v2/dags/{dag_id}")
    def dag(dag_id: str) -> dict[str, Any]:
        if not site.may_read:
            raise HTTPException(403, "Forbidden")
        return {
            "dag_id": dag_id,
            "is_paused": site.is_paused,
            "max_active_runs": 1,
            "next_dagrun_run_after": "2026-12-01T02:00:00Z",
        }

    @app.get("/api/v2/dags/{dag_id}/dagRuns")
    def dag_runs(state: Annotated[list[str], Query()]) -> dict[str, Any]:
        if not site.may_read:
            raise HTTPException(403, "Forbidden")
        runs = site.active if "queued" in state else site.ended
        return {"dag_runs": runs, "total_entries": len(runs)}

    @app.get("/api/v2/dags/{dag_id}/dagRuns/~/taskInstances")
    def active_tasks() -> dict[str, Any]:
        return {"task_instances": site.active_tasks}

    @app.get("/api/v2/backfills")
    def backfills() -> dict[str, Any]:
        return {"backfills": [{"is_paused": False}]}

    @app.post("/api/v2/dags/{dag_id}/dagRuns")
    def trigger(dag_id: str, body: dict[str, Any]) -> dict[str, Any]:
        if site.refusal:
            raise HTTPException(403, site.refusal)
        site.triggered.append(body | {"dag_id": dag_id})
        return {"dag_run_id": body["dag_run_id"]}

    @app.get("/api/v2/dags/{dag_id}/dagRuns/{run_id}")
    def dag_run(dag_id: str, run_id: str) -> dict[str, Any]:
        return {
            "state": site.states.get(run_id, "success"),
            "run_type": "manual",
            "triggering_user_name": "admin",
            "queued_at": "2026-11-01T02:00:00Z",
            "start_date": "2026-11-01T02:00:01Z",
            "end_date": None if site.states.get(run_id) == "running" else site.ended_at.get(run_id, ENDED),
        }

    @app.get("/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
    def task_instances(dag_id: str, run_id: str) -> dict[str, Any]:
        common = {
            "map_index": -1,
            "queued_when": "2026-11-01T02:00:01Z",
            "start_date": "2026-11-01T02:00:02Z",
            "end_date": "2026-11-01T02:10:00Z",
            "duration": 598.0,
            "try_number": 1,
        }
        own = [task for task in site.active_tasks if task["dag_run_id"] == run_id]
        if own:
            return {"task_instances": [common | task for task in own]}
        return {"task_instances": [common | {"task_id": n, "state": s} for n, s in TASKS.items()]}

    app.mount("/sqltune", create_app())
    return app
