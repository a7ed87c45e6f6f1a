"""The engine's thread, and how a request reaches it from an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncGenerator
from typing import NoReturn

from batching.adapters import Adapter
from batching.engine import Engine
from batching.requests import Request
from batching.rows import Chunk

log = logging.getLogger(__name__)

IDLE_SECONDS = 10.0
"""Seconds without a request after which the engine's memory is given back: a training may need it."""


class EngineThread:
    """Steps an engine while it has anything to do.

    Args:
        engine: The engine.
        idle_seconds: Seconds without a request after which its memory is given back.
    """

    def __init__(self, engine: Engine, idle_seconds: float = IDLE_SECONDS) -> None:
        self.engine = engine
        self._idle_seconds = idle_seconds
        self._work = threading.Event()

    def start(self) -> None:
        """Start the thread; it ends with the process, and the process with it."""
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def _run(self) -> None:
        try:
            self._step_for_ever()
        except Exception:
            log.exception("the engine cannot go on: the worker ends, for supervisor to start it again")
            # Not sys.exit, which ends this thread alone: every later request would wait for ever.
            os._exit(1)

    def _step_for_ever(self) -> NoReturn:
        while True:
            if not self._work.wait(self._idle_seconds):
                self.engine.give_memory_back()
                self._work.wait()
            # Cleared first: what arrives during the step sets it again.
            self._work.clear()
            while self.engine.step():
                pass

    async def answer(
        self, request: Request, *, streams: bool, adapter: Adapter | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """The chunks of a request's answer, to the last one.

        The row leaves the batch when the iterator is closed before.
        """
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[Chunk] = asyncio.Queue()

        def send(chunk: Chunk) -> None:
            # The loop may have ended while the last rows are computed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)

        row = self.engine.submit(request, send, streams=streams, adapter=adapter)
        self._work.set()
        try:
            while True:
                chunk = await chunks.get()
                yield chunk
                if chunk["error_code"] or chunk["finish_reason"]:
                    return
        finally:
            row.is_gone = True
