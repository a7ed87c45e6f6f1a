"""The HTTP interface of FastChat's model worker, as `openai_api_server` 0.2.36 calls it."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from served_adapters import ServedAdapters

Chunk = dict[str, Any]
"""What FastChat's worker sends: the text so far, usage, finish_reason, error_code, logprobs."""


class ModelWorker(Protocol):
    """A served model, or a base model with its adapters."""

    adapters: ServedAdapters[Any]
    conversation: Any
    context_length: int

    @property
    def unanswered(self) -> int:
        """Requests that are not answered yet."""
        ...

    def answer(self, params: dict[str, Any], *, streams: bool) -> AsyncGenerator[Chunk, None]:
        """The chunks of an answer; a request that cannot be answered has one, with its error."""
        ...

    async def count_tokens(self, prompt: str) -> int:
        """Tokens of a prompt."""
        ...


def worker_options(description: str | None) -> argparse.ArgumentParser:
    """The options of FastChat's worker that each of ours has, and the memory of its keys and values."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--model-names", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--limit-worker-concurrency", type=int, default=64, help="rows at once; more wait")
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--num-gpus", type=int, default=1)
    parser.add_argument("--cache-gib", type=float, default=None, help="memory for keys and values, in GiB")
    parser.add_argument(
        "--adapters", type=Path, default=None, help="the workers' files, which name adapters of the model"
    )
    return parser


class Activity:
    """When requests for each served name were last answered.

    A process that serves several has one port, whose connections do not say for which of them they are.
    """

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._ended: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count a request while it is answered."""
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            self._ended[name] = time.monotonic()

    def idle(self, names: list[str]) -> dict[str, float]:
        """Seconds since the last request of each name ended; 0 while there is one; without the unused."""
        now = time.monotonic()
        for gone in self._ended.keys() - set(names):
            del self._ended[gone]
        self._open = +self._open
        return {name: now - at for name, at in self._ended.items()} | {
            name: 0.0 for name in names if self._open[name]
        }


def create_app(worker: ModelWorker) -> FastAPI:
    """The interface to a model.

    Its routes are coroutines: FastChat's take a thread for each request, of which there are few.
    """
    app, activity = FastAPI(), Activity()

    @app.post("/worker_generate_stream")
    async def generate_stream(request: Request) -> StreamingResponse:
        body = await request.json()
        chunks = worker.answer(body, streams=True)

        async def encoded() -> AsyncIterator[bytes]:
            with activity.of(_name(body)):
                async with aclosing(chunks):
                    async for chunk in chunks:
                        yield json.dumps(chunk).encode() + b"\0"

        return StreamingResponse(encoded())

    @app.post("/worker_generate")
    async def generate(request: Request) -> JSONResponse:
        body = await request.json()
        with activity.of(_name(body)):
            answer = asyncio.create_task(_last(worker.answer(body, streams=False)))
            gone = asyncio.create_task(_disconnected(request))
            await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if not answer.done():
                answer.cancel()
                return JSONResponse(None)
            return JSONResponse(answer.result())

    @app.post("/worker_get_status")
    async def status() -> dict[str, Any]:
        # The registrar asks every second: soon after its file an adapter is gone, too.
        await worker.adapters.free()
        names = worker.adapters.names()
        return {
            "model_names": names,
            "speed": 1,
            "queue_length": worker.unanswered,
            "idle": activity.idle(names),
        }

    @app.post("/count_token")
    async def count_token(request: Request) -> dict[str, int]:
        body = await request.json()
        with activity.of(_name(body)):
            return {"count": await worker.count_tokens(body["prompt"]), "error_code": 0}

    @app.post("/worker_get_conv_template")
    async def conversation_template() -> dict[str, Any]:
        return {"conv": worker.conversation}

    @app.post("/model_details")
    async def model_details() -> dict[str, int]:
        return {"context_length": worker.context_length}

    return app


def _name(body: dict[str, Any]) -> str:
    """The served name that FastChat's API asks for."""
    return str(body.get("model", ""))


async def _last(chunks: AsyncIterator[Chunk]) -> Chunk:
    return [chunk async for chunk in chunks][-1]


async def _disconnected(request: Request) -> None:
    """Wait until the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
