"""A model worker for FastChat that answers many requests at once; `serving.engine: batched` runs it.

    python batched_worker.py --model-path FOLDER --model-names NAME --host HOST --port PORT [options]

It has the HTTP interface of `fastchat.serve.model_worker` 0.2.36, as `openai_api_server` calls it for
completions, and loads models as that does. It does not register itself with a controller: `registrar.py`
does. The package `batching` says why it exists, what it cannot do, which version of transformers it needs,
and when it can be removed.

Where its answers differ from FastChat's own:

- An answer ends before the first of the request's stop texts. FastChat looks at every second token, and cuts
  before the last occurrence of whichever stop text comes first in a set.
- The end of a text that may become a stop text, or a whole character, is not sent yet.
- `max_new_tokens` is lowered where prompt and answer do not fit into the context. FastChat removes the
  beginning of the prompt.
- A request may have a `seed`. It is for tests: FastChat's API does not forward it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import transformers
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from fastchat.model.model_adapter import get_conversation_template, load_model
from fastchat.utils import get_context_length, str_to_torch_dtype

from batching.engine import Engine
from batching.models import model_problem, offload_problem, version_problem
from batching.requests import RequestError, read_request
from batching.rows import Chunk
from batching.thread import EngineThread

log = logging.getLogger(__name__)


class Worker:
    """A served model.

    Args:
        options: The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        _exit_with(version_problem(transformers.__version__))
        _exit_with(model_problem(transformers.PretrainedConfig.get_config_dict(options.model_path)[0]))
        model, self.tokenizer = load_model(
            options.model_path,
            device=options.device,
            num_gpus=options.num_gpus,
            max_gpu_memory=options.max_gpu_memory,
            dtype=str_to_torch_dtype(options.dtype),
        )
        _exit_with(offload_problem(model))
        self.names = options.model_names.split(",")
        self.context_length: int = get_context_length(model.config)
        conversation = get_conversation_template(options.model_path)
        conversation.sep_style = int(conversation.sep_style)
        self.conversation = conversation
        engine = Engine(
            model,
            self.tokenizer,
            max_rows=options.limit_worker_concurrency,
            cache_gib=options.cache_gib,
            deterministic=options.deterministic,
        )
        log.info("memory for the keys of %d tokens, context of %d", engine.capacity, self.context_length)
        self.thread = EngineThread(engine)
        self.thread.start()

    def status(self) -> dict[str, Any]:
        """What FastChat's controller wants to know."""
        return {"model_names": self.names, "speed": 1, "queue_length": self.thread.engine.unanswered}

    async def answer(self, params: dict[str, Any], *, streams: bool) -> AsyncGenerator[Chunk, None]:
        """The chunks of an answer; a request that cannot be answered has one, with its error."""
        try:
            request = read_request(params, self.tokenizer, self.context_length)
            async with aclosing(self.thread.answer(request, streams=streams)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except RequestError as e:
            yield {"text": str(e), "error_code": int(e.code)}


def _exit_with(problem: str | None) -> None:
    if problem:
        sys.exit(problem)


def create_app(worker: Worker) -> FastAPI:
    """The HTTP interface of FastChat's model worker.

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
        return worker.status()

    @app.post("/count_token")
    async def count_token(request: Request) -> dict[str, int]:
        prompt = (await request.json())["prompt"]
        return {"count": len(worker.tokenizer(prompt).input_ids), "error_code": 0}

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


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line: the options of FastChat's worker that are used here, and two of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--model-names", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--limit-worker-concurrency", type=int, default=64, help="rows at once; more wait")
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--num-gpus", type=int, default=1)
    parser.add_argument("--max-gpu-memory", default=None)
    parser.add_argument("--cache-gib", type=float, default=None, help="memory for keys and values, in GiB")
    parser.add_argument("--deterministic", action="store_true", help="one row at a time")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    options = read_options(sys.argv[1:])
    uvicorn.run(create_app(Worker(options)), host=options.host, port=options.port, log_level="info")
