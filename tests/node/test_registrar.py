"""Registration of the served models, against a small controller and worker."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import registrar
from tests.conftest import free_port, serving


class Servers:
    """A controller and a worker at one address; the requests that they received."""

    def __init__(self) -> None:
        self.known = False
        self.requests: list[tuple[str, dict[str, object]]] = []
        self.url = ""

    async def answer(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.requests.append((request.url.path, body))
        if request.url.path == "/worker_get_status":
            return JSONResponse({"queue_length": 3})
        return JSONResponse({"exist": self.known})

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    @property
    def port(self) -> int:
        port = urllib.parse.urlsplit(self.url).port
        assert port
        return port


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = Servers()
    with serving(Starlette(routes=[Route("/{path:path}", servers.answer, methods=["POST"])])) as url:
        servers.url = url
        yield servers


def put(folder: Path, port: int, names: list[str], program: str = "") -> None:
    (folder / "workers").mkdir(exist_ok=True)
    worker = {"bind": "127.0.0.1", "port": port, "names": names}
    (folder / "workers" / f"{program or f'worker-{port}'}.json").write_text(json.dumps(worker))


def test_a_worker_that_the_controller_does_not_know_is_registered(servers, tmp_path):
    put(tmp_path, servers.port, ["text2sql"])
    registrar.send_heartbeats(tmp_path, servers.url, {})
    path, body = servers.requests[-1]
    assert path == "/register_worker"
    assert body["worker_name"] == servers.url
    assert body["worker_status"]["model_names"] == [f"worker-{servers.port}"]


def test_a_known_worker_sends_its_queue_length_only(servers, tmp_path):
    servers.known = True
    put(tmp_path, servers.port, ["text2sql"])
    registrar.send_heartbeats(tmp_path, servers.url, {servers.url: [f"worker-{servers.port}"]})
    assert servers.paths == ["/worker_get_status", "/receive_heart_beat"]
    assert servers.requests[-1][1]["queue_length"] == 3


def test_a_worker_that_an_older_version_registered_is_registered_again(servers, tmp_path):
    """The controller knows it, but under its served names."""
    servers.known = True
    put(tmp_path, servers.port, ["text2sql"])
    registered: dict[str, list[str]] = {}
    registrar.send_heartbeats(tmp_path, servers.url, registered)
    registrar.send_heartbeats(tmp_path, servers.url, registered)
    assert servers.paths.count("/register_worker") == 1


def test_a_worker_that_is_drained_receives_no_connection(servers, tmp_path):
    """The switch waits until its last connection has closed."""
    put(tmp_path, servers.port, [])
    registrar.send_heartbeats(tmp_path, servers.url, {})
    assert servers.requests == []


def test_models_of_one_process_are_registered_together(servers, tmp_path):
    """The controller knows one worker at an address: the last one would have taken the other's place."""
    servers.known = True
    put(tmp_path, servers.port, ["text2sql"], "worker-a")
    registered: dict[str, list[str]] = {}
    registrar.send_heartbeats(tmp_path, servers.url, registered)
    put(tmp_path, servers.port, [], "worker-b")
    registrar.send_heartbeats(tmp_path, servers.url, registered)
    registrar.send_heartbeats(tmp_path, servers.url, registered)
    names = [
        body["worker_status"]["model_names"] for path, body in servers.requests if path == "/register_worker"
    ]
    assert names == [["worker-a"], ["worker-a", "worker-b"]]


def test_a_worker_that_is_down_keeps_no_other_from_being_registered(servers, tmp_path):
    put(tmp_path, free_port(), ["down"])
    put(tmp_path, servers.port, ["text2sql"])
    registrar.send_heartbeats(tmp_path, servers.url, {})
    assert "/register_worker" in servers.paths


def test_the_registrar_imports_nothing_but_the_standard_library():
    """A copy of it runs beside the servers, alone."""
    import ast
    import sys

    tree = ast.parse(Path(registrar.__file__).read_text())
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert modules <= {*sys.stdlib_module_names, "__future__"}
