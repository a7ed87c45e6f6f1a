"""A small client of Airflow's REST API, for the lab and its tests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, TypedDict

import httpx


class Task(TypedDict):
    """What is read of a task instance; Airflow sends more."""

    task_id: str
    map_index: int
    """-1 unless the task is mapped."""
    state: str | None
    try_number: int
    start_date: str | None
    duration: float | None
    """Seconds."""


class Airflow:
    """One Airflow, logged in. It keeps no connection open between requests, so nothing has to close it.

    Attributes:
        token: With which this client, or a browser, is logged in.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False, limits=limits)
        self._log_in()

    def _log_in(self) -> None:
        answer = self._http.post("/auth/token", json=self._login)
        answer.raise_for_status()
        self.token = str(answer.json()["access_token"])
        self._http.headers["Authorization"] = f"Bearer {self.token}"

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request under /api/v2; logs in again if the token has expired.

        Args:
            method: The HTTP method.
            path: The path below /api/v2.
            options: As `httpx.Client.request` takes them.
        """
        answer = self._http.request(method, f"/api/v2{path}", **options)
        if answer.status_code == 401:
            self._log_in()
            answer = self._http.request(method, f"/api/v2{path}", **options)
        return answer

    def get(self, path: str, **params: Any) -> Any:
        """GET as JSON.

        Raises:
            httpx.HTTPStatusError: Airflow refused.
        """
        answer = self.call("GET", path, params=params)
        answer.raise_for_status()
        return answer.json()

    def put_connection(self, connection: Mapping[str, object]) -> None:
        """Create or replace a Connection."""
        answer = self.call("POST", "/connections", json=connection)
        if answer.status_code == 409:
            answer = self.call("PATCH", f"/connections/{connection['connection_id']}", json=connection)
        answer.raise_for_status()

    def wait_for_dag(self, dag_id: str, seconds: float = 120) -> None:
        """Wait until Airflow has parsed a DAG.

        Raises:
            SystemExit: it cannot be imported, the message is the traceback; or time is up.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.call("GET", f"/dags/{dag_id}/details").status_code == 200:
                return
            errors = self.get("/importErrors")["import_errors"]
            if errors:
                raise SystemExit("\n".join(e["stack_trace"] for e in errors))
            time.sleep(0.3)
        raise SystemExit(f"Airflow has not parsed {dag_id} within {seconds:.0f} s")

    def trigger(self, dag_id: str, conf: Mapping[str, object]) -> str:
        """Start a run; return its id.

        Raises:
            SystemExit: Airflow refused the form's values; the message is Airflow's.
        """
        answer = self.call("POST", f"/dags/{dag_id}/dagRuns", json={"conf": conf, "logical_date": None})
        if answer.status_code >= 400:
            raise SystemExit(f"Airflow refused the run: {answer.json().get('detail', answer.text)}")
        return str(answer.json()["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """A run's state, such as `running` or `success`."""
        return str(self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """A run's task instances, in the order they started."""
        answer = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)
        return sorted(
            answer["task_instances"], key=lambda t: (t["start_date"] or "9", t["task_id"], t["map_index"])
        )

    def log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> list[str]:
        """A task's log, one string a line."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        lines: list[str] = []
        for entry in self.get(path, full_content=True, map_index=map_index)["content"]:
            if isinstance(entry, str):
                lines.append(entry)
                continue
            lines.append(entry.get("event", ""))
            for error in entry.get("error_detail") or []:
                lines += f"{error['exc_type']}: {error['exc_value']}".splitlines()
        return lines

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """What a task returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(path, map_index=map_index, deserialize=True)["value"]
