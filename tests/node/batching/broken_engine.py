"""An engine that cannot go on, on its thread; `test_engine` runs it in the node environment.

python broken_engine.py device | memory
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import torch
from engine_client import Client
from small_model import HEAD

from batching.requests import Request
from batching.thread import EngineThread


def break_device(client: Client) -> None:
    """Every step has the error of a GPU that an assertion has stopped."""

    def fail(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    client.model.lm_head.register_forward_pre_hook(fail)


def break_memory(client: Client) -> None:
    """A step fails, and its memory cannot be given back."""

    def fail(*_: Any) -> None:
        raise RuntimeError("injected")

    client.model.lm_head.register_forward_pre_hook(fail)
    client.engine._store.clear = fail  # type: ignore[method-assign]


async def ask_twice(thread: EngineThread) -> None:
    for _ in range(2):
        async for chunk in thread.answer(Request(prompt=HEAD, tokens=(5, 6)), streams=False):
            print(chunk["text"])


if __name__ == "__main__":
    broken = Client()
    {"device": break_device, "memory": break_memory}[sys.argv[1]](broken)
    engine_thread = EngineThread(broken.engine)
    engine_thread.start()
    asyncio.run(ask_twice(engine_thread))
