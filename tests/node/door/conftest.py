"""A front door on a free port, and behind it a small API on a Unix socket, without a model."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import door.tally
from door.app import Door
from door.errors import UNKNOWN_MODEL
from door.settings import FILE, Limits, Settings, digest
from door.trial_files import Trial
from model_servers.worker import Worker, WorkerFiles
from tests.conftest import free_port, serving
from tests.node.door.tried import CANDIDATE
from tests.waiting import until, wait_until

KEYS = {"web": "key-of-web", "batch": "key-of-batch"}
INTERNAL = "internal-key"
OLD, NEW = "worker-text2sql-old", "worker-text2sql-new"


class Api:
    """FastChat's API as far as the door sees it: each prompt says what it does."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the tests before."""
        self.requests: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.unknown: set[str] = set()
        self.unknown_code = UNKNOWN_MODEL
        self.hold = threading.Event()
        self.left = threading.Event()

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.ids.append(request.headers["X-Request-Id"])
        model, prompt = body["model"], body.get("prompt", "")
        if model in self.unknown:
            return _error(self.unknown_code, f"Only others allowed now, your model {model}")
        if prompt == "too long":
            return _error(40303, "This model's maximum context length is 1024 tokens.")
        if prompt == "out of memory":
            return _error(50002, "CUDA out of memory")
        if f"{model} hangs" in prompt:
            await self._until_released(request)
        if f"{model} fails" in prompt:
            return _error(50002, "CUDA out of memory")
        if prompt == f"{model} has no room":
            return _error(40303, "This model's maximum context length is 1024 tokens.")
        if prompt == "crash":
            return PlainTextResponse("Internal Server Error", 500)
        if prompt == f"{model} garbles":
            return PlainTextResponse("data: {oops\n\n", media_type="text/event-stream")
        if body.get("stream"):
            return StreamingResponse(self._stream(model, prompt), media_type="text/event-stream")
        if prompt == "hold":
            await self._until_released(request)
        usage = {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2}
        text = "SELECT 1" if prompt == "of one mind" else f"SELECT 查 -- {model}"
        return JSONResponse({"model": model, "choices": [{"text": text}], "usage": usage})

    async def _until_released(self, request: Request) -> None:
        while not self.hold.is_set():
            if await request.is_disconnected():
                self.left.set()
                return
            await asyncio.sleep(0.01)

    async def _stream(self, model: str, prompt: str) -> AsyncIterator[str]:
        try:
            for text in ("SELECT", " 1"):
                yield f"data: {json.dumps({'model': model, 'choices': [{'text': text}]})}\n\n"
                if prompt == "hold":
                    await until(self.hold.is_set)
            while prompt == "without end":
                yield f"data: {json.dumps({'text': 'x' * 100_000})}\n\n"
                # Nothing is sent any more once the client has gone, and the loop must see that.
                await asyncio.sleep(0)
            if prompt == "out of memory at last":
                yield f"data: {json.dumps({'text': 'CUDA out of memory', 'error_code': 50002})}\n\n"
            if prompt == "break off":
                raise RuntimeError("the worker is gone")
            yield "data: [DONE]\n\n"
        finally:
            if not self.hold.is_set():
                self.left.set()

    async def status(self, request: Request) -> Response:
        return JSONResponse({"queue_length": 0})

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/completions", self.complete, methods=["POST"]),
                Route("/v1/chat/completions", self.complete, methods=["POST"]),
                Route("/worker_get_status", self.status, methods=["POST"]),
            ]
        )


def _error(code: int, message: str) -> Response:
    return JSONResponse({"object": "error", "message": message, "code": code}, 400)


@contextmanager
def at_socket(app: Starlette, path: str) -> Iterator[None]:
    """Serve an application at a Unix socket."""
    server = uvicorn.Server(uvicorn.Config(app, uds=path, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield
    server.should_exit = True
    thread.join(10)


class Front:
    """A door, its folder, and a client of it."""

    def __init__(self, folder: Path, socket: str) -> None:
        self.folder, self.socket = folder, socket
        self.lines: list[str] = []
        self.workers = WorkerFiles(folder)
        self.url = ""
        self.configure()

    def configure(self, **fields: Any) -> None:
        """Write the settings; the keys are those of the tests where none are given."""
        keys = {name: digest(key) for name, key in fields.pop("keys", KEYS).items()}
        limits = Limits(**fields.pop("limits", {}))
        settings = Settings("text2sql", keys, digest(INTERNAL), limits, **fields)
        (self.folder / FILE).write_text(settings.dump())

    def serve(self, program: str, *names: str, port: int | None = None, **fields: Any) -> None:
        """Give a worker these names."""
        port = port or free_port()
        self.workers.put(
            program, Worker(names=list(names), model="/m", bind="127.0.0.1", port=port, **fields)
        )

    def log(self) -> list[dict[str, Any]]:
        """The lines of the access log; a request is written down after its answer was sent."""
        return [json.loads(line) for line in wait_until(lambda: self.lines)]

    def client(self, key: str | None = "web") -> httpx.Client:
        headers = {"Authorization": f"Bearer {KEYS.get(key, key)}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False)

    def ask(self, prompt: str = "x", key: str | None = "web", **fields: Any) -> httpx.Response:
        headers, timeout = fields.pop("headers", {}), fields.pop("timeout", 30)
        with self.client(key) as client:
            body = {"model": "text2sql", "prompt": prompt} | fields
            return client.post("/v1/completions", json=body, headers=headers, timeout=timeout)


class Address:
    """Where a module's doors are served, one after the other: a server for each test would take its time."""

    def __init__(self) -> None:
        self.app: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app, "no door yet"
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[Address, str]]:
    address = Address()
    with serving(address) as url:
        yield address, url


@pytest.fixture(scope="module")
def api_at_socket() -> Iterator[tuple[Api, str]]:
    """The API of a module's tests, and its socket, whose path must be short."""
    api = Api()
    with (
        tempfile.TemporaryDirectory(prefix="door-", dir="/tmp") as folder,
        at_socket(api.app(), f"{folder}/api.sock"),
    ):
        yield api, f"{folder}/api.sock"


@pytest.fixture
def api(api_at_socket: tuple[Api, str]) -> Iterator[Api]:
    """The API, which has had no request yet."""
    api, _ = api_at_socket
    api.reset()
    yield api
    api.hold.set()


@pytest.fixture
def front(tmp_path: Path, api: Api, api_at_socket: tuple[Api, str], address: tuple[Address, str]) -> Front:
    """A door before the API; version 7 of a model is served as text2sql."""
    front = Front(tmp_path, api_at_socket[1])
    front.serve(OLD, "text2sql", version=7, run="manual__2026-11-24T14:03:00+00:00")
    at, front.url = address
    at.app = Door(tmp_path, front.socket, front.lines.append).app()
    return front


@pytest.fixture
def begin(front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trial]:
    """Begins a trial of version 8 beside version 7."""
    monkeypatch.setattr(door.tally, "SAVE_AFTER", 0.01)
    front.serve(NEW, CANDIDATE, version=8)

    def begin(mode: str, share: float = 1, **fields: Any) -> Trial:
        now = time.time()
        values = {"answer_within": 20.0, "began": now, "until": now + 600} | fields
        trial = Trial("run-1", mode, "text2sql", CANDIDATE, share, **values)
        trial.write(tmp_path)
        return trial

    return begin
