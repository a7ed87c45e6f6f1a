"""The adapters that a worker's process serves beside its base model, as the workers' files name them.

A process for a base model and all its adapters has a file for each model that it serves
(`model_servers.worker`), and FastChat's API asks for a model by the name of its file. An adapter is loaded
for the first request that names it, and freed once its file is gone. So the files alone say what is served,
also after a restart, and there is no call by which anybody else could load something.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from fastchat.constants import ErrorCode

from batching.requests import RequestError
from lora import AdapterError

T = TypeVar("T")


class ServedAdapters(Generic[T]):
    """The adapters of one process, loaded as they are asked for.

    Args:
        folder: Folder of the workers' files; None: the process serves one whole model, under any name.
        process: Name of the process.
        load: Loads an adapter: its name and its folder. Raises AdapterError or RequestError where it cannot.
        unload: Called with what `load` returned once its name is gone.
    """

    def __init__(
        self,
        folder: Path | None,
        process: str,
        load: Callable[[str, Path], Awaitable[T]],
        unload: Callable[[T], Awaitable[None]],
    ) -> None:
        self._folder, self._process = folder, process
        self._load, self._unload = load, unload
        self._loaded: dict[str, asyncio.Task[T | None]] = {}

    async def get(self, name: str) -> T | None:
        """The adapter of a name; None: the base model answers.

        Raises:
            RequestError: No model of this process has the name, or its adapter cannot be loaded.
        """
        if self._folder is None:
            return None
        if name not in self._loaded:
            self._loaded[name] = asyncio.create_task(self._loading(name, self._files()))
        loading = self._loaded[name]
        try:
            # Others may wait for it, when this request's client leaves.
            return await asyncio.shield(loading)
        except Exception as e:
            # The next request tries again.
            if self._loaded.get(name) is loading:
                del self._loaded[name]
            raise _refusal(name, e) from e

    async def _loading(self, name: str, files: dict[str, dict[str, Any]]) -> T | None:
        if name not in files:
            # With this code the front door looks the name up again, which has moved by now.
            raise RequestError(ErrorCode.CONTROLLER_NO_WORKER, f"{name} is not served by {self._process}")
        worker = files[name]
        if worker["model"] == worker["base"]:
            return None
        return await self._load(name, Path(worker["model"]))

    def names(self) -> list[str]:
        """The models that this process serves."""
        return sorted(self._files()) if self._folder else [self._process]

    async def free(self) -> None:
        """Free the adapters whose files are gone; their last request has been answered by then."""
        if not self._folder:
            return
        files = self._files()
        for name in [name for name, task in self._loaded.items() if task.done() and name not in files]:
            task = self._loaded.pop(name)
            if not task.exception() and (adapter := task.result()) is not None:
                await self._unload(adapter)

    def _files(self) -> dict[str, dict[str, Any]]:
        assert self._folder
        found = {}
        for path in self._folder.glob("*.json"):
            try:
                worker = json.loads(path.read_text())
            except (OSError, ValueError):
                # Removed since the folder was listed.
                continue
            if worker.get("process") == self._process:
                found[path.stem] = worker
        return found


def _refusal(name: str, error: Exception) -> RequestError:
    """What a request gets whose model was not loaded: no fault of its own, whatever vLLM's status says."""
    if isinstance(error, RequestError) and error.code == ErrorCode.CONTROLLER_NO_WORKER:
        return error
    is_told = isinstance(error, (AdapterError, RequestError))
    reason = str(error) if is_told else f"{type(error).__name__}: {error}"
    return RequestError(ErrorCode.INTERNAL_ERROR, f"the adapter of {name} cannot be loaded: {reason}")
