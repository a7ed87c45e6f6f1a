"""FastChat's API at its socket, with a small controller and no worker."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from door.errors import NO_WORKER
from tests.conftest import NODE_PYTHON, ROOT, free_port, serving
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


async def models(request: Request) -> JSONResponse:
    return JSONResponse({"models": ["gone", "unknown"]})


async def address(request: Request) -> JSONResponse:
    """The address of a worker that has ended; none for one that has just left the controller."""
    model = (await request.json())["model"]
    return JSONResponse({"address": f"http://127.0.0.1:{free_port()}" if model == "gone" else ""})


@pytest.fixture(scope="module")
def api() -> Iterator[httpx.Client]:
    """The API, as the front door asks it."""
    routes = [
        Route("/list_models", models, methods=["POST"]),
        Route("/get_worker_address", address, methods=["POST"]),
    ]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, serving(Starlette(routes=routes)) as controller:
        path = f"{folder}/api.sock"
        process = subprocess.Popen(
            [
                NODE_PYTHON,
                ROOT / "include/node/fastchat_api_compat.py",
                path,
                "--controller-address",
                controller,
            ],
            env=os.environ | {"LOGDIR": "", "PYTHONPATH": ""},
            cwd=folder,
        )
        wait_until(lambda: Path(path).exists())
        with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://api") as client:
            yield client
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("model", ["gone", "unknown"])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_worker_that_is_not_there_has_a_code_of_its_own(api, model, path):
    """It was a 500 without a reason, and the front door did not ask again."""
    body = {"model": model, "prompt": "x", "messages": [{"role": "user", "content": "x"}]}
    answer = api.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, NO_WORKER)


def test_another_failure_stays_a_failure(api):
    body = {"model": "gone", "messages": [{"role": "user"}], "prompt": []}
    assert api.post("/v1/completions", json=body).status_code == 500
