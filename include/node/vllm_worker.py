"""A model worker for FastChat in front of vLLM; `serving.engine: vllm` runs it.

    python vllm_worker.py --model-path FOLDER --model-names NAME --host HOST --port PORT [options]

It runs in the node environment and starts vLLM's server in an environment of its own (`bootstrap.sh --vllm`).
It has the HTTP interface of `fastchat.serve.model_worker` 0.2.36, and listens once vLLM answers. It does not
register itself with a controller: `registrar.py` does. When either of the two ends, the other one does. The
package `vllm_bridge` says how.

Where its answers differ from FastChat's own:

- An answer ends before the first of the request's stop texts.
- `max_new_tokens` is lowered where prompt and answer do not fit into the context.
- `presence_penalty`, `frequency_penalty` and `seed` have an effect.
- `logprobs` holds the likeliest other tokens too, as many as the request names.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastchat.constants import ErrorCode
from fastchat.model.model_adapter import get_conversation_template

from batching.requests import RequestError
from served_adapters import ServedAdapters
from vllm_bridge import command, environment
from vllm_bridge.client import Client, served_context
from vllm_bridge.completions import Answer, completion_request
from vllm_bridge.models import adapter_problem, model_problem
from vllm_bridge.process import VllmProcess
from worker_interface import Chunk, create_app, worker_options

SPECIAL_TOKENS = 8
"""More than any tokenizer puts before a text."""
POLL = 0.2
"""Seconds between two looks whether vLLM answers."""
SHUTDOWN = 8
"""Seconds for open requests after SIGTERM; with `guard.GRACE` less than supervisor's 20 s."""


class Worker:
    """A model that vLLM serves, or a base model with its adapters.

    Args:
        options: The command line.
        vllm: The process; this returns once it answers.
    """

    def __init__(self, options: argparse.Namespace, vllm: VllmProcess) -> None:
        self.adapters = ServedAdapters(options.adapters, options.model_names, self._load, self._unload)
        self._model = Path(options.model_path)
        conversation = get_conversation_template(options.model_path)
        conversation.sep_style = int(conversation.sep_style)
        self.conversation = conversation
        self.context_length = _wait_until_it_answers(vllm)
        self.unanswered = 0
        self._client = Client(vllm.socket)

    async def count_tokens(self, prompt: str) -> int:
        """Tokens of a prompt."""
        return await self._client.count_tokens(prompt)

    async def answer(self, params: dict[str, Any], *, streams: bool) -> AsyncGenerator[Chunk, None]:
        """The chunks of an answer; a request that cannot be answered has one, with its error."""
        self.unanswered += 1
        try:
            name = await self.adapters.get(str(params.get("model", "")))
            request = completion_request(params, streams=streams) | ({"model": name} if name else {})
            body, answer = await self._fitted(request), Answer()
            async with aclosing(self._client.complete(body)) as pieces:
                async for piece in pieces:
                    yield answer.add(piece)
        except RequestError as e:
            yield {"text": str(e), "error_code": int(e.code)}
        finally:
            self.unanswered -= 1

    async def _load(self, name: str, folder: Path) -> str:
        if problem := await asyncio.to_thread(adapter_problem, folder, self._model):
            raise RequestError(ErrorCode.INTERNAL_ERROR, problem)
        await self._client.load_adapter(name, folder)
        return name

    async def _unload(self, name: str) -> None:
        # Where vLLM fails, the next request says so.
        with suppress(RequestError):
            await self._client.unload_adapter(name)

    async def _fitted(self, body: dict[str, Any]) -> dict[str, Any]:
        """The request with as many tokens as the context has room for; vLLM refuses more.

        Raises:
            RequestError: The prompt alone does not fit; to vLLM that is a bad request like any other.
        """
        # A token has a byte at least, and some are put before the text.
        if len(body["prompt"].encode()) + SPECIAL_TOKENS + body["max_tokens"] <= self.context_length:
            return body
        room = self.context_length - (count := await self.count_tokens(body["prompt"]))
        if room > 0:
            return body | {"max_tokens": min(body["max_tokens"], room)}
        raise RequestError(
            ErrorCode.CONTEXT_OVERFLOW,
            f"the prompt has {count} tokens, and the model's context is {self.context_length}, with the "
            "answer: shorten the prompt",
        )


def _wait_until_it_answers(vllm: VllmProcess) -> int:
    """Tokens of the context, once vLLM answers; exits when it ends before."""
    while (context := served_context(vllm.socket)) is None:
        if vllm.has_ended():
            sys.exit("vLLM ended before it answered: its reason is above")
        time.sleep(POLL)
    return context


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line: the options of FastChat's worker that are used here, and three of its own."""
    parser = worker_options(__doc__)
    parser.add_argument(
        "--vllm-python", type=Path, default=environment.environment() / "bin" / "python", help="vLLM's Python"
    )
    parser.add_argument("--max-lora-rank", type=int, default=0, help="largest rank of an adapter; 0: none")
    return parser.parse_args(arguments)


def serve(options: argparse.Namespace) -> None:
    """Serve a model until SIGTERM, or until vLLM ends; exits with the reason when it cannot be served."""
    if not options.vllm_python.is_file():
        sys.exit(f"{options.vllm_python} is missing: run `bash include/node/bootstrap.sh --vllm` on the host")
    if problem := model_problem(Path(options.model_path), options.device, options.num_gpus):
        sys.exit(problem)
    settings = command.Settings(
        python=options.vllm_python,
        model=Path(options.model_path),
        device=options.device,
        dtype=options.dtype,
        gpus=options.num_gpus,
        requests=options.limit_worker_concurrency,
        cache_gib=options.cache_gib,
        gpu_share=command.gpu_share() if options.device == "cuda" else None,
        lora_rank=options.max_lora_rank,
    )
    vllm = VllmProcess(partial(command.command, settings), command.environment(settings))
    try:
        app = create_app(Worker(options, vllm))
        vllm.on_end(lambda: os.kill(os.getpid(), signal.SIGTERM))
        uvicorn.run(
            app,
            host=options.host,
            port=options.port,
            log_level="info",
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN,
        )
    finally:
        vllm.stop()


def _exit(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that vLLM is ended first; uvicorn raises its signal again once it has ended."""
    sys.exit(128 + number)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGTERM, _exit)
    serve(read_options(sys.argv[1:]))
