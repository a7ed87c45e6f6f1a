"""Which worker answers to a served name: read from the workers' files, where a switch moves the name."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from door.errors import GONE, Refusal


@dataclass(frozen=True)
class Target:
    """The worker that a name stands for at this moment.

    Attributes:
        program: The worker's program, under which FastChat's controller knows it alone.
        url: Where the worker listens.
        version: Number of the model's version; empty for a model that is not registered.
        run: The run that trained it.
    """

    program: str
    url: str
    version: str = ""
    run: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a response that say what answered."""
        values = {"X-Model-Version": self.version, "X-Model-Run": self.run, "X-Model-Worker": self.program}
        return {name: urllib.parse.quote(value, safe=":+~") for name, value in values.items() if value}


class Names:
    """The served names of a host.

    Args:
        folder: Folder of the model servers.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "workers"

    def all(self) -> list[str]:
        """Every served name."""
        return sorted({name for worker in self._workers() for name in worker["names"]})

    def target(self, name: str) -> Target:
        """The worker of a name.

        A switch writes the new worker's file before the old one's: for that moment both have the name, and
        the file that was written last counts.

        Raises:
            Refusal: No worker has the name.
        """
        # The second look finds a name that moved between two files while they were read.
        workers = self._answering(name) or self._answering(name)
        if not workers:
            served = ", ".join(self.all()) or "none"
            raise Refusal(404, f"the model {name!r} is not served (served: {served})", GONE)
        newest = max(workers, key=lambda worker: int(worker["written_at"]))
        return Target(
            program=newest["program"],
            url=f"http://{newest.get('bind') or '127.0.0.1'}:{newest['port']}",
            version=str(newest.get("version") or ""),
            run=str(newest.get("run") or ""),
        )

    def _answering(self, name: str) -> list[dict[str, Any]]:
        return [worker for worker in self._workers() if name in worker["names"]]

    def _workers(self) -> Iterator[dict[str, Any]]:
        for path in self._folder.glob("*.json"):
            try:
                with path.open() as file:
                    # Of the open file: the path may be the next one's by now.
                    written_at = os.fstat(file.fileno()).st_mtime_ns
                    worker = json.load(file)
                yield {"names": [], **worker, "program": path.stem, "written_at": written_at}
            except (OSError, ValueError):
                # Removed since the folder was listed.
                continue
