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
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import transformers
import uvicorn
from fastchat.model.model_adapter import get_conversation_template, load_model
from fastchat.utils import get_context_length, str_to_torch_dtype

from batching.adapters import Adapter, Adapters
from batching.engine import Engine
from batching.models import model_problem, offload_problem, version_problem
from batching.requests import RequestError, read_request
from batching.rows import Chunk
from batching.thread import EngineThread
from served_adapters import ServedAdapters
from worker_interface import create_app, worker_options

log = logging.getLogger(__name__)


class Worker:
    """A served model, or a base model with its adapters.

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
            adapters=Adapters(model, Path(options.model_path)) if options.adapters else None,
        )
        self.adapters = ServedAdapters(options.adapters, options.model_names, self._load, _forget)
        log.info("memory for the keys of %d tokens, context of %d", engine.capacity, self.context_length)
        self.thread = EngineThread(engine)
        self.thread.start()

    @property
    def unanswered(self) -> int:
        """Requests that are not answered yet."""
        return self.thread.engine.unanswered

    async def count_tokens(self, prompt: str) -> int:
        """Tokens of a prompt."""
        return len(self.tokenizer(prompt).input_ids)

    async def answer(self, params: dict[str, Any], *, streams: bool) -> AsyncGenerator[Chunk, None]:
        """The chunks of an answer; a request that cannot be answered has one, with its error."""
        try:
            adapter = await self.adapters.get(str(params.get("model", "")))
            request = read_request(params, self.tokenizer, self.context_length)
            async with aclosing(self.thread.answer(request, streams=streams, adapter=adapter)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except RequestError as e:
            yield {"text": str(e), "error_code": int(e.code)}

    async def _load(self, name: str, folder: Path) -> Adapter:
        adapters = self.thread.engine.adapters
        assert adapters, "the process serves no adapters"
        adapter = await asyncio.to_thread(adapters.load, folder)
        log.info("%s is the adapter in %s", name, folder)
        return adapter


async def _forget(adapter: Adapter) -> None:
    """Nothing: its memory is given back with the first pass after its last row."""


def _exit_with(problem: str | None) -> None:
    if problem:
        sys.exit(problem)


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line: the options of FastChat's worker that are used here, and two of its own."""
    parser = worker_options(__doc__)
    parser.add_argument("--max-gpu-memory", default=None)
    parser.add_argument("--deterministic", action="store_true", help="one row at a time")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    options = read_options(sys.argv[1:])
    uvicorn.run(create_app(Worker(options)), host=options.host, port=options.port, log_level="info")
