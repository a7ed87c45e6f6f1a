"""The HTTP interface of FastChat's model worker, as `openai_api_server` 0.2.36 calls it."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

Chunk = dict[str, Any]
"""What FastChat's worker sends: the text so far, usage, finish_reason, error_code, logprobs."""


class ModelWorker(Protocol):
    """A served model."""

    names: list[str]
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
    return parser


def create_app(worker: ModelWorker) -> FastAPI:
    """The interface to a model.

    Its routes are coroutines: FastChat's take a thread for each request, of which there are few.
    """
    app = FastAPI()

    @app.post("/worker_generate_stream")
    async def generate_stream(request: Request) -> StreamingResponse:
        chunks = worker.answer(await request.json(), streams=True)

        async def encoded() -> AsyncIterator[bytes]:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield json.dumps(chunk).encode() + b"\0"

        return StreamingResponse(encoded())

    @app.post("/worker_generate")
    async def generate(request: Request) -> JSONResponse:
        answer = asyncio.create_task(_last(worker.answer(await request.json(), streams=False)))
        gone = asyncio.create_task(_disconnected(request))
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not answer.done():
            answer.cancel()
            return JSONResponse(None)
        return JSONResponse(answer.result())

    @app.post("/worker_get_status")
    async def status() -> dict[str, Any]:
        return {"model_names": worker.names, "speed": 1, "queue_length": worker.unanswered}

    @app.post("/count_token")
    async def count_token(request: Request) -> dict[str, int]:
        return {"count": await worker.count_tokens((await request.json())["prompt"]), "error_code": 0}

    @app.post("/worker_get_conv_template")
    async def conversation_template() -> dict[str, Any]:
        return {"conv": worker.conversation}

    @app.post("/model_details")
    async def model_details() -> dict[str, int]:
        return {"context_length": worker.context_length}

    return app


async def _last(chunks: AsyncIterator[Chunk]) -> Chunk:
    return [chunk async for chunk in chunks][-1]


async def _disconnected(request: Request) -> None:
    """Wait until the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
