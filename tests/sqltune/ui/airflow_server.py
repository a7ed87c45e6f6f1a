"""A real api-server on recorded runs, and who is logged in to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path

import httpx
import jwt
import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import Page

from sqltune.ui.app import create_app
from tests.browser import OpenPage
from tests.conftest import ROOT, free_port

SECRET = "secret-of-these-tests-and-of-no-other-airflow-at-all-64-bytes-long"
RUN_ID = "whole"
AIRFLOW = Path(sys.executable).with_name("airflow")


def addresses() -> list[str]:
    """Every route of the API, with its parameters filled in."""
    values = {"run": RUN_ID, "cluster": "lab", "name": "train.try1.host-a", "id": "lost"}
    routes = [r for r in create_app().routes if isinstance(r, APIRoute) and "/api/" in r.path]
    return [f"/sqltune{route.path.format(**values)}{required(route, values)}" for route in routes]


def required(route: APIRoute, values: dict[str, str]) -> str:
    """The query of a route that cannot do without."""
    names = [field.alias for field in route.dependant.query_params if field.field_info.is_required()]
    return "?" + "&".join(f"{name}={values[name]}" for name in names) if names else ""


ADDRESSES = addresses()


class Server:
    """An api-server, and who is logged in to it."""

    def __init__(self, url: str, password: str, client: httpx.Client) -> None:
        self.url = url
        self._password = password
        self._client = client

    @cached_property
    def token(self) -> str:
        """A token of a user who may do everything."""
        login = {"username": "admin", "password": self._password}
        answer = self._client.post(f"{self.url}/auth/token", json=login)
        return str(answer.json()["access_token"])

    @property
    def token_without_role(self) -> str:
        """A token of a user who is known, and may read nothing."""
        claims = jwt.decode(self.token, options={"verify_signature": False})
        return jwt.encode(claims | {"sub": "stranger", "role": None}, SECRET, algorithm="HS512")

    def status(self, path: str, token: str | None = None, method: str = "GET") -> int:
        """Send a request; the status of its answer, which may be a stream without an end."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with self._client.stream(method, self.url + path, headers=headers) as answer:
            return answer.status_code

    def other_than(self, status: int, token: str | None = None, method: str = "GET") -> dict[str, int]:
        """The routes of the API that answer with another status, and theirs."""
        return {path: found for path in ADDRESSES if (found := self.status(path, token, method)) != status}

    def show(self, open_page: OpenPage, path: str, **options: object) -> Page:
        """Open a page of Airflow, logged in."""
        page = open_page(**{"locale": "en-US"} | options)
        page.context.add_cookies([{"name": "_token", "value": self.token, "url": self.url}])
        page.goto(self.url + path)
        return page


@pytest.fixture(scope="module")
def start(tmp_path_factory, recorded_runs) -> Callable[[str], AbstractContextManager[Server]]:
    """Start api-servers on one database, in which the run has been triggered."""
    home = tmp_path_factory.mktemp("airflow")
    records = shutil.copytree(recorded_runs, home / "records")
    (home / "passwords.json").write_text(json.dumps({"admin": "admin"}))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "SQLTUNE"))} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": SECRET,
        "AIRFLOW__API_AUTH__JWT_SECRET": SECRET,
        "SQLTUNE_HOME": str(records),
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
    }
    with (home / "setup.log").open("w") as log:
        for command in (["db", "migrate"], ["dags", "reserialize"]):
            subprocess.run([AIRFLOW, *command], env=env, stdout=log, stderr=log, timeout=300, check=True)

    @contextmanager
    def started(page: str) -> Iterator[Server]:
        port = str(free_port())
        url = f"http://127.0.0.1:{port}"
        address = {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__BASE_URL": url,
        }
        with (home / f"{page}.log").open("w") as log:
            process = subprocess.Popen(
                [AIRFLOW, "api-server"],
                env=env | address | {"SQLTUNE_PAGE": page},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + 200
            while not _answers(f"{url}/api/v2/monitor/health"):
                assert time.monotonic() < deadline, (home / f"{page}.log").read_text()[-3000:]
                assert process.poll() is None, (home / f"{page}.log").read_text()[-3000:]
                time.sleep(0.3)
            with httpx.Client(timeout=60, trust_env=False) as client:
                yield Server(url, "admin", client)
        finally:
            process.terminate()
            process.wait(60)

    return started


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


__all__ = ["ADDRESSES", "RUN_ID", "Server", "start"]
