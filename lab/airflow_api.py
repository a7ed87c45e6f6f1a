"""A small client of Airflow's REST API, for the lab and its tests."""

from __future__ import annotations

import time
from typing import Any

import httpx


class Airflow:
    """One Airflow, logged in."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._token()

    def _token(self) -> None:
        answer = self._http.post("/auth/token", json=self._login)
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request under /api/v2; logged in again when the token has run out."""
        answer = self._http.request(method, f"/api/v2{path}", **more)
        if answer.status_code == 401:
            self._token()
            answer = self._http.request(method, f"/api/v2{path}", **more)
        return answer

    def get(self, path: str, **params: Any) -> Any:
        """GET as JSON; httpx.HTTPStatusError when refused."""
        answer = self.call("GET", path, params=params)
        answer.raise_for_status()
        return answer.json()

    def put_connection(self, connection: dict[str, Any]) -> None:
        """Make or replace a Connection."""
        answer = self.call("POST", "/connections", json=connection)
        if answer.status_code == 409:
            answer = self.call("PATCH", f"/connections/{connection['connection_id']}", json=connection)
        answer.raise_for_status()

    def wait_for_dag(self, dag_id: str, seconds: float = 120) -> None:
        """Until the DAG has been read; SystemExit with its import error when it can't be."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.call("GET", f"/dags/{dag_id}/details").status_code == 200:
                return
            errors = self.get("/importErrors")["import_errors"]
            if errors:
                raise SystemExit("\n".join(e["stack_trace"] for e in errors))
            time.sleep(0.3)
        raise SystemExit(f"Airflow has not read {dag_id} within {seconds:.0f} s")

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run and return its id; SystemExit with Airflow's words when the form is refused."""
        answer = self.call("POST", f"/dags/{dag_id}/dagRuns", json={"conf": conf, "logical_date": None})
        if answer.status_code >= 400:
            raise SystemExit(f"Airflow refused the run: {answer.json().get('detail', answer.text)}")
        return answer.json()["dag_run_id"]

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A run."""
        return self.get(f"/dags/{dag_id}/dagRuns/{run_id}")

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """A run's task instances, in the order they started."""
        found = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
        return sorted(found, key=lambda t: (t["start_date"] or "9", t["task_id"], t["map_index"]))

    def log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> list[str]:
        """A task's log, one line an entry."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.get(path, full_content=True, map_index=map_index)["content"]
        lines = []
        for entry in content:
            if isinstance(entry, str):
                lines.append(entry)
                continue
            lines.append(entry.get("event", ""))
            for error in entry.get("error_detail") or []:
                lines += f"{error['exc_type']}: {error['exc_value']}".splitlines()
        return lines

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """What a task returned."""
        return self.get(
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value",
            map_index=map_index,
            deserialize=True,
        )["value"]
